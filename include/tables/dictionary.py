"""The data dictionary, a page for people, from the table contracts.

`python -m include.tables.dictionary > docs/data_dictionary.md`
"""

from collections.abc import Iterator

from include.tables import contract
from include.tables.contract import Layer, Property, Table

LAYERS: dict[Layer, str] = {
    "raw": "What is extracted from a client's warehouse, as it is there.",
    "silver": "The marketplace, typed, sound, one row for each key; every run makes a new snapshot of all of it.",
    "gold": "The marketplace for those who analyse it, published by day.",
    "products": "What the products say, published by client and report date.",
    "streams": "The web shop as it happens: clicks, orders and the server's log, published by hour. Bronze is by hour "
    "of arrival, the rest by the hour of the event; `speed_` is what the speed layer knew.",
    "geo": "A city's ads and visits: what was delivered, by month and delivery; visits and profiles of people by "
    "pseudonym, not for publication; and figures of at least five people, by month and over the whole period.",
    "operations": "What the pipelines did.",
}
"""What each layer is, in the order of the page."""

_HEAD = """\
# Data dictionary

Every table of the lake, from its contract in [`include/tables`](../include/tables): change the contract, then write
this page again with `python -m include.tables.dictionary > docs/data_dictionary.md`.

- **PII** tells what a column says of a person: a *pseudonym* stands for them, a *quasi-identifier* may, with others,
  give them away, *personal* is what they wrote themselves, *sensitive* would hurt them if it got out.
- **Checks** run on a version before it is published, and so do those that the columns ask for: never null, accepted
  values, ranges, keys. What fails stops the publication. A *warning* is only told; that data are older than promised is
  always one.
- Behind every silver table are the source rows that it is made of, typed, in `vitrine_bronze.<table>`, whose columns
  stand under *Source*, and those that were rejected, as text and with the reason, in `vitrine_quarantine.<table>`. Both
  say which row of which file it was.
"""


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *_contents(), *(line for layer in LAYERS for line in _layer(layer))]) + "\n"


def _contents() -> Iterator[str]:
    for layer in LAYERS:
        links = ", ".join(f"[{table.name}](#{_anchor(table)})" for table in contract.of_layer(layer))
        yield f"- {layer.capitalize()}: {links}"


def _anchor(table: Table) -> str:
    return table.relation.replace(".", "")


def _layer(layer: Layer) -> Iterator[str]:
    yield from ("", f"## {layer.capitalize()}", "", LAYERS[layer])
    for table in contract.of_layer(layer):
        yield from ("", *_table(table))


def _table(table: Table) -> Iterator[str]:
    yield from (f"### {table.relation}", "", " ".join(filter(None, (table.purpose, table.granularity))), "")
    yield f"- Owner: {table.owner}"
    if table.freshness is not None:
        yield f"- Freshness: the newest `{table.dated_by}` is at most {table.freshness} days old"
    if table.primary_key:
        yield f"- Key: {_names(table.primary_key)}"
    if table.partition_keys:
        yield f"- Partitions: {_names(key.name for key in table.partition_keys)}"
    if table.optional:
        yield "- The marketplace may do without it: the table is empty then"
    yield from ("", "| Column | Type | Null | PII | Values | Source | Meaning |", "|---|---|---|---|---|---|---|")
    yield from map(_column, table.properties)
    if table.checks:
        yield from ("", "Checks:", "")
    for check in table.checks:
        yield f"- `{check.name}`{' (warning)' if check.severity == 'warning' else ''}: {check.description}"


def _names(columns: Iterator[str] | list[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)


def _column(column: Property) -> str:
    limits = column.logicalTypeOptions
    between = [
        f"{word} {limit}" for word, limit in (("from", limits.minimum), ("to", limits.maximum)) if limit is not None
    ]
    source = ", ".join(f"`{name}`" for name in column.transformSourceObjects)
    cells = (
        f"`{column.name}`",
        column.physicalType,
        "" if column.required else "null",
        column.classification or "",
        ", ".join(column.values) or " ".join(between),
        f"{source}, may be absent" if column.optional and source else source,
        " ".join(filter(None, (column.description, column.transformDescription))),
    )
    return f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"


if __name__ == "__main__":
    print(page(), end="")
