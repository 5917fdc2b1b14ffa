"""What a run left in the lake, as tables for a terminal: `python -m local show --help`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from include.clients import contract as contracts
from include.clients.contract import ContractError

PRODUCTS = {
    "mba": ("mba_rules", "mba_store", "mba_carousel", "mba_excluded"),
    "clv": ("clv_customers", "clv_missing_products"),
    "recommender": ("recommendations", "similar_products", "recommender_metrics"),
    "anomalies": ("anomaly_suspects", "anomaly_transactions", "anomaly_days"),
}
"""Product → its artefacts."""

WIDTH = 100  # of what isn't a terminal
_LISTED = 3


class ShowError(ValueError):
    """There is nothing to show; the message says what there is."""


@dataclass(frozen=True)
class Report:
    """The published files of a client and a report date."""

    folder: Path
    client: str
    report_date: date

    def path(self, name: str) -> Path:
        """The published file of an artefact or run, as in `mba_rules.parquet`."""
        return self.folder / f"{self.report_date}_{self.client}_{name}"

    def run(self, product: str) -> dict[str, Any] | None:
        """What the product said of its run; None when it wasn't run."""
        path = self.path(f"run_{product}.json")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def table(self, artefact: str) -> pl.DataFrame:
        """An artefact's rows.

        Raises:
            ShowError: it isn't published, although its product was run.
        """
        path = self.path(f"{artefact}.parquet")
        if not path.exists():
            raise ShowError(f"{path} is missing: run the DAG advanced_products again")
        return pl.read_parquet(path)

    def file(self, artefact: str) -> str:
        """The name of the file to open: the Excel one, or CSV where Excel has no room."""
        paths = [self.path(f"{artefact}{suffix}") for suffix in (".xlsx", ".csv", ".parquet")]
        return next((path.name for path in paths if path.exists()), "missing")


def find(state: Path, client: str, report_date: date | None = None, lake: str = "vitrine-lake") -> Report:
    """The report of a client, the latest when no date is given.

    Raises:
        ShowError: unknown client, or nothing is published for it or for that date.
    """
    try:
        contracts.load(client)
    except ContractError as error:
        raise ShowError(str(error)) from error
    folder = state / "s3" / lake / "products" / client
    published = sorted(path.parent.name for path in folder.glob("*/*_run_*.json"))
    if not published:
        raise ShowError(f"nothing is published for {client} in {folder}: run the DAG advanced_products first")
    chosen = report_date.isoformat() if report_date else published[-1]
    if chosen not in published:
        raise ShowError(f"nothing is published for {client} on {chosen}, but for {', '.join(dict.fromkeys(published))}")
    return Report(folder / chosen, client, date.fromisoformat(chosen))


def show(state: Path, client: str, report_date: date | None = None, console: Console | None = None) -> None:
    """Prints what the products of a client made: files and rows, then the first of their results.

    Args:
        state: The stack's state directory.
        client: A client with a contract.
        report_date: The latest by default.
        console: Where to print: the terminal by default, without colours and 100 columns wide if it isn't one.

    Raises:
        ShowError: unknown client, or nothing is published for it or for that date.
    """
    report = find(state, client, report_date)
    console = console or terminal()
    print_table(console, _products(report))
    console.print(f"in {report.folder}\n", soft_wrap=True, highlight=False)
    sections = {
        "mba": (_rules,),
        "clv": (_value_groups,),
        "recommender": (_recommendations,),
        "anomalies": (_suspects, _days),
    }
    for product, tables in sections.items():
        if report.run(product):
            for made in tables:
                print_table(console, made(report))


def terminal() -> Console:
    """The terminal; without colours and `WIDTH` columns wide if it isn't one."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def print_table(console: Console, table: Table) -> None:
    """Prints a table below its title."""
    # Rich would break a title to the width of its table.
    console.print(table.title, style="bold", highlight=False)
    table.title = None
    console.print(table)


def new_table(title: str, *columns: str) -> Table:
    """An empty table; a column whose name begins with > is flush right."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    return table


