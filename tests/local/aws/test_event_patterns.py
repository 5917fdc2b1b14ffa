import json
from typing import Any

import pytest

from local.aws.event_patterns import PatternError, compiled

EVENT = {
    "source": "shop",
    "region": "eu-west-1",
    "resources": ["arn:a", "arn:b"],
    "detail": {
        "state": "Paid",
        "total": 12.5,
        "gift": True,
        "note": None,
        "address": "10.0.0.17",
        "empty": "",
        "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 7}],
    },
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"source": ["shop"]}, True),
        ({"source": ["stock", "shop"]}, True),
        ({"source": ["stock"]}, False),
        ({"source": ["shop"], "region": ["us-east-1"]}, False),
        ({"resources": ["arn:b"]}, True),
        ({"missing": ["x"]}, False),
        ({"detail": {"total": [12.5]}}, True),
        ({"detail": {"gift": [True]}}, True),
        ({"detail": {"gift": [1]}}, False),
        ({"detail": {"total": [True]}}, False),
        ({"detail": {"note": [None]}}, True),
        ({"detail": {"missing": [None]}}, False),
        ({"detail": {"empty": [""]}}, True),
        ({"detail": {"lines": {"sku": ["b"]}}}, True),
        ({"detail": {"lines": {"n": [{"numeric": [">", 7]}]}}}, False),
        ({"detail": {"state": [{"prefix": "Pa"}]}}, True),
        ({"detail": {"state": [{"prefix": "pa"}]}}, False),
        ({"detail": {"state": [{"prefix": {"equals-ignore-case": "pa"}}]}}, True),
        ({"detail": {"state": [{"suffix": "id"}]}}, True),
        ({"detail": {"state": [{"equals-ignore-case": "PAID"}]}}, True),
        ({"detail": {"state": [{"wildcard": "P*d"}]}}, True),
        ({"detail": {"state": [{"wildcard": "P*x"}]}}, False),
        ({"detail": {"state": [{"wildcard": "P.*d"}]}}, False),
        ({"detail": {"state": [{"wildcard": "P\\*d"}]}}, False),
        ({"detail": {"total": [{"numeric": [">", 10, "<=", 12.5]}]}}, True),
        ({"detail": {"total": [{"numeric": ["<", 10]}]}}, False),
        ({"detail": {"gift": [{"numeric": ["=", 1]}]}}, False),
        ({"detail": {"total": [{"exists": True}]}}, True),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"missing": [{"exists": False}, "x"]}}, True),
        ({"detail": {"state": [{"anything-but": "Paid"}]}}, False),
        ({"detail": {"state": [{"anything-but": ["Open", "Lost"]}]}}, True),
        ({"detail": {"state": [{"anything-but": {"prefix": "Pa"}}]}}, False),
        ({"detail": {"missing": [{"anything-but": "x"}]}}, False),
        ({"detail": {"address": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"detail": {"address": [{"cidr": "10.0.1.0/24"}]}}, False),
        ({"$or": [{"source": ["stock"]}, {"detail": {"gift": [True]}}]}, True),
        ({"$or": [{"source": ["stock"]}, {"detail": {"gift": [False]}}], "region": ["eu-west-1"]}, False),
    ],
)
def test_what_passes(pattern: dict[str, Any], matches: bool) -> None:
    assert compiled(json.dumps(pattern))(EVENT) is matches


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ("{}", "at least one key"),
        ('{"source": "shop"}', "the event pattern.source must be a list"),
        ('{"source": []}', "must be a list"),
        ('{"detail": {"a": [{"like": "x"}]}}', "the event pattern.detail.a: the operator like is not done here"),
        ('{"a": [{"numeric": ["~", 1]}]}', "numeric can't compare with '~' 1"),
        ('{"a": [{"numeric": [">"]}]}', "one or two comparisons"),
        ('{"a": [{"prefix": 1}]}', "prefix wants text"),
        ('{"a": [{"exists": "yes"}]}', "exists wants true or false"),
        ('{"a": [{"cidr": "everywhere"}]}', "everywhere"),
        ('{"a": [{"anything-but": {"numeric": [">", 1]}}]}', "anything-but can't be combined with numeric"),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "exactly one operator"),
        ('{"$or": [{"a": [1]}]}', "two or more patterns"),
    ],
)
def test_what_is_no_pattern(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        compiled(pattern)
