import pytest
from snowflake.connector.errors import ProgrammingError

from local.snowflake import setup
from tests.local.snowflake.running import BUCKET


def test_the_administrators_script_runs_but_for_access_control(session):
    left_out = setup.set_up(session, BUCKET)
    done = [text for text in setup.statements(BUCKET) if text not in left_out]
    assert [" ".join(text.split()[:3]) for text in done] == [
        "CREATE DATABASE IF",
        "CREATE SCHEMA IF",
        "CREATE STORAGE INTEGRATION",
        "DESC INTEGRATION VITRINE_LAKE;",
        "CREATE STAGE IF",
        "CREATE SCHEMA IF",
        "CREATE STORAGE INTEGRATION",
        "DESC INTEGRATION VITRINE_PUBLISHED;",
        "CREATE STAGE IF",
        "CREATE STAGE IF",
    ]
    assert setup.set_up(session, BUCKET) == left_out


def test_what_is_left_out_would_fail_loudly(session):
    left_out = setup.set_up(session, BUCKET)
    assert len(left_out) == 20
    for statement in left_out:
        with pytest.raises(ProgrammingError, match=r"Unsupported feature '(CREATE|GRANT)"):
            session.cursor().execute(statement)
