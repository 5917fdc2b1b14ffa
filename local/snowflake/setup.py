"""Runs `include/sql/snowflake/setup.sql` on the local Snowflake, as far as it goes there."""

from io import StringIO
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from snowflake.connector import SnowflakeConnection
from snowflake.connector.util_text import split_statements

SCRIPT = Path(__file__).parents[2] / "include" / "sql" / "snowflake" / "setup.sql"

# There is one local user, who may do everything: these forms have nothing to act on. Every other one has to succeed.
ACCESS_CONTROL = ("CREATE WAREHOUSE", "CREATE ROLE", "CREATE USER", "GRANT")


def statements(bucket: str) -> list[str]:
    """Return the script's statements for the lake in `bucket`, without comments."""
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(SCRIPT.read_text())  # noqa: S701
    script = template.render(bucket=bucket, role_arn="arn:aws:iam::123456789012:role/vitrine-snowflake", public_key="-")
    return [text for text, _ in split_statements(StringIO(script), remove_comments=True) if text and text.strip("; \n")]


def set_up(connection: SnowflakeConnection, bucket: str = "vitrine-lake") -> list[str]:
    """Create the database, the integration and the stage that the pipelines need; nothing happens if they are there.

    Args:
        connection: An open connection to the local Snowflake.
        bucket: The lake's bucket.

    Returns:
        The statements that were left out: access control, which the local Snowflake does not have.

    Raises:
        snowflake.connector.errors.ProgrammingError: A statement failed.
    """
    left_out = []
    for statement in statements(bucket):
        if statement.upper().startswith(ACCESS_CONTROL):
            left_out.append(statement)
        else:
            connection.cursor().execute(statement)
    return left_out
