"""The Glue Catalog: partitions, versions, and that it survives a restart."""

import inspect
import json
import threading

import pytest
from botocore.exceptions import ClientError
from moto.glue.models import FakeDatabase, FakePartition, FakeTable, GlueBackend

from local.aws import catalog
from local.aws.server import Server
from local.aws.settings import Settings, client


def table_input(name: str, **changes) -> dict:
    described = {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [{"Name": "day", "Type": "date"}, {"Name": "hour", "Type": "int"}],
        "StorageDescriptor": {"Columns": [{"Name": "id", "Type": "bigint"}], "Location": "s3://lake/t/"},
    }
    return {**described, **changes}


def partition(*values: str, location: str = "s3://lake/p/") -> dict:
    descriptor = {"Columns": [{"Name": "id", "Type": "bigint"}], "Location": location}
    return {"Values": list(values), "StorageDescriptor": descriptor}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(Settings(tmp_path_factory.mktemp("catalog") / "state", 0)).start()
    client("glue").create_database(DatabaseInput={"Name": "shop"})
    yield started
    started.stop()


@pytest.fixture
def glue(server):
    return client("glue")


@pytest.fixture
def table(glue, request):
    name = request.node.name.partition("[")[0]
    glue.create_table(DatabaseName="shop", TableInput=table_input(name))
    return {"DatabaseName": "shop", "TableName": name}


def code(caught) -> str:
    return caught.value.response["Error"]["Code"]


