import pytest
from airflow.exceptions import AirflowFailException

from include.products import tasks

PRODUCTS = ("mba", "clv")


class Run:
    """A task instance as `summarise` sees it: its run's states, and the XComs of this and earlier tries."""

    dag_id, run_id = "advanced_products", "monthly__2026-03-01__drogaria"

    def __init__(self, **changed):
        done = ["resolve_contract", "extract.check", *(f"{product}.publish" for product in PRODUCTS)]
        self.states = {**dict.fromkeys(done, "success"), **{k.replace("__", "."): v for k, v in changed.items()}}

    def get_task_states(self, dag_id, run_ids):
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        return {self.run_id: self.states}

    def xcom_pull(self, task_id, key="return_value"):
        return list(PRODUCTS) if key == "products" else {"rows": {f"{task_id.split('.')[0]}_table": 7}}


def summarise(run):
    return tasks.summarise.function(run)


def test_the_summary_has_the_rows_of_every_product():
    assert summarise(Run()) == {"mba": {"mba_table": 7}, "clv": {"clv_table": 7}}


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped"])
def test_a_product_that_was_not_reached_again_after_a_clear_is_not_called_published(state):
    with pytest.raises(AirflowFailException, match="not published: clv"):
        summarise(Run(clv__publish=state))


def test_an_extract_that_failed_after_a_clear_fails_the_run():
    with pytest.raises(AirflowFailException, match="the extract failed, so no product was run: mba, clv"):
        summarise(Run(extract__check="failed"))


def test_a_plan_that_failed_after_a_clear_fails_the_run():
    with pytest.raises(AirflowFailException, match="resolve_contract failed"):
        summarise(Run(resolve_contract="failed"))
