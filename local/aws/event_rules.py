"""EventBridge: rules by pattern and by schedule, for functions, queues and topics."""

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.events.exceptions import ValidationException
from moto.events.models import EventsBackend, Rule

from local.aws import destinations, event_patterns, lambdas, plugging, schedules
from local.aws.destinations import DeliveryError
from local.aws.settings import ACCOUNT, REGION
from local.aws.timetable import timetable

log = logging.getLogger(__name__)

ACTIONS = re.compile(
    r"(Put|Delete|Describe|Disable|Enable)Rule|List(Rules|RuleNamesByTarget|TargetsByRule|EventBuses|TagsForResource)"
    r"|PutEvents|(Put|Remove)Targets|(Create|Delete|Describe)EventBus|(Tag|Untag)Resource"
)
"""What of the service is done: no archives, replays, connections and partners."""

TARGETS = ("lambda", "sqs", "sns")
_TARGET = {"Id", "Arn", "RoleArn", "Input", "InputPath", "SqsParameters", "DeadLetterConfig", "RetryPolicy"}


class UnknownBusError(JsonRESTError):
    """There is no such event bus; AWS would drop the event."""

    def __init__(self, name: str) -> None:
        super().__init__("ResourceNotFoundException", f"Event bus {name} does not exist.")


def plug() -> None:
    """Let this module answer EventBridge."""
    plugging.plug(LocalEventsBackend)


