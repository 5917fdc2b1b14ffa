"""The operator that checks one table's candidate against its contract, through Athena."""

from collections.abc import Sequence
from typing import Any

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from include.tables import audit, contract


class TableAuditOperator(AthenaOperator):
    """Runs the checks of a table's contract as one query, and fails naming every check that failed.

    Args:
        table: The table's name.
        query: The checks, as `include.tables.audit.query` writes them.
    """

    template_fields: Sequence[str] = (*AthenaOperator.template_fields, "table")

    def __init__(self, *, table: str, query: str, **kwargs: Any) -> None:
        super().__init__(query=query, **kwargs)
        self.table = table

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, str]:  # type: ignore[override]
        """Judges the counts that the query found.

        Returns:
            `table`, and `warnings`, joined by "; ".

        Raises:
            AirflowFailException: rows break the contract; the message has each check with its count.
        """
        query_id = super().execute_complete(context, event)
        header, values = self.hook.get_conn().get_query_results(QueryExecutionId=query_id)["ResultSet"]["Rows"]
        names = [cell["VarCharValue"] for cell in header["Data"]]
        row = dict(zip(names, (cell.get("VarCharValue") for cell in values["Data"]), strict=True))
        verdict = audit.judge(contract.load(self.table), row)
        for warning in verdict.warnings:
            self.log.warning("%s", warning)
        if verdict.failures:
            raise AirflowFailException("; ".join(verdict.failures))
        self.log.info("%s: %d rows keep the contract", self.table, verdict.rows)
        return {"table": self.table, "warnings": "; ".join(verdict.warnings)}
