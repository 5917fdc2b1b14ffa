import json
from datetime import UTC, datetime

import polars as pl
import pytest

from include.jobs import bronze
from include.jobs.bronze import Landed
from include.transforms.screening import KINDS
from include.transforms.silver import TABLES
from tests.include.jobs.conftest import LAKE, FailedRunError

UNREADABLE = tuple(f" is not {kind.name}" for kind in KINDS.values() if kind.name)
PLACES = ("location", "quarantine", "deliveries")


@pytest.fixture(scope="module")
def outcomes(dirty):
    """What the report says of each file of the dirty landing zone."""
    found = (file for partition in dirty.bronze["partitions"] for file in partition["files"])
    return {file["source_file"].removeprefix("landing/dirty/"): file for file in found}


def at_bronze(case):
    """Which of a case's rejections are of values that can't be read."""
    return {reason: count for reason, count in case.rejected.items() if reason.endswith(UNREADABLE)}


class TestDirtyLandingZone:
    def test_every_case_ends_as_it_must(self, cases, outcomes):
        assert len(outcomes) == len(cases) == 42
        for name, (case, _) in cases.items():
            outcome = outcomes[case.file]
            assert (outcome["status"], outcome["rows"]) == (case.outcome, case.rows), name
            assert outcome["rejected"] == sum(at_bronze(case).values()), name
            assert case.because in (outcome["reason"] or ""), name

    def test_the_reasons_name_the_fault(self, cases, outcomes):
        reasons = {name: outcomes[case.file]["reason"] for name, (case, _) in cases.items() if case.outcome != "loaded"}
        assert reasons == {
            "missing_required_column": "price missing from the header, which has 'order_id', 'order_item_id', "
            "'product_id', 'seller_id', 'shipping_limit_date', 'freight_value'",
            "other_separator": "order_id, payment_sequential, payment_type, payment_installments, payment_value "
            "missing from the header, which has "
            "'order_id;payment_sequential;payment_type;payment_installments;payment_value'; "
            "fields seem to be separated by ';', not by commas",
            "empty_file": "the file is empty",
            "truncated_gzip": "the gzip file is broken or cut off: Compressed file ended before the end-of-stream "
            "marker was reached",
            "ragged_row": "row 2 has 7 fields, the header has 5",
            "same_file_again": "the same file as another",
        }

    def test_what_is_unusual_about_a_loaded_file_is_noted(self, cases, outcomes):
        notes = {
            name: outcomes[case.file]["reason"]
            for name, (case, _) in cases.items()
            if case.outcome == "loaded" and outcomes[case.file]["reason"]
        }
        assert notes == {
            "new_column": "left out, as the contract has no such column: sales_channel",
            "missing_optional_column": "null, as the file lacks the column: review_comment_title, "
            "review_comment_message",
            "latin_1": "it is not UTF-8 and was read as Latin-1",
        }

    def test_every_row_is_in_bronze_or_in_quarantine_once(self, dirty, cases):
        for name, (case, _) in cases.items():
            load_date = case.file.split("/")[0]
            (partition,) = (
                one for one in dirty.bronze["partitions"] if (one["table"], one["load_date"]) == (case.table, load_date)
            )
            rows = dirty.jobs.rows(partition["location"]) if partition["location"] else pl.DataFrame()
            rejected = dirty.jobs.rows(partition["quarantine"]) if partition["quarantine"] else pl.DataFrame()
            assert (rows.height, rejected.height) == (partition["rows"], partition["rejected"]), name
            numbers = [number for part in (rows, rejected) if part.height for number in part["row_number"]]
            assert sorted(numbers) == list(range(1, case.rows + 1)), name
            if rejected.height:
                assert dict(rejected["reason"].value_counts().rows()) == at_bronze(case), name
                sources = [field.source for field in TABLES[case.table].fields]
                assert rejected.columns == [*sources, "source_file", "row_number", "load_time", "reason"]

    def test_all_files_of_a_table_have_the_same_columns(self, dirty):
        for table, locations in dirty.snapshot.items():
            expected = pl.from_arrow(bronze.schema(table).empty_table()).schema
            for location in locations:
                assert dirty.jobs.rows(location).schema == expected, location

    def test_text_survives_quoting_newlines_and_latin_1(self, dirty, cases):
        def column(case, name):
            (file,) = (one for one in dirty.snapshot[cases[case][0].table] if cases[case][0].file[:10] in one)
            return set(dirty.jobs.rows(file)[name])

        expected = {"Chegou,\nmas atrasado", 'Disse "ok"\r\ne nada', "linha 1\n\nlinha 3", '"'}
        assert column("quoted_newlines", "review_comment_message") == expected
        assert column("latin_1", "seller_city") == {"são paulo", "ribeirão preto", "Maceió"}
        assert all(value.startswith("  padded_text") for value in column("padded_text", "customer_id"))

    def test_deliveries_list_every_file(self, dirty, cases, dirty_files):
        landed = {file["key"]: file for file in dirty_files}
        seen = 0
        for partition in dirty.bronze["partitions"]:
            rows = dirty.jobs.rows(partition["deliveries"])
            assert rows.schema == pl.from_arrow(bronze.DELIVERIES.empty_table()).schema
            for row in rows.to_dicts():
                file = landed[row["source_file"]]
                assert (row["bytes"], row["etag"]) == (file["bytes"], file["etag"])
                assert row["landed_at"].replace(tzinfo=UTC) == datetime.fromisoformat(file["landed_at"])
                seen += 1
            assert (rows["rows"].sum(), rows["rejected"].sum()) == (partition["rows"], partition["rejected"])
        assert seen == len(cases)

    def test_a_rerun_gives_the_same_bytes(self, dirty, jobs, dirty_files):
        again = jobs.run("bronze", "dirty-again", files=list(reversed(dirty_files)))
        assert json.dumps(again).replace("dirty-again", "dirty-1") == json.dumps(dirty.bronze)
        prefixes = [
            part[place].removeprefix(f"s3://{LAKE}/") for part in again["partitions"] for place in PLACES if part[place]
        ]
        made = {key.replace("dirty-again", "dirty-1"): etag for key, etag in jobs.files(*prefixes).items()}
        first = jobs.files(*(prefix.replace("dirty-again", "dirty-1") for prefix in prefixes))
        assert made == first
        assert len(made) == 80