class LocalEventsBackend(plugging.Plugged, EventsBackend):
    """moto's rules, which do what they say."""

    service = "events"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._appointments: dict[str, Callable[[], None]] = {}
        self._calendar = threading.RLock()

    # ---------------------------------------------------------------------------------------------------------- rules

    def put_rule(self, name: str, *args: Any, **kwargs: Any) -> Rule:
        """Create or change a rule."""
        pattern, schedule = kwargs.get("event_pattern"), kwargs.get("scheduled_expression")
        try:
            if pattern:
                event_patterns.compiled(pattern)
            if schedule:
                schedules.parse(schedule)
        except event_patterns.PatternError as error:
            raise JsonRESTError(
                "InvalidEventPatternException", f"Event pattern is not valid. Reason: {error}"
            ) from None
        except schedules.ScheduleError as error:
            raise ValidationException(f"Parameter ScheduleExpression is not valid. Reason: {error}") from None
        if pattern and any(str(source).startswith("aws.") for source in json.loads(pattern).get("source", [])):
            raise ValidationException("EventPattern: no AWS service sends events to the local EventBridge")
        rule = super().put_rule(name, *args, **kwargs)
        self._schedule(rule)
        return rule

    def delete_rule(self, name: str, event_bus_arn: str | None) -> None:
        """Delete a rule."""
        rule = self.describe_rule(name, event_bus_arn)
        super().delete_rule(name, event_bus_arn)
        self._call_off(rule)

    def enable_rule(self, name: str, event_bus_arn: str | None) -> bool:
        """Let a rule work."""
        found = super().enable_rule(name, event_bus_arn)
        if found:
            self._schedule(self.describe_rule(name, event_bus_arn))
        return found

    def disable_rule(self, name: str, event_bus_arn: str | None) -> bool:
        """Let a rule rest."""
        found = super().disable_rule(name, event_bus_arn)
        if found:
            self._call_off(self.describe_rule(name, event_bus_arn))
        return found

    def put_targets(self, name: str, event_bus_arn: str | None, targets: list[dict[str, Any]]) -> None:
        """Say where a rule sends events."""
        for target in targets:
            if destinations.kind(target["Arn"]) not in TARGETS:
                raise ValidationException(
                    f"Target {target['Id']}: the local EventBridge sends to {', '.join(TARGETS)}, not {target['Arn']}"
                )
            if others := sorted(target.keys() - _TARGET):
                raise ValidationException(
                    f"Target {target['Id']}: the local EventBridge does not do {', '.join(others)}"
                )
            if "InputPath" in target and not re.fullmatch(r"\$(\.[\w-]+)*", target["InputPath"]):
                raise ValidationException(
                    f"Target {target['Id']}: InputPath {target['InputPath']}: only names are done, as in $.detail.id"
                )
        super().put_targets(name, event_bus_arn, targets)

    # --------------------------------------------------------------------------------------------------------- events

    def put_events(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send events to the targets of the rules that match."""
        if len(events) > 10:
            raise ValidationException("1 validation error detected: Entries: at most 10 events at a time")
        return [self._put_event(event) for event in events]

    def _put_event(self, entry: dict[str, Any]) -> dict[str, Any]:
        for field in ("Source", "DetailType", "Detail"):
            if not entry.get(field):
                message = f"Parameter {field} is not valid. Reason: {field} is a required argument."
                return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
        if entry["Source"].startswith("aws."):
            message = "Not authorized for the source: aws. belongs to AWS services"
            return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": message}
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            detail = None
        if not isinstance(detail, dict):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        bus = self.event_buses.get(self._normalize_event_bus_arn(entry.get("EventBusName")))
        if bus is None:
            raise UnknownBusError(str(entry.get("EventBusName")))
        time = datetime.fromtimestamp(float(entry["Time"]), UTC) if entry.get("Time") else datetime.now(UTC)
        event = _event(entry["DetailType"], entry["Source"], time, entry.get("Resources") or [], detail)
        for rule in list(bus.rules.values()):
            pattern = rule.event_pattern.dump()
            if rule.state == "ENABLED" and pattern and event_patterns.compiled(pattern)(event):
                _send(rule, event)
        return {"EventId": event["id"]}

    # ------------------------------------------------------------------------------------------------------ schedules

    def _schedule(self, rule: Rule) -> None:
        """Make the next appointment of a rule, and only that."""
        with self._calendar:
            self._call_off(rule)
            current = self.event_buses[rule.event_bus_name].rules.get(rule.name)
            if not rule.scheduled_expression or rule.state != "ENABLED" or current is not rule:
                return
            now = datetime.now(UTC)
            due = schedules.parse(rule.scheduled_expression)(now)
            if due is not None:
                seconds = (due - now).total_seconds()
                self._appointments[rule.arn] = timetable.after(seconds, lambda: self._keep(rule, due))

    def _keep(self, rule: Rule, due: datetime) -> None:
        event = _event("Scheduled Event", "aws.events", due, [rule.arn], {})
        threading.Thread(target=_send, args=(rule, event), name=f"rule-{rule.name}", daemon=True).start()
        self._schedule(rule)

    def _call_off(self, rule: Rule) -> None:
        with self._calendar:
            call_off = self._appointments.pop(rule.arn, None)
            if call_off is not None:
                call_off()


def _event(kind: str, source: str, time: datetime, resources: list[str], detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": resources,
        "detail": detail,
    }


def _send(rule: Rule, event: dict[str, Any]) -> None:
    """Send an event to all targets of a rule; one that fails does not keep it from the others."""
    for target in list(rule.targets):
        arn, document = target["Arn"], _input(target, event)
        message = {"group": (target.get("SqsParameters") or {}).get("MessageGroupId")}
        try:
            if destinations.kind(arn) == "lambda":
                _check_permission(rule, arn)
            destinations.deliver(arn, document, **message)
        except (DeliveryError, lambdas.UnknownFunctionError) as error:
            what = f"Event {event['id']} of rule {rule.name} for {arn}"
            dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
            destinations.give_up(what, error, dead_letters, document)


def _check_permission(rule: Rule, arn: str) -> None:
    if not lambdas.permits(arn, "events.amazonaws.com", rule.arn):
        raise DeliveryError(
            f"{arn} does not let {rule.arn} invoke it: AddPermission with Principal events.amazonaws.com is missing"
        )


def _input(target: dict[str, Any], event: dict[str, Any]) -> str:
    if "Input" in target:
        return str(target["Input"])
    part: Any = event
    for name in target.get("InputPath", "$").split(".")[1:]:
        part = part.get(name) if isinstance(part, dict) else None
    return json.dumps(part)
