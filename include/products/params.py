"""The parameters of a products run: their JSON schema is the UI's form and the check of every trigger."""

from airflow.sdk import Param


def _flag(default: bool, description: str) -> Param:
    # Older callers send the texts "True" and "False".
    return Param(
        default,
        type=["boolean", "string"],
        enum=[True, False, "True", "False", "true", "false"],
        description=description,
    )


PARAMS = {
    "client": Param(
        "drogaria",
        type="string",
        pattern="^[a-z][a-z0-9_]*$",
        title="Client",
        description="A client with a contract in include/clients.",
        examples=["drogaria", "online_retail"],
    ),
    "report_date": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Report date",
        description="The day after the last day of sales to use. Empty: the day the run's data interval ends.",
    ),
    "MBA": _flag(True, "Market basket analysis."),
    "CLV": _flag(True, "Customer lifetime value."),
    "AD": _flag(True, "Anomaly detection."),
    "RECOMMENDER": _flag(True, "Product recommendations."),
    "MEMORY": Param(2048, type="integer", minimum=128, maximum=245760, description="MiB that each job may use."),
    "memoryReservation": Param(
        None,
        type=["null", "integer"],
        minimum=128,
        maximum=245760,
        description="MiB to reserve. Batch reserves what a job may use, so the larger of this and MEMORY counts.",
    ),
    "privileged": _flag(False, "Run in privileged containers, where the account's deployment allows them."),
    "priority": Param("DEFAULT", type="string", enum=["DEFAULT", "HIGH"], description="The Batch queue."),
}
