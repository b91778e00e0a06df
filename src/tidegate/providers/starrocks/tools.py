"""One Stream Load by hand: rows, text or a file into a table, as StarRocks takes it. No ledger, no table made, nothing retried."""

from __future__ import annotations

import dataclasses
import lzma
import re
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, SchemaError
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.check import require
from tidegate.providers.starrocks.column_list import as_fields, parse_columns
from tidegate.providers.starrocks.encode import encode
from tidegate.providers.starrocks.format import Format
from tidegate.providers.starrocks.headers import KNOWN, OP, checked, load_headers, misspelt
from tidegate.providers.starrocks.http import Http
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.reply import Reply
from tidegate.providers.starrocks.session import Session
from tidegate.providers.starrocks.strategy import MODELS
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.sync.options import WriteOptions
from tidegate.sync.results import WriteResult
from tidegate.sync.rows import pieces

Kind = Literal["json", "csv"]
_OPS = {"0": 0, "upsert": 0, "1": 1, "delete": 1}
_LABEL = re.compile(r"[-\w]{1,128}", re.ASCII)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_ENDINGS: dict[str, Kind] = {"csv": "csv", "tsv": "csv", "txt": "csv", "json": "json", "jsonl": "json", "ndjson": "json"}
_PACKED = (".gz", ".bz2", ".zst", ".xz", ".lz4")
_BLOCK = 1024 * 1024
_OF_FILES = ("jsonpaths", "json_root", "skip_header", "trim_space")
_LOCAL = type(Path())  # a path of Airflow's object storage is a Path too


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did: ``write`` in tidegate's counts, ``reply`` as StarRocks answered.

    ``write.rows`` counts every row that arrived, those that StarRocks left out among them (``write.filtered``), as the vendor's
    totalFlushRows does. A label that was loaded before makes no load and no rows.
    """

    write: WriteResult
    reply: Reply | None
    """None if there were no rows, so that nothing was sent."""


def stream_load(
    values: Mapping[str, Any],
    name: str,
    table: str | TableName,
    data: Any,
    *,
    format: str | None = None,
    label: str | None = None,
    columns: str | Sequence[str] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load ``data`` into a table that exists, by one Stream Load (the interface that the vendor calls V1).

    :param values: the parsed fields of the connection. ``name`` is how messages call it.
    :param table: ``database.table``; without a database that of the connection.
    :param data: rows (an Arrow table, batch or reader, a pandas or polars frame, dicts, dataclasses), which are written in the
        connection's format; a column ``__op`` in them says upsert or delete. Or text that is sent as it is: one text of CSV or
        JSON, or a list of records of either. Or a file of CSV or JSON: a Path, anything with ``open("rb")``, or a URL that fsspec
        knows; a packed one (``.gz``, …) is unpacked on the way.
    :param format: ``json`` or ``csv``; None: as the file's name ends, as the text begins, or for rows as the connection says.
    :param label: at most 128 letters, digits, ``-`` and ``_``; a second load under it loads nothing, while StarRocks remembers it
        (three days by default). None: one that nobody else has.
    :param columns: Stream Load's ``columns``, as a list or as text: names in the order of the fields, and expressions. None: of
        rows their names; of text and files none, so CSV fields come in the table's order.
    :param properties: any further header of Stream Load: ``partial_update=True``, ``merge_condition="score"``, ``skip_header=1``.
        Rows are loaded with ``strict_mode``, unless that is given: a text that is no number is refused, and not NULL.

    Raises RowRefused if more rows are faulty than ``max_filter_ratio`` allows, ConfigError or SchemaError for what can't be loaded
    at all, LoadUnresolved if nobody can tell whether it arrived (the same label can be sent again), Unavailable if nothing did.
    """
    target = _target(table, values, name)
    if label is not None and not _LABEL.fullmatch(label):
        raise ConfigError("a label has 1 to 128 letters, digits, - and _", connection=name, table=target, setting="label")
    if format is not None and format.lower() not in ("json", "csv"):
        raise ConfigError(f"{format!r} is not json or csv", connection=name, table=target, setting="format")
    wanted = cast("Kind | None", format and format.lower())
    given = checked(properties or {})
    _check_headers(given, name, target, label)
    with _body(values, name, target, data, wanted, columns, given) as (body, headers):
        if body is None:
            return Loaded(WriteResult(), None)
        headers |= given
        loader = StreamLoad(Http(values, name), values, name)
        reply = loader.load(label or f"{values['label_prefix']}-{uuid.uuid4().hex}", target, headers, body)
    return Loaded(counts(reply), reply)