class TestTables:
    def test_names_have_no_case(self, glue):
        glue.create_database(DatabaseInput={"Name": "Mixed"})
        glue.create_table(DatabaseName="MIXED", TableInput=table_input("Sales"))
        assert glue.get_table(DatabaseName="mixed", Name="SALES")["Table"]["Name"] == "sales"
        with pytest.raises(ClientError) as caught:
            glue.create_table(DatabaseName="mixed", TableInput=table_input("sales"))
        assert code(caught) == "AlreadyExistsException"
        glue.delete_database(Name="Mixed")
        with pytest.raises(ClientError) as caught:
            glue.get_database(Name="mixed")
        assert code(caught) == "EntityNotFoundException"

    def test_an_update_of_an_old_version_is_refused(self, glue, table):
        name = table["TableName"]
        version = glue.get_table(DatabaseName="shop", Name=name)["Table"]["VersionId"]
        first = table_input(name, Parameters={"written": "first"})
        glue.update_table(DatabaseName="shop", TableInput=first, VersionId=version)
        with pytest.raises(ClientError) as caught:
            glue.update_table(DatabaseName="shop", TableInput=table_input(name), VersionId=version)
        assert code(caught) == "ConcurrentModificationException"
        assert glue.get_table(DatabaseName="shop", Name=name)["Table"]["Parameters"] == {"written": "first"}
        glue.update_table(DatabaseName="shop", TableInput=table_input(name, Parameters={"written": "blindly"}))
        versions = glue.get_table_versions(**table)["TableVersions"]
        assert [found["VersionId"] for found in versions] == ["1", "2", "3"]

    def test_no_concurrent_update_gets_lost(self, glue, table):
        name, rounds = table["TableName"], 5
        refusals: set[str] = set()

        def add(member: str) -> None:
            for _ in range(rounds):
                while True:
                    now = client("glue").get_table(DatabaseName="shop", Name=name)["Table"]
                    parameters = {**now.get("Parameters", {})}
                    parameters[member] = str(int(parameters.get(member, 0)) + 1)
                    try:
                        glue.update_table(
                            DatabaseName="shop",
                            TableInput=table_input(name, Parameters=parameters),
                            VersionId=now["VersionId"],
                        )
                    except ClientError as error:
                        refusals.add(error.response["Error"]["Code"])
                    else:
                        break

        threads = [threading.Thread(target=add, args=(member,)) for member in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = glue.get_table(DatabaseName="shop", Name=name)["Table"]["Parameters"]
        assert found == dict.fromkeys("abc", str(rounds))
        assert refusals <= {"ConcurrentModificationException"}

    def test_the_current_version_cannot_be_deleted(self, glue, table):
        with pytest.raises(ClientError) as caught:
            glue.delete_table_version(**table, VersionId="1")
        assert code(caught) == "InvalidInputException"


class TestPartitions:
    def test_batches_report_what_they_could_not_do(self, glue, table):
        created = glue.batch_create_partition(
            **table, PartitionInputList=[partition("2024-01-01", "1"), partition("2024-01-01", "2")]
        )
        assert created.get("Errors", []) == []
        again = glue.batch_create_partition(**table, PartitionInputList=[partition("2024-01-01", "1")])
        assert again["Errors"][0]["ErrorDetail"]["ErrorCode"] == "AlreadyExistsException"
        missing = {"PartitionValueList": ["2024-09-09", "1"], "PartitionInput": partition("2024-09-09", "1")}
        moved = {
            "PartitionValueList": ["2024-01-01", "1"],
            "PartitionInput": partition("2024-01-01", "1", location="s3://new/"),
        }
        updated = glue.batch_update_partition(**table, Entries=[missing, moved])
        assert [error["PartitionValueList"] for error in updated["Errors"]] == [["2024-09-09", "1"]]
        found = glue.get_partition(**table, PartitionValues=["2024-01-01", "1"])["Partition"]
        assert found["StorageDescriptor"]["Location"] == "s3://new/"
        wanted = [{"Values": ["2024-01-01", "2"]}, {"Values": ["2024-09-09", "1"]}]
        assert len(glue.batch_get_partition(**table, PartitionsToGet=wanted)["Partitions"]) == 1
        deleted = glue.batch_delete_partition(**table, PartitionsToDelete=wanted)
        assert [error["PartitionValues"] for error in deleted["Errors"]] == [["2024-09-09", "1"]]
        assert len(glue.get_partitions(**table)["Partitions"]) == 1

    def test_the_number_of_values_must_be_right(self, glue, table):
        for values in ([], ["2024-01-01"], ["2024-01-01", "1", "2"]):
            with pytest.raises(ClientError) as caught:
                glue.create_partition(**table, PartitionInput=partition(*values))
            assert code(caught) == "InvalidInputException"
        assert glue.get_partitions(**table)["Partitions"] == []

    def test_renaming_to_one_that_exists_keeps_both(self, glue, table):
        for hour in "12":
            glue.create_partition(**table, PartitionInput=partition("2024-01-01", hour))
        with pytest.raises(ClientError) as caught:
            glue.update_partition(
                **table, PartitionValueList=["2024-01-01", "1"], PartitionInput=partition("2024-01-01", "2")
            )
        assert code(caught) == "AlreadyExistsException"
        assert [found["Values"][1] for found in glue.get_partitions(**table)["Partitions"]] == ["1", "2"]
        glue.update_partition(
            **table, PartitionValueList=["2024-01-01", "1"], PartitionInput=partition("2024-01-01", "3")
        )
        assert sorted(found["Values"][1] for found in glue.get_partitions(**table)["Partitions"]) == ["2", "3"]

    @pytest.mark.parametrize(
        ("expression", "hours"),
        [
            ("day = '2024-01-02'", ["10", "9"]),
            ("hour > 9", ["10", "10"]),  # as a number: "10" < "9"
            ("day >= '2024-01-01' AND hour IN (9)", ["9", "9"]),
            ("day BETWEEN '2024-01-02' AND '2024-01-03' OR hour = 9", ["9", "10", "9"]),
            ("", ["10", "9", "10", "9"]),
        ],
    )
    def test_expressions(self, glue, table, expression, hours):
        values = [(day, hour) for day in ("2024-01-01", "2024-01-02") for hour in ("10", "9")]
        glue.batch_create_partition(**table, PartitionInputList=[partition(*each) for each in values])
        try:
            found = glue.get_partitions(**table, Expression=expression)["Partitions"]
            assert sorted(each["Values"][1] for each in found) == sorted(hours)
        finally:
            glue.delete_table(DatabaseName="shop", Name=table["TableName"])

    def test_an_expression_that_cannot_be_evaluated(self, glue, table):
        glue.create_partition(**table, PartitionInput=partition("2024-01-01", "1"))
        with pytest.raises(ClientError) as caught:
            glue.get_partitions(**table, Expression="nothing = 1")
        assert code(caught) == "InvalidInputException"

    def test_pages_and_segments_show_every_partition_once(self, glue, table):
        inputs = [partition("2024-01-01", str(hour)) for hour in range(25)]
        glue.batch_create_partition(**table, PartitionInputList=inputs)
        pages = glue.get_paginator("get_partitions").paginate(**table, PaginationConfig={"PageSize": 10})
        assert [len(page["Partitions"]) for page in pages] == [10, 10, 5]
        seen = [
            found["Values"][1]
            for number in range(4)
            for found in glue.get_partitions(**table, Segment={"SegmentNumber": number, "TotalSegments": 4})[
                "Partitions"
            ]
        ]
        assert sorted(map(int, seen)) == list(range(25))
        bare = glue.get_partitions(**table, ExcludeColumnSchema=True)["Partitions"][0]["StorageDescriptor"]
        assert bare == {"Location": "s3://lake/p/"}


class TestPersistence:
    def test_a_partition_is_shown_as_moto_shows_it(self, glue, table):
        described = partition("2024-01-01", "1")
        described["Parameters"] = {"classification": "parquet"}
        described["StorageDescriptor"] |= {
            "Compressed": False, "NumberOfBuckets": 3, "BucketColumns": ["id"],
            "SerdeInfo": {"SerializationLibrary": "x", "Parameters": {"a": "ü"}},
            "SortColumns": [{"Column": "id", "SortOrder": 1}],
        }  # fmt: skip
        glue.create_partition(**table, PartitionInput=described)
        by_moto = glue.get_partition(**table, PartitionValues=["2024-01-01", "1"])["Partition"]
        (ours,) = glue.get_partitions(**table)["Partitions"]
        assert abs(ours.pop("CreationTime") - by_moto.pop("CreationTime")).total_seconds() < 1  # moto's has whole ones
        assert ours == by_moto

    def test_everything_survives_a_restart(self, server):
        glue = client("glue")
        glue.create_database(DatabaseInput={"Name": "kept", "Description": "sales", "Parameters": {"a": "b"}})
        glue.create_database(DatabaseInput={"Name": "gone"})
        glue.create_table(DatabaseName="gone", TableInput=table_input("gone"))
        for name in ("kept", "dropped", "odd / name"):
            glue.create_table(DatabaseName="kept", TableInput=table_input(name))
        glue.update_table(DatabaseName="kept", TableInput=table_input("kept", Parameters={"x": "y"}))
        inputs = [partition("2024-01-01", hour) for hour in "123"]
        glue.batch_create_partition(DatabaseName="kept", TableName="kept", PartitionInputList=inputs)
        glue.update_partition(
            DatabaseName="kept",
            TableName="kept",
            PartitionValueList=["2024-01-01", "2"],
            PartitionInput=partition("2024-01-01", "2", location="s3://lake/v=2/"),
        )
        glue.delete_partition(DatabaseName="kept", TableName="kept", PartitionValues=["2024-01-01", "3"])
        glue.delete_table(DatabaseName="kept", Name="dropped")
        glue.delete_database(Name="gone")
        before = self.contents(glue)
        server.stop()
        server.start()
        assert self.contents(client("glue")) == before

    @staticmethod
    def contents(glue) -> dict:
        found = {"databases": sorted(glue.get_databases()["DatabaseList"], key=lambda database: database["Name"])}
        found["tables"] = sorted(glue.get_tables(DatabaseName="kept")["TableList"], key=lambda table: table["Name"])
        found["versions"] = glue.get_table_versions(DatabaseName="kept", TableName="kept")["TableVersions"]
        found["partitions"] = glue.get_partitions(DatabaseName="kept", TableName="kept")["Partitions"]
        assert [table["Name"] for table in found["tables"]] == ["kept", "odd / name"]
        assert [each["StorageDescriptor"]["Location"] for each in found["partitions"]] == [
            "s3://lake/p/",
            "s3://lake/v=2/",
        ]
        return json.loads(json.dumps(found, default=str))

    def test_a_crash_while_writing_leaves_the_table_as_it_was(self, server, glue, table, monkeypatch):
        file = next((server.settings.state / "catalog").rglob("test_a_crash*.json"))
        before = file.read_bytes()

        def crash(temporary, text):
            with temporary.open("w") as half:
                half.write(text[: len(text) // 2])
            raise OSError("no space left on device")

        monkeypatch.setattr(catalog.Path, "write_text", crash)
        with pytest.raises(ClientError):
            glue.create_partition(**table, PartitionInput=partition("2024-01-01", "1"))
        monkeypatch.undo()
        assert file.read_bytes() == before


class TestWhatIsUsedOfMoto:
    def test_models(self):
        database = FakeDatabase("d", {"Name": "d"}, catalog_id="1")
        assert {"name", "input", "created_time", "tables"} <= set(vars(database))
        table = FakeTable("d", "t", {"Name": "t"}, catalog_id="1")
        assert {"created_time", "updated_time", "_current_version", "versions", "partitions"} <= set(vars(table))
        assert (table._current_version, table.versions) == (1, {"1": {"Name": "t"}})
        found = FakePartition("d", "t", {"Values": ["a"]})
        assert (found.partition_input, found.values) == ({"Values": ["a"]}, ["a"])
        assert found.creation_time
        table.create_partition({"Values": ["a"]})
        assert list(table.partitions) == ["['a']"]

    def test_methods_have_the_parameters_that_are_passed_on(self):
        for name in (
            "create_database",
            "create_table",
            "create_partition",
            "update_partition",
            "batch_update_partition",
        ):
            ours = list(inspect.signature(getattr(catalog.Catalog, name)).parameters)
            assert ours == list(inspect.signature(getattr(GlueBackend, name)).parameters)