def test_files_of_an_unknown_table_are_quarantined_and_listed(jobs, tmp_path):
    file = tmp_path / "notes.csv"
    file.write_text("a\n1\n")
    (partition,) = jobs.run("bronze", "unknown", files=jobs.land([("unknown", "odd/2018-09-02/notes.csv", file)]))[
        "partitions"
    ]
    assert (partition["table"], partition["location"], partition["quarantine"]) == ("unknown", None, None)
    (row,) = jobs.rows(partition["deliveries"]).to_dicts()
    assert (row["status"], row["reason"]) == ("quarantined", "the file's name is that of no table")


def test_a_file_that_changed_since_the_plan_fails_the_run(jobs, cases):
    case, file = cases["clean_sellers"]
    landed = jobs.land([(case.table, "changed/2018-09-02/olist_sellers_dataset.csv", file)])
    jobs.s3.put_object(Bucket=LAKE, Key=landed[0]["key"], Body=b"another")
    with pytest.raises(FailedRunError, match=r"ChangedFileError: .* was replaced or removed after the run was planned"):
        jobs.run("bronze", "changed", files=landed)
    assert not jobs.files("runs/changed/bronze.json")


def test_no_files_make_an_empty_report(jobs):
    assert jobs.run("bronze", "nothing", files=[]) == {"partitions": []}


def test_deliveries_are_ordered_by_day_table_and_key():
    files = [
        {
            "table": table,
            "key": key,
            "load_date": day,
            "landed_at": "2018-09-02T01:00:00+02:00",
            "bytes": 1,
            "etag": "e",
        }
        for table, key, day in [("b", "y", "2"), ("b", "x", "2"), ("a", "z", "2"), ("b", "w", "1")]
    ]
    assert [[file.key for file in group] for group in bronze.deliveries(files)] == [["w"], ["z"], ["x", "y"]]


@pytest.mark.parametrize("text", ["2018-09-02T01:00:00+02:00", "2018-09-01T23:00:00", "2018-09-01T23:00:00Z"])
def test_load_times_are_utc(text):
    assert Landed("t", "k", "d", text, 1, "e").load_time == datetime(2018, 9, 1, 23)
