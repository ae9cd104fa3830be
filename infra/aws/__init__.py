"""The same platform in one's own AWS account: a CDK app, `python -m infra.aws.app`."""
