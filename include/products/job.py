"""The Batch operator, with failures that say why."""

from typing import Any

from airflow.providers.amazon.aws.operators.batch import BatchOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException


class ProductJobOperator(BatchOperator):
    """Runs a product as a deferrable Batch job; the job's log is in the task's.

    The stock operator says of a failed deferrable job no more than FAILED. This one asks Batch for the reason, such as
    an exhausted memory limit or an image that could not be pulled.
    """

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Ends the task as the job ended.

        Raises:
            AirflowFailException: the job failed; the message has Batch's reason and the exit code.
        """
        job_id = str((event or {}).get("job_id") or self.job_id)
        try:
            return super().execute_complete(context, event)
        except Exception as error:
            raise AirflowFailException(self._reason(job_id)) from error

    def _reason(self, job_id: str) -> str:
        job = self.hook.get_job_description(job_id)
        container = job.get("container", {})
        parts = [
            f"{job['jobName']} ({job_id}) is {job['status']}",
            job.get("statusReason"),
            container.get("reason"),
            f"exit code {container['exitCode']}" if "exitCode" in container else None,
        ]
        return ": ".join(part for part in parts if part)
