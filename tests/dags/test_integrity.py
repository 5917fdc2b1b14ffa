"""What every DAG of the house must have."""

import ast
from pathlib import Path

import pytest

from include.products.plan import FLAGS
from include.tags import Tag

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))
EXPECTED = {
    "advanced_products",
    "advanced_products_monthly",
    "geo_advertising",
    "kinesis_to_s3",
    "lake_maintenance",
    "order_stream",
    "sales_lakehouse",
    "speed_reconcile",
    "warehouse_load",
    "web_logs",
}
OWNERS = {"data-products", "data-platform"}
NOT_RETRIED = {
    # Batch tries its jobs again by itself
    "advanced_products": {*(f"{product}.run" for product in FLAGS.values()), "choose_products", "summarise"},
    "advanced_products_monthly": {"clients", "run_client"},
    "geo_advertising": {"has_landed"},
    "kinesis_to_s3": {"choose_start", "refined.is_behind"},
    "lake_maintenance": set(),
    "order_stream": {"choose_start", "is_behind"},
    "sales_lakehouse": {"choose_start", "views"},
    "speed_reconcile": set(),
    # a second swap has nothing to swap
    "warehouse_load": {"redshift.swap"},
    "web_logs": {"choose_start", "is_behind"},
}


@pytest.fixture(scope="module")
def bag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=DAGS, bundle_name="dags-folder")


def test_all_dags_load(bag):
    assert bag.import_errors == {}
    assert set(bag.dags) == EXPECTED


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dag_file_is_wiring(file):
    assert len(file.read_text().splitlines()) <= 120


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dag_file_imports_only_what_authors_need(file):
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    allowed = ("airflow.sdk", "airflow.providers.", "include", "datetime", "pendulum")
    assert [module for module in modules if not module.startswith(allowed)] == []


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_dag_says_what_it_does_and_how_to_mend_it(bag, dag_id):
    doc = bag.dags[dag_id].doc_md
    assert "**Reads**" in doc
    assert "**Writes**" in doc
    assert "## Triage" in doc


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_tags_and_owner(bag, dag_id):
    dag = bag.dags[dag_id]
    assert dag.tags
    assert set(dag.tags) <= set(Tag)
    (owner,) = {task.owner for task in dag.tasks}
    assert owner in OWNERS


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_operators_that_wait_are_deferrable(bag, dag_id):
    waiting = [task for task in bag.dags[dag_id].tasks if hasattr(task, "deferrable")]
    assert [task.task_id for task in waiting if not task.deferrable] == []


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_repeatable_tasks_are_retried_and_no_others(bag, dag_id):
    assert {task.task_id for task in bag.dags[dag_id].tasks if not task.retries} == NOT_RETRIED[dag_id]


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_no_failure_hides_behind_the_task_that_tidies_up(bag, dag_id):
    """Whose failure stops nothing but a task that runs all the same would leave the run green."""
    for task in bag.dags[dag_id].tasks:
        if task.task_id == "drop_candidates" and task.trigger_rule == "all_done":
            for before in task.upstream_list:
                assert before.downstream_task_ids - {task.task_id}, before.task_id
