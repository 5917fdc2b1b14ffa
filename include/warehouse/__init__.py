"""What the pipelines do in Snowflake."""
