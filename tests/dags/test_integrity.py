"""What every DAG of the house must have."""

import ast
from pathlib import Path

import pytest

from include.products.plan import FLAGS
from include.tags import Tag

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))
EXPECTED = {"advanced_products", "advanced_products_monthly"}


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
    assert {task.owner for task in dag.tasks} == {"data-products"}


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_operators_that_wait_are_deferrable(bag, dag_id):
    waiting = [task for task in bag.dags[dag_id].tasks if hasattr(task, "deferrable")]
    assert [task.task_id for task in waiting if not task.deferrable] == []


def test_only_repeatable_tasks_are_retried(bag):
    retried = {task.task_id for dag in bag.dags.values() for task in dag.tasks if task.retries}
    assert retried == {
        "resolve_contract",
        "extract.unload",
        "extract.totals",
        "extract.register",
        "extract.audit",
        "extract.check",
        *(f"{product}.{step}" for product in FLAGS.values() for step in ("check_output", "publish")),
    }
