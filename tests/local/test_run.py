from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import airflow, dag_runs, geo, lakehouse, load, run, stack
from local.airflow import RunError
from tests.local.test_show import publish

DAY = date(2026, 11, 1)


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state on whose stack a DAG run fails; what it had published is up to the test."""

    failures = SimpleNamespace(side_by_side=lambda *_: ["advanced_products failed: clv"])
    monkeypatch.setattr(stack, "shell_environment", lambda state, running: {})
    monkeypatch.setattr(load, "prepare", lambda *_: lambda port: SimpleNamespace(report_date=DAY))
    monkeypatch.setattr(lakehouse, "generate", lambda *_: tmp_path)
    monkeypatch.setattr(geo, "generate", lambda *_: tmp_path)
    monkeypatch.setattr(lakehouse, "land", lambda *_: [])
    monkeypatch.setattr(airflow, "migrate", lambda *_: None)
    monkeypatch.setattr(dag_runs, "runners", lambda *_: nullcontext(failures))
    return tmp_path


def test_a_failed_run_shows_what_was_published_and_fails(failing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(failing, str(DAY), "mba")
    with pytest.raises(RunError, match="clv"):
        run.run(failing, lambda: stack.Running(1, 2, 3), "drogaria", None, 1.0)
    shown = capsys.readouterr().out
    assert "Bought together" in shown
    assert "Done in" not in shown


def test_a_failed_run_that_published_nothing_only_fails(failing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="clv"):
        run.run(failing, lambda: stack.Running(1, 2, 3), "drogaria", None, 1.0)
    assert "report date" not in capsys.readouterr().out
