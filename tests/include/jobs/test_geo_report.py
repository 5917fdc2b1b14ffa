import hashlib
import io
import json
import struct
import sys
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.jobs import engine, geo_report
from include.jobs.geo_report import SCHEMAS, InputsError, build
from include.reports import basemap
from local.data import city_map
from tests.include.reports import world

LAKE = "lake-of-the-report"
TEMPLATE = Path(geo_report.__file__).parents[1] / "infra" / "vitrine.yaml"


def parquet(name, rows):
    table = pa.Table.from_pylist(rows, SCHEMAS[name])
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


def inputs(folder, tables):
    """The tables in files, and the job's inputs: a table without rows has no location."""
    locations = {}
    for name in SCHEMAS:
        locations[name] = []
        if tables.get(name):
            (folder / name).mkdir(parents=True)
            (folder / name / "00000.parquet").write_bytes(parquet(name, tables[name]))
            locations[name] = [f"{folder / name}/"]
    return {"tables": locations, "zone": world.ZONE}


def data(page):
    text = page.decode().partition('<script type="application/json" id="data">')[2]
    return json.loads(text.partition("</script>")[0])


@pytest.fixture(scope="module")
def base():
    return basemap.parse(Path(city_map.MAP).read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory, base):
    with engine.chosen("polars") as on:
        return build(on, inputs(tmp_path_factory.mktemp("tables"), world.TABLES), base, "2026-08-01T02")


def test_pages_and_a_picture_of_each_finding(made):
    public = ["ctr", "visits", "visits-all-map", "attribution", "attribution-all-map", "lift", "hours"]
    assert set(made.files) == {
        *("index.html", "people.html"),
        *(f"{name}.png" if "-" in name else f"{name}-all.png" for name in public),
        *(f"track-{user}.png" for user in (world.USER, world.OTHER)),
        f"profile-{world.USER}-all.png",
    }
    assert made.months == ["all", "2026-07"]
    assert made.rows == {name: len(world.TABLES[name]) for name in made.rows}
    for name, content in made.files.items():
        if name.endswith(".png"):
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            width, height = struct.unpack(">II", content[16:24])
            assert 500 < width < 2500, name
            assert 200 < height < 1500, name


def test_the_pages_show_the_tables(made):
    shown = data(made.files["index.html"])
    rates = {row["campaign_id"]: row for row in world.TABLES["campaign_ctr"] if row["rank"]}
    for row in shown["charts"]["ctr-all"]["datasets"]["rows"]:
        assert {name: row[name] for name in rates[row["campaign_id"]]} == rates[row["campaign_id"]]
    assert [row["interactions"] for row in shown["charts"]["hours-all"]["datasets"]["rows"]] == [None, 40, 25, 60]
    people = data(made.files["people.html"])
    assert len(people["maps"][f"track-{world.USER}"]["offers"]["features"]) == 1
    assert people["maps"][f"track-{world.OTHER}"]["offers"]["features"] == []
    assert people["charts"][f"profile-{world.USER}-all"]["datasets"]["looks"][0]["share"] == 0.75


def test_the_published_page_knows_no_person(made):
    for user in (world.USER, world.OTHER):
        assert user[:8] not in made.files["index.html"].decode().partition('id="data"')[2].partition("</script>")[0]
        assert f"Person {user[:8]}" not in made.files["index.html"].decode()
        assert f"Person {user[:8]}" in made.files["people.html"].decode()


def test_the_pages_say_which_run_and_data_they_are_of(made):
    for page in ("index.html", "people.html"):
        for fact in ("2026-08-01T02", "July 2026", world.ZONE, "Porto Vitrine"):
            assert fact in made.files[page].decode()


def test_without_any_row_every_section_says_so(tmp_path):
    with engine.chosen("polars") as on:
        made = build(on, inputs(tmp_path, {}), basemap.NONE, "v")
    assert set(made.files) == {"index.html", "people.html"}
    assert made.months == ["all"]
    assert data(made.files["index.html"])["charts"] == data(made.files["index.html"])["maps"] == {}
    assert "No campaign has 100 views in the whole period." in made.files["index.html"].decode()
    assert "There are no location records." in made.files["people.html"].decode()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"tables": {}, "zone": world.ZONE}, "campaign_ctr, establishment_visits"),
        ({"tables": {name: [] for name in SCHEMAS}}, "lacks zone"),
    ],
    ids=["tables", "zone"],
)
def test_inputs_that_lack_something_are_refused(broken, said):
    with engine.chosen("polars") as on, pytest.raises(InputsError, match=said):
        build(on, broken, basemap.NONE, "v")


def test_the_deployed_job_installs_the_libraries_of_this_environment():
    """The local Glue refuses versions that are not installed; this says it before anything is deployed."""
    lines = TEMPLATE.read_text().splitlines()
    modules, again = (line.split()[-1] for line in lines if "altair==" in line)
    assert again == f"{modules},${{GeoModules}}" or modules == f"{again},${{GeoModules}}"
    modules = min(modules, again, key=len)
    lock = (TEMPLATE.parents[2] / "uv.lock").read_text()
    for module in modules.split(","):
        name, _, version = module.partition("==")
        assert f'name = "{name}"\nversion = "{version}"\n' in lock


def test_the_job_reads_and_writes_the_lake(stack, monkeypatch):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=LAKE)
    locations = {}
    tables = {"campaign_ctr": world.TABLES["campaign_ctr"][:1], "establishments": world.TABLES["establishments"]}
    for name in SCHEMAS:
        locations[name] = [f"s3://{LAKE}/tables/{name}/"] if name in tables else []
        if name in tables:
            s3.put_object(Bucket=LAKE, Key=f"tables/{name}/00000.parquet", Body=parquet(name, tables[name]))
    s3.put_object(Bucket=LAKE, Key="inputs.json", Body=json.dumps({"tables": locations, "zone": world.ZONE}))
    s3.put_object(Bucket=LAKE, Key=geo_report.BASEMAP, Body=Path(city_map.MAP).read_bytes())
    arguments = {"inputs": f"s3://{LAKE}/inputs.json", "version": "7", "lake": LAKE, "report": f"s3://{LAKE}/r.json"}
    words = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", ["geo_report.py", *words, "--engine", "polars"])
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    geo_report.main()
    report = json.load(s3.get_object(Bucket=LAKE, Key="r.json")["Body"])
    folder = "reports/geo_advertising/v=7/"
    assert report["index"] == f"s3://{LAKE}/{folder}index.html"
    assert set(report["files"]) == {f"{folder}{name}" for name in ("ctr-all.png", "index.html", "people.html")}
    for key, said in report["files"].items():
        content = s3.get_object(Bucket=LAKE, Key=key)
        body = content["Body"].read()
        assert said == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        assert content["ContentType"] == ("image/png" if key.endswith(".png") else "text/html; charset=utf-8")
    assert "Porto Vitrine" in s3.get_object(Bucket=LAKE, Key=f"{folder}index.html")["Body"].read().decode()
    assert report["tables"]["campaign_ctr"] == 1
