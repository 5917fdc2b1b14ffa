import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opensearchpy import OpenSearch

from include.streams import apache, bulk, search

DASHBOARD = Path(search.__file__).with_name("search_dashboard.ndjson")
OBJECTS = {(item["type"], item["id"]): item for item in map(json.loads, DASHBOARD.read_text().splitlines())}
VISUALIZATIONS = [item for (kind, _), item in OBJECTS.items() if kind == "visualization"]
# The kinds that an aggregation's field must have one of.
NUMBERS = {"long", "short"}


def fields():
    """Every field of the template that can be aggregated, with its kind."""
    found = {}
    for name, field in search.template()["template"]["mappings"]["properties"].items():
        found[name] = field["type"]
        found.update({f"{name}.{sub}": kind["type"] for sub, kind in field.get("fields", {}).items()})
    return found


def state(visualization):
    return json.loads(visualization["attributes"]["visState"])


def source(item):
    return json.loads(item["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])


def request(visualization):
    """What Dashboards asks the server for a visualisation: buckets within buckets, metrics in the innermost."""
    aggregations = state(visualization)["aggs"]
    metrics, innermost = {}, {"aggs": {}}
    body = {"size": 0, "aggs": innermost["aggs"], "track_total_hits": True}
    for item in aggregations:
        if item["schema"] == "metric" and item["type"] != "count":
            metrics[item["id"]] = {
                item["type"]: {k: item["params"][k] for k in ("field", "percents") if k in item["params"]}
            }
    for item in aggregations:
        params = item["params"]
        if item["type"] == "terms":
            order = {"_count" if params["orderBy"] == "1" else params["orderBy"]: params["order"]}
            bucket = {"terms": {"field": params["field"], "size": params["size"], "order": order}}
        elif item["type"] == "date_histogram":
            bucket = {"date_histogram": {"field": params["field"], "fixed_interval": "1h", "min_doc_count": 1}}
        else:
            continue
        innermost["aggs"][item["id"]] = bucket
        innermost = bucket
        bucket["aggs"] = {}
    innermost["aggs"].update(metrics)
    query = source(visualization)["query"]["query"]
    return body | ({"query": {"query_string": {"query": query}}} if query else {})


@pytest.fixture(scope="module")
def logs(stack):
    """A day of requests in the index, and the entries they are."""
    client = search.connect(stack.env["SEARCH_URL"])
    client.indices.delete(index="weblogs-*", ignore_unavailable=True)
    search.put_template(client)
    rng, start = random.Random(3), datetime(2026, 3, 1, tzinfo=UTC)
    entries = []
    for number in range(1000):
        moment = start + timedelta(minutes=number)
        request = f"GET /p{rng.randrange(600)} HTTP/1.1"
        answer = f"{rng.choice((200, 200, 404, 500, 503))} {rng.randrange(1000)}"
        line = f'192.0.2.{rng.randrange(9)} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "{request}" {answer} "-" "x"'
        entries.append(apache.parse(line.encode()))
    documents = [bulk.Document(search.index_of(e.time), str(n), e.document()) for n, e in enumerate(entries)]
    outcome = bulk.write(client, documents)
    assert len(outcome.created) == 1000
    client.indices.refresh(index="weblogs-*")
    yield client, entries
    client.indices.delete(index="weblogs-*")


def test_every_reference_of_the_dashboard_leads_somewhere():
    assert {kind for kind, _ in OBJECTS} == {"index-pattern", "visualization", "dashboard"}
    for item in OBJECTS.values():
        for reference in item["references"]:
            assert (reference["type"], reference["id"]) in OBJECTS
    dashboard = OBJECTS["dashboard", "weblogs"]
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    assert [panel["panelRefName"] for panel in panels] == [reference["name"] for reference in dashboard["references"]]
    assert {r["id"] for r in dashboard["references"]} == {item["id"] for item in VISUALIZATIONS}
    for item in VISUALIZATIONS:
        assert source(item)["indexRefName"] == item["references"][0]["name"]


def test_the_index_pattern_is_the_templates():
    (pattern,) = [item["attributes"] for (kind, _), item in OBJECTS.items() if kind == "index-pattern"]
    assert [pattern["title"]] == search.template()["index_patterns"] == [search.INDICES]
    assert fields()[pattern["timeFieldName"]] == "date"


@pytest.mark.parametrize("visualization", VISUALIZATIONS, ids=lambda item: item["id"])
def test_every_field_a_visualisation_names_is_in_the_template_and_fits(visualization):
    kinds = fields()
    for item in state(visualization)["aggs"]:
        field = item["params"].get("field")
        if item["type"] == "count":
            continue
        fitting = {
            "sum": NUMBERS,
            "percentiles": NUMBERS,
            "date_histogram": {"date"},
            "terms": NUMBERS | {"keyword", "ip"},
            "cardinality": NUMBERS | {"keyword", "ip"},
        }[item["type"]]
        assert kinds.get(field) in fitting, (item["type"], field)


@pytest.mark.parametrize("visualization", VISUALIZATIONS, ids=lambda item: item["id"])
def test_every_visualisation_has_an_answer_of_the_server(logs, visualization):
    client, entries = logs
    answer = client.search(index=search.INDICES, body=request(visualization))
    failing = [entry for entry in entries if entry.status >= 500]
    counted = failing if visualization["id"] == "weblogs-failing" else entries
    assert answer["hits"]["total"]["value"] == len(counted)
    found = answer["aggregations"]
    totals = {
        "weblogs-totals": lambda: (found["2"]["value"], found["3"]["value"]),
        "weblogs-status": lambda: {
            (outer["key"], inner["key"]): inner["doc_count"]
            for outer in found["2"]["buckets"]
            for inner in outer["3"]["buckets"]
        },
        "weblogs-bytes": lambda: sum(bucket["1"]["value"] for bucket in found["2"]["buckets"]),
        "weblogs-sizes": lambda: {bucket["key"]: set(bucket["1"]["values"]) for bucket in found["2"]["buckets"]},
        "weblogs-urls": lambda: [bucket["doc_count"] for bucket in found["3"]["buckets"]],
        "weblogs-failing": lambda: sum(b["doc_count"] for url in found["2"]["buckets"] for b in url["3"]["buckets"]),
        "weblogs-hosts": lambda: {bucket["key"]: bucket["2"]["value"] for bucket in found["3"]["buckets"]},
    }
    assert totals[visualization["id"]]() == expected(entries)[visualization["id"]]


def expected(entries):
    def total(chosen):
        return sum(entry.bytes for entry in chosen)

    def counts(keys):
        keys = list(keys)
        return {key: keys.count(key) for key in keys}

    hours = ((int(e.time.replace(minute=0, second=0).timestamp() * 1000), e.status) for e in entries)
    urls = sorted(counts(entry.path for entry in entries).values(), reverse=True)
    failing = counts(entry.path for entry in entries if entry.status >= 500)
    hosts = {entry.client for entry in entries}
    return {
        "weblogs-totals": (total(entries), len(hosts)),
        "weblogs-status": counts(hours),
        "weblogs-bytes": total(entries),
        "weblogs-sizes": {status: {"50.0", "95.0", "99.0"} for status in {entry.status for entry in entries}},
        "weblogs-urls": urls[:500],
        "weblogs-failing": sum(sorted(failing.values(), reverse=True)[:50]),
        "weblogs-hosts": {host: total(e for e in entries if e.client == host) for host in hosts},
    }


def test_the_template_holds_every_field_of_a_document():
    line = b'192.0.2.7 a b [01/Mar/2026:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 10 "c" "x"'
    names = {*apache.parse(line).document(), *apache.parse(line.replace(b"GET /a?b HTTP/1.1", b"?")).document(), "line"}
    assert names == set(search.template()["template"]["mappings"]["properties"])


def test_requests_are_signed_for_the_service_of_the_host(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    for host, service in (("x.us-east-1.es.amazonaws.com", "es"), ("x.us-east-1.aoss.amazonaws.com", "aoss")):
        client = search.connect(f"https://{host}")
        assert isinstance(client, OpenSearch)
        connection = client.transport.get_connection()
        assert connection.host == f"https://{host}:443"
        headers = connection.http_auth("GET", f"https://{host}/", b"", {})
        assert f"/us-east-1/{service}/aws4_request" in headers["Authorization"]


def test_without_credentials_the_error_says_so(monkeypatch):
    monkeypatch.setattr("boto3.Session.get_credentials", lambda _: None)
    with pytest.raises(search.SearchError, match="credentials"):
        search.connect("https://x.us-east-1.es.amazonaws.com")
