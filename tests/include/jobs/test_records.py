"""Parsing is the streams' own; here: what becomes of a line, and that tables have the contracts' columns."""

import gzip
import json
from pathlib import Path

import pytest

from include.jobs import records, speed
from include.jobs.orders import ALARMS
from include.streams import rules
from include.streams.encoding import canonical
from include.tables import contract
from tests.clicks import fields

TYPES = {"string": "string", "int64": "bigint", "timestamp[us]": "timestamp", "date32[day]": "date", "bool": "boolean"}


def columns(schema):
    return [(one.name, TYPES.get(str(one.type), str(one.type).replace("128", "").replace(" ", ""))) for one in schema]


@pytest.mark.parametrize("stream", [records.CLICKS, records.ORDERS, records.WEB_LOGS], ids=lambda stream: stream.name)
def test_bronze_has_the_columns_of_its_contract(stream):
    table = contract.load(stream.table)
    assert columns(stream.schema) == [(column.name, column.physicalType) for column in table.properties]


@pytest.mark.parametrize("name", [*speed.TABLES, speed.LATE])
def test_what_is_exported_has_the_columns_of_its_contract(name):
    table = contract.load(name)
    assert columns(speed.schema(name)) == [(column.name, column.physicalType) for column in table.properties]


def test_rejects_and_alarms_have_the_columns_of_their_contracts():
    rejects = {column.name for column in contract.load("stream_rejects").properties}
    assert set(records.REJECTS.names) | {"bronze"} == rejects
    alarms = contract.load("order_alarms")
    assert columns(ALARMS) == [(column.name, column.physicalType) for column in alarms.columns]


def test_an_identity_sorts_as_text_as_it_does_as_a_number():
    clicks = [fields("2026-03-01T10:00:00", custid=number) for number in range(200)]
    pairs = [
        (rules.parse_click(canonical(click)).identity, records.CLICKS.parse(canonical(click), 0)["event_id"])
        for click in clicks
    ]
    assert sorted(pairs) == sorted(pairs, key=lambda pair: pair[1])
    assert {len(text) for _, text in pairs} == {16}


@pytest.mark.parametrize(
    ("micros", "hour"),
    [("2026-03-01T10:59:59.999999", "2026-03-01T10"), ("2026-03-01T11:00:00", "2026-03-01T11")],
)
def test_the_hour_of_an_event_is_half_open(micros, hour):
    assert records.hour_of(rules.micros(micros)) == hour


def test_a_file_that_is_no_gzip_is_one_fault(tmp_path):
    file = Path(tmp_path, "a.gz")
    file.write_bytes(json.dumps(fields("2026-03-01T10:00:00")).encode())
    (fault,) = records._lines(file)
    assert fault.field == "file"
    assert "is broken from here on" in fault.reason


def test_the_last_line_needs_no_end(tmp_path):
    file = Path(tmp_path, "a.gz")
    file.write_bytes(gzip.compress(b"one\n\ntwo\r"))
    assert list(records._lines(file)) == [b"one", b"", b"two\r"]
