"""The package `include` of the DAGs folder, for the triggerer: of Airflow's processes, it alone does not look there."""

from pathlib import Path

from airflow.configuration import conf

__path__ = [str(Path(conf.get_mandatory_value("core", "dags_folder")) / "include")]
