"""What to load into which warehouse: the versions that are published, and what they must add up to.

An event tells which table changed. Loaded is what the catalog points at now: a run that comes late, or is cleared, must
not bring back an older version.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from include.tables import catalog, contract
from include.tables.contract import Property, Table
from include.warehouse import columns, files

CLV = "clv_customers"
RFM = "customer_rfm"


class PlanError(ValueError):
    """What is to be loaded is not there, or not what its contract says; the message names the table and the fix."""


def gold(s3: Any, glue: Any, table: Table, event: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The load of a gold table into Redshift.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        table: the table's contract.
        event: extra of the asset event that told of it: version, rows, money; None without one.

    Returns:
        As JSON values: table, version (an s3:// prefix), rows and money to expect, columns in the files' order; None
        where the table is not published.

    Raises:
        PlanError: the files have other columns than the contract, or another order.
    """
    place = catalog.place(glue, table)
    version = place.parameters.get("version") if place else None
    if not version:
        return None
    return {
        "label": table.name,
        "table": table.name,
        "version": version,
        **_expected(s3, table, version, event if event and event["version"] == version else None),
        # Redshift's COPY maps by position: two columns of a type that changed places would go unnoticed.
        "columns": columns.columns(_in_order(s3, version, table, table.properties), columns.REDSHIFT),
    }


def customer_rfm(planned: Mapping[str, Any]) -> dict[str, Any]:
    """The merge of `customer_rfm` into Snowflake, from its load into Redshift."""
    table = contract.load(RFM)
    return {
        "label": RFM,
        "target": RFM,
        "staging": f"{RFM}_staging",
        "files": _below(planned["version"], "gold"),
        "stage": "gold",
        "rows": planned["rows"],
        "money": planned["money"],
        "scope": {},
        "key": table.primary_key,
        "columns": columns.columns(table.properties, columns.SNOWFLAKE),
    }


def clv(s3: Any, glue: Any, events: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The merges of CLV scores into Snowflake: for each client, the latest report that is published.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        events: extras of the asset events that told of them: client, report_date, rows by table, the latest last; None
            plans every client.
    """
    table = contract.load(CLV)
    latest: dict[str, str] = {}
    places = catalog.partitions(glue, table)
    for client, report_date in sorted(places):
        latest[client] = report_date
    told = {(event["client"], event["report_date"]): event["rows"][CLV] for event in events or ()}
    wanted = {client for client, _ in told} if events is not None else set(latest)
    planned = []
    for client in sorted(wanted & latest.keys()):
        report_date = latest[client]
        version = places[client, report_date].location
        rows = told.get((client, report_date))
        planned.append(
            {
                "label": f"{CLV} {client} {report_date}",
                "target": CLV,
                "staging": f"{CLV}_{client}_staging",
                "files": _below(version, "products"),
                "stage": "products",
                "rows": files.totals(s3, version).rows if rows is None else rows,
                "money": {},
                "scope": {"client": client, "report_date": report_date},
                "key": ["client", *table.primary_key],
                # Without what a client tells of a person: scores are joined to that where it is kept.
                "columns": columns.columns((c for c in table.properties if not c.optional), columns.SNOWFLAKE),
            }
        )
    return planned


def _expected(s3: Any, table: Table, version: str, event: Mapping[str, Any] | None) -> dict[str, Any]:
    if event:
        return {"rows": event["rows"], "money": event["money"]}
    counted = files.totals(s3, version, columns.money(table))
    return {"rows": counted.rows, "money": {name: str(amount) for name, amount in counted.sums.items()}}


def _in_order(s3: Any, version: str, table: Table, properties: Sequence[Property]) -> Sequence[Property]:
    found, wanted = files.names(s3, version), [column.name for column in properties]
    if found and found != wanted:
        raise PlanError(
            f"{table.name}: the files of {version} have the columns {', '.join(found)}; the contract says "
            f"{', '.join(wanted)}: bring {table.name}.yaml and the job that writes it in step, then publish again"
        )
    return properties


def _below(location: str, folder: str) -> str:
    """The part of a location below a top folder of the lake, which is a stage of Snowflake."""
    _, found, rest = location.partition(f"/{folder}/")
    if not found:
        raise PlanError(f"{location} is not below {folder}/, where Snowflake's stage of this name looks")
    return rest
