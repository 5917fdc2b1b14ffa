"""The engine Dask: pandas in partitions, on threads of this process or on the workers of a scheduler.

Columns are nullable (Int64 and boolean of pandas, dates and decimals of Arrow), so a whole number stays one where some
are missing. Files are read and written by the workers, with credentials of their own.
"""

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import cloudpickle
import dask
import dask.dataframe as dd
import narwhals as nw
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from dask.dataframe.extensions import make_scalar
from pyarrow import fs

import include
from include.jobs.engine import FILE, month_folder

ROWS = 500_000
"""Of a partition that is read, about."""
CONNECT_SECONDS = 30

_READERS = 16


class Place(NamedTuple):
    """A folder, for whoever reads or writes there.

    Attributes:
        location: Its s3:// URI, or a path of this machine; with a slash at the end.
        endpoint: URL of S3 where it is not AWS's, which pyarrow does not look for in the environment.
    """

    location: str
    endpoint: str | None

    @property
    def path(self) -> str:
        """The folder in its store."""
        return self.location.removeprefix("s3://")

    def store(self) -> fs.FileSystem:
        """The file system that it is in."""
        if self.path == self.location:
            return fs.LocalFileSystem()
        options = {}
        if self.endpoint:
            url = urlsplit(self.endpoint)
            options = {"endpoint_override": url.netloc, "scheme": url.scheme}
        # Of a URI, it looks up the bucket's region.
        return fs.FileSystem.from_uri(f"s3://{self.path.partition('/')[0]}?{urlencode(options)}")[0]

    def files(self) -> list[str]:
        """Paths of the Parquet files in it, in their order; or its own, if it is one."""
        if self.path.endswith(FILE):
            return [self.path]
        found = self.store().get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return sorted(file.path for file in found if file.base_name.endswith(FILE))

    def put(self, rows: pa.Table, name: str) -> None:
        """Writes a Parquet file."""
        store, path = self.store(), self.path + name
        if isinstance(store, fs.LocalFileSystem):
            store.create_dir(path.rpartition("/")[0])
        pq.write_table(rows, path, filesystem=store, compression="zstd")


Piece = tuple[str, tuple[int, ...]]
"""Path of a Parquet file, and the numbers of some of its row groups."""


