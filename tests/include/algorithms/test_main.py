"""The command line, as Batch runs it: a process with arguments, an environment, files and an exit code."""

import json
import os
import socket
import subprocess
import sys
import threading
from datetime import date, datetime, timedelta
from pathlib import Path

import boto3
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import DomainDispatcherApplication, ThreadedMotoServer, create_backend_app
from werkzeug.serving import make_server

from include.algorithms import __main__ as command
from include.algorithms import basket
from include.clients import contract as clients
from include.tables import contract as tables

ROOT = Path(__file__).parents[3]
REPORT_DATE = "2024-07-01"
CLIENT = "drogaria"
SESSION = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
TYPES = {
    "string": pa.types.is_large_string,
    "bigint": pa.types.is_int64,
    "double": pa.types.is_float64,
    "date": pa.types.is_date32,
    "timestamp": pa.types.is_timestamp,
    "boolean": pa.types.is_boolean,
}


def sales(customers=60, seed=4):
    """A year of small baskets in groups that the client allows."""
    rng = np.random.default_rng(seed)
    group = clients.load(CLIENT).categories.allow[0]
    rows = []
    for number in range(customers * 12):
        customer, day = rng.integers(customers), int(rng.integers(390))
        for product in rng.choice(12, rng.integers(1, 4), replace=False):
            rows.append((f"c{customer}", f"p{product}", f"o{number}", day, int(rng.integers(1, 4))))
    rows.append(("c1", "p1", "surge", 385, 90))
    customer, product, order, day, quantity = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "product_id": product,
            "product_name": [f"=Product {name}" for name in product],
            "product_group": [group] * len(rows),
            "sale_date": [datetime(2023, 6, 3, 12) + timedelta(d) for d in day],
            "quantity": [float(units) for units in quantity],
            "order_id": order,
            "amount": [4.99 * units for units in quantity],
            "customer_id": customer,
            "store": ["Centro"] * len(rows),
            "anomaly_group": ["g"] * len(rows),
            "customer_city": ["São Paulo"] * len(rows),
        }
    ).cast({"sale_date": pl.Datetime("us"), "amount": pl.Decimal(18, 4)})


def extract(folder, frame):
    for (month,), part in frame.group_by(pl.col("sale_date").dt.strftime("%Y-%m")):
        path = folder / f"month={month}" / "data_0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_parquet(path)
    return str(folder)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return extract(tmp_path_factory.mktemp("sales"), sales())


def arguments(product, prefix, output, *more):
    return [
        product,
        "--client",
        CLIENT,
        "--sales",
        prefix,
        "--output",
        str(output),
        "--report-date",
        REPORT_DATE,
        *more,
    ]


