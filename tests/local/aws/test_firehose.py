import base64
import datetime as dt
import gzip
import io
import itertools
import json
import signal
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pyarrow
import pyarrow.parquet
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.aws import firehose, firehose_compression, lambdas, s3
from local.aws.firehose_delivery import TIME_SCALE, Worker
from local.aws.firehose_parquet import column_of
from local.aws.firehose_prefix import Facts, Prefix
from local.aws.rpc import ApiError
from local.aws.server import Server
from local.aws.settings import Settings, client
from tests.conftest import Stack, start_stack, stop_stack

BUCKET = "delivered"
ROLE = "arn:aws:iam::123456789012:role/firehose"
APPEND = {"Type": "AppendDelimiterToRecord", "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}]}
NEVER = {"SizeInMBs": 128, "IntervalInSeconds": 900}

_names = (f"deliver-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("firehose") / "state", 0)).start()
    client("s3").create_bucket(Bucket=BUCKET)
    yield started
    started.stop()


@pytest.fixture
def api(server: Server) -> Any:
    return client("firehose")


def processors(*described: dict[str, Any]) -> dict[str, Any]:
    return {"Enabled": True, "Processors": list(described)}


def destination(**more: Any) -> dict[str, Any]:
    return {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{BUCKET}", "BufferingHints": NEVER, **more}


def create(api: Any, source: str | None = None, **more: Any) -> str:
    name = next(_names)
    configuration = destination(**{"Prefix": f"{name}/", "ErrorOutputPrefix": f"errors/{name}/", **more})
    request: dict[str, Any] = {"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": configuration}
    if source:
        arn = f"arn:aws:kinesis:us-east-1:123456789012:stream/{source}"
        request["DeliveryStreamType"] = "KinesisStreamAsSource"
        request["KinesisStreamSourceConfiguration"] = {"KinesisStreamARN": arn, "RoleARN": ROLE}
    api.create_delivery_stream(**request)
    return name


def put(api: Any, name: str, *records: bytes) -> None:
    answer = api.put_record_batch(DeliveryStreamName=name, Records=[{"Data": record} for record in records])
    assert answer["FailedPutCount"] == 0


def objects(prefix: str) -> dict[str, bytes]:
    listed = client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {each["Key"]: client("s3").get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read() for each in listed}


def errors(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for body in objects(f"errors/{name}/").values() for line in body.splitlines()]


def refusal(call: Callable[..., Any], **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def eventually(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


# -------------------------------------------------------------------------------------------------------- the API


def test_a_delivery_stream_comes_and_goes(api: Any) -> None:
    name = create(api, Prefix="p/")
    described = api.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    assert (described["DeliveryStreamStatus"], described["DeliveryStreamType"]) == ("ACTIVE", "DirectPut")
    assert described["DeliveryStreamARN"] == f"arn:aws:firehose:us-east-1:123456789012:deliverystream/{name}"
    assert described["Destinations"][0]["ExtendedS3DestinationDescription"]["Prefix"] == "p/"
    assert name in api.list_delivery_streams(DeliveryStreamType="DirectPut", Limit=100)["DeliveryStreamNames"]
    request = {"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": destination()}
    assert refusal(api.create_delivery_stream, **request)[0] == "ResourceInUseException"
    api.tag_delivery_stream(DeliveryStreamName=name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    api.untag_delivery_stream(DeliveryStreamName=name, TagKeys=["a"])
    assert api.list_tags_for_delivery_stream(DeliveryStreamName=name)["Tags"] == [{"Key": "b", "Value": "2"}]
    api.delete_delivery_stream(DeliveryStreamName=name)
    assert refusal(api.describe_delivery_stream, DeliveryStreamName=name)[0] == "ResourceNotFoundException"


def test_a_destination_is_updated_in_part_and_by_version(api: Any) -> None:
    name = create(api, ProcessingConfiguration=processors(APPEND))
    put(api, name, b"before")
    change = {
        "DeliveryStreamName": name,
        "DestinationId": "destinationId-000000000001",
        "ExtendedS3DestinationUpdate": {"Prefix": f"{name}/new/"},
    }
    api.update_destination(**change, CurrentDeliveryStreamVersionId="1")
    code, message = refusal(api.update_destination, **change, CurrentDeliveryStreamVersionId="1")
    assert code == "ConcurrentModificationException"
    assert "1 is not 2" in message
    firehose.flush(name)
    ((key, body),) = objects(f"{name}/").items()
    assert key.startswith(f"{name}/new/")
    assert body == b"before\n"


def test_limits_of_a_batch(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = create(api)
    for records, message in (
        ([b""] * 501, "1 to 500"),
        ([b"x" * 1_024_001], "a record takes 1024000"),
        ([b"x" * 1_000_000] * 5, "a request takes 4194304"),
    ):
        batch = [{"Data": record} for record in records]
        assert message in refusal(api.put_record_batch, DeliveryStreamName=name, Records=batch)[1]
    monkeypatch.setenv("VITRINE_KINESIS_SHARD_LIMIT", "5")
    limited = create(api)
    answer = api.put_record_batch(DeliveryStreamName=limited, Records=[{"Data": b"%d\n" % n} for n in range(20)])
    assert answer["FailedPutCount"] >= 14
    failed = [each for each in answer["RequestResponses"] if "ErrorCode" in each]
    assert {each["ErrorCode"] for each in failed} == {"ServiceUnavailableException"}
    firehose.flush(limited)
    assert sum(body.count(b"\n") for body in objects(f"{limited}/").values()) == 20 - answer["FailedPutCount"]


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"BucketARN": "arn:aws:s3:::missing-bucket"}, "InvalidArgumentException", "there is no such bucket"),
        ({"BufferingHints": {"SizeInMBs": 5}}, "InvalidArgumentException", "both SizeInMBs and IntervalInSeconds"),
        (
            {"Prefix": "!{timestamp:yyyy}/", "ErrorOutputPrefix": ""},
            "InvalidArgumentException",
            "ErrorOutputPrefix must",
        ),
        ({"Prefix": "!{timestamp:QQQ}/"}, "NotImplemented", "QQQ"),
        ({"Prefix": "!{nonsense:x}/"}, "InvalidArgumentException", "nonsense"),
        ({"Prefix": "!{firehose:error-output-type}/"}, "InvalidArgumentException", "belongs to ErrorOutputPrefix"),
        ({"Prefix": "!{partitionKeyFromQuery:a}/"}, "InvalidArgumentException", "DynamicPartitioningConfiguration"),
        ({"ErrorOutputPrefix": "e/!{timestamp:yyyy}/"}, "InvalidArgumentException", "error-output-type"),
        ({"CustomTimeZone": "Mars/Base"}, "InvalidArgumentException", "Mars/Base"),
        ({"S3BackupMode": "Enabled"}, "NotImplemented", "S3BackupMode"),
        ({"ProcessingConfiguration": processors({"Type": "Decompression"})}, "NotImplemented", "Decompression"),
        (
            {
                "ProcessingConfiguration": processors(
                    {
                        "Type": "MetadataExtraction",
                        "Parameters": [
                            {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{a:"},
                            {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
                        ],
                    }
                )
            },
            "InvalidArgumentException",
            "is no jq program",
        ),
    ],
)
def test_what_is_wrong_or_not_done_is_refused_by_name(api: Any, changes: Any, code: str, named: str) -> None:
    configuration = destination(**{"Prefix": "x/", "ErrorOutputPrefix": "e/", **changes})
    request = {"DeliveryStreamName": "refused", "ExtendedS3DestinationConfiguration": configuration}
    assert refusal(api.create_delivery_stream, **request)[0] == code
    assert named in refusal(api.create_delivery_stream, **request)[1]
    assert "refused" not in api.list_delivery_streams(Limit=100)["DeliveryStreamNames"]


def test_other_destinations_and_sources_are_refused(api: Any) -> None:
    search = {
        "RoleARN": ROLE,
        "IndexName": "i",
        "S3Configuration": destination(),
        "DomainARN": "arn:aws:es:us-east-1:123456789012:domain/d",
    }
    request = {"DeliveryStreamName": "x", "AmazonopensearchserviceDestinationConfiguration": search}
    assert "AmazonopensearchserviceDestinationConfiguration" in refusal(api.create_delivery_stream, **request)[1]
    missing = {"KinesisStreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/none", "RoleARN": ROLE}
    request = {
        "DeliveryStreamName": "x",
        "DeliveryStreamType": "KinesisStreamAsSource",
        "KinesisStreamSourceConfiguration": missing,
        "ExtendedS3DestinationConfiguration": destination(),
    }
    assert "create it first" in refusal(api.create_delivery_stream, **request)[1]


# ----------------------------------------------------------------------------------------------------------- buffering


def test_a_full_buffer_is_delivered_at_once(api: Any) -> None:
    name = create(api, BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 900})
    put(api, name, *[b"x" * 400_000] * 2)
    put(api, name, *[b"x" * 400_000] * 4)
    sizes = eventually(lambda: len(found := objects(f"{name}/")) == 2 and [len(body) for body in found.values()])
    assert sizes == [1_200_000, 1_200_000]


def test_a_buffer_is_delivered_after_the_scaled_interval(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIME_SCALE, "600")
    name = create(api, BufferingHints={"SizeInMBs": 5, "IntervalInSeconds": 60})
    put(api, name, b"a")
    put(api, name, b"b")
    assert eventually(lambda: list(objects(f"{name}/").values())) == [b"ab"]


def test_a_wrong_time_scale_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIME_SCALE, "0")
    with pytest.raises(ValueError, match=f"{TIME_SCALE}=0: write a positive number"):
        firehose.plug()


def test_flushing_over_the_internal_endpoint(api: Any, server: Server) -> None:
    name = create(api)
    put(api, name, b"a")

    def ask(path: str) -> tuple[int, Any]:
        request = urllib.request.Request(server.settings.endpoint + path, method="POST")
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    status, answer = ask(f"/_local/firehose/{name}/flush")
    assert (status, answer["Objects"]) == (200, list(objects(f"{name}/")))
    assert ask(f"/_local/firehose/{name}/flush") == (200, {"Objects": []})
    assert ask("/_local/firehose/missing/flush")[0] == 400
    assert "flush" in ask(f"/_local/firehose/{name}/burn")[1]["message"]


# ----------------------------------------------------------------------------------------------------- what is written


def test_the_key_of_an_object(api: Any) -> None:
    name = create(api, Prefix="", CompressionFormat="GZIP")
    hour = dt.datetime.now(dt.UTC)
    put(api, name, b"a")
    (key,) = firehose.flush(name)
    assert key.startswith((f"{hour:%Y/%m/%d/%H}/{name}-1-", f"{hour + dt.timedelta(hours=1):%Y/%m/%d/%H}/{name}-1-"))
    assert key.endswith(".gz")
    other = create(api, FileExtension=".jsonl")
    put(api, other, b"a")
    assert firehose.flush(other)[0].endswith(".jsonl")


def test_expressions_of_a_prefix() -> None:
    moment = dt.datetime(2026, 3, 1, 2, 4, 5, tzinfo=dt.UTC).timestamp()
    facts = Facts(moment, "r4nd0m", "processing-failed", {"k": "v"})
    text = "a/!{timestamp:yyyy-MM-dd'T'HH''mm'%d'ss}/!{firehose:random-string}/!{partitionKeyFromQuery:k}/"
    assert Prefix(text, "Prefix").render(facts) == "a/2026-03-01T02'04%d05/r4nd0m/v/"
    assert Prefix("a/", "Prefix").render(facts) == "a/2026/03/01/02/"
    sao_paulo = dt.timezone(dt.timedelta(hours=-3))
    assert Prefix("!{timestamp:yyyyMMdd}", "Prefix", sao_paulo).render(facts) == "20260228"
    assert Prefix("!{firehose:error-output-type}", "E").render(facts) == "processing-failed"
    for wrong in ("!{timestamp:yyyy", "!{timestamp:'yyyy}"):
        with pytest.raises(ApiError, match="is not closed"):
            Prefix(wrong, "Prefix")


CONTENT = bytes(range(256)) * 400
FRAME = 1 << 16


def _unframe(data: bytes) -> bytes:
    assert data[:10] == b"\xff\x06\x00\x00sNaPpY"
    out, at = b"", 10
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at + 1 : at + 4], "little")
        size = min(FRAME, len(CONTENT) - len(out))
        out += pyarrow.decompress(data[at + 8 : end], size, "snappy").to_pybytes()
        at = end
    return out


def _unblock(data: bytes) -> bytes:
    size, compressed = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    assert len(data) == 8 + compressed
    return pyarrow.decompress(data[8:], size, "snappy").to_pybytes()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("UNCOMPRESSED", lambda data: data),
        ("GZIP", gzip.decompress),
        ("ZIP", lambda data: zipfile.ZipFile(io.BytesIO(data)).read("records")),
        ("Snappy", _unframe),
        ("HADOOP_SNAPPY", _unblock),
    ],
)
def test_compression(name: str, read: Callable[[bytes], bytes]) -> None:
    compress = firehose_compression.FORMATS[name][1]
    assert read(compress(CONTENT)) == CONTENT
    assert compress(CONTENT) == compress(CONTENT)


