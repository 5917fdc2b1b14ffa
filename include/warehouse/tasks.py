"""The Python tasks of the warehouses' DAG: each takes its clients from Airflow's connections and calls one function."""

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, task
from airflow.sdk.exceptions import AirflowFailException

from include import aws
from include.lakehouse.assets import GOLD
from include.products.assets import ASSETS as PRODUCTS
from include.tables import contract
from include.warehouse import check, files, plan

log = logging.getLogger(__name__)


def extras(events: Mapping[Asset, Any] | None, asset: Asset) -> list[dict[str, Any]]:
    """Extras of an asset's events that started the run, the latest last."""
    told = (events or {}).get(asset, [])
    return [event.extra for event in sorted(told, key=lambda event: event.timestamp)]


@task(retries=2)
def plan_redshift(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    """The gold tables that changed, or, in a run that no event started, all that are published."""
    s3, glue, told = aws.client("s3"), aws.client("glue"), triggering_asset_events or {}
    loads = []
    for name, asset in GOLD.items():
        events = extras(told, asset)
        if told and not events:
            continue
        try:
            load = plan.gold(s3, glue, contract.load(name), events[-1] if events else None)
        except (plan.PlanError, files.UnreadableError) as error:
            raise AirflowFailException(str(error)) from error
        if load:
            loads.append(load)
        else:
            log.warning("%s is not published: nothing to load", name)
    return _told(loads)


@task(retries=2)
def plan_snowflake(loads: list[dict[str, Any]], triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    """What of the gold tables goes to Snowflake too, and the scores of the clients whose reports are new."""
    scores = extras(triggering_asset_events, PRODUCTS["clv"]) if triggering_asset_events else None
    customers = [plan.customer_rfm(load) for load in loads if load["table"] == plan.RFM]
    return _told(customers + plan.clv(aws.client("s3"), aws.client("glue"), scores))


def _told(loads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for load in loads:
        log.info("%s: %s rows, %s", load["label"], load["rows"], load["money"])
    return loads


@task(retries=2)
def check_redshift(load: dict[str, Any], totals: list[dict[str, Any]]) -> list[Any]:
    """Compares the staging table with what was published."""
    return _compared(load, check.record(totals))


@task(retries=2)
def check_snowflake(load: dict[str, Any], results: list[list[list[Any]]]) -> list[Any]:
    """Compares a table with what was published."""
    [[totals]] = results
    return _compared(load, totals)


def _compared(load: dict[str, Any], totals: list[Any]) -> list[Any]:
    try:
        check.compare(load, totals)
    except check.LoadError as error:
        raise AirflowFailException(str(error)) from error
    log.info("%s: %s, as published", load["label"], ", ".join(map(str, totals)))
    return [str(value) for value in totals]
