"""Athena: moto's workgroups and named queries, with executions that really happen.

An execution is a thread that runs one statement (``athena_engine``). Nothing succeeds that was not done.
"""

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import duckdb
from moto.athena.exceptions import InvalidArgumentException, MetadataException
from moto.athena.models import AthenaBackend, Database, WorkGroup
from moto.athena.responses import AthenaResponse
from moto.core.exceptions import JsonRESTError

from local.aws import athena_sql, catalog, plugging, s3
from local.aws.athena_engine import Engine
from local.aws.athena_errors import SYSTEM, USER, Cancelled, QueryFailed
from local.aws.athena_statement import Outcome, Statement

CONCURRENT = 4
"""Executions that run at a time; others are QUEUED."""

AT_ONCE_SECONDS = 0.4
"""So long a start waits for the end: who polls by the second then need not sleep for a query of milliseconds."""

DATA_CATALOG = "AwsDataCatalog"
PAGE = 1000
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


class InvalidRequestException(JsonRESTError):  # noqa: N818 (the API's name)
    """The request can't be what the caller meant."""

    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("InvalidRequestException", message)


def plug() -> None:
    """Let this module answer Athena."""
    plugging.plug(ExecutingAthena)


@dataclass
class QueryExecution:
    """One execution of a statement.

    Attributes:
        statement: What runs.
        workgroup: Its name.
        context: Catalog and database, as requested.
        configuration: Where results go and what else was requested for them.
        state: QUEUED, RUNNING, SUCCEEDED, FAILED or CANCELLED.
        reason: Why it ended without a result.
        error: The ``AthenaError`` of it.
        outcome: What it left.
    """

    statement: Statement
    workgroup: str
    context: dict[str, str]
    configuration: dict[str, Any]
    state: str = "QUEUED"
    reason: str | None = None
    error: dict[str, Any] | None = None
    outcome: Outcome | None = None
    submitted: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None

    @property
    def type(self) -> tuple[str, str | None]:
        """``StatementType`` and ``SubstatementType``."""
        sql = athena_sql.strip(self.statement.sql)
        try:
            kind = athena_sql.kind(sql)
        except QueryFailed:
            return "DML", None
        words = sql.upper().split()
        if kind == "DDL":
            utility = words[0] in ("SHOW", "DESCRIBE", "DESC")
            substatement = "_".join([word for word in words[:3] if word.isalpha() and word != "EXTERNAL"][:2])
            substatement = "DESCRIBE_TABLE" if words[0].startswith("DESC") else substatement
            return ("UTILITY" if utility else "DDL"), substatement
        return {
            "QUERY": ("DML", "SELECT"),
            "INSERT": ("DML", "INSERT"),
            "UNLOAD": ("DML", "UNLOAD"),
            "CTAS": ("DDL", "CREATE_TABLE_AS_SELECT"),
            "VIEW": ("DDL", "CREATE_VIEW"),
            "EXPLAIN": ("UTILITY", "EXPLAIN"),
        }[kind]

    @property
    def output(self) -> str:
        """Where the result is or will be."""
        if self.outcome is not None and self.outcome.output is not None:
            return self.outcome.output
        kind, substatement = self.type
        extension = "csv" if kind == "DML" and substatement in ("SELECT", None) else "txt"
        return f"{self.statement.output}{self.statement.id}.{extension}"

    def described(self) -> dict[str, Any]:
        """The ``QueryExecution`` of the API."""
        kind, substatement = self.type
        now = self.ended or time.time()
        queued = (self.started or now) - self.submitted
        running = now - self.started if self.started else 0.0
        status: dict[str, Any] = {"State": self.state, "SubmissionDateTime": self.submitted}
        if self.ended is not None:
            status["CompletionDateTime"] = self.ended
        if self.reason is not None:
            status["StateChangeReason"] = self.reason
        if self.error is not None:
            status["AthenaError"] = self.error
        statistics: dict[str, Any] = {
            "EngineExecutionTimeInMillis": int(running * 1000),
            "DataScannedInBytes": self.statement.scanned,
            "TotalExecutionTimeInMillis": int((now - self.submitted) * 1000),
            "QueryQueueTimeInMillis": int(queued * 1000),
            "ResultReuseInformation": {"ReusedPreviousResult": False},
        }
        if self.outcome is not None and self.outcome.manifest is not None:
            manifest = f"{self.statement.output}{self.statement.id}-manifest.csv"
            statistics["DataManifestLocation"] = manifest
        described = {
            "QueryExecutionId": self.statement.id,
            "Query": self.statement.sql,
            "StatementType": kind,
            "ResultConfiguration": {**self.configuration, "OutputLocation": self.output},
            "ResultReuseConfiguration": {"ResultReuseByAgeConfiguration": {"Enabled": False}},
            "QueryExecutionContext": self.context,
            "Status": status,
            "Statistics": statistics,
            "WorkGroup": self.workgroup,
            "EngineVersion": {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"},
        }
        if substatement:
            described["SubstatementType"] = substatement
        if self.statement.parameters is not None:
            described["ExecutionParameters"] = self.statement.parameters
        return described


class ExecutingAthena(plugging.Plugged, AthenaBackend):
    """moto's Athena, whose executions run."""

    service = "athena"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.executions: dict[str, QueryExecution] = {}  # type: ignore[assignment]
        self._tokens: dict[str, tuple[str, tuple]] = {}
        self._slots = threading.Semaphore(CONCURRENT)
        self._changes = threading.Lock()

    @property
    def catalog(self) -> catalog.Catalog:
        """The Glue Catalog that queries read."""
        return catalog.backend()

    def workgroup(self, name: str | None) -> WorkGroup:
        """Find a workgroup.

        Raises:
            InvalidRequestException: There is none of this name.
        """
        found = self.work_groups.get(name or "primary")
        if found is None:
            raise InvalidRequestException(f"WorkGroup {name} is not found.")
        return found

    def execution(self, execution_id: str) -> QueryExecution:
        """Find an execution.

        Raises:
            InvalidRequestException: There is none of this id.
        """
        found = self.executions.get(execution_id)
        if found is None:
            raise InvalidRequestException(f"QueryExecution {execution_id} was not found")
        return found

    def get_query_execution(self, exec_id: str) -> QueryExecution:  # type: ignore[override]
        """See :meth:`execution`."""
        return self.execution(exec_id)

    # ---------------------------------------------------------------------------------------------------- executions

    def start_query_execution(  # type: ignore[override]
        self,
        query: str,
        context: dict[str, str] | None,
        config: dict[str, Any] | None,
        workgroup: str | None,
        execution_parameters: list[str] | None,
        token: str | None = None,
    ) -> str:
        """Start a statement; a token that was used before names the execution that it started.

        Returns:
            The execution's id.

        Raises:
            InvalidRequestException: No or a disabled workgroup, no place for results, or a token of another query.
        """
        group = self.workgroup(workgroup)
        if group.state != "ENABLED":
            raise InvalidRequestException(f"WorkGroup {group.name} is disabled.")
        request = (query, json.dumps(context), json.dumps(config), group.name, tuple(execution_parameters or ()))
        with self._changes:
            if token is not None and token in self._tokens:
                execution_id, before = self._tokens[token]
                if before != request:
                    raise InvalidRequestException("Idempotent parameters do not match")
                return execution_id
            execution = self._new(query, context or {}, config or {}, group, execution_parameters)
            self.executions[execution.statement.id] = execution
            if token is not None:
                self._tokens[token] = (execution.statement.id, request)
        running = threading.Thread(
            target=self._run, args=(execution,), name=f"athena-{execution.statement.id}", daemon=True
        )
        running.start()
        running.join(AT_ONCE_SECONDS)
        return execution.statement.id

    def _new(
        self,
        query: str,
        context: dict[str, str],
        config: dict[str, Any],
        group: WorkGroup,
        parameters: list[str] | None,
    ) -> QueryExecution:
        own = group.configuration.get("ResultConfiguration") or {}
        enforced = bool(group.configuration.get("EnforceWorkGroupConfiguration")) and bool(own.get("OutputLocation"))
        configuration = {**own, **({} if enforced else config)}
        output = configuration.get("OutputLocation")
        if not output:
            raise InvalidRequestException(
                "No output location provided. An output location is required either through the Workgroup result "
                "configuration setting or as an API input."
            )
        if context.get("Catalog", DATA_CATALOG).lower() != DATA_CATALOG.lower():
            raise InvalidRequestException(f"Catalog {context['Catalog']} is not supported: use {DATA_CATALOG}")
        statement = Statement(
            id=str(uuid.uuid4()),
            sql=query,
            database=(context.get("Database") or "default").lower(),
            parameters=parameters,
            output=output.rstrip("/") + "/",
            enforced=enforced,
            cutoff=group.configuration.get("BytesScannedCutoffPerQuery"),
        )
        return QueryExecution(statement, group.name, context, configuration)

    def _run(self, execution: QueryExecution) -> None:
        with self._slots:
            with self._changes:
                if execution.state != "QUEUED":
                    return
                execution.state, execution.started = "RUNNING", time.time()
            state, reason, code = "SUCCEEDED", None, None
            try:
                outcome = Engine(self.catalog).run(execution.statement)
            except Cancelled:
                state = "CANCELLED"
            except QueryFailed as failure:
                state, reason, code = failure.state, str(failure), failure.code
            except Exception as error:  # whatever it is, the caller must not wait for ever
                kind = "" if isinstance(error, duckdb.Error) else f"{type(error).__name__}: "
                state, reason, code = "FAILED", f"GENERIC_INTERNAL_ERROR: {kind}{error}", "GENERIC_INTERNAL_ERROR"
            with self._changes:
                if state == "SUCCEEDED":
                    execution.outcome = outcome
                self._end(execution, state, reason, code)

    @staticmethod
    def _end(execution: QueryExecution, state: str, reason: str | None, code: str | None) -> None:
        if execution.state in FINAL:
            return
        execution.ended = time.time()
        execution.reason = reason
        if state == "FAILED":
            internal = code == "GENERIC_INTERNAL_ERROR"
            execution.error = {
                "ErrorCategory": SYSTEM if internal else USER,
                "ErrorType": 1 if internal else 1006,
                "Retryable": False,
                "ErrorMessage": reason,
            }
        execution.state = state

    def stop_query_execution(self, exec_id: str) -> None:
        """Interrupt an execution; one that has ended stays as it is."""
        execution = self.execution(exec_id)
        with self._changes:
            if execution.state in FINAL:
                return
            execution.statement.stop()
            if execution.state == "QUEUED":
                self._end(execution, "CANCELLED", None, None)

    def results(self, execution_id: str, start: int, count: int) -> tuple[list[list[str | None]], int, Outcome]:
        """A page of an execution's rows.

        Returns:
            The rows (the header is row 0 of a query's), how many there are in all, and the outcome.

        Raises:
            InvalidRequestException: It has not succeeded, or somebody deleted the result.
        """
        execution = self.execution(execution_id)
        if execution.state in ("QUEUED", "RUNNING"):
            raise InvalidRequestException(f"Query has not yet finished. Current state: {execution.state}")
        if execution.outcome is None:
            raise InvalidRequestException(f"Query did not finish successfully. Final query state: {execution.state}")
        result = execution.outcome.file
        if execution.outcome.output is not None:
            return [], 0, execution.outcome
        try:
            return result.page(s3.path_of(execution.output), start, count), result.total, execution.outcome
        except FileNotFoundError as error:
            raise InvalidRequestException(f"Could not find results: {execution.output}") from error

    # ----------------------------------------------------------------------------------------------------- metadata

    def get_database(self, catalog_name: str, database_name: str) -> dict[str, Any]:
        """A database of the Glue Catalog."""
        self._check_catalog(catalog_name)
        for database in self._databases():
            if database.name == database_name.lower():
                return {
                    "Name": database.name,
                    "Description": database.description,
                    "Parameters": database.parameters,
                }
        raise MetadataException(f"Database {database_name} not found. (EntityNotFoundException)")

    def list_databases(  # type: ignore[override]
        self, catalog_name: str, max_results: int | None = None, next_token: str | None = None
    ) -> tuple[list[Database], str | None]:
        """The databases of the Glue Catalog, one page of them, and the token of the next."""
        self._check_catalog(catalog_name)
        start = int(next_token or 0)
        end = start + min(max_results or 50, 50)
        found = self._databases()
        return found[start:end], (str(end) if end < len(found) else None)

    def _databases(self) -> list[Database]:
        with self.catalog.lock:
            return [
                Database(DATA_CATALOG, name, found.input.get("Description") or "", found.input.get("Parameters") or {})
                for name, found in sorted(self.catalog.databases.items())
            ]

    def list_data_catalogs(self) -> list[dict[str, str]]:
        """The data catalogs, Glue's first."""
        return [{"CatalogName": DATA_CATALOG, "Type": "GLUE"}, *super().list_data_catalogs()]

    def get_data_catalog(self, name: str) -> dict[str, Any] | None:  # type: ignore[override]
        """A data catalog."""
        if name.lower() == DATA_CATALOG.lower():
            return {"Name": DATA_CATALOG, "Type": "GLUE", "Description": "", "Parameters": {}}
        return super().get_data_catalog(name)

    def table_metadata(self, catalog_name: str, database: str, table: str | None = None) -> list[dict[str, Any]]:
        """The ``TableMetadata`` of one table, or of all tables of a database.

        Raises:
            MetadataException: There is no such database or table.
        """
        self._check_catalog(catalog_name)
        with self.catalog.lock:
            found = self.catalog.databases.get(database.lower())
            if found is None:
                raise MetadataException(f"Database {database} not found. (EntityNotFoundException)")
            names = sorted(found.tables) if table is None else [table.lower()]
            if table is not None and names[0] not in found.tables:
                raise MetadataException(f"Table {table} not found. (EntityNotFoundException)")
            return [_metadata(found.tables[name].as_dict()) for name in names]

    @staticmethod
    def _check_catalog(name: str) -> None:
        if name.lower() != DATA_CATALOG.lower():
            raise InvalidArgumentException(f"Catalog {name} is not supported: use {DATA_CATALOG}")


def _metadata(described: dict[str, Any]) -> dict[str, Any]:
    descriptor = described.get("StorageDescriptor") or {}
    serde = descriptor.get("SerdeInfo") or {}
    parameters = {
        **(described.get("Parameters") or {}),
        "location": descriptor.get("Location") or "",
        "inputformat": descriptor.get("InputFormat") or "",
        "outputformat": descriptor.get("OutputFormat") or "",
        "serde.serialization.lib": serde.get("SerializationLibrary") or "",
        **{f"serde.param.{key}": value for key, value in (serde.get("Parameters") or {}).items()},
    }
    return {
        "Name": described["Name"],
        "CreateTime": described["CreateTime"].timestamp(),
        "TableType": described.get("TableType") or "EXTERNAL_TABLE",
        "Columns": descriptor.get("Columns") or [],
        "PartitionKeys": described.get("PartitionKeys") or [],
        "Parameters": parameters,
    }


class ExecutingResponse(AthenaResponse):
    """moto's parsing of requests, for executions that run, and the actions that moto lacks."""

    @property
    def athena(self) -> ExecutingAthena:
        """The backend, by its real type."""
        return self.athena_backend  # type: ignore[return-value]

    def start_query_execution(self) -> str:
        """StartQueryExecution."""
        started = self.athena.start_query_execution(
            self._get_param("QueryString"),
            self._get_param("QueryExecutionContext"),
            self._get_param("ResultConfiguration"),
            self._get_param("WorkGroup"),
            self._get_param("ExecutionParameters"),
            self._get_param("ClientRequestToken"),
        )
        return json.dumps({"QueryExecutionId": started})

    def get_query_execution(self) -> str:
        """GetQueryExecution."""
        execution = self.athena.execution(self._get_param("QueryExecutionId"))
        return json.dumps({"QueryExecution": execution.described()})

    def batch_get_query_execution(self) -> str:
        """BatchGetQueryExecution."""
        found, missing = [], []
        for wanted in self._get_param("QueryExecutionIds"):
            try:
                found.append(self.athena.execution(wanted).described())
            except InvalidRequestException as error:
                missing.append(
                    {
                        "QueryExecutionId": wanted,
                        "ErrorCode": "INVALID_QUERY_EXECUTION_ID",
                        "ErrorMessage": error.message,
                    }
                )
        return json.dumps({"QueryExecutions": found, "UnprocessedQueryExecutionIds": missing})

    def list_query_executions(self) -> str:
        """ListQueryExecutions: of one workgroup, the newest first."""
        group = self.athena.workgroup(self._get_param("WorkGroup")).name
        found = [each.statement.id for each in reversed(self.athena.executions.values()) if each.workgroup == group]
        page, token = self._page(found, 50)
        return json.dumps({"QueryExecutionIds": page, **token})

    def _page(self, found: list[Any], most: int) -> tuple[list[Any], dict[str, str]]:
        start = int(self._get_param("NextToken") or 0)
        end = start + min(self._get_int_param("MaxResults") or most, most)
        return found[start:end], ({"NextToken": str(end)} if end < len(found) else {})

    def get_query_results(self) -> str:
        """GetQueryResults: at most 1000 rows, of which the first of a query's first page holds the names."""
        start = int(self._get_param("NextToken") or 0)
        count = min(self._get_int_param("MaxResults") or PAGE, PAGE)
        rows, total, outcome = self.athena.results(self._get_param("QueryExecutionId"), start, count)
        page = [{"Data": [{} if value is None else {"VarCharValue": value} for value in row]} for row in rows]
        result: dict[str, Any] = {
            "UpdateCount": outcome.updated,
            "ResultSet": {
                "Rows": page,
                "ResultSetMetadata": {"ColumnInfo": [column.info() for column in outcome.file.columns]},
            },
        }
        if start + count < total:
            result["NextToken"] = str(start + count)
        return json.dumps(result)

    def stop_query_execution(self) -> str:
        """StopQueryExecution."""
        self.athena.stop_query_execution(self._get_param("QueryExecutionId"))
        return "{}"

    def get_query_runtime_statistics(self) -> str:
        """GetQueryRuntimeStatistics: what is really known; there are no stages."""
        execution = self.athena.execution(self._get_param("QueryExecutionId"))
        statistics = execution.described()["Statistics"]
        timeline = {name: value for name, value in statistics.items() if name.endswith("Millis")}
        rows = {"InputBytes": execution.statement.scanned}
        if execution.outcome is not None:
            rows |= {"OutputRows": execution.outcome.updated or execution.outcome.file.rows}
            rows |= {"OutputBytes": execution.outcome.file.size}
        return json.dumps({"QueryRuntimeStatistics": {"Timeline": timeline, "Rows": rows}})

    def get_work_group(self) -> str:
        """GetWorkGroup."""
        group = self.athena.workgroup(self._get_param("WorkGroup"))
        return json.dumps({"WorkGroup": self.athena.get_work_group(group.name)})

    def update_work_group(self) -> str:
        """UpdateWorkGroup."""
        group = self.athena.workgroup(self._get_param("WorkGroup"))
        if self._get_param("Description") is not None:
            group.description = self._get_param("Description")
        if self._get_param("State") is not None:
            group.state = self._get_param("State")
        _update(group.configuration, self._get_param("ConfigurationUpdates") or {})
        return "{}"

    def delete_work_group(self) -> str:
        """DeleteWorkGroup."""
        group = self.athena.workgroup(self._get_param("WorkGroup"))
        if group.name == "primary":
            raise InvalidRequestException("The primary workgroup cannot be deleted.")
        used = any(each.workgroup == group.name for each in self.athena.executions.values())
        if used and not self._get_param("RecursiveDeleteOption"):
            raise InvalidRequestException(f"WorkGroup {group.name} is not empty: set RecursiveDeleteOption")
        self.athena.delete_work_group(group.name)
        return "{}"

    def get_table_metadata(self) -> str:
        """GetTableMetadata."""
        found = self.athena.table_metadata(
            self._get_param("CatalogName"), self._get_param("DatabaseName"), self._get_param("TableName")
        )
        return json.dumps({"TableMetadata": found[0]})

    def list_table_metadata(self) -> str:
        """ListTableMetadata, by page; ``Expression`` is a regular expression on names."""
        found = self.athena.table_metadata(self._get_param("CatalogName"), self._get_param("DatabaseName"))
        expression = self._get_param("Expression")
        if expression:
            try:
                pattern = re.compile(expression)
            except re.error as error:
                raise InvalidRequestException(f"Expression {expression!r}: {error}") from error
            found = [table for table in found if pattern.search(table["Name"])]
        page, token = self._page(found, 50)
        return json.dumps({"TableMetadataList": page, **token})


def _update(configuration: dict[str, Any], updates: dict[str, Any]) -> None:
    """Apply ``WorkGroupConfigurationUpdates``, whose ``Remove…`` members take settings away."""
    results = {**(configuration.get("ResultConfiguration") or {})}
    for name, value in updates.items():
        if name == "ResultConfigurationUpdates":
            for member, new in value.items():
                if not member.startswith("Remove"):
                    results[member] = new
                elif new:
                    results.pop(member.removeprefix("Remove"), None)
        elif name == "RemoveBytesScannedCutoffPerQuery":
            if value:
                configuration.pop("BytesScannedCutoffPerQuery", None)
        else:
            configuration[name] = value
    configuration["ResultConfiguration"] = results


ExecutingAthena.response = ExecutingResponse
