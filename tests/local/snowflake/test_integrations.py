import pytest
from snowflake.connector.errors import ProgrammingError

INTEGRATION = """
    CREATE {} STORAGE INTEGRATION {} TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = {}
    STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::123456789012:role/r'
    STORAGE_ALLOWED_LOCATIONS = ('s3://bucket/one/', 's3://bucket/two/')
    STORAGE_BLOCKED_LOCATIONS = ('s3://bucket/one/secret/')
"""


def test_an_integration_is_described_and_listed(run):
    run(INTEGRATION.format("OR REPLACE", "described", "TRUE"))
    described = {row[0]: row[2] for row in run("DESC INTEGRATION described")}
    assert described["STORAGE_ALLOWED_LOCATIONS"] == "s3://bucket/one/,s3://bucket/two/"
    assert described["STORAGE_AWS_ROLE_ARN"] == "arn:aws:iam::123456789012:role/r"
    assert "DESCRIBED" in [row[0] for row in run("SHOW INTEGRATIONS")]
    with pytest.raises(ProgrammingError, match="already exists"):
        run(INTEGRATION.format("", "described", "TRUE"))
    run("DROP INTEGRATION described")
    with pytest.raises(ProgrammingError, match="does not exist"):
        run("DESC INTEGRATION described")


@pytest.mark.parametrize(
    "url", ["s3://bucket/", "s3://bucket/onerous/", "s3://other/one/", "s3://bucket/one/secret/x/"]
)
def test_a_stage_stays_within_its_integration(run, url):
    run(INTEGRATION.format("OR REPLACE", "narrow", "TRUE"))
    run("CREATE OR REPLACE STAGE fits URL = 's3://bucket/two/deep/' STORAGE_INTEGRATION = narrow")
    with pytest.raises(ProgrammingError, match="not allowed by integration 'NARROW'"):
        run(f"CREATE STAGE outside URL = '{url}' STORAGE_INTEGRATION = narrow")


def test_a_disabled_integration_stops_the_stages_that_use_it(run):
    run(INTEGRATION.format("OR REPLACE", "switch", "TRUE"))
    run("CREATE OR REPLACE STAGE switched URL = 's3://bucket/one/' STORAGE_INTEGRATION = switch")
    run(INTEGRATION.format("OR REPLACE", "switch", "FALSE"))
    with pytest.raises(ProgrammingError, match="disabled"):
        run("LIST @switched")


def test_a_stage_is_described_shown_and_dropped(run):
    described = {row[1]: row[3] for row in run("DESC STAGE RETAIL.PUBLIC.VITRINE_LAKE")}
    assert described["URL"] == '["s3://vitrine-lake/raw/"]'
    assert described["STORAGE_INTEGRATION"] == "VITRINE_LAKE"
    run("CREATE STAGE short_lived")
    run("DROP STAGE short_lived")
    with pytest.raises(ProgrammingError, match="SHORT_LIVED"):
        run("LIST @short_lived")


@pytest.mark.parametrize(
    "option", ["FILE_FORMAT = (TYPE = CSV)", "ENCRYPTION = (TYPE = 'NONE')", "DIRECTORY = (ENABLE = TRUE)"]
)
def test_a_stage_option_that_is_not_done_is_refused(run, option):
    with pytest.raises(ProgrammingError):
        run(f"CREATE STAGE refused {option}")
    with pytest.raises(ProgrammingError, match="REFUSED"):
        run("LIST @refused")