def process(*arguments, cwd=ROOT, python=sys.executable, **environment):
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), **environment}
    return subprocess.run(
        [python, "-m", "include.algorithms", *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("product", command.PRODUCTS)
def test_a_product_as_a_process_writes_what_its_tables_contracts_say(product, prefix, tmp_path):
    result = process(*arguments(product, prefix, tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    assert "read done in" in result.stdout
    contracts = tables.of_product(product)
    stem = f"{REPORT_DATE}_{CLIENT}"
    expected = [f"{t.name}/{stem}_{t.name}.parquet" for t in contracts] + [f"{stem}_{t.name}.xlsx" for t in contracts]
    assert files(tmp_path) == sorted([*expected, f"run_{product}.json"])
    report = json.loads((tmp_path / f"run_{product}.json").read_text())
    assert sorted(report["files"]) == sorted(expected)
    for table in contracts:
        schema = pq.read_schema(tmp_path / table.name / f"{stem}_{table.name}.parquet")
        names = [column.name for column in table.columns if not column.optional or column.name in schema.names]
        assert sorted(schema.names) == sorted(names)
        wrong = [
            c.name for c in table.columns if c.name in names and not TYPES[c.physicalType](schema.field(c.name).type)
        ]
        assert not wrong
        assert (
            report["rows_out"][table.name]
            == pq.read_metadata(tmp_path / table.name / f"{stem}_{table.name}.parquet").num_rows
        )
    assert {key: report[key] for key in ("product", "client", "report_date")} == {
        "product": product,
        "client": CLIENT,
        "report_date": REPORT_DATE,
    }
    assert report["rows_in"] == sales().height
    assert set(report["seconds"]) == {"read", "run", "write"}
    assert report["versions"]["python"].startswith("3.")
    contracted = clients.load(CLIENT).parameters.of(product)
    assert {name: report["parameters"][name] for name in contracted} == contracted
    if "categories" in report["parameters"]:
        assert tuple(report["parameters"]["categories"]) == clients.load(CLIENT).categories.allow


def test_the_planted_surge_reaches_the_workbook_in_portuguese(prefix, tmp_path):
    assert command.main(arguments("anomalies", prefix, tmp_path)) == 0
    book = pl.read_excel(tmp_path / f"{REPORT_DATE}_{CLIENT}_anomaly_suspects.xlsx", sheet_name="Suspeitos")
    assert book.columns[:3] == ["Grupo", "Cliente", "Unidades"]
    assert "c1" in book["Cliente"]


def test_the_same_input_gives_the_same_bytes(prefix, tmp_path):
    for folder in ("one", "two"):
        assert process(*arguments("recommender", prefix, tmp_path / folder, "--engine", "ease")).returncode == 0
    for name in files(tmp_path / "one"):
        if not name.endswith(".json"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_engine_and_parameters_of_the_command_line_win(prefix, tmp_path):
    more = ["--engine", "reference", "--parameter", "sigmas=3.5", "--parameter", "history_months=6"]
    assert command.main(arguments("anomalies", prefix, tmp_path, *more)) == 0
    report = json.loads((tmp_path / "run_anomalies.json").read_text())
    assert report["engine"] == "reference"
    assert (report["parameters"]["sigmas"], report["parameters"]["history_months"]) == (3.5, 6)


def test_from_s3_to_s3(tmp_path):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port())}
        s3 = boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"], **SESSION)
        s3.create_bucket(Bucket="lake")
        extract(tmp_path, sales(customers=10))
        for name in files(tmp_path):
            s3.upload_file(str(tmp_path / name), "lake", f"sales/v=1/{name}")
        run = arguments("anomalies", "s3://lake/sales/v=1/", "s3://lake/products/v=1/anomalies-1/")
        result = process(*run, **environment)
        assert (result.returncode, result.stderr) == (0, "")
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket="lake", Prefix="products/")["Contents"]]
        assert len(keys) == 7
        assert "products/v=1/anomalies-1/run_anomalies.json" in keys
        assert f"products/v=1/anomalies-1/anomaly_days/{REPORT_DATE}_{CLIENT}_anomaly_days.parquet" in keys
        result = process(*arguments("anomalies", "s3://nowhere/sales", "s3://lake/x"), **environment)
        assert result.returncode == 2
        assert "NoSuchBucket" in result.stderr
        assert result.stderr.count("\n") == 1
    finally:
        server.stop()


@pytest.mark.parametrize("product", command.PRODUCTS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.clear(), "has no rows"),
        (lambda frame: frame.drop("sale_date"), "has no column sale_date"),
        (lambda frame: frame.with_columns(sale_date=pl.lit("soon")), "sale_date"),
    ],
)
def test_an_extract_that_cannot_be_used_is_one_line_and_exit_code_2(product, change, message, tmp_path, capsys):
    folder = tmp_path / "sales"
    folder.mkdir()
    change(sales(customers=5)).write_parquet(folder / "a.parquet")
    code = command.main(arguments(product, str(folder), tmp_path / "out"))
    error = capsys.readouterr().err
    if code == 0:  # nothing is a date: an empty result with its reason is as good an answer as an error
        report = json.loads((tmp_path / "out" / f"run_{product}.json").read_text())
        assert message == "sale_date"
        assert report["reason"]
        assert report["excluded"]["outside_period"] == report["rows_in"]
    else:
        assert code == 2
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("product", command.PRODUCTS)
@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.with_columns(
            pl.lit(None, frame.schema[c]).alias(c) for c in frame.columns if c != "sale_date"
        ),
        lambda frame: frame.with_columns(
            pl.lit("�;\x00'").alias(c) for c in frame.columns if c.endswith(("_id", "_name", "group"))
        ),
        lambda frame: frame.with_columns(quantity=-pl.col("quantity"), amount=-pl.col("amount")),
        lambda frame: frame.with_columns(
            product_id=pl.lit("only"), quantity=1.0, amount=pl.lit("1").cast(pl.Decimal(18, 4))
        ),
        lambda frame: frame.unique("customer_id").with_columns(order_id=pl.col("customer_id")),
        lambda frame: frame.with_columns(quantity=pl.lit(float("inf")), amount=pl.lit(None, pl.Decimal(18, 4))),
        lambda frame: frame.head(1),
        lambda frame: frame.with_columns(
            pl.col("product_id", "order_id", "customer_id").str.slice(1).cast(pl.Int64, strict=False)
        ),
    ],
    ids=["nulls", "garbled", "returns only", "one product", "no repeat", "infinite", "one line", "numeric ids"],
)
def test_garbled_extracts_end_with_a_result_and_its_reason_or_one_line(product, change, tmp_path, capsys):
    folder = tmp_path / "sales"
    folder.mkdir()
    change(sales(customers=20)).write_parquet(folder / "a.parquet")
    code = command.main(arguments(product, str(folder), tmp_path / "out"))
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    if code == 2:
        assert captured.err.count("\n") == 1
        assert not (tmp_path / "out").exists()
    else:
        assert code == 0
        report = json.loads((tmp_path / "out" / f"run_{product}.json").read_text())
        assert set(report["rows_out"]) == {table.name for table in tables.of_product(product)}
        if not any(report["rows_out"].values()):
            assert report["reason"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--client", "drogarya"], "unknown client 'drogarya'; did you mean 'drogaria'?"),
        (["--engine", "prophet"], "--engine prophet: anomalies has holt-winters, reference"),
        (["--parameter", "sigma=3"], "unknown parameter 'sigma'; did you mean sigmas?"),
        (["--parameter", "sigmas=-1"], "parameter sigmas is '-1': Input should be greater than 0"),
        (["--sales", "/nowhere"], "no Parquet files below /nowhere"),
        (["--output", "/proc/none"], "/proc/none cannot be written"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(more, message, prefix, tmp_path, capsys):
    assert command.main([*arguments("anomalies", prefix, tmp_path / "out"), *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("product", "wrong"),
    [
        ("anomalies", "history_months=30000"),
        ("recommender", "test_months=30000"),
        ("recommender", "per_customer=2000000000"),
        ("recommender", "neighbours=99999999999"),
        ("recommender", "als_factors=1000000"),
        ("mba", "top_products=99999999999999999999"),
        ("clv", "discount_rate=1e308"),
    ],
)
def test_a_parameter_beyond_reason_is_one_line_and_exit_code_2(product, wrong, prefix, tmp_path, capsys):
    assert command.main([*arguments(product, prefix, tmp_path / "out"), "--parameter", wrong]) == 2
    error = capsys.readouterr().err
    assert f"parameter {wrong.partition('=')[0]} is" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("product", command.PRODUCTS)
@pytest.mark.parametrize(
    ("change", "dtype"), [(pl.col("product_id").cast(pl.Binary), "Binary"), (pl.concat_list("product_id"), "List")]
)
def test_ids_that_are_no_single_values_are_named_with_their_type(product, change, dtype, tmp_path, capsys):
    (tmp_path / "sales").mkdir()
    column = "customer_id" if product == "clv" else "product_id"
    sales(customers=5).with_columns(change.alias(column)).write_parquet(tmp_path / "sales" / "a.parquet")
    assert command.main(arguments(product, str(tmp_path / "sales"), tmp_path / "out")) == 2
    assert f"column {column} holds {dtype}" in capsys.readouterr().err


@pytest.mark.parametrize("product", command.PRODUCTS)
@pytest.mark.parametrize(
    ("day", "message"),
    [
        ("1.2.2024", "'1.2.2024' is no date of the form YYYY-MM-DD"),
        ("20260201", "'20260201' is no date of the form YYYY-MM-DD"),
        ("2026-W05-1", "'2026-W05-1' is no date of the form YYYY-MM-DD"),
        ("0001-01-01", "0001-01-01 is before 1900-01-01"),
    ],
)
def test_a_report_date_that_is_none_is_refused(product, day, message, prefix, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([*arguments(product, prefix, tmp_path / "out"), "--report-date", day])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("product", command.PRODUCTS)
def test_the_earliest_report_date_and_the_longest_periods_have_a_result(product, prefix, tmp_path):
    longest = {"mba": [], "clv": ["history_months=120"], "anomalies": ["history_months=120"]}
    more = longest.get(product, ["test_months=120"])
    run = arguments(product, prefix, tmp_path, *(part for one in more for part in ("--parameter", one)))
    assert command.main([*run, "--report-date", "1900-01-01"]) == 0
    assert json.loads((tmp_path / f"run_{product}.json").read_text())["reason"]


def test_an_aws_that_cannot_be_reached_is_one_line_and_exit_code_3(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint, "AWS_MAX_ATTEMPTS": "1"}
    result = process(*arguments("mba", "s3://lake/sales", tmp_path / "out"), **environment)
    assert result.returncode == 3
    assert result.stderr.startswith("mba: AWS failed: s3://lake/sales: Could not connect")
    assert result.stderr.count("\n") == 1


def test_a_run_stopped_while_it_publishes_leaves_nothing_behind(prefix, tmp_path):
    moto, uploading, go_on = DomainDispatcherApplication(create_backend_app), threading.Event(), threading.Event()

    def s3(environ, start_response):
        if environ["REQUEST_METHOD"] == "PUT" and "anomaly_transactions" in environ["PATH_INFO"]:
            uploading.set()
            go_on.wait(60)
        return moto(environ, start_response)

    server = make_server("127.0.0.1", 0, s3, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        client = boto3.Session().client("s3", endpoint_url=endpoint, **SESSION)
        client.create_bucket(Bucket="stopped")
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        run = subprocess.Popen(
            [sys.executable, "-m", "include.algorithms", *arguments("anomalies", prefix, "s3://stopped/out")],
            cwd=ROOT,
            env={
                **CREDENTIALS,
                "AWS_ENDPOINT_URL": endpoint,
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/tmp"),
                "TMPDIR": str(scratch),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert uploading.wait(120)
            there = client.list_objects_v2(Bucket="stopped")
            assert there["KeyCount"] > 0, "a part of the output is published"
            assert list(scratch.iterdir())
            run.terminate()
            go_on.set()
            _, error = run.communicate(timeout=120)
        finally:
            run.kill()
        assert (run.returncode, error) == (143, "")
        assert client.list_objects_v2(Bucket="stopped")["KeyCount"] == 0
        assert list(scratch.iterdir()) == []
    finally:
        go_on.set()
        server.shutdown()
        server.server_close()


def test_a_fault_of_the_program_is_one_line_and_exit_code_1(prefix, tmp_path, capsys, caplog, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(basket, "run", fail)
    assert command.main(arguments("mba", prefix, tmp_path / "out")) == 1
    assert capsys.readouterr().err == "mba failed: ZeroDivisionError: division by zero\n"
    assert "Traceback" in caplog.text
    assert not (tmp_path / "out").exists()


def test_the_help(capsys):
    with pytest.raises(SystemExit):
        command.main(["recommender", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Engines: auto, ease, als, item-item." in text
    assert "per_customer (10)" in text
    assert "3 AWS failed" in text


def test_sales_on_the_report_date_do_not_count_whatever_the_clock_says(tmp_path):
    later = sales(customers=5).with_columns(sale_date=pl.lit(datetime.combine(date.today(), datetime.min.time())))
    before = sales(customers=5)
    reports = []
    for name, frame in (("one", before), ("two", pl.concat([before, later]))):
        extract(tmp_path / name, frame)
        assert command.main(arguments("anomalies", str(tmp_path / name), tmp_path / f"out-{name}")) == 0
        reports.append(json.loads((tmp_path / f"out-{name}" / "run_anomalies.json").read_text()))
    assert reports[0]["rows_out"] == reports[1]["rows_out"]
    assert reports[1]["excluded"] == {"outside_period": later.height}