def query(values: Mapping[str, Any], name: str, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a statement over the query port; none if it returns none. ``%s`` stands for a parameter, if there are any."""
    with closing(Session(values, name)) as session:
        return session.rows(statement, parameters)


def counts(reply: Reply) -> WriteResult:
    """A load's reply as counts. Which rows were new StarRocks doesn't tell; of a lost reply that was settled by asking, no rows."""
    again = reply.status.lower() == "label already exists"
    return WriteResult(
        rows=0 if again else reply.total_rows,
        inserted=None,
        updated=None,
        deleted=None,
        ignored=None,
        not_found=None,
        filtered=0 if again else reply.filtered_rows,
        bytes=0 if again else reply.load_bytes,
        loads=0 if again else 1,
        seconds=reply.load_ms / 1000,
    )


def _check_headers(given: Mapping[str, str], name: str, table: TableName, label: str | None) -> None:
    """StarRocks passes over a header that it doesn't know, so what can only be a mistake is refused."""
    options = {field.name for field in dataclasses.fields(WriteOptions)}.difference(KNOWN)
    for header in given:
        if header in options:
            what = f"{header} is an option of syncs; a load by hand takes headers of Stream Load, such as partial_update"
            raise ConfigError(what, connection=name, table=table, setting=header)
    if notes := misspelt(given):
        raise ConfigError("; ".join(notes), connection=name, table=table, setting="properties")
    if label is not None and given.get("enable_merge_commit", "").lower() == "true":
        what = "loads that the server merges lose their labels, so it would not happen once"
        raise ConfigError(what, connection=name, table=table, setting="label, enable_merge_commit")


def _target(table: str | TableName, values: Mapping[str, Any], name: str) -> TableName:
    found = TableName.parse(table)
    if not found.schema and not values["database"]:
        raise ConfigError("names no database", connection=name, table=found, setting="database")
    return found if found.schema else TableName(values["database"], found.name)


@contextmanager
def _body(
    values: Mapping[str, Any],
    name: str,
    table: TableName,
    data: Any,
    format: Kind | None,
    columns: str | Sequence[str] | None,
    given: Mapping[str, str],
) -> Iterator[tuple[Any, dict[str, str]]]:
    """What is sent, and under which headers. Of a file that is not on this machine a copy is made meanwhile."""
    listed = columns if columns is None or isinstance(columns, str) else ",".join(columns)
    if isinstance(data, str) and not _URL.fullmatch(data):
        kind = format or _looks_like(data)
        yield data.encode(), load_headers(values, kind, listed, array=_looks_like(data) == "json" and data.lstrip()[0] == "[")
    elif isinstance(data, list | tuple) and data and all(isinstance(item, str) for item in data):
        kind = format or _looks_like(data[0])
        yield _joined(data, kind, values), load_headers(values, kind, listed, array=True)
    elif isinstance(data, str) or hasattr(data, "open"):
        kind = format or _kind_of(str(data), table)
        with _local(data) as path:
            yield path, load_headers(values, kind, listed, array=kind == "json" and _begins_with_array(path))
    else:
        yield _rows(values, name, table, data, format or values["format"], listed, given)


# Text


def _looks_like(text: str) -> Kind:
    return "json" if text.lstrip()[:1] in ("{", "[") else "csv"


def _joined(records: Sequence[str], kind: Kind, values: Mapping[str, Any]) -> bytes:
    if kind == "json":
        return f"[{','.join(records)}]".encode()
    end = Format.of("csv", values["column_separator"], values["row_delimiter"]).row_delimiter
    return b"".join(text if text.endswith(end) else text + end for text in (record.encode() for record in records))


# Files


def _kind_of(file: str, table: TableName) -> Kind:
    name = file.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    kind = _ENDINGS.get(name.rpartition(".")[2])
    if kind is None:
        what = f"{file.rpartition('/')[2]} doesn't end in {', '.join(_ENDINGS)}: say which of json and csv it is"
        raise ConfigError(what, table=table, setting="format")
    return kind


@contextmanager
def _local(file: Any) -> Iterator[Path]:
    """The file on this machine, unpacked."""
    if isinstance(file, _LOCAL) and file.suffix.lower() not in _PACKED:
        if not file.is_file():
            raise ConfigError(f"no file {file}", setting="data")
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        copy = Path(folder) / "body"
        try:
            with _opened(file) as source, copy.open("wb") as target:
                while block := source.read(_BLOCK):
                    target.write(block)
        except FileNotFoundError:
            raise ConfigError(f"no file {_shown(file)}", setting="data") from None
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise ConfigError(f"{_shown(file)} can't be read: {error}", setting="data") from error
        yield copy


def _shown(file: Any) -> str:
    """Its name alone: a URL may hold a key."""
    return str(file).rpartition("/")[2].partition("?")[0]


@contextmanager
def _opened(file: Any) -> Iterator[IO[bytes]]:
    import fsspec
    from fsspec.compression import compr
    from fsspec.utils import infer_compression

    if isinstance(file, str | _LOCAL):
        with fsspec.open(str(file), "rb", compression="infer") as found:
            yield found
        return
    packing = infer_compression(str(file))
    with file.open("rb") as raw:
        yield raw if packing is None else compr[packing](raw, mode="rb")


def _begins_with_array(path: Path) -> bool:
    with path.open("rb") as file:
        while block := file.read(4096):
            if start := block.removeprefix(b"\xef\xbb\xbf").lstrip():
                return start.startswith(b"[")
    return False


# Rows


def _rows(
    values: Mapping[str, Any],
    name: str,
    table: TableName,
    data: Any,
    kind: Kind,
    columns: str | None,
    given: Mapping[str, str],
) -> tuple[list[bytes] | None, dict[str, str]]:
    tables = [piece.table for piece in pieces(data) if piece.table.num_rows]
    if not tables:
        return None, {}
    rows, ops = _without_op(pa.concat_tables(tables, promote_options="default"), table)
    with closing(Session(values, name)) as session:
        metadata = Metadata(session)
        there = metadata.table(table)
        version = metadata.version()
    if there is None:
        raise SchemaError("no such table", connection=name, table=table)
    _check_columns(rows.column_names, columns, there, name)
    for header in _OF_FILES:
        if header in given:
            raise ConfigError(
                f"{header} is for text and files: rows are written by tidegate", connection=name, table=table, setting=header
            )
    if ops is not None and there.model != "PRIMARY_KEYS":
        if ops.any():
            what = f"{int(ops.sum())} rows to delete, and a {MODELS[there.model]} table takes no deletes: StarRocks would add them"
            raise SchemaError(what, connection=name, table=there.name, setting=OP)
        ops = None
    catalog: Sequence[CatalogColumn | None] = [there.column(column) for column in rows.column_names]
    listed, checked_rows = columns, rows
    if columns is None:
        fields = as_fields(rows, catalog, kind)
        rows, catalog = fields.rows, fields.there
        listed = ",".join([*(f"`{field}`" for field in rows.column_names), *fields.made])
    if ops is not None and OP not in (listed or ""):
        listed = f"{listed},{OP}"
    headers = load_headers(values, kind, listed, array=True) | {"strict_mode": "true"}
    if kind == "csv" and version >= (3, 0):
        # They came with 3.0 (StarRocks' documentation, STREAM LOAD).
        headers = {"enclose": '"', "escape": "\\"} | headers
    shape = {"column_separator": values["column_separator"], "row_delimiter": values["row_delimiter"], **headers, **given}
    names = ("column_separator", "row_delimiter", "enclose", "escape")
    format = Format.of(kind, **{key: shape[key] for key in names if key in shape})
    require(checked_rows, there, format, name, values["time_zone"])
    return encode(rows, catalog, format, ops=ops, time_zone=values["time_zone"]), headers


def _without_op(rows: pa.Table, table: TableName) -> tuple[pa.Table, npt.NDArray[np.uint8] | None]:
    if OP not in rows.column_names:
        return rows, None
    texts = [str(value).lower() for value in rows.column(OP).to_pylist()]
    if wrong := sum(text not in _OPS for text in texts):
        raise SchemaError(f"{wrong} rows whose {OP} is none of 0, 1, upsert and delete", table=table, setting=OP)
    return rows.drop_columns([OP]), np.array([_OPS[text] for text in texts], dtype=np.uint8)


def _check_columns(names: Sequence[str], columns: str | None, there: CatalogTable, name: str) -> None:
    """Rows bring the plain names of ``columns``, in that order; without it, columns of the table."""
    if columns is None:
        if missing := [column for column in names if there.column(column) is None]:
            raise SchemaError(f"no column {', '.join(missing)}", connection=name, table=there.name, setting="columns")
        return
    plain = [item for item in parse_columns(columns).fields if item != OP]
    if plain != list(names):
        what = f"columns lists {', '.join(plain)} and the rows bring {', '.join(names)}"
        raise SchemaError(what, connection=name, table=there.name, setting="columns")