class OnDask:
    """Dask, wherever it computes by default; `on` chooses that.

    Args:
        rows: Of a partition that is read, about; row groups are not split.
    """

    name = "dask"

    def __init__(self, rows: int = ROWS) -> None:
        self.rows = rows
        # The one names a package that only a later narwhals needs, the other types of pandas with the same values.
        warnings.filterwarnings("ignore", message="Dask support is moving out of Narwhals", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Merging dataframes with merge column data type mismatches")

    @classmethod
    @contextmanager
    def on(cls, scheduler: str | None) -> Iterator["OnDask"]:
        """The engine until the end of the block, when what it keeps in memory is let go.

        Args:
            scheduler: Address of a scheduler; None computes in this process.

        Raises:
            ConnectionError: no scheduler answers at the address.
        """
        # Text is Arrow's already.
        settings = {"dataframe.convert-string": False}
        if not scheduler:
            with dask.config.set({**settings, "scheduler": "threads"}):
                yield cls()
            return
        from distributed import Client

        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"--dask-scheduler {scheduler}: no scheduler answers there ({error})") from error
        # Not p2p, the default: when a worker is replaced, its joins may hang for ever (dask/distributed#8411).
        with client, dask.config.set({**settings, "dataframe.shuffle.method": "tasks"}):
            yield cls()

    def read(self, locations: Sequence[str], schema: pa.Schema | None = None) -> nw.LazyFrame:
        """As `Engine.read`."""
        places = [_place(location) for location in locations]
        files = [file for place in places for file in place.files()]
        if not files and schema is None:
            raise FileNotFoundError(f"no Parquet files in {', '.join(locations)}")
        store = places[0].store() if files else None
        with ThreadPoolExecutor(_READERS) as pool:
            footers = list(pool.map(partial(pq.read_metadata, filesystem=store), files))
        columns = footers[0].schema.to_arrow_schema() if schema is None else schema
        parts = _packed(files, footers, self.rows)
        if not parts:
            return self.take(columns.empty_table())
        load = _ByValue(_load, place=places[0], schema=columns)
        return nw.from_native(dd.from_map(load, parts, meta=_pandas(columns.empty_table())))

    def write(self, frame: nw.LazyFrame, location: str) -> None:
        """As `Engine.write`."""
        put = _ByValue(_put, place=_place(location))
        self._each_part(frame.to_native(), put)

    def write_sorted(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_sorted`."""
        put = _ByValue(_put, place=_place(location), key=tuple(key))
        self._each_part(frame.to_native().repartition(npartitions=1), put)

    def write_days(self, frame: nw.LazyFrame, location: str, day: str, key: Sequence[str]) -> nw.LazyFrame:
        """As `Engine.write_days`."""
        written = self._parted(frame, location, [day], key, "day={}".format)
        if not written:
            return nw.from_native(dd.from_pandas(frame.to_native()._meta, npartitions=1))
        return self.read([f"{location}{folder}/" for folder in written])

    def write_hours(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_hours`."""
        self._parted(frame, location, ["dt", "hour"], key, "at={}T{}".format)

    def write_months(self, frame: nw.LazyFrame, location: str, key: Sequence[str]) -> None:
        """As `Engine.write_months`."""
        self._parted(frame, location, ["month"], key, month_folder)

    def persist(self, frame: nw.LazyFrame) -> nw.LazyFrame:
        """As `Engine.persist`."""
        return nw.from_native(frame.to_native().persist(fuse=False))

    def take(self, rows: pa.Table) -> nw.LazyFrame:
        """As `Engine.take`."""
        # Persisted, or the rows would go to the scheduler again with everything that is computed of them.
        return nw.from_native(dd.from_pandas(_pandas(rows), npartitions=1).persist())

    def _parted(
        self, frame: nw.LazyFrame, location: str, by: Sequence[str], key: Sequence[str], folder: Callable[..., str]
    ) -> list[str]:
        """Writes a file for each value of some columns.

        Returns:
            The folders that were written.
        """
        rows = frame.to_native()
        if rows.npartitions > 1:
            rows = rows.shuffle(on=list(by))
        put = _ByValue(_put_folders, place=_place(location), by=tuple(by), key=tuple(key), folder=folder)
        return sorted(written for part in self._each_part(rows, put) for written in part)

    def _each_part(self, rows: Any, function: Callable[..., Any]) -> tuple[Any, ...]:
        """What a function makes of each partition and its number, all computed at once."""
        call = dask.delayed(function, pure=False)
        # Putting steps together into one takes minutes where a frame is joined with what is made of it.
        parts = rows.optimize(fuse=False).to_delayed(optimize_graph=False)
        return dask.compute(*(call(part, number) for number, part in enumerate(parts)))


@make_scalar.register(Decimal)
def _decimal(value: Decimal) -> Decimal:
    # What Dask plans the sum of a column of decimals with; it knows other numbers only.
    return value


class _ByValue:
    """A function of ours with some arguments, which workers get whole: they have libraries, but not our code."""

    def __init__(self, function: Callable[..., Any], **arguments: Any) -> None:
        self.function = partial(function, **arguments)
        self.__signature__ = inspect.signature(self.function)
        self.__name__ = function.__name__

    def __call__(self, *positional: Any, **named: Any) -> Any:
        return self.function(*positional, **named)

    def __reduce__(self) -> tuple[Any, ...]:
        cloudpickle.register_pickle_by_value(include)
        try:
            return cloudpickle.loads, (cloudpickle.dumps(self.function),)
        finally:
            cloudpickle.unregister_pickle_by_value(include)

    def __dask_tokenize__(self) -> Any:
        return self.__name__, dask.base.normalize_token(self.function.keywords)


def _place(location: str) -> Place:
    return Place(location, os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))


def _packed(files: Sequence[str], footers: Sequence[pq.FileMetaData], most: int) -> list[list[Piece]]:
    """Row groups in their order, put together while they have no more rows than allowed; without empty ones."""
    parts: list[list[Piece]] = []
    room = 0
    for file, footer in zip(files, footers, strict=True):
        for group in range(footer.num_row_groups):
            rows = footer.row_group(group).num_rows
            if rows and (rows > room or not parts):
                parts.append([])
                room = most
            if rows:
                _add(parts[-1], file, group)
                room -= rows
    return parts


def _add(pieces: list[Piece], file: str, group: int) -> None:
    if pieces and pieces[-1][0] == file:
        pieces[-1] = (file, (*pieces[-1][1], group))
    else:
        pieces.append((file, (group,)))


def _load(pieces: list[Piece], place: Place, schema: pa.Schema, columns: Sequence[str] | None = None) -> pd.DataFrame:
    store, parquet = place.store(), ds.ParquetFileFormat()
    wanted = list(schema.names if columns is None else columns)
    fragments = (parquet.make_fragment(path, store, row_groups=groups) for path, groups in pieces)
    return _pandas(pa.concat_tables(fragment.to_table(schema=schema, columns=wanted) for fragment in fragments))


def _pandas(rows: pa.Table) -> pd.DataFrame:
    return rows.to_pandas(types_mapper=_nullable, ignore_metadata=True)


def _nullable(dtype: pa.DataType) -> Any:
    if pa.types.is_integer(dtype):
        return pd.Int64Dtype()
    if pa.types.is_boolean(dtype):
        return pd.BooleanDtype()
    return pd.ArrowDtype(dtype) if pa.types.is_date(dtype) or pa.types.is_decimal(dtype) else None


def _arrow(part: pd.DataFrame) -> pa.Table:
    """Rows in the types of the lake, whichever of several equal ones they have in pandas."""
    rows = pa.Table.from_pandas(part, preserve_index=False)
    fields = [field.with_type(_plain(field.type)) for field in rows.schema]
    return rows.cast(pa.schema(fields)).replace_schema_metadata(None)


def _plain(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(dtype):
        return pa.string()
    return pa.timestamp("us", dtype.tz) if pa.types.is_timestamp(dtype) else dtype


def _sorted(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    return rows.sort_by([(column, "ascending") for column in key])


def _put(part: pd.DataFrame, number: int, place: Place, key: Sequence[str] = ()) -> None:
    rows = _arrow(part)
    # A table without rows has a file too, for its columns.
    if rows.num_rows or number == 0:
        place.put(_sorted(rows, key) if key else rows, f"{number:05}.parquet")


def _put_folders(
    part: pd.DataFrame,
    number: int,
    place: Place,
    by: Sequence[str],
    key: Sequence[str],
    folder: Callable[..., str],
) -> list[str]:
    rows = _arrow(part)
    written = []
    for values in rows.group_by(list(by)).aggregate([]).to_pylist():
        name = folder(*values.values())
        same = [ds.field(column) == value for column, value in values.items()]
        these = rows.filter(same[0] if len(same) == 1 else same[0] & same[1])
        place.put(_sorted(these, key), f"{name}/00000.parquet")
        written.append(name)
    return written
