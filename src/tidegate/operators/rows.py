"""Where the rows of a write operator come from: files, and queries on other connections. Both are streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook, ObjectStoragePath

from tidegate.errors import ConfigError, SchemaError
from tidegate.sync.rows import Rows

FORMATS = ("parquet", "csv", "jsonl")
_ENDINGS = {"parquet": "parquet", "pq": "parquet", "csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl"}
_PACKED = (".gz", ".bz2", ".zst")
_ROWS_AT_ONCE = 10_000


def read_file(path: str, format: str | None = None) -> Rows:
    """The rows of a file, of all files in a folder, or of those that match a pattern, in the order of their names.

    ConfigError if there is none, or if its name doesn't say the format; SchemaError if files differ in their columns, or a file
    isn't what its format says.
    """
    place = ObjectStoragePath(path)
    files = _files(place)
    if not files:
        raise ConfigError(f"no files at {path}", setting="path")
    format = format or _format(files[0])
    if format not in FORMATS:
        raise ConfigError(f"{format!r} is not one of {', '.join(FORMATS)}", setting="format")
    if format == "jsonl":
        return _json_lines(place.fs, files)
    with _unreadable(path, format):
        reader = _arrow(place.fs, files, format)
    return pa.RecordBatchReader.from_batches(reader.schema, _batches(reader, path, format))


def _files(place: ObjectStoragePath) -> list[str]:
    name = place.path
    if any(sign in name for sign in "*?["):
        return sorted(place.fs.glob(name))
    if place.fs.isdir(name):
        # Names that begin with a dot or an underscore are markers of whoever wrote the folder.
        return sorted(file for file in place.fs.find(name) if not file.rpartition("/")[2].startswith((".", "_")))
    return [name] if place.fs.exists(name) else []


def _format(file: str) -> str:
    name = file.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    format = _ENDINGS.get(name.rpartition(".")[2])
    if format is None:
        raise ConfigError(f"{file} doesn't end in {', '.join(_ENDINGS)}: say which of {', '.join(FORMATS)} it is", setting="format")
    return format


def _arrow(fs: Any, files: list[str], format: str) -> pa.RecordBatchReader:
    kind: Any = format
    if format == "csv":
        # An empty field is NULL, a quoted empty one is text.
        convert = pacsv.ConvertOptions(null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False)
        kind = pads.CsvFileFormat(convert_options=convert)
    found = pads.dataset(files, filesystem=fs, format=kind)
    for fragment in found.get_fragments():
        if set(fragment.physical_schema.names) != set(found.schema.names):
            raise SchemaError(f"{fragment.path} has other columns than {files[0]}", setting="path")
    if format == "csv":
        # Guessed types would turn 007 into 7; as text the values reach the table as they are written.
        text = pa.schema([(name, pa.string()) for name in found.schema.names])
        found = pads.dataset(files, text, filesystem=fs, format=kind)
    return found.scanner(batch_size=_ROWS_AT_ONCE * 5, batch_readahead=2, fragment_readahead=1).to_reader()


def _batches(reader: pa.RecordBatchReader, path: str, format: str) -> Iterator[pa.RecordBatch]:
    with _unreadable(path, format):
        yield from reader


@contextmanager
def _unreadable(path: str, format: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid:
        # Arrow's own text quotes the data, so it isn't passed on, nor as the cause.
        raise SchemaError(f"{path} can't be read as {format}", setting="format") from None


def _json_lines(fs: Any, files: list[str]) -> Iterator[dict[str, Any]]:
    for file in files:
        with fs.open(file, "rt", encoding="utf-8", compression="infer") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    # Decimals keep the digits that are written.
                    row = json.loads(line, parse_float=Decimal)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise SchemaError(f"line {number} of {file} is not a JSON object", setting="format")
                yield {name: _plain(value) for name, value in row.items()}


@contextmanager
def query(conn_id: str, sql: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The rows of a query on a connection that has a DB-API hook, fetched piece by piece as they are used.

    A driver whose cursor takes the whole result to the client at once (psycopg2, PyMySQL by default) still does.
    """
    hook = BaseHook.get_hook(conn_id)
    if not isinstance(hook, DbApiHook):
        raise ConfigError(f"{type(hook).__name__} has no DB-API cursor", connection=conn_id, setting="sql_conn_id")
    with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        if not cursor.description:
            raise ConfigError("the statement returns no rows", connection=conn_id, setting="sql")
        names = [column[0] for column in cursor.description]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"columns named more than once: {', '.join(twice)}", connection=conn_id, setting="sql")
        yield _fetched(cursor, names)


def _fetched(cursor: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        for row in rows:
            yield {name: _plain(value) for name, value in zip(names, row, strict=True)}


def _plain(value: Any) -> Any:
    convert = _CONVERT.get(type(value))
    return value if convert is None else convert(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


_CONVERT: dict[type, Any] = {dict: _json, list: _json, UUID: str, memoryview: bytes}
