"""A Snowflake endpoint for a laptop: fakesnow on DuckDB, served over TLS, that really loads, unloads and cancels.

The real connector and Airflow's provider talk to it. What it does not do fails at once with a Snowflake error that
names the missing form; nothing is accepted and ignored.
"""