def _products(report: Report) -> Table:
    title = f"{report.client}, report date {report.report_date}"
    table = new_table(title, "product", ">rows in", ">rows out", ">seconds", "file")
    for product, artefacts in PRODUCTS.items():
        run = report.run(product)
        if run is None:
            table.add_row(product, "", "", "", "not run")
            continue
        seconds = f"{sum(run['seconds'].values()):.1f}"
        for i, artefact in enumerate(artefacts):
            rows_out = f"{run['rows_out'].get(artefact, 0):,}"
            name, rows_in, took = (product, f"{run['rows_in']:,}", seconds) if i == 0 else ("", "", "")
            table.add_row(name, rows_in, rows_out, took, report.file(artefact))
        if run.get("reason"):
            table.add_row("", "", "", "", run["reason"])
    return table


def _rules(report: Report) -> Table:
    table = new_table("Bought together", "who buys", "also buys", ">baskets", ">confidence", ">lift")
    rules = report.table("mba_rules")
    # By leverage, the share of baskets beyond chance: by lift, a pair seen twice would win. Each pair once.
    best = (
        rules.with_columns(pair=pl.concat_list("antecedent", "consequent").list.sort())
        .sort("leverage", "confidence", "antecedent", descending=[True, True, False])
        .unique("pair", keep="first", maintain_order=True)
        .head(_LISTED)
    )
    for rule in best.iter_rows(named=True):
        names = (_named(rule, "antecedent"), _named(rule, "consequent"))
        table.add_row(*names, f"{rule['transactions']:,}", f"{rule['confidence']:.1%}", f"{rule['lift']:.1f}")
    return filled(table)


def _value_groups(report: Report) -> Table:
    currency = contracts.load(report.client).currency
    title = "Customer lifetime value"
    table = new_table(
        title, "value group", ">customers", f">average CLV, {currency}", ">share of all CLV", ">probably active"
    )
    customers = report.table("clv_customers")
    groups = customers.group_by("value_group").agg(
        pl.len(), mean=pl.col("clv").mean(), total=pl.col("clv").sum(), alive=pl.col("p_alive").mean()
    )
    everything = customers["clv"].sum() or 1.0
    for group in groups.sort("mean", "value_group", descending=True, nulls_last=True).iter_rows(named=True):
        shares = (f"{group['total'] / everything:.1%}", f"{group['alive'] or 0.0:.0%}")
        table.add_row(group["value_group"], f"{group['len']:,}", f"{group['mean'] or 0.0:,.2f}", *shares)
    return filled(table)


def _recommendations(report: Report) -> Table:
    table = new_table("Recommended", "to customer", "product", ">score", "from")
    best = (
        report.table("recommendations")
        .filter(pl.col("position") == 1)
        .sort("score", "customer_id", descending=[True, False])
        .unique("product_id", keep="first", maintain_order=True)
        .head(_LISTED)
    )
    for row in best.iter_rows(named=True):
        table.add_row(row["customer_id"], _named(row, "product", "product_id"), f"{row['score']:.3g}", row["source"])
    return filled(table)


def _suspects(report: Report) -> Table:
    suspects = report.table("anomaly_suspects")
    title = f"Customers far above the habit of a product group in the last month: {len(suspects):,}"
    table = new_table(title, "product group", "customer", ">units", ">threshold", ">deviations")
    for row in suspects.sort("z_score", descending=True, nulls_last=True).head(2 * _LISTED).iter_rows(named=True):
        figures = (f"{row['units']:,.0f}", f"{row['threshold']:,.1f}", _rounded(row["z_score"]))
        table.add_row(row["anomaly_group"], row["customer_id"], *figures)
    return filled(table)


def _days(report: Report) -> Table:
    days = report.table("anomaly_days").filter("is_anomaly")
    table = new_table(f"Days of unusual demand: {len(days):,}", "product group", "day", ">units", ">expected", ">score")
    for row in days.sort("score", descending=True, nulls_last=True).head(_LISTED).iter_rows(named=True):
        figures = (f"{row['units']:,.0f}", f"{row['expected']:,.1f}", _rounded(row["score"]))
        table.add_row(row["anomaly_group"], str(row["sale_date"]), *figures)
    return filled(table)


def _named(row: dict[str, Any], what: str, key: str = "") -> str:
    """A product's name, or its id where the client has no name for it."""
    return row[f"{what}_name"] or row[key or what]


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def filled(table: Table) -> Table:
    """The table, with a row that says so when it has none."""
    if not table.rows:
        table.add_row("none")
    return table
