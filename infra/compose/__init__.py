"""The same stack as containers (`localstack-compose.yml`): what they run beside the product itself."""
