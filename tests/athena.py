"""Queries of the tests, by the API that people use."""

import time

import boto3

Row = tuple[str | None, ...]


def rows(sql: str) -> list[Row]:
    """The rows that Athena returns, the header first, every value as text."""
    athena = boto3.client("athena")
    query = athena.start_query_execution(QueryString=sql, WorkGroup="vitrine")["QueryExecutionId"]
    while True:
        status = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]
        if status["State"] not in ("QUEUED", "RUNNING"):
            break
        time.sleep(0.02)
    assert status["State"] == "SUCCEEDED", status
    pages = athena.get_paginator("get_query_results").paginate(QueryExecutionId=query)
    return [
        tuple(cell.get("VarCharValue") for cell in row["Data"]) for page in pages for row in page["ResultSet"]["Rows"]
    ]


def query(sql: str) -> list[Row]:
    """The rows that Athena returns, without the header."""
    return rows(sql)[1:]
