"""Runs Airflow's operators without a scheduler."""

import asyncio
from typing import Any


def execute(operator: Any, context: Any = None) -> Any:
    """Execute as Airflow does, the trigger of a deferred operator included."""
    from airflow.sdk.exceptions import TaskDeferred

    async def fired(trigger: Any) -> Any:
        return await anext(trigger.run())

    context = {} if context is None else context
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        event = asyncio.run(fired(deferred.trigger))
        return getattr(operator, deferred.method_name)(context, event.payload)
