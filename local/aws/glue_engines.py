"""What runs the script of a Glue job: Polars or Dask in a plain Python process, or Spark.

A run says so in its argument ``--engine``; those that don't have what ``VITRINE_GLUE_ENGINE`` in the environment of the
stack chooses: ``polars`` (the default), ``dask`` or ``spark``. Spark's master is ``VITRINE_SPARK_MASTER`` (default
``local[2]``), Dask's scheduler ``VITRINE_DASK_SCHEDULER`` (default: Dask computes in the process of the run). The job
finds engine and scheduler in its own environment, as ``VITRINE_ENGINE`` and ``VITRINE_DASK_SCHEDULER``.
"""

import importlib.util
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws import s3
from local.aws.glue_definitions import module_uris
from local.aws.plugging import PluggingError
from local.aws.settings import child_environment, current

ENGINES = ("polars", "dask", "spark")
INSTALL = "make .venv/.tests-installed"
"""The command that installs Spark and Dask."""

# The folder of what a script can import beyond the interpreter's packages and its own --extra-py-files.
_PROVIDED = Path(__file__).with_name("glue_path")
# Arguments that Glue takes for itself; the script does not see them.
_CONSUMED = ("--conf", "--extra-py-files", "--job-language")


class LaunchError(RuntimeError):
    """A run that could not be started; the message is the reason."""


@dataclass(frozen=True)
class Launch:
    """A run, ready to start.

    Attributes:
        engine: One of ``ENGINES``.
        command: The executable and its arguments.
        environment: All its variables.
        notes: What of the job's settings has no effect here.
    """

    engine: str
    command: list[str]
    environment: dict[str, str]
    notes: list[str]


@dataclass(frozen=True)
class Engine:
    """What scripts run on.

    Attributes:
        name: One of ``ENGINES``, for runs that don't name one themselves.
        master: Address of Spark's master.
        scheduler: Address of Dask's scheduler; empty: none.
    """

    name: str = "polars"
    master: str = "local[2]"
    scheduler: str = ""

    @classmethod
    def chosen(cls) -> "Engine":
        """The engine that the environment of this process chooses.

        Raises:
            PluggingError: There is no such engine, or something that it needs is not installed.
        """
        found = os.environ.get
        engine = cls(
            found("VITRINE_GLUE_ENGINE") or cls.name,
            found("VITRINE_SPARK_MASTER") or cls.master,
            found("VITRINE_DASK_SCHEDULER") or cls.scheduler,
        )
        try:
            require(engine.name)
        except PluggingError as error:
            raise PluggingError(f"VITRINE_GLUE_ENGINE={engine.name}: {error}") from error
        return engine

    def prepare(self, run: dict[str, Any], system: dict[str, str], scratch: Path) -> Launch:
        """Bring a run's script and modules to this machine.

        Args:
            run: What the run gets, see :func:`local.aws.glue_definitions.merge`.
            system: The arguments that Glue adds.
            scratch: The run's own folder.

        Returns:
            What is to be started.

        Raises:
            LaunchError: The script or a module is not there, or the engine that the run names is not.
        """
        given = run["Arguments"]
        engine = given.get("--engine") or self.name
        try:
            require(engine)
        except PluggingError as error:
            raise LaunchError(f"--engine {engine}: {error}") from error
        script = _download(run["Command"]["ScriptLocation"], scratch, "Command.ScriptLocation")
        modules = [_download(uri, scratch / "modules", "--extra-py-files") for uri in module_uris(given)]
        arguments = system | {name: value for name, value in given.items() if name not in _CONSUMED}
        words = [str(script), *(word for pair in arguments.items() for word in pair)]
        # A single file is found through its folder, an archive as itself.
        path = [_PROVIDED, scratch / "modules", *(module for module in modules if module.suffix != ".py")]
        environment = child_environment(
            {
                "VITRINE_ENGINE": engine,
                "PYTHONPATH": os.pathsep.join(map(str, path)),
                "AWS_ALLOW_HTTP": "true",  # Polars refuses an endpoint without TLS unless told
                "TZ": "UTC",  # as on Glue
            }
            | ({"VITRINE_DASK_SCHEDULER": self.scheduler} if self.scheduler else {})
        )
        configuration = re.split(r"\s+--conf\s+", given["--conf"].strip()) if given.get("--conf") else []
        if engine != "spark":
            ignored = f"--conf has no effect: it configures Spark, this run is on {engine.title()}"
            return Launch(engine, [sys.executable, *words], environment, [ignored] if configuration else [])
        return Launch(
            engine,
            [*self._spark_submit(modules, configuration, scratch), *words],
            environment | _spark_environment(scratch),
            [],
        )

    def _spark_submit(self, modules: list[Path], configuration: list[str], scratch: Path) -> list[str]:
        settings = {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.log.level": "WARN",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "4",
            "spark.sql.warehouse.dir": scratch.joinpath("warehouse").as_uri(),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            **_lake(),
        }
        pairs = [f"{name}={value}" for name, value in settings.items()] + configuration
        command = [str(spark_home() / "bin" / "spark-submit"), "--master", self.master]
        command += [word for pair in pairs for word in ("--conf", pair)]
        if modules:
            command += ["--py-files", ",".join(map(str, modules))]
        return command


def _lake() -> dict[str, str]:
    """Spark's settings that make every bucket's ``s3://`` the folder of its files, without any library of AWS."""
    settings = {
        "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",  # no checksum files beside objects
        "spark.hadoop.fs.viewfs.overload.scheme.target.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    }
    for scheme in ("s3", "s3a"):
        view = "org.apache.hadoop.fs.viewfs"
        settings[f"spark.hadoop.fs.{scheme}.impl"] = f"{view}.ViewFileSystemOverloadScheme"
        settings[f"spark.hadoop.fs.AbstractFileSystem.{scheme}.impl"] = f"{view}.ViewFs"
    for folder in sorted((current().state / "s3").iterdir()):
        settings[f"spark.hadoop.fs.viewfs.mounttable.{folder.name}.linkFallback"] = folder.resolve().as_uri()
    return settings


def _spark_environment(scratch: Path) -> dict[str, str]:
    java_home = {"JAVA_HOME": os.environ["JAVA_HOME"]} if "JAVA_HOME" in os.environ else {}
    return java_home | {
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def spark_home() -> Path:
    """The folder of PySpark, which has all of Spark in it.

    Raises:
        PluggingError: It is not installed.
    """
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise PluggingError(f"PySpark is not installed: `{INSTALL}` installs it")
    return Path(found.origin).parent


def require(engine: str) -> None:
    """Raise PluggingError when there is no such engine, or something that it needs is not installed."""
    if engine not in ENGINES:
        raise PluggingError(f"it must be {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")
    if engine == "spark":
        spark_home()
        if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
            raise PluggingError("there is no Java; install version 17 (Debian, Ubuntu: openjdk-17-jre-headless)")
    if engine == "dask" and importlib.util.find_spec("dask") is None:
        raise PluggingError(f"Dask is not installed: `{INSTALL}` installs it")


def _download(uri: str, folder: Path, field: str) -> Path:
    """Copy an object, as it is now, into a folder."""
    folder.mkdir(exist_ok=True)
    source = s3.path_of(uri)
    target = folder / source.name
    if target.exists():
        raise LaunchError(f"{field}: two files are named {target.name}")
    try:
        shutil.copyfile(source, target)
    except (FileNotFoundError, IsADirectoryError):
        raise LaunchError(f"{field}: {uri} does not exist") from None
    return target
