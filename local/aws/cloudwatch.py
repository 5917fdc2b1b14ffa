"""CloudWatch metrics of the services that run here: GetMetricData, GetMetricStatistics, ListMetrics.

Nobody puts samples here. A service offers a namespace and is asked for what it really did in some time, so that the
figures are those of its own records and survive what they survive.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local.aws.kinesis_gauge import Sample
from local.aws.rpc import ApiError, Service, Timestamp, refused

DAYS = 15
_POINTS = 1440
_STATISTICS: dict[str, Callable[[Sample], float]] = {
    "Average": lambda sample: sample.total / sample.observations,
    "Maximum": lambda sample: sample.maximum,
    "Minimum": lambda sample: sample.minimum,
    "SampleCount": lambda sample: float(sample.observations),
    "Sum": lambda sample: sample.total,
}


@dataclass(frozen=True)
class Metric:
    """A metric that a service has.

    Attributes:
        unit: E.g. ``Count``.
        samples: From a resource's name, a start and an end (seconds since the epoch, not included) to what was
            observed in between.
    """

    unit: str
    samples: Callable[[str, float, float], Iterable[Sample]]


@dataclass(frozen=True)
class Namespace:
    """The metrics of a service.

    Attributes:
        dimension: The one dimension that every metric has.
        resources: Names of what there is: the values of the dimension.
        metrics: By name.
    """

    dimension: str
    resources: Callable[[], Iterable[str]]
    metrics: Mapping[str, Metric]


_namespaces: dict[str, Namespace] = {}


def offer(name: str, namespace: Namespace) -> None:
    """Let a service answer for a namespace, e.g. ``AWS/Kinesis``."""
    _namespaces[name] = namespace


def list_metrics(
    namespace: str | None = None,
    metric_name: str | None = None,
    dimensions: Any = (),
    recently_active: str | None = None,
) -> Mapping[str, Any]:
    """ListMetrics, in one page."""
    wanted = [(dimension["Name"], dimension.get("Value")) for dimension in dimensions]
    found = [
        {"Namespace": name, "MetricName": metric, "Dimensions": [{"Name": offered.dimension, "Value": resource}]}
        for name, offered in sorted(_namespaces.items())
        for metric in sorted(offered.metrics)
        for resource in offered.resources()
        if namespace in (None, name)
        and metric_name in (None, metric)
        and all(key == offered.dimension and value in (None, resource) for key, value in wanted)
    ]
    return {"Metrics": found}


def get_metric_statistics(
    namespace: str,
    metric_name: str,
    start_time: float,
    end_time: float,
    period: int,
    dimensions: Any = (),
    statistics: Any = (),
    unit: str | None = None,
) -> Mapping[str, Any]:
    """GetMetricStatistics."""
    if not statistics:
        raise ApiError("MissingRequiredParameterException", "Statistics must name at least one; no percentiles here")
    metric = _metric(namespace, metric_name)
    points = (
        _points(metric, _resource(namespace, dimensions), start_time, end_time, period)
        if _measured(metric, unit)
        else {}
    )
    return {
        "Label": metric_name,
        "Datapoints": [
            {
                "Timestamp": Timestamp(moment),
                "Unit": metric.unit,
                **{statistic: _statistic(statistic)(sample) for statistic in statistics},
            }
            for moment, sample in points.items()
        ],
    }


def get_metric_data(
    metric_data_queries: list[Mapping[str, Any]],
    start_time: float,
    end_time: float,
    scan_by: str = "TimestampDescending",
    max_datapoints: int | None = None,
) -> Mapping[str, Any]:
    """GetMetricData, in one page, without expressions."""
    results = []
    for query in metric_data_queries:
        if "Expression" in query:
            raise refused(f"the Expression of {query['Id']}: ask for the metrics themselves")
        asked = query["MetricStat"]
        namespace, name = asked["Metric"].get("Namespace", ""), asked["Metric"].get("MetricName", "")
        metric, statistic = _metric(namespace, name), _statistic(asked["Stat"])
        resource = _resource(namespace, asked["Metric"].get("Dimensions", ()))
        measured = _measured(metric, asked.get("Unit"))
        points = _points(metric, resource, start_time, end_time, asked["Period"]) if measured else {}
        moments = sorted(points, reverse=scan_by == "TimestampDescending")
        if query.get("ReturnData", True):
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label") or name,
                    "Timestamps": [Timestamp(moment) for moment in moments],
                    "Values": [statistic(points[moment]) for moment in moments],
                    "StatusCode": "Complete",
                }
            )
    return {"MetricDataResults": results, "Messages": []}


def _measured(metric: Metric, unit: str | None) -> bool:
    return unit in (None, metric.unit)


def _metric(namespace: str, name: str) -> Metric:
    if namespace not in _namespaces:
        raise refused(f"metrics of {namespace}; there are those of {', '.join(sorted(_namespaces))}")
    metrics = _namespaces[namespace].metrics
    if name not in metrics:
        raise refused(f"the metric {name} of {namespace}; there are {', '.join(sorted(metrics))}")
    return metrics[name]


def _resource(namespace: str, dimensions: Iterable[Mapping[str, str]]) -> str:
    wanted = _namespaces[namespace].dimension
    given = {dimension["Name"]: dimension["Value"] for dimension in dimensions}
    if set(given) != {wanted}:
        raise refused(f"metrics of {namespace} with other Dimensions than {wanted}")
    return given[wanted]


def _statistic(name: str) -> Callable[[Sample], float]:
    if name not in _STATISTICS:
        raise refused(f"the statistic {name}; there are {', '.join(_STATISTICS)}")
    return _STATISTICS[name]


def _points(metric: Metric, resource: str, start: float, end: float, period: int) -> dict[float, Sample]:
    """Samples merged by period; periods are those of the clock, as CloudWatch's."""
    if period not in (1, 5, 10, 20, 30) and (period < 60 or period % 60):
        raise ApiError("InvalidParameterValueException", f"Period {period} must be 1, 5, 10, 20, 30 or n x 60 seconds")
    if end <= start:
        raise ApiError("InvalidParameterValueException", "EndTime must be after StartTime")
    start = max(start - start % period, time.time() - DAYS * 86400)
    if (end - start) / period > _POINTS * 70:
        raise ApiError(
            "InvalidParameterCombinationException", f"Period {period} makes too many points: take a longer one"
        )
    points: dict[float, Sample] = {}
    for sample in metric.samples(resource, start, end):
        moment = sample.time - sample.time % period
        points[moment] = points[moment].merged(sample) if moment in points else sample._replace(time=moment)
    return dict(sorted(points.items()))


answer = Service(
    "cloudwatch",
    {"GetMetricData": get_metric_data, "GetMetricStatistics": get_metric_statistics, "ListMetrics": list_metrics},
)
