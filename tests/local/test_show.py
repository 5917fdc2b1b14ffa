import io
import itertools
import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from include.tables import contract as tables
from local import show
from local.show import ShowError

RULES = {
    "antecedent": ["1", "2", "1", "8"],
    "antecedent_name": ["Fralda", "Lenço", "Fralda", "Raro"],
    "consequent": ["2", "1", "3", "9"],
    "consequent_name": ["Lenço", "Fralda", None, "Raríssimo"],
    "transactions": [1200, 1200, 40, 2],
    "confidence": [0.45, 0.61, 0.02, 1.0],
    "lift": [18.04, 18.04, 1.1, 9000.0],
    "leverage": [0.013, 0.013, 0.0001, 0.00002],
}
CUSTOMERS = {
    "value_group": ["High-High", "Low-Low", "Low-Low"],
    "clv": [1234.5, 10.0, 20.0],
    "p_alive": [0.9, 0.2, 0.4],
}
RECOMMENDED = {
    "customer_id": ["a", "a", "b", "c", "d"],
    "position": [1, 2, 1, 1, 1],
    "product_id": ["1", "9", "1", "3", "4"],
    "product_name": ["Fralda", "Lenço", "Fralda", None, "Gaze"],
    "score": [0.5, 0.4, 0.9, 0.7, 0.6],
    "source": ["ease"] * 5,
}
SUSPECTS = {
    "anomaly_group": ["Opioides", "Pirazolonas"],
    "customer_id": ["107", "55"],
    "units": [68.0, 13.0],
    "threshold": [2.3, 2.8],
    "z_score": [103.2, None],
}
DAYS = {
    "anomaly_group": ["Mucolíticos", "Mucolíticos"],
    "sale_date": [date(2026, 10, 20), date(2026, 10, 21)],
    "units": [107.0, 3.0],
    "expected": [3.4, 3.2],
    "score": [15.9, -0.1],
    "is_anomaly": [True, False],
}
ARTEFACTS = {
    "mba_rules": RULES,
    "clv_customers": CUSTOMERS,
    "recommendations": RECOMMENDED,
    "anomaly_suspects": SUSPECTS,
    "anomaly_days": DAYS,
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    publish(tmp_path, "2026-11-01", *show.PRODUCTS)
    return tmp_path


def publish(state: Path, report_date: str, *products: str, client: str = "drogaria", empty: bool = False) -> None:
    folder = state / "s3" / "vitrine-lake" / "products" / client / report_date
    folder.mkdir(parents=True)
    for product in products:
        artefacts = show.PRODUCTS[product]
        run = {
            "product": product,
            "rows_in": 198_906,
            "rows_out": dict.fromkeys(artefacts, 0 if empty else 4_321),
            "seconds": {"read": 0.5, "run": 1.25, "write": 0.31},
            "reason": "no customer bought twice" if empty else None,
        }
        (folder / f"{report_date}_{client}_run_{product}.json").write_text(json.dumps(run))
        for artefact in artefacts:
            frame = pl.DataFrame(ARTEFACTS.get(artefact, {"product_id": ["1"]}))
            (frame.clear() if empty else frame).write_parquet(folder / f"{report_date}_{client}_{artefact}.parquet")
            (folder / f"{report_date}_{client}_{artefact}.xlsx").touch()


def shown(state: Path, client: str = "drogaria", report_date: date | None = None, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    show.show(state, client, report_date, console)
    return console.file.getvalue()


def rows(text: str, title: str) -> list[list[str]]:
    """The words of each row of a table: the lines below its rule, until an empty one."""
    lines = text[text.index(title) :].splitlines()
    first = next(i for i, line in enumerate(lines) if "──" in line) + 1
    return [line.split() for line in itertools.takewhile(str.strip, lines[first:])]


def test_the_columns_it_reads_are_those_of_the_published_tables() -> None:
    for artefact, columns in ARTEFACTS.items():
        assert set(columns) <= {column.name for column in tables.load(artefact).columns}
    for product, artefacts in show.PRODUCTS.items():
        assert {table.name for table in tables.of_product(product)} == set(artefacts)


def test_every_product_with_its_rows_seconds_and_files(state: Path) -> None:
    table = rows(shown(state), "drogaria, report date 2026-11-01")
    assert table[0] == ["mba", "198,906", "4,321", "2.1", "2026-11-01_drogaria_mba_rules.xlsx"]
    assert table[1] == ["4,321", "2026-11-01_drogaria_mba_store.xlsx"]
    assert [row[0] for row in table if len(row) == 5] == ["mba", "clv", "recommender", "anomalies"]
    assert len(table) == sum(len(artefacts) for artefacts in show.PRODUCTS.values())
    assert str(state / "s3/vitrine-lake/products/drogaria/2026-11-01") in shown(state)


def test_the_rules_are_the_strongest_pairs_once_each(state: Path) -> None:
    assert rows(shown(state), "Bought together") == [
        ["Lenço", "Fralda", "1,200", "61.0%", "18.0"],
        ["Fralda", "3", "40", "2.0%", "1.1"],
        ["Raro", "Raríssimo", "2", "100.0%", "9000.0"],
    ]


def test_the_value_groups(state: Path) -> None:
    text = shown(state)
    assert "average CLV, BRL" in text
    assert rows(text, "Customer lifetime value") == [
        ["High-High", "1", "1,234.50", "97.6%", "90%"],
        ["Low-Low", "2", "15.00", "2.4%", "30%"],
    ]


def test_three_recommendations_of_different_products(state: Path) -> None:
    assert rows(shown(state), "Recommended") == [
        ["b", "Fralda", "0.9", "ease"],
        ["c", "3", "0.7", "ease"],
        ["d", "Gaze", "0.6", "ease"],
    ]


def test_the_anomalies(state: Path) -> None:
    text = shown(state)
    assert "product group in the last month: 2" in text
    assert rows(text, "Customers far above") == [
        ["Opioides", "107", "68", "2.3", "103.2"],
        ["Pirazolonas", "55", "13", "2.8"],
    ]
    assert rows(text, "Days of unusual demand: 1") == [["Mucolíticos", "2026-10-20", "107", "3.4", "15.9"]]


def test_what_was_not_run_is_listed(tmp_path: Path) -> None:
    publish(tmp_path, "2026-11-01", "clv")
    text = shown(tmp_path)
    table = rows(text, "drogaria, report date")
    assert ["mba", "not", "run"] in table
    assert ["anomalies", "not", "run"] in table
    assert "Bought together" not in text
    assert "Customer lifetime value" in text


def test_an_empty_result_says_why(tmp_path: Path) -> None:
    publish(tmp_path, "2026-11-01", *show.PRODUCTS, empty=True)
    text = shown(tmp_path)
    assert text.count("no customer bought twice") == 4
    for title in (
        "Bought together",
        "Customer lifetime value",
        "Recommended",
        "Customers far above",
        "Days of unusual",
    ):
        assert rows(text, title) == [["none"]]


def test_the_latest_report_by_default(state: Path) -> None:
    publish(state, "2026-10-01", "clv")
    assert "report date 2026-11-01" in shown(state)
    assert "report date 2026-10-01" in shown(state, report_date=date(2026, 10, 1))


def test_what_cannot_be_shown(state: Path) -> None:
    for client, day, says in (
        ("drogaria", date(2026, 9, 1), "nothing is published for drogaria on 2026-09-01, but for 2026-11-01"),
        ("online_retail", None, "nothing is published for online_retail in"),
        ("drogeria", None, "unknown client 'drogeria'; did you mean 'drogaria'"),
    ):
        with pytest.raises(ShowError, match=says):
            shown(state, client, day)


def test_a_missing_artefact_is_no_empty_one(state: Path) -> None:
    folder = state / "s3/vitrine-lake/products/drogaria/2026-11-01"
    (folder / "2026-11-01_drogaria_mba_rules.parquet").unlink()
    with pytest.raises(ShowError, match=r"mba_rules\.parquet is missing"):
        shown(state)


def test_the_file_is_the_one_to_open(state: Path) -> None:
    folder = state / "s3/vitrine-lake/products/drogaria/2026-11-01"
    (folder / "2026-11-01_drogaria_mba_rules.xlsx").rename(folder / "2026-11-01_drogaria_mba_rules.csv")
    (folder / "2026-11-01_drogaria_mba_store.xlsx").unlink()
    text = shown(state)
    assert "mba_rules.csv" in text
    assert "mba_store.parquet" in text


def test_a_pipe_gets_a_hundred_columns_and_no_colours(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(state, "2011-12-10", *show.PRODUCTS, client="online_retail")
    show.show(state, "online_retail")
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    table = printed[: printed.index("\nin ")].splitlines()
    assert max(map(len, table)) <= 100
    assert any(line.rstrip().endswith("2011-12-10_online_retail_clv_missing_products.xlsx") for line in table)
