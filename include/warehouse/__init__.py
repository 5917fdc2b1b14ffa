"""What the pipelines do in warehouses: extracts from Snowflake, gold into Redshift, results back into Snowflake."""
