"""Storage integrations and the stages that use them."""

# ruff: noqa: S608 -- a database server builds SQL: identifiers and texts are quoted by sqlglot, values are bound.

from typing import TYPE_CHECKING, Any

from fakesnow.expr import normalise_ident
from fakesnow.transforms import stage as fakesnow_stage
from fakesnow.transforms.options import parse_options
from sqlglot import exp

from local.snowflake import errors
from local.snowflake.results import Column, literal_rows

if TYPE_CHECKING:
    from local.snowflake.cursor import Cursor

TABLE = "_fs_global._fs_information_schema.integrations"
STAGES = "_fs_global._fs_information_schema._fs_stages"
# The principal that a real account names for the role's trust policy.
IAM_USER = "arn:aws:iam::123456789012:user/local-snowflake"

_INTEGRATION_OPTIONS = {
    "TYPE",
    "STORAGE_PROVIDER",
    "ENABLED",
    "STORAGE_AWS_ROLE_ARN",
    "STORAGE_ALLOWED_LOCATIONS",
    "STORAGE_BLOCKED_LOCATIONS",
    "COMMENT",
}
_ONE_STAGE = "WHERE database_name = ? AND schema_name = ? AND name = ?"
_STAGE_OPTIONS = {"URL", "STORAGE_INTEGRATION", "COMMENT"}


def create_integration(cursor: "Cursor", statement: exp.Create) -> str:
    """Record `CREATE STORAGE INTEGRATION`; stages and COPY then obey its locations.

    Raises:
        ProgrammingError: An option is unknown or missing, or the integration exists.
    """
    name = normalise_ident(statement.this.sql(dialect="snowflake"))
    options = _options(statement, "CREATE STORAGE INTEGRATION", _INTEGRATION_OPTIONS)
    required = {"TYPE": "EXTERNAL_STAGE", "STORAGE_PROVIDER": "S3"}
    for option, value in required.items():
        if str(options.get(option, "")).upper() != value:
            raise errors.unsupported(f"STORAGE INTEGRATION with {option} = {options.get(option)}", f"Use {value}.")
    missing = {"ENABLED", "STORAGE_AWS_ROLE_ARN", "STORAGE_ALLOWED_LOCATIONS"} - options.keys()
    if missing:
        raise errors.error(errors.SYNTAX, f"Missing option(s): {sorted(missing)}")
    exists = cursor.fetch(f"SELECT 1 FROM {TABLE} WHERE name = ?", [name])
    if exists and statement.args.get("exists"):
        return literal_rows([Column("status")], [(f"{name} already exists, statement succeeded.",)])
    if exists and not statement.args.get("replace"):
        raise errors.error(errors.ALREADY_EXISTS, f"Object '{name}' already exists.")
    cursor.run(
        f"INSERT OR REPLACE INTO {TABLE} VALUES (?, ?, ?, ?, ?, ?, now())",
        [
            name,
            _is_true(options["ENABLED"]),
            options["STORAGE_AWS_ROLE_ARN"],
            _list(options["STORAGE_ALLOWED_LOCATIONS"]),
            _list(options.get("STORAGE_BLOCKED_LOCATIONS", [])),
            options.get("COMMENT", ""),
        ],
    )
    return literal_rows([Column("status")], [(f"Integration {name} successfully created.",)])


def describe_integration(cursor: "Cursor", name: str) -> str:
    """Answer `DESC INTEGRATION`: the properties that the AWS administrator needs for the role's trust policy."""
    _, enabled, role, allowed, blocked, comment = _integration(cursor, name)
    columns = [Column("property"), Column("property_type"), Column("property_value"), Column("property_default")]
    return literal_rows(
        columns,
        [
            ("ENABLED", "Boolean", str(enabled).lower(), "false"),
            ("STORAGE_PROVIDER", "String", "S3", ""),
            ("STORAGE_ALLOWED_LOCATIONS", "List", ",".join(allowed), "[]"),
            ("STORAGE_BLOCKED_LOCATIONS", "List", ",".join(blocked), "[]"),
            ("STORAGE_AWS_IAM_USER_ARN", "String", IAM_USER, ""),
            ("STORAGE_AWS_ROLE_ARN", "String", role, ""),
            ("STORAGE_AWS_EXTERNAL_ID", "String", f"LOCAL_SFCRole={name.upper()}", ""),
            ("COMMENT", "String", comment, ""),
        ],
    )


def show_integrations(cursor: "Cursor") -> str:
    """Answer `SHOW [STORAGE] INTEGRATIONS`."""
    del cursor
    return (
        "SELECT name, 'EXTERNAL_STAGE' AS \"type\", 'STORAGE' AS category, enabled::VARCHAR AS enabled, comment,"
        f" created_on FROM {TABLE} ORDER BY name"
    )


def drop_integration(cursor: "Cursor", statement: exp.Drop) -> str:
    """Do `DROP INTEGRATION`; stages that use it stay, and fail when they are used, as in Snowflake."""
    name = statement.find(exp.Table).name.upper()  # type: ignore[union-attr]
    if not statement.args.get("exists"):
        _integration(cursor, name)
    cursor.run(f"DELETE FROM {TABLE} WHERE name = ?", [name])
    return literal_rows([Column("status")], [(f"{name} successfully dropped.",)])


