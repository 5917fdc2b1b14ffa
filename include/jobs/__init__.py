"""Entry points of the Glue jobs: thin mains that read, transform and write. They run on Spark and on Polars."""
