"""The local stack: the AWS and Snowflake endpoints of a laptop, which really do the work. Never deployed."""
