"""The only place that knows pymongo, redis, botocore and HTTP towards hosts."""
