"""What a job that runs on the local stack finds as ``awsglue``: ``awsglue.utils.getResolvedOptions``, and no more.

This folder is on the path of every job. The library of Glue itself lives on Spark and in AWS; whatever else a script
imports of it fails here, saying so.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, NoReturn

_ALWAYS_KNOWN = ("JOB_ID", "JOB_RUN_ID", "TempDir")

__path__: list[str] = []  # a package, so that Python looks for its modules and meets the refusal below


class GlueArgumentError(Exception):
    """An argument that the script needs was not passed."""

    __module__ = "awsglue.utils"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GlueArgumentError(message)


def getResolvedOptions(args: Sequence[str], options: Sequence[str]) -> dict[str, Any]:  # noqa: N802 (Glue's name)
    """Read the arguments of a job.

    Args:
        args: ``sys.argv``.
        options: Names of the arguments to read, without their dashes; all are required but ``TempDir``.

    Returns:
        Name, with underscores for dashes, to value. ``JOB_ID``, ``JOB_RUN_ID`` and ``TempDir`` are always there,
        ``None`` when nobody passed them.

    Raises:
        GlueArgumentError: One of them was not passed.
    """
    parser = _Parser(allow_abbrev=False, add_help=False)
    for name in dict.fromkeys((*_ALWAYS_KNOWN, *options)):
        parser.add_argument(f"--{name}", required=name not in _ALWAYS_KNOWN)
    return vars(parser.parse_known_args(args[1:])[0])


class _Refusal(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Fail for every other module of the package."""
        if fullname.startswith(f"{__name__}."):
            raise ImportError(
                f"{fullname} does not run on the local stack: of awsglue it has awsglue.utils.getResolvedOptions only. "
                "Use Polars, or Spark's own SparkSession"
            )


utils: Any = ModuleType("awsglue.utils", "Arguments of jobs.")
utils.getResolvedOptions, utils.GlueArgumentError = getResolvedOptions, GlueArgumentError
sys.modules["awsglue.utils"] = utils
sys.meta_path.insert(0, _Refusal())
