"""Managed Service for Apache Flink: what its operators are given to run `include/streams/flink.py`. See docs/flink.md.

KinesisAnalyticsV2CreateApplicationOperator(**flink.application("vitrine-code", "vitrine/flink.zip", role, …))
KinesisAnalyticsV2StartApplicationOperator(application_name=flink.NAME, run_configuration=flink.resumed())
"""

import io
import zipfile
from pathlib import Path
from typing import Any

from include.streams import flink

NAME = "vitrine-streams"
RUNTIME = "FLINK-2_2"
"""The service's Flink; the tests run the same minor version."""
CONNECTOR = "lib/connector.jar"
"""Where the Kinesis connector is in the archive."""

_ROOT = Path(__file__).resolve().parents[2]
_MAIN = Path(flink.__file__).resolve()
_RUN_OPTIONS = "kinesis.analytics.flink.run.options"
_CHECKPOINTS_MS = 60_000


def archive(connector: bytes) -> bytes:
    """The application's code: its main module, the statements and the connector; equal content gives equal bytes.

    Args:
        connector: the content of flink-sql-connector-aws-kinesis-streams' jar, of a version for `RUNTIME`.
    """
    files = {path.relative_to(_ROOT).as_posix(): path.read_bytes() for path in [_MAIN, *flink.SQL.rglob("*.sql")]}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zip_:
        for name, content in sorted({**files, CONNECTOR: connector}.items()):
            zip_.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def application(bucket: str, key: str, role: str, region: str, account: str, parallelism: int = 2) -> dict[str, Any]:
    """The arguments of KinesisAnalyticsV2CreateApplicationOperator, but for its task_id.

    Args:
        bucket: where the archive is.
        key: of the archive.
        role: ARN of the role that the job has: it reads and writes the streams, and reads the archive.
        region: of the streams.
        account: of the streams.
        parallelism: at most as many shards as a stream has are read at a time.
    """
    run_options = {"python": _MAIN.relative_to(_ROOT).as_posix(), "jarfile": CONNECTOR}
    properties = {"region": region, "stream_arn_prefix": f"arn:aws:kinesis:{region}:{account}:stream/"}
    groups = {_RUN_OPTIONS: run_options, flink.GROUP: properties}
    return {
        "application_name": NAME,
        "application_description": "The rules of the click-stream, and the rate of orders",
        "runtime_environment": RUNTIME,
        "service_execution_role": role,
        "create_application_kwargs": {
            "ApplicationConfiguration": {
                "ApplicationCodeConfiguration": {
                    "CodeContentType": "ZIPFILE",
                    "CodeContent": {"S3ContentLocation": {"BucketARN": f"arn:aws:s3:::{bucket}", "FileKey": key}},
                },
                "EnvironmentProperties": {
                    "PropertyGroups": [
                        {"PropertyGroupId": group, "PropertyMap": values} for group, values in groups.items()
                    ]
                },
                "ApplicationSnapshotConfiguration": {"SnapshotsEnabled": True},
                "FlinkApplicationConfiguration": {
                    "CheckpointConfiguration": {
                        "ConfigurationType": "CUSTOM",
                        "CheckpointingEnabled": True,
                        "CheckpointInterval": _CHECKPOINTS_MS,
                    },
                    "MonitoringConfiguration": {
                        "ConfigurationType": "CUSTOM",
                        "MetricsLevel": "APPLICATION",
                        "LogLevel": "INFO",
                    },
                    "ParallelismConfiguration": {
                        "ConfigurationType": "CUSTOM",
                        "Parallelism": parallelism,
                        "ParallelismPerKPU": 1,
                        "AutoScalingEnabled": True,
                    },
                },
            }
        },
    }


def resumed() -> dict[str, Any]:
    """The run_configuration of KinesisAnalyticsV2StartApplicationOperator: from the latest snapshot, if any."""
    return {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": "RESTORE_FROM_LATEST_SNAPSHOT"}}
