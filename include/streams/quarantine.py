"""Where records go that no handler can use: one S3 object each, with the reason, instead of nowhere.

The object's key is the record's place in its stream, so a replay overwrites what an earlier attempt wrote.
"""

import base64
import json
from typing import Any


def put(s3: Any, uri_prefix: str, function: str, shard_id: str, sequence_number: str, reason: str, data: bytes) -> str:
    """Puts a record aside.

    Args:
        s3: A boto3 client of S3.
        uri_prefix: ``s3://bucket/prefix/``.
        function: The handler that could not use it.
        shard_id: Where it was: the shard.
        sequence_number: Where it was in the shard.
        reason: What is wrong, in words.
        data: The record as it came.

    Returns:
        The object's URI, ``<uri_prefix><function>/<shard_id>/<sequence_number>.json``. It holds one line of JSON with
        the arguments' names; ``data`` is the text when it is UTF-8 and else base64, as ``encoding`` says.

    Raises:
        ValueError: the prefix is not an S3 URI.
        botocore.exceptions.ClientError: S3 did not take it: the record must be tried again.
    """
    bucket, _, prefix = uri_prefix.removeprefix("s3://").partition("/")
    if not uri_prefix.startswith("s3://") or not bucket:
        raise ValueError(f"QUARANTINE is {uri_prefix!r}: set it to s3://<bucket>/<prefix>/")
    folder = f"{prefix.rstrip('/')}/{function}/{shard_id}".lstrip("/")
    key = f"{folder}/{sequence_number}.json"
    body = {"function": function, "shard_id": shard_id, "sequence_number": sequence_number, "reason": reason}
    s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=json.dumps({**body, **_readable(data)}, ensure_ascii=False).encode() + b"\n",
        ContentType="application/json",
    )
    return f"s3://{bucket}/{key}"


def _readable(data: bytes) -> dict[str, str]:
    try:
        return {"encoding": "utf-8", "data": data.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": base64.b64encode(data).decode()}
