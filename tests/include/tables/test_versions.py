import uuid
from datetime import UTC, datetime, timedelta

import boto3

from include.tables import versions
from include.tables.versions import File


def test_files_of_a_version(stack):
    s3, prefix = boto3.client("s3"), f"scratch/{uuid.uuid4().hex}"
    for name, body in (("v=1/b", b"bb"), ("v=1/a/c", b""), ("v=10/x", b"other version")):
        s3.put_object(Bucket="vitrine-lake", Key=f"{prefix}/{name}", Body=body)
    found = versions.files(s3, f"s3://vitrine-lake/{prefix}/v=1/")
    assert found == [
        File(f"{prefix}/v=1/a/c", 0, "d41d8cd98f00b204e9800998ecf8427e", found[0].written),
        File(f"{prefix}/v=1/b", 2, "21ad0bd836b90d08f4cf640b4c298e7c", found[1].written),
    ]
    assert abs(found[0].written - datetime.now(UTC)) < timedelta(minutes=1)
    assert versions.files(s3, f"s3://vitrine-lake/{prefix}/v=2/") == []


def test_bucket_and_key():
    assert versions.split("s3://lake/a/b.parquet") == ("lake", "a/b.parquet")
    assert versions.split("s3://lake") == ("lake", "")