def check_stage(cursor: "Cursor", statement: exp.Create) -> dict[str, Any]:
    """Check the options of `CREATE STAGE` that fakesnow would ignore, and return them.

    Raises:
        ProgrammingError: An option is not done locally, or the integration does not allow the URL.
    """
    options = _options(statement, "CREATE STAGE", _STAGE_OPTIONS)
    if integration := options.get("STORAGE_INTEGRATION"):
        if not options.get("URL"):
            raise errors.error(errors.SYNTAX, "STORAGE_INTEGRATION needs a URL: internal stages have none.")
        allow(cursor, str(integration), options["URL"])
    return options


def record_stage(cursor: "Cursor", statement: exp.Create, options: dict[str, Any]) -> None:
    """Add to fakesnow's row of a new stage what fakesnow leaves out."""
    integration = options.get("STORAGE_INTEGRATION")
    cursor.run(
        f"UPDATE {STAGES} SET storage_integration = ?, comment = ? {_ONE_STAGE}",
        [
            integration and normalise_ident(str(integration)),
            options.get("COMMENT", ""),
            *_stage_names(cursor, statement),
        ],
    )


def describe_stage(cursor: "Cursor", statement: exp.Describe) -> str:
    """Answer `DESC STAGE`: the stage's URL, integration and comment."""
    names = _stage_names(cursor, statement)
    row = cursor.fetch(f"SELECT url, storage_integration, comment FROM {STAGES} {_ONE_STAGE}", names)
    if row is None:
        raise fakesnow_stage.not_found_error(".".join(str(part) for part in names))
    url, integration, comment = row
    columns = ("parent_property", "property", "property_type", "property_value", "property_default")
    return literal_rows(
        [Column(name) for name in columns],
        [
            ("STAGE_LOCATION", "URL", "String", f'["{url}"]' if url else "", ""),
            ("STAGE_INTEGRATION", "STORAGE_INTEGRATION", "String", integration or "", ""),
            ("STAGE_PROPERTIES", "COMMENT", "String", comment or "", ""),
        ],
    )


def drop_stage(cursor: "Cursor", statement: exp.Drop) -> str:
    """Do `DROP STAGE`: forget it, and delete the files of an internal one."""
    names = _stage_names(cursor, statement)
    name = names[-1]
    if not cursor.fetch(f"SELECT 1 FROM {STAGES} {_ONE_STAGE}", names) and not statement.args.get("exists"):
        raise fakesnow_stage.not_found_error(".".join(str(part) for part in names))
    cursor.run(f"DELETE FROM {STAGES} {_ONE_STAGE}", names)
    cursor.delete_directory(fakesnow_stage.internal_dir(".".join(str(part) for part in names)))
    return literal_rows([Column("status")], [(f"{name} successfully dropped.",)])


def allow(cursor: "Cursor", integration: str, url: str) -> None:
    """Check that `integration` lets `url` be read and written.

    Raises:
        ProgrammingError: It does not exist, is disabled, or does not allow the location.
    """
    name, enabled, _, allowed, blocked, _ = _integration(cursor, integration)
    if not enabled:
        raise errors.error(errors.INVALID_OPTION, f"Integration '{name}' is disabled: set ENABLED = TRUE.")
    if not any(_within(url, location) for location in allowed) or any(_within(url, place) for place in blocked):
        raise errors.error(
            errors.INVALID_OPTION,
            f"Location '{url}' is not allowed by integration '{name}'. Allowed: {', '.join(allowed)}. Please use DESC "
            "INTEGRATION to check out allowed and blocked locations.",
        )


def _integration(cursor: "Cursor", name: str) -> Any:
    row = cursor.fetch(
        f"SELECT name, enabled, role_arn, allowed, blocked, comment FROM {TABLE} WHERE name = ?",
        [normalise_ident(name)],
    )
    if row is None:
        message = f"Integration '{normalise_ident(name)}' does not exist or not authorized."
        raise errors.error(errors.DOES_NOT_EXIST, message)
    return row


def _stage_names(cursor: "Cursor", statement: exp.Expr) -> list[str | None]:
    """Return database, schema and name of the stage that a statement names."""
    connection = cursor.connection
    table = statement.find(exp.Table)
    parts = [identifier(table.args.get(part)) if table else None for part in ("catalog", "db", "this")]
    return [parts[0] or connection.database, parts[1] or connection.schema, parts[2]]


def _options(statement: exp.Create, form: str, known: set[str]) -> dict[str, Any]:
    properties = statement.args.get("properties")
    given = []
    for item in properties.expressions if properties else []:
        if isinstance(item, exp.Property | exp.SchemaCommentProperty | exp.TemporaryProperty) and not isinstance(
            item, exp.FileFormatProperty
        ):
            given.append(item)
        else:
            raise errors.unsupported(f"{form} … {item.sql(dialect='snowflake')}")
    options = parse_options(given)
    if unknown := sorted(options.keys() - known):
        raise errors.unsupported(f"{form} … {', '.join(unknown)}")
    return options


def identifier(node: Any) -> str | None:
    """Return the name that a written identifier stands for: upper case unless quoted."""
    return normalise_ident(node.sql(dialect="snowflake")) if node else None


def _is_true(value: Any) -> bool:
    return str(value).upper() == "TRUE"


def _list(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _within(url: str, location: str) -> bool:
    folder = location.rstrip("*").rstrip("/") + "/"
    return location == "*" or f"{url.rstrip('/')}/".startswith(folder)
