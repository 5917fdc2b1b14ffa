"""The process that runs DAGs for `local.dag_runs`: `airflow dags test` again and again, with Airflow imported once.

It reads a request a line, as JSON: `arguments` of the command, and what is to be in its `environment`. Between
the lines of the runs, `BEGIN` and `END` with the exit code are its answers.
"""

import json
import os
import sys
import traceback

BEGIN, END = "[DAG RUNNER] begin", "[DAG RUNNER] end"


def warm_up() -> None:
    """Does at once what would take the first run some seconds: imports, and the API that tasks talk to."""
    import httpx
    from airflow.cli.commands import dag_command  # noqa: F401
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    httpx.Client(transport=in_process_api_server().transport, base_url="http://in-process").get("/health")


def main() -> None:
    """Runs DAGs until there are no more requests."""
    from airflow.__main__ import main as command

    warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        os.environ.update(request["environment"])
        sys.argv = ["airflow", "dags", "test", *request["arguments"]]
        print(BEGIN, flush=True)
        code: object = 0
        try:
            command()
        except SystemExit as end:
            code = end.code or 0
        except Exception:  # the next run may do better
            traceback.print_exc(file=sys.stdout)
            code = 1
        print(END, 0 if code == 0 else 1, flush=True)


if __name__ == "__main__":
    main()