def test_the_checksum_of_framed_snappy() -> None:
    assert firehose_compression._crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4


# -------------------------------------------------------------------------------------------------------- partitioning


def partitioning(query: str, *more: dict[str, Any]) -> dict[str, Any]:
    extraction = {
        "Type": "MetadataExtraction",
        "Parameters": [
            {"ParameterName": "MetadataExtractionQuery", "ParameterValue": query},
            {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
        ],
    }
    return {
        "DynamicPartitioningConfiguration": {"Enabled": True},
        "ProcessingConfiguration": processors(*more, extraction, APPEND),
    }


def test_records_are_partitioned_by_a_jq_query(api: Any) -> None:
    name = next(_names)
    prefix = f"{name}/device=!{{partitionKeyFromQuery:device}}/day=!{{partitionKeyFromQuery:day}}/"
    wanted = partitioning('{device: .who.device, day: (.at | split("T")[0])}')
    name = create(api, **{**wanted, "Prefix": prefix})
    good = [
        {"who": {"device": device}, "at": f"2026-03-0{day}T10:00:00", "n": number}
        for number, (device, day) in enumerate([("app", 1), ("web", 1), ("app", 1), ("app", 2)])
    ]
    poison = [b"{broken", b'{"who": {}, "at": "2026-03-01T"}', b'{"who": {"device": "app"}}', b'"text"']
    climbing = json.dumps({"who": {"device": "../.."}, "at": "2026-03-01T"}).encode()
    put(api, name, *[json.dumps(each).encode() for each in good], *poison, climbing)
    keys = firehose.flush(name)
    by_folder = {key.split("/", 1)[1].rsplit("/", 1)[0]: body for key, body in objects(prefix.split("/")[0]).items()}
    assert {folder: [json.loads(line)["n"] for line in body.splitlines()] for folder, body in by_folder.items()} == {
        "device=app/day=2026-03-01": [0, 2],
        "device=web/day=2026-03-01": [1],
        "device=app/day=2026-03-02": [3],
    }
    failed = errors(name)
    assert [base64.b64decode(each["rawData"]) for each in failed] == [*poison, climbing]
    assert {each["lastErrorCode"] for each in failed} == {"DynamicPartitioning.MetadataExtractionFailed"}
    assert [each["lastErrorMessage"] for each in failed][1].startswith("the partition key device is null")
    assert all(each["shardId"] == "shardId-000000000000" and each["sequenceNumber"] for each in failed)
    assert len(keys) == 4
    assert any("/processing-failed/" in key for key in keys)


def test_several_records_in_one_are_taken_apart(api: Any) -> None:
    name = next(_names)
    apart = {
        "Type": "RecordDeAggregation",
        "Parameters": [{"ParameterName": "SubRecordType", "ParameterValue": "JSON"}],
    }
    wanted = partitioning("{k: .k}", apart)
    stream = create(api, **{**wanted, "Prefix": f"{name}/!{{partitionKeyFromQuery:k}}/"})
    put(api, stream, b'{"k": 1}{"k": 2}\n{"k": 1}', b'[{"k": 2}, {"k": 3}]', b'{"k": 1}{"k"')
    firehose.flush(stream)
    found = {key.split("/")[1]: body.count(b"\n") for key, body in objects(f"{name}/").items()}
    assert found == {"1": 2, "2": 2, "3": 1}
    assert [each["lastErrorCode"] for each in errors(stream)] == ["DynamicPartitioning.DeAggregationFailed"]


# ------------------------------------------------------------------------------------------------------------- Parquet


@pytest.fixture(scope="module")
def table(server: Server) -> tuple[str, str]:
    glue = client("glue")
    glue.create_database(DatabaseInput={"Name": "streams"})
    columns = {
        "id": "bigint",
        "name": "string",
        "price": "decimal(10,2)",
        "at": "timestamp",
        "ok": "boolean",
        "tags": "array<string>",
        "where": "struct<lat:double,lon:double>",
        "counts": "map<string,int>",
    }
    described = [{"Name": name, "Type": kind} for name, kind in columns.items()]
    glue.create_table(
        DatabaseName="streams",
        TableInput={"Name": "clicks", "StorageDescriptor": {"Columns": described, "Location": f"s3://{BUCKET}/t/"}},
    )
    return "streams", "clicks"


def conversion(table: tuple[str, str], **serde: Any) -> dict[str, Any]:
    return {
        "Enabled": True,
        "SchemaConfiguration": {"DatabaseName": table[0], "TableName": table[1], "RoleARN": ROLE},
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": serde}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"Compression": "GZIP"}}},
    }


def test_records_become_parquet_by_the_columns_of_a_table(api: Any, table: tuple[str, str]) -> None:
    wanted = conversion(table, ColumnToJsonKeyMappings={"id": "Identity"})
    name = create(api, DataFormatConversionConfiguration=wanted)
    records = [
        {
            "identity": 1,
            "NAME": "é",
            "price": 12.345,
            "at": "2026-03-01T10:00:00.123456",
            "ok": True,
            "tags": ["a", None],
        },
        {"Identity": "2", "where": {"lat": 1.5}, "counts": {"a": 1}, "at": 1772359200000, "unknown": "left out"},
    ]
    poison = [
        b"{broken",
        b'{"Identity": 1.5}',
        b'{"at": "yesterday"}',
        b'{"price": 123456789.0}',
        b'{"name": "\\ud800"}',
    ]
    put(api, name, *[json.dumps(each).encode() for each in records], *poison)
    firehose.flush(name)
    ((key, body),) = objects(f"{name}/").items()
    assert key.endswith(".parquet")
    file = pyarrow.parquet.ParquetFile(io.BytesIO(body))
    assert file.metadata.row_group(0).column(0).compression == "GZIP"
    assert file.schema_arrow.field("at").type == pyarrow.timestamp("us")
    first, second = file.read().to_pylist()
    assert (first["id"], first["name"], first["price"]) == (1, "é", Decimal("12.35"))
    assert (first["at"], first["ok"], first["tags"]) == (dt.datetime(2026, 3, 1, 10, 0, 0, 123456), True, ["a", None])
    assert (second["id"], second["name"], second["at"]) == (2, None, dt.datetime(2026, 3, 1, 10))
    assert (second["where"], second["counts"]) == ({"lat": 1.5, "lon": None}, [("a", 1)])
    failed = errors(name)
    assert [base64.b64decode(each["rawData"]) for each in failed] == poison
    assert {each["lastErrorCode"] for each in failed} == {"DataFormatConversion.ParseError"}
    assert failed[0]["dataCatalogTable"]["tableName"] == "clicks"
    assert "column id" in failed[1]["lastErrorMessage"]
    point = {"Namespace": "AWS/Firehose", "MetricName": "FailedConversion.Records"}
    assert _sum(**point, Dimensions=[{"Name": "DeliveryStreamName", "Value": name}]) == 5


def test_conversion_needs_its_table_and_no_compression(api: Any, table: tuple[str, str]) -> None:
    for changes, named in (
        ({"DataFormatConversionConfiguration": conversion(("streams", "none"))}, "streams.none does not exist"),
        ({"DataFormatConversionConfiguration": conversion(table), "CompressionFormat": "GZIP"}, "UNCOMPRESSED"),
        (
            {
                "DataFormatConversionConfiguration": conversion(table),
                "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60},
            },
            "SizeInMBs 5 must be 64 to 128",
        ),
    ):
        request = {"DeliveryStreamName": "x", "ExtendedS3DestinationConfiguration": destination(**changes)}
        assert named in refusal(api.create_delivery_stream, **request)[1]


@pytest.mark.parametrize("hive", ["binary", "interval", "array<>", "struct<a>", "decimal(", "map<string>"])
def test_a_type_that_is_not_converted_is_refused(hive: str) -> None:
    with pytest.raises(ApiError, match="converting the column c of the type"):
        column_of(hive, "c")


# -------------------------------------------------------------------------------------------------------------- Lambda


def test_a_function_changes_drops_and_fails_records(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def invoke(name: str, event: Any) -> lambdas.Result:
        """What a function would do, without a process for it."""
        calls.append((name, len(event["records"])))
        if len(calls) == 1:
            return lambdas.Result(b'{"errorMessage": "first call"}', "first call")
        answers = []
        for record in event["records"]:
            text = base64.b64decode(record["data"]).decode()
            result = {"drop": "Dropped", "fail": "ProcessingFailed"}.get(text, "Ok")
            data = {"data": base64.b64encode(text.upper().encode()).decode()} if result == "Ok" else {}
            data = {"data": "not base64!"} if text == "odd" else data
            if text != "forget":
                answers.append({"recordId": record["recordId"], "result": result, **data})
        return lambdas.Result(json.dumps({"records": answers}).encode())

    monkeypatch.setattr(lambdas, "invoke", invoke)
    arn = "arn:aws:lambda:us-east-1:123456789012:function:change"
    function = {"Type": "Lambda", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": arn}]}
    name = create(api, ProcessingConfiguration=processors(function, APPEND))
    put(api, name, b"a", b"drop", b"fail", b"b", b"forget", b"odd")
    firehose.flush(name)
    assert list(objects(f"{name}/").values()) == [b"A\nB\n"]
    assert {each["lastErrorCode"] for each in errors(name)} == {
        "Lambda.ProcessingFailedStatus",
        "Lambda.MissingRecordId",
        "Lambda.InvalidResult",
    }
    assert calls == [(arn, 6), (arn, 6)]


def test_a_function_that_does_not_exist_holds_the_records_back(api: Any) -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:missing"
    function = {"Type": "Lambda", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": arn}]}
    name = create(api, ProcessingConfiguration=processors(function))
    put(api, name, b"a")
    with pytest.raises(ApiError, match=f"{name} was not delivered and will be tried again"):
        firehose.flush(name)
    assert objects(f"{name}/") == {}
    put(api, name, b"b")
    version = {"CurrentDeliveryStreamVersionId": "1", "DestinationId": "destinationId-000000000001"}
    update = {"ProcessingConfiguration": {"Enabled": False}}
    api.update_destination(DeliveryStreamName=name, ExtendedS3DestinationUpdate=update, **version)
    firehose.flush(name)
    assert b"".join(objects(f"{name}/").values()) == b"ab"
    api.delete_delivery_stream(DeliveryStreamName=name)


# --------------------------------------------------------------------------------------------------------- from Kinesis


def _stream(shards: int = 2) -> str:
    name = next(_names)
    client("kinesis").create_stream(StreamName=name, ShardCount=shards)
    return name


def _put_kinesis(stream: str, *data: bytes, key: str | None = None) -> None:
    records = [{"Data": each, "PartitionKey": key or repr(each)} for each in data]
    assert client("kinesis").put_records(StreamName=stream, Records=records)["FailedRecordCount"] == 0


def test_a_kinesis_stream_is_delivered_from_now_on(api: Any) -> None:
    source = _stream()
    _put_kinesis(source, b"before")
    name = create(api, source, ProcessingConfiguration=processors(APPEND), CompressionFormat="GZIP")
    code, message = refusal(api.put_record, DeliveryStreamName=name, Record={"Data": b"x"})
    assert code == "InvalidArgumentException"
    assert "put the records there" in message
    for batch in range(3):
        _put_kinesis(source, *[b"%d %d" % (batch, number) for number in range(100)])
        firehose.flush(name)
    lines = [line for body in objects(f"{name}/").values() for line in gzip.decompress(body).splitlines()]
    assert sorted(lines) == sorted(b"%d %d" % (batch, number) for batch in range(3) for number in range(100))
    described = api.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    assert described["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"].endswith(f"/{source}")


def test_parents_are_delivered_before_their_children(api: Any) -> None:
    source = _stream(1)
    name = create(api, source, ProcessingConfiguration=processors(APPEND))
    kinesis = client("kinesis")
    expected = []
    for count in (2, 4, 2, 1):
        expected.append(b"%d" % len(expected))
        _put_kinesis(source, *[expected[-1]] * 20, key="one")
        kinesis.update_shard_count(StreamName=source, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
    _put_kinesis(source, b"last", key="one")
    firehose.flush(name)
    lines = [line for body in objects(f"{name}/").values() for line in body.splitlines()]
    assert lines == [*(line for line in expected for _ in range(20)), b"last"]


def test_a_source_that_is_deleted_and_made_again(api: Any) -> None:
    source = _stream(1)
    name = create(api, source, ProcessingConfiguration=processors(APPEND))
    kinesis = client("kinesis")
    _put_kinesis(source, b"old")
    eventually(lambda: _freshness(name) > 0)
    kinesis.delete_stream(StreamName=source)
    kinesis.create_stream(StreamName=source, ShardCount=1)
    _put_kinesis(source, b"new")

    def delivered() -> bool:
        firehose.flush(name)
        lines = b"".join(objects(f"{name}/").values()).splitlines()
        return b"new" in lines and lines.count(b"new") == 1

    eventually(delivered)


def _sum(**request: Any) -> float:
    now = dt.datetime.now(dt.UTC)
    span = {"StartTime": now - dt.timedelta(minutes=10), "EndTime": now + dt.timedelta(seconds=1), "Period": 3600}
    points = client("cloudwatch").get_metric_statistics(**request, **span, Statistics=["Sum"])["Datapoints"]
    return sum(point["Sum"] for point in points)


def _freshness(name: str) -> float:
    dimension = [{"Name": "DeliveryStreamName", "Value": name}]
    return _sum(Namespace="AWS/Firehose", MetricName="DeliveryToS3.DataFreshness", Dimensions=dimension)


def test_metrics_tell_what_was_delivered_and_what_waits(api: Any) -> None:
    name = create(api)
    metric = {"Namespace": "AWS/Firehose", "Dimensions": [{"Name": "DeliveryStreamName", "Value": name}]}
    put(api, name, b"123", b"45")
    time.sleep(0.05)
    assert _freshness(name) >= 0.05
    assert _sum(**metric, MetricName="DeliveryToS3.Records") == 0
    firehose.flush(name)
    assert _sum(**metric, MetricName="IncomingRecords") == 2
    assert _sum(**metric, MetricName="DeliveryToS3.Records") == 2
    assert _sum(**metric, MetricName="DeliveryToS3.Bytes") == 5
    assert _sum(**metric, MetricName="DeliveryToS3.Success") == 1


# -------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("moment", ["before the objects", "between them", "before the checkpoint"])
def test_an_interrupted_delivery_repeats_itself_exactly(api: Any, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A crash at each point of a delivery, by an error there; the state on the disk is that of a kill."""
    name = next(_names)
    wanted = {**partitioning("{k: .k}"), "Prefix": f"{name}/!{{partitionKeyFromQuery:k}}/!{{firehose:random-string}}/"}
    stream = create(api, **wanted)
    written: list[str] = []
    broken = threading.Event()
    real_put, real_settle = s3.put, Worker._settle

    def failing_put(uri: str, data: bytes) -> None:
        if not broken.is_set() and (moment == "before the objects" or (written and moment == "between them")):
            raise OSError("the disk is gone")
        real_put(uri, data)
        written.append(uri)

    def failing_settle(*arguments: Any) -> None:
        if not broken.is_set():
            raise OSError("the disk is gone")
        real_settle(*arguments)

    monkeypatch.setattr(s3, "put", failing_put)
    monkeypatch.setattr(Worker, "_settle", failing_settle)
    put(api, stream, *[json.dumps({"k": number % 2, "n": number}).encode() for number in range(10)])
    with pytest.raises(ApiError, match="the disk is gone"):
        firehose.flush(stream)
    put(api, stream, *[json.dumps({"k": number % 2, "n": number}).encode() for number in range(10, 15)])
    broken.set()
    firehose.flush(stream)
    lines = [json.loads(line)["n"] for body in objects(f"{name}/").values() for line in body.splitlines()]
    assert sorted(lines) == list(range(15))
    assert len(written) > len(set(written)) or moment == "before the objects"


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[list[Stack]]:
    """A stack of this test's own, which it may kill; the last of the list is stopped."""
    stacks = [start_stack(tmp_path / "state")]
    yield stacks
    stop_stack(stacks[-1])


def _api(stack: Stack, service: str) -> Any:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client(service, endpoint_url=stack.endpoint, config=once, **keys)


@pytest.mark.long
def test_a_stack_that_is_killed_delivers_everything_once(
    own_stack: list[Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinesis, api, storage = (_api(own_stack[0], service) for service in ("kinesis", "firehose", "s3"))
    storage.create_bucket(Bucket="kept")
    kinesis.create_stream(StreamName="kept", ShardCount=2)
    configuration = {
        "RoleARN": ROLE,
        "BucketARN": "arn:aws:s3:::kept",
        "Prefix": "out/",
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 0},  # always at work
        "ProcessingConfiguration": processors(APPEND),
    }
    source = {"KinesisStreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/kept", "RoleARN": ROLE}
    api.create_delivery_stream(
        DeliveryStreamName="kept",
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration=source,
        ExtendedS3DestinationConfiguration=configuration,
    )
    api.create_delivery_stream(
        DeliveryStreamName="direct", ExtendedS3DestinationConfiguration={**configuration, "Prefix": "direct/"}
    )
    answered: list[bytes] = []

    def produce() -> None:
        for batch in itertools.count():
            data = [b"%d %d" % (batch, number) for number in range(50)]
            records = [{"Data": each, "PartitionKey": repr(each)} for each in data]
            try:
                kinesis.put_records(StreamName="kept", Records=records)
                api.put_record_batch(DeliveryStreamName="direct", Records=[{"Data": each} for each in data])
            except (BotoCoreError, ClientError):  # the stack was killed
                return
            answered.extend(data)

    producer = threading.Thread(target=produce)
    producer.start()
    eventually(lambda: len(answered) >= 1500)
    own_stack[0].process.send_signal(signal.SIGKILL)
    own_stack[0].process.wait(timeout=30)
    producer.join(60)
    own_stack.append(start_stack(own_stack[0].state))
    storage = _api(own_stack[1], "s3")
    for name, prefix in (("kept", "out/"), ("direct", "direct/")):
        request = urllib.request.Request(f"{own_stack[1].endpoint}/_local/firehose/{name}/flush", method="POST")
        urllib.request.urlopen(request).close()
        pages = storage.get_paginator("list_objects_v2").paginate(Bucket="kept", Prefix=prefix)
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        lines = Counter(
            line for key in keys for line in storage.get_object(Bucket="kept", Key=key)["Body"].read().splitlines()
        )
        assert set(answered) <= lines.keys()
        assert max(lines.values()) == 1
        assert len(lines) <= len(answered) + 50


# ------------------------------------------------------------------------------------------------------ CloudFormation


def test_a_template_creates_a_delivery_stream(api: Any) -> None:
    source, name = _stream(1), next(_names)
    arn = f"arn:aws:kinesis:us-east-1:123456789012:stream/{source}"
    properties = {
        "DeliveryStreamName": name,
        "DeliveryStreamType": "KinesisStreamAsSource",
        "KinesisStreamSourceConfiguration": {"KinesisStreamARN": arn, "RoleARN": ROLE},
        "ExtendedS3DestinationConfiguration": destination(
            BufferingHints={"SizeInMBs": "5", "IntervalInSeconds": "60"},
            Prefix=f"{name}/",
            ProcessingConfiguration={"Enabled": "true", "Processors": [APPEND]},
        ),
    }
    resource = {"Type": "AWS::KinesisFirehose::DeliveryStream", "Properties": properties}
    cloudformation = client("cloudformation")

    def deploy(stack: str) -> None:
        cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps({"Resources": {"Delivery": resource}}))

    deploy("delivery")
    _put_kinesis(source, b"a")
    firehose.flush(name)
    assert list(objects(f"{name}/").values()) == [b"a\n"]
    _put_kinesis(source, b"b")
    properties["ExtendedS3DestinationConfiguration"]["Prefix"] = f"{name}/second/"
    deploy("delivery-again")  # as a later start of the local stack does
    firehose.flush(name)
    assert list(objects(f"{name}/second/").values()) == [b"b\n"]
    properties["KinesisStreamSourceConfiguration"]["KinesisStreamARN"] = arn.replace(source, _stream(1))
    with pytest.raises(ClientError, match="has the source"):
        deploy("delivery-of-another")
    assert name in api.list_delivery_streams(Limit=100)["DeliveryStreamNames"]
    cloudformation.delete_stack(StackName="delivery")
    assert name not in api.list_delivery_streams(Limit=100)["DeliveryStreamNames"]
