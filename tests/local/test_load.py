import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from include.clients import contract
from include.clients.contract import Contract
from local import load
from local.data import retail
from local.load import LoadError
from local.sales_file import FileError
from local.snowflake.connection import connect

UCI = contract.ROOT.parent / "shared" / "data" / "online_retail.parquet"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINES = (
    "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,12/1/2010 8:26,2.55,17850,United Kingdom",
    "536365,POST,POSTAGE,1,12/1/2010 8:26,18.0,17850,United Kingdom",
    "C536379,85123A,WHITE HANGING HEART T-LIGHT HOLDER,-2,12/9/2011 12:50,2.55,,France",
)


@pytest.fixture(scope="session")
def port(stack) -> int:
    return json.loads(stack.env["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"])["extra"]["port"]


@pytest.fixture
def query(stack, port: int) -> Callable[[str], list[tuple]]:
    def run(sql: str) -> list[tuple]:
        with connect(port, stack.state) as connection, connection.cursor() as cursor:
            return cursor.execute(sql).fetchall()

    return run


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped contracts over a schema of these tests, so that other tests keep their clients' sales."""
    for client in contract.names():
        text = (contract.FOLDER / f"{client}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{client}.yaml").write_text(text.replace("  schema: ", "  schema: LOAD_TEST_"), encoding="utf-8")
    shipped = contract.load
    monkeypatch.setattr(contract, "load", lambda client: shipped(client, tmp_path))
    return tmp_path


@pytest.fixture
def online_retail(clients: Path) -> Contract:
    return contract.load("online_retail")


def sales_csv(folder: Path, *lines: str) -> Path:
    path = folder / "sales.csv"
    path.write_text("\n".join((HEADER, *lines)), encoding="utf-8")
    return path


def test_a_file_arrives_as_it_was(stack, port, query, online_retail: Contract, tmp_path: Path) -> None:
    loaded = load.load_file(sales_csv(tmp_path, *LINES), online_retail, port, stack.state)
    assert query(f"SELECT * FROM {online_retail.relation} ORDER BY InvoiceDate, UnitPrice") == [
        (
            *("536365", "85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, datetime(2010, 12, 1, 8, 26)),
            *(Decimal("2.5500"), 17850, "United Kingdom"),
        ),
        (
            *("536365", "POST", "POSTAGE", 1, datetime(2010, 12, 1, 8, 26)),
            *(Decimal("18.0000"), 17850, "United Kingdom"),
        ),
        (
            *("C536379", "85123A", "WHITE HANGING HEART T-LIGHT HOLDER", -2, datetime(2011, 12, 9, 12, 50)),
            *(Decimal("2.5500"), None, "France"),
        ),
    ]
    assert loaded == load.Loaded(
        client="online_retail",
        relation="RETAIL.LOAD_TEST_ONLINE_RETAIL.SALES",
        rows=3,
        first_sale=datetime(2010, 12, 1, 8, 26),
        last_sale=datetime(2011, 12, 9, 12, 50),
        amount=Decimal("28.2"),
        currency="GBP",
        report_date=date(2011, 12, 10),
        missing={"customer_id": 1},
    )
    assert "rows without a value: customer_id 1" in str(loaded)
    assert "report date: 2011-12-10" in str(loaded)


def test_roles_are_what_the_contract_says(stack, port, query, online_retail: Contract, tmp_path: Path) -> None:
    load.load_file(sales_csv(tmp_path, *LINES), online_retail, port, stack.state)
    roles = ", ".join(online_retail.roles[role] for role in ("product_group", "customer_id", "store", "amount"))
    assert query(f"SELECT {roles} FROM {online_retail.relation} ORDER BY InvoiceDate, UnitPrice") == [
        ("85xxx", "17850", "United Kingdom", Decimal("15.3000")),
        ("service", "17850", "United Kingdom", Decimal("18.0000")),
        ("85xxx", None, "France", Decimal("-5.1000")),
    ]


def test_loading_twice_replaces(stack, port, query, online_retail: Contract, tmp_path: Path) -> None:
    for lines in (LINES, LINES, LINES[:1]):
        load.load_file(sales_csv(tmp_path, *lines), online_retail, port, stack.state)
        assert query(f"SELECT COUNT(*) FROM {online_retail.relation}") == [(len(lines),)]
    tables = query("SHOW TABLES IN SCHEMA RETAIL.LOAD_TEST_ONLINE_RETAIL")
    assert [row[1] for row in tables] == ["SALES"], "nothing is left beside the client's table"


def test_a_wrong_file_changes_nothing(stack, port, query, online_retail: Contract, tmp_path: Path) -> None:
    load.load_file(sales_csv(tmp_path, *LINES), online_retail, port, stack.state)
    wrong = sales_csv(tmp_path, LINES[0], LINES[1].replace("18.0", "free"))
    with pytest.raises(FileError, match="line 3, column 'UnitPrice': 'free' is not a decimal"):
        load.load_file(wrong, online_retail, port, stack.state)
    assert query(f"SELECT COUNT(*) FROM {online_retail.relation}") == [(3,)]


def test_a_role_that_cannot_be_computed_is_named_and_changes_nothing(
    stack, port, query, clients: Path, online_retail: Contract, tmp_path: Path
) -> None:
    load.load_file(sales_csv(tmp_path, *LINES), online_retail, port, stack.state)
    path = clients / "online_retail.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  store: Country", "  store: no_such_function(Country)"), encoding="utf-8")
    broken = contract.load("online_retail")
    with pytest.raises(LoadError, match=r"online_retail\.yaml:\d+: role 'store' can't be computed: .*") as caught:
        load.load_file(sales_csv(tmp_path, LINES[0]), broken, port, stack.state)
    assert broken.where("roles", "store") in str(caught.value)
    assert query(f"SELECT COUNT(*) FROM {online_retail.relation}") == [(3,)]
    assert len(query("SHOW TABLES IN SCHEMA RETAIL.LOAD_TEST_ONLINE_RETAIL")) == 1


