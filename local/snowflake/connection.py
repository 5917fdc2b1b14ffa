"""How clients reach the local Snowflake: Airflow's connection, the environment, and a plain connector connection."""

import json
import os
from pathlib import Path
from typing import Any

import snowflake.connector

from local.snowflake import tls

ACCOUNT = "local"
DATABASE = "RETAIL"
SCHEMA = "PUBLIC"
ROLE = "VITRINE_READER"
USER = "VITRINE"
WAREHOUSE = "VITRINE"


def airflow_connection(port: int, state: Path, host: str = "localhost") -> str:
    """Return the value of AIRFLOW_CONN_SNOWFLAKE_DEFAULT for the server at `port`.

    Args:
        port: Port of the local Snowflake server.
        state: The stack's state directory; its certificates are created if they are missing.
        host: A name of the server's certificate, by which the client reaches it.

    Returns:
        An Airflow connection as JSON. The client also needs `environment(state)`.
    """
    tls.certificates(state)
    return json.dumps(
        {
            "conn_type": "snowflake",
            "login": USER,
            "password": "local",
            "schema": SCHEMA,
            "extra": {
                "account": ACCOUNT,
                "database": DATABASE,
                "warehouse": WAREHOUSE,
                "role": ROLE,
                "host": host,
                "port": port,
                # No OCSP responder knows a local authority. The certificate itself is verified all the same.
                "insecure_mode": True,
            },
        }
    )


def environment(state: Path) -> dict[str, str]:
    """Return the variables that make every Python client trust the local authority besides the public ones."""
    return {"REQUESTS_CA_BUNDLE": str(tls.certificates(state).bundle.resolve())}


def connect(port: int, state: Path, **options: Any) -> snowflake.connector.SnowflakeConnection:
    """Connect local tools to the local Snowflake with the real connector.

    Args:
        port: Port of the local Snowflake server.
        state: The stack's state directory, whose authority is trusted for this connection.
        **options: Further options of `snowflake.connector.connect`, such as `database=None` or `session_parameters`.

    Returns:
        An open connection, database RETAIL and schema PUBLIC unless `options` say otherwise.
    """
    settings: dict[str, Any] = {
        "user": USER,
        "password": "local",
        "account": ACCOUNT,
        "host": "localhost",
        "port": port,
        "database": DATABASE,
        "schema": SCHEMA,
        "disable_ocsp_checks": True,
        "login_timeout": 15,
        **options,
    }
    # The connector takes no bundle as an argument and reads the variable at every request, not only the first.
    os.environ.update(environment(state))
    return snowflake.connector.connect(**{name: value for name, value in settings.items() if value is not None})
