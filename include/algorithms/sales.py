"""Reads the extract: the client's sale lines as Parquet files with the contract's roles as columns."""

from __future__ import annotations

import logging
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from include.algorithms import storage
from include.algorithms.outcome import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)


def read(prefix: str, columns: Sequence[str], contract: str) -> pl.DataFrame:
    """The sale lines below a prefix, files in order of their names.

    Whole files are copied before they are read (0.3 s for the 540 000 lines of the UCI data, range requests 0.2 s): one
    client then speaks to S3, and its errors name bucket and key.

    Args:
        prefix: `s3://bucket/prefix` or a folder; sub-folders such as `month=2024-05` are searched too.
        columns: columns to read; a pattern such as `customer_*` stands for those that are there, possibly none.
        contract: path of the client's contract, named in errors.

    Returns:
        One row per sale line. A column whose type differs between files has the type that holds all of them, in the
        last resort text.

    Raises:
        InputError: no files, a file that is not Parquet, a missing column (file, column and contract are named), or
            no rows at all.
    """
    files = storage.parquet_files(prefix)
    with tempfile.TemporaryDirectory(prefix="sales-") as scratch, storage.local_copies(files, Path(scratch)) as copies:
        parts = [_scan(copy, file, columns, contract) for copy, file in zip(copies, files, strict=True)]
        schemas = [part.collect_schema() for part in parts]
        # A pattern's column may be absent from some files: it is null there.
        names = list(dict.fromkeys(name for schema in schemas for name in schema.names()))
        texts = [name for name in names if _is_mixed([schema[name] for schema in schemas if name in schema])]
        parts = [
            part.with_columns(pl.col(n).cast(pl.String) for n in texts if n in s)
            for part, s in zip(parts, schemas, strict=True)
        ]
        try:
            sales = pl.concat(parts, how="diagonal_relaxed").select(names).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(
                f"an extract file below {prefix} is damaged: {_first_line(error)}: extract again"
            ) from error
    if sales.is_empty():
        raise InputError(f"the extract below {prefix} has no rows: has the client sales in the period of the report?")
    log.info(
        "read %s sale lines, %d columns, from %d files below %s", f"{len(sales):,}", len(names), len(files), prefix
    )
    return sales


def _scan(path: Path, file: str, columns: Sequence[str], contract: str) -> pl.LazyFrame:
    try:
        frame = pl.scan_parquet(path, hive_partitioning=False, glob=False)
        present = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{file} is not a readable Parquet file ({_first_line(error)}): extract again") from error
    # Snowflake writes unquoted names in upper case.
    by_name = {name.lower(): name for name in present}
    wanted = dict.fromkeys(n for column in columns for n in sorted(by_name) if fnmatchcase(n, column))
    missing = [column for column in columns if "*" not in column and column not in by_name]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise InputError(
            f"{file} has no column{plural} {', '.join(missing)} (it has {', '.join(present)}): "
            f"map the role{plural} in {contract} and extract again"
        )
    return frame.select(pl.col(by_name[name]).alias(name) for name in wanted)


def _is_mixed(types: list[pl.DataType]) -> bool:
    """Whether the types of one column in several files have no common type but text."""
    kinds = {_kind(dtype) for dtype in types if dtype != pl.Null}
    return len(kinds) > 1


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "number"
    return "moment" if dtype in (pl.Date, pl.Datetime) and not getattr(dtype, "time_zone", None) else str(dtype)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