def test_an_amount_that_is_too_large_names_file_role_and_row(
    stack, port, query, online_retail: Contract, tmp_path: Path
) -> None:
    large = "9,85123A,X,2147483647,12/1/2010 8:26,99999999999,17850,France"
    path = sales_csv(tmp_path, LINES[0], large)
    with pytest.raises(LoadError) as caught:
        load.load_file(path, online_retail, port, stack.state)
    message = str(caught.value)
    assert message.startswith(
        f"{path}: role 'amount' ({online_retail.where('roles', 'amount')}) is 214748364697852516353"
    )
    assert "too large for NUMBER(18, 4), in the row with InvoiceNo 9, StockCode 85123A" in message
    assert "Quantity 2147483647" in message


def test_a_generated_world_arrives_with_its_totals(stack, port, query, clients: Path, tmp_path: Path) -> None:
    world = retail.generate(tmp_path / "world", scale=0.02, seed=4, until=date(2026, 11, 1))
    drogaria = contract.load("drogaria")
    loaded = load.load_world(world, drogaria, port, stack.state)
    assert (loaded.rows, loaded.report_date) == (world.truth["rows"], date(2026, 11, 1))
    assert float(loaded.amount) == pytest.approx(world.truth["amount"], abs=0.005)
    assert loaded.missing["customer_id"] == world.truth["dirt"]["null_customer"]
    assert loaded.missing["store"] == world.truth["dirt"]["null_store"]
    units, orders = query(f"SELECT SUM(sale_unity), COUNT(DISTINCT sale_order_id) FROM {drogaria.relation}")[0]
    assert (units, orders) == (world.truth["units"], world.truth["orders"])
    names = pl.read_parquet(world.sales)["product_name"].unique()
    rows = query(f"SELECT DISTINCT product_name FROM {drogaria.relation}")
    assert {row[0] for row in rows} == set(names), "accents survive"


def test_seed_generates_and_loads(stack, port, clients: Path, tmp_path: Path, capsys) -> None:
    # A state of its own for the generated world, with the certificates of the running stack.
    state = tmp_path / "state"
    state.mkdir()
    (state / "tls").symlink_to(stack.state / "tls")
    loaded = load.seed(state, port, scale=0.01, until=date(2026, 11, 1))
    assert loaded.report_date == date(2026, 11, 1)
    assert (state / "data" / "drogaria" / "truth.json").exists()
    printed = capsys.readouterr().out
    assert "Generating about 2,000 sale lines of drogaria" in printed
    assert f"{loaded.rows:,} sale lines of drogaria are in RETAIL.LOAD_TEST_DROGARIA.SALES" in printed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"client": "drogeria"}, "unknown client 'drogeria'; did you mean 'drogaria'?"),
        ({"client": "online_retail"}, "sales of online_retail are not generated: give a file"),
        ({"client": "online_retail", "sales": Path("nowhere.csv")}, "nowhere.csv: no such file"),
        *(({"scale": scale}, f"scale is {scale}, it must be at least") for scale in (0.0, -1.0, 1e9)),
        *(({"scale": float(scale)}, f"scale is {scale}, it must be at least") for scale in ("inf", "nan")),
    ],
)
def test_what_seed_refuses(tmp_path: Path, options: dict, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LoadError) as caught:
        load.seed(tmp_path, 1, **options)
    assert says in str(caught.value)
    assert "Generating" not in capsys.readouterr().out


def test_the_published_online_retail_file(stack, port, query, online_retail: Contract) -> None:
    if not UCI.exists():
        pytest.skip(f"NOT TESTED: the UCI Online Retail data is not in {UCI}")
    loaded = load.load_file(UCI, online_retail, port, stack.state)
    assert (loaded.rows, loaded.report_date, loaded.notes) == (541_909, date(2011, 12, 10), [])
    assert loaded.amount == Decimal("9747747.934")
    assert loaded.missing == {"customer_id": 135_080}
    group = online_retail.roles["product_group"]
    services = query(f"SELECT DISTINCT StockCode FROM {online_retail.relation} WHERE {group} = 'service'")
    codes = {row[0] for row in services}
    assert {"POST", "DOT", "M", "BANK CHARGES", "AMAZONFEE", "C2"} <= codes
    assert not any(code[:5].isdigit() for code in codes)
