"""The only place that knows pymongo, redis, boto3 and HTTP towards hosts."""
