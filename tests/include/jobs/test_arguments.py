"""Arguments as Glue gives them."""

import pytest

from include.jobs import arguments, engine


def read(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["job.py", *words])
    return arguments.read("lake", "salt_secret", optional=("engine", "dask_scheduler"))


@pytest.mark.parametrize("empty", [[], ["--engine", ""], ["--engine"], ["--engine="]], ids=["none", "word", "no", "is"])
def test_an_empty_engine_is_the_default_of_the_environment(monkeypatch, empty):
    given = read(monkeypatch, *empty, "--lake", "l", "--JOB_NAME", "j", "--salt-secret", "s", *empty)
    assert vars(given) == {"lake": "l", "salt_secret": "s", "engine": None, "dask_scheduler": None}
    monkeypatch.setenv("VITRINE_ENGINE", "dask")
    monkeypatch.delenv("VITRINE_DASK_SCHEDULER", raising=False)
    with engine.chosen(given.engine, given.dask_scheduler) as on:
        assert on.name == "dask"


def test_words_may_be_separated_either_way(monkeypatch):
    given = read(monkeypatch, "--lake", "l", "--salt_secret", "s", "--engine", "dask", "--dask-scheduler", "tcp://x:1")
    assert vars(given) == {"lake": "l", "salt_secret": "s", "engine": "dask", "dask_scheduler": "tcp://x:1"}


def test_what_is_needed_must_be_given(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        read(monkeypatch, "--lake", "l")
    assert "--salt-secret" in capsys.readouterr().err
