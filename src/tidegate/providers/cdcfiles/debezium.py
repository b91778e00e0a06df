"""Debezium's JSON: envelopes with and without schema, rows that were unwrapped, and Flink CDC's reduced envelopes.

By Debezium's MySQL connector documentation, "Data change events" and "Data type mappings".
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tidegate.changes.schema import Column, TableName
from tidegate.changes.types import decimal
from tidegate.providers.cdcfiles import values as v
from tidegate.providers.cdcfiles.records import (
    AFTER,
    BEFORE,
    DELETE,
    INSERT,
    Broken,
    Happening,
    Place,
    Record,
    Refused,
    Shape,
    Tables,
    loads,
    moment,
    numbered,
    shape_of,
)
from tidegate.providers.cdcfiles.statements import effects
from tidegate.providers.cdcfiles.types import BINARIES, GEOMETRIES, MySqlType, parse_type

_UNAVAILABLE = "__debezium_unavailable_value"
_ABSENT = frozenset(
    (
        _UNAVAILABLE,
        "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
        "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ",
        _UNAVAILABLE.encode().hex(),
    )
)
_PAYLOAD = b',"payload":'
_ORIGIN = ("db", "table", "file", "pos", "row", "gtid", "snapshot", "ts_ms")
_HEARTBEAT = frozenset(("ts_ms", "ts_us", "ts_ns"))


class Debezium:
    """The format ``debezium``."""

    name = "debezium"

    def __init__(self, tables: Tables, connection: str) -> None:
        self._tables = tables
        self._connection = connection
        self._schemas: dict[bytes, Any] = {}
        self._shapes: dict[tuple[Any, ...], Shape] = {}

    def parse(self, line: bytes) -> Record:
        if line == b"null":
            return Record()  # a tombstone: Kafka's compaction needs it, a table doesn't
        prefix, payload = self._split(line)
        if payload is None:
            return Record()
        if not isinstance(payload, dict):
            raise Broken("not an object")
        # The beginning of the placeholder, as text, in base64 and in hex.
        unavailable = b"__debezium_un" in line or b"X19kZWJleml1bV91" in line or b"5f5f646562657a69756d" in line
        if "op" in payload and ("after" in payload or "before" in payload or "source" in payload):
            return self._envelope(payload, prefix, unavailable)
        if "ddl" in payload and "databaseName" in payload:
            return self._schema_change(payload)
        if payload.keys() <= _HEARTBEAT:
            return Record()
        if payload.get("status") in ("BEGIN", "END") and "id" in payload:
            return Record()  # transaction metadata: where transactions end is seen by the records' own
        if "__op" in payload or "__deleted" in payload:
            return self._flat(payload, prefix, unavailable)
        raise Refused("an object without op: neither Debezium's envelope, nor a row unwrapped with add.fields=op,table", "format")

    def _split(self, line: bytes) -> tuple[bytes, Any]:
        """The schema's own bytes, by which it is known, and the payload. It repeats in each line and is parsed once."""
        if line.startswith(b'{"schema":'):
            at = line.find(_PAYLOAD)
            if at > 0 and line.endswith(b"}"):
                prefix = line[10:at]
                if prefix not in self._schemas:
                    self._schemas[prefix] = loads(prefix)
                return prefix, loads(line[at + len(_PAYLOAD) : -1])
        value = loads(line)
        if isinstance(value, dict) and "payload" in value and "schema" in value:
            prefix = json.dumps(value["schema"], default=str).encode()
            self._schemas.setdefault(prefix, value["schema"])
            return prefix, value["payload"]
        return b"", value

    def _envelope(self, payload: dict[str, Any], prefix: bytes, unavailable: bool) -> Record:
        source = payload.get("source") or {}
        operation = payload["op"]
        record = _origin(source, operation)
        record.time = record.time or moment(payload.get("ts_ms"))
        transaction = payload.get("transaction")
        if isinstance(transaction, dict) and transaction.get("id"):
            record.transaction = transaction["id"]
        if operation == "m":
            return record
        name = source.get("table")
        table = record.table = self._tables.find(source.get("db"), name)
        if table is None:
            return record
        before, after = payload.get("before"), payload.get("after")
        if unavailable:
            before, after = _available(before), _available(after)
        if operation in ("c", "r"):
            record.rows = [(INSERT, _row(after, operation))]
        elif operation == "u":
            # Without an image before it the key can't have changed: Debezium writes a key change as d and c.
            record.rows = (
                [(BEFORE, before), (AFTER, _row(after, operation))] if before is not None else [(AFTER, _row(after, operation))]
            )
        elif operation == "d":
            record.rows = [(DELETE, _row(before, operation))]
        elif operation == "t":
            record.happenings = [(table, Happening("truncated", "TRUNCATE TABLE"))]
            return record
        else:
            raise Refused(f"the unknown operation {operation!r}")
        record.shape = self._shape(table, source.get("db"), name, prefix, record)
        return record

    def _flat(self, payload: dict[str, Any], prefix: bytes, unavailable: bool) -> Record:
        """A row of ExtractNewRecordState. Which columns are metadata: those that begin with ``__``."""
        meta = {name: payload[name] for name in payload if name.startswith("__")}
        row = {name: value for name, value in payload.items() if name not in meta}
        source = {name: meta.get(f"__{name}", meta.get(f"__source_{name}")) for name in _ORIGIN}
        operation = meta.get("__op")
        deleted = meta.get("__deleted") in (True, "true") or operation == "d"
        if operation not in (None, "c", "r", "u", "d", "t"):
            raise Refused(f"the unknown operation {operation!r}")
        record = _origin(source, operation or "u")
        table = record.table = self._tables.find(source["db"], source["table"])
        if table is None:
            return record
        if operation == "t":
            record.happenings = [(table, Happening("truncated", "TRUNCATE TABLE"))]
            return record
        if unavailable:
            row = _available(row) or {}
        record.rows = [(DELETE if deleted else AFTER if operation == "u" else INSERT, row)]
        record.shape = self._shape(table, source["db"], source["table"], prefix, record)
        return record

    def _schema_change(self, payload: dict[str, Any]) -> Record:
        source = payload.get("source") or {}
        record = _origin(source, "ddl")
        schema = payload.get("databaseName") or source.get("db") or ""
        named = TableName(schema, (source.get("table") or "").split(",")[0])
        record.happenings = self._tables.happen(effects(payload["ddl"] or "", schema, named)) if payload["ddl"] else []
        return record

    def _shape(self, table: TableName, schema: str | None, name: str | None, prefix: bytes, record: Record) -> Shape:
        cache = (table, schema, prefix, self._tables.version)
        cached = self._shapes.get(cache)
        if cached is not None:
            return cached
        declared = self._tables.declaration(table, schema, name)
        fields = _fields(self._schemas.get(prefix))
        defaults: dict[str, pa.Scalar] = {}
        hints = self._tables.hints
        columns: list[tuple[Column, v.Reader]] = []
        if fields is not None:
            types = declared.types() if declared else {}
            nullable = {column.name: column.nullable for column in declared.columns} if declared else {}
            for item in fields:
                if item["field"].startswith("__") and item["field"] not in types:
                    continue
                column, reader = _of_field(item, types.get(item["field"]), nullable.get(item["field"]), hints)
                columns.append((column, reader))
                if "default" in item or item.get("optional"):
                    defaults[column.name] = reader([item.get("default")])[0]
        elif declared is not None:
            known = {column.name: column for column in declared.schema(table, self._connection).columns}
            columns = [(known[item.name], schemaless(item.type, hints)) for item in declared.columns]
        else:
            names = ", ".join(sorted({name for _, row in record.rows for name in row}))
            raise Refused(f"the records of {table} carry no schema, so what its columns ({names}) hold can't be told", "ddl")
        key = declared.key if declared else ()
        names_here = {column.name for column, _ in columns}
        shape = shape_of(table, columns, tuple(part for part in key if part in names_here), self._connection, defaults)
        self._shapes[cache] = shape
        return shape


def _row(image: Any, operation: str) -> dict[str, Any]:
    if not isinstance(image, dict):
        raise Refused(f"an operation {operation!r} without its row")
    return image


def _available(image: Any) -> Any:
    """A row without the values that Debezium didn't have: they are absent, which is not NULL."""
    if not isinstance(image, dict):
        return image
    return {name: value for name, value in image.items() if not (isinstance(value, str) and value in _ABSENT)}


def _origin(source: dict[str, Any], operation: str) -> Record:
    """Where a record stands, and which transaction it is of."""
    file, pos, gtid = source.get("file"), source.get("pos"), source.get("gtid")
    committed = source.get("ts_ms")
    committed = moment(committed) or None
    record = Record(ends=False, transaction=gtid or (file, pos) if file else None, time=committed)
    base, sequence = _file(file or "")
    if sequence < 0 or pos is None:
        record.ends = record.transaction is None
        return record
    pos, row = int(pos), int(source.get("row") or 0)
    snapshot = source.get("snapshot")
    if snapshot == "incremental":
        record.ends = True
    elif snapshot not in (None, "", "false", False):
        record.place = Place(f"copy {base}", (sequence, pos), True, (base, sequence, pos), True)
        record.ends = True
    else:
        # A key change is a delete and an insert of one row of the log.
        half = {"c": 1, "ddl": 2}.get(operation, 0)
        epoch, at = numbered(gtid, f"log {base}")
        record.place = Place(epoch, (*at, sequence, pos, row, half), False, (base, sequence, pos), committed=committed)
    return record


@lru_cache(maxsize=1024)
def _file(name: str) -> tuple[str, int]:
    """A log file's base name and number; -1 for a name without one."""
    base, _, number = name.rpartition(".")
    return base, int(number) if number.isdigit() else -1


def _fields(schema: Any) -> list[dict[str, Any]] | None:
    """The fields of a row, from the envelope's schema or the row's own."""
    if not isinstance(schema, dict):
        return None
    fields = {item.get("field"): item for item in schema.get("fields", ())}
    for image in ("after", "before"):
        if image in fields and fields[image].get("type") == "struct":
            found: list[dict[str, Any]] = fields[image]["fields"]
            return found
    return list(schema.get("fields", ())) or None


_TICKS: dict[str, tuple[pa.DataType, int, int]] = {
    "io.debezium.time.Date": (pa.date32(), 1, 1),
    "org.apache.kafka.connect.data.Date": (pa.date32(), 1, 1),
    "io.debezium.time.Timestamp": (pa.timestamp("us"), 1000, 1),
    "org.apache.kafka.connect.data.Timestamp": (pa.timestamp("us"), 1000, 1),
    "io.debezium.time.MicroTimestamp": (pa.timestamp("us"), 1, 1),
    "io.debezium.time.NanoTimestamp": (pa.timestamp("us"), 1, 1000),
    "io.debezium.time.Time": (pa.duration("us"), 1000, 1),
    "org.apache.kafka.connect.data.Time": (pa.duration("us"), 1000, 1),
    "io.debezium.time.MicroTime": (pa.duration("us"), 1, 1),
    "io.debezium.time.NanoTime": (pa.duration("us"), 1, 1000),
}
_TEXTUAL: dict[str, tuple[pa.DataType, v.Reader]] = {
    "io.debezium.time.ZonedTimestamp": (v.UTC, v.instants(None)),
    "io.debezium.time.IsoDate": (pa.date32(), v.dates),
    "io.debezium.time.IsoTimestamp": (pa.timestamp("us"), v.datetimes),
    "io.debezium.time.IsoTime": (pa.duration("us"), v.durations),
}
_PLAIN: dict[str, tuple[pa.DataType, v.Reader]] = {
    "int8": (pa.int8(), v.integers(pa.int8())),
    "int16": (pa.int16(), v.integers(pa.int16())),
    "int32": (pa.int32(), v.integers(pa.int32())),
    "int64": (pa.int64(), v.integers(pa.int64())),
    "float": (pa.float32(), v.floats(pa.float32())),
    "float32": (pa.float32(), v.floats(pa.float32())),
    "double": (pa.float64(), v.floats(pa.float64())),
    "float64": (pa.float64(), v.floats(pa.float64())),
    "boolean": (pa.bool_(), lambda values: pa.array(values, pa.bool_())),
    "string": (pa.string(), v.texts),
    "bytes": (pa.binary(), v.binaries("base64")),
}


def _of_field(item: dict[str, Any], declared: MySqlType | None, nullable: bool | None, hints: v.Hints) -> tuple[Column, v.Reader]:
    """A column as the schema describes it; ``declared`` is its type by the ddl, and what the schema itself tells of it else."""
    name, parameters = item["field"], item.get("parameters") or {}
    kind, reader, attributes = _semantic(item, parameters, hints)
    told = declared or _propagated(parameters)
    nullable = bool(item.get("optional", True)) if nullable is None else nullable
    column = told.column(name, nullable=nullable) if told is not None else None
    if column is None or told is None:
        return Column(name, kind, nullable, attributes), reader
    if not item.get("name") and item.get("type") != "bytes":
        # The schema gives a number or a text without saying of what: the type does.
        return column, _cast(schemaless(told, hints), column.type)
    return column, _cast(reader, column.type)


def _cast(reader: v.Reader, kind: pa.DataType) -> v.Reader:
    def read(values: Any) -> pa.Array:
        found = reader(values)
        return found if found.type == kind else found.cast(kind)

    return read


def _propagated(parameters: dict[str, Any]) -> MySqlType | None:
    """The type by ``column.propagate.source.type``."""
    text = parameters.get("__debezium.source.column.type")
    if not text:
        return None
    numbers = [parameters.get(f"__debezium.source.column.{part}") for part in ("length", "scale")]
    inner = ",".join(str(number) for number in numbers if number not in (None, "0"))
    head, _, tail = text.partition(" ")
    return parse_type(f"{head}({inner}) {tail}" if inner and "(" not in text else text)


def _semantic(item: dict[str, Any], parameters: dict[str, Any], hints: v.Hints) -> tuple[pa.DataType, v.Reader, dict[str, str]]:
    """Canonical type, reader and attributes by a field's semantic type (Debezium documentation, "Data type mappings")."""
    meaning, kind = item.get("name"), item.get("type")
    if meaning == "org.apache.kafka.connect.data.Decimal":
        scale = int(parameters["scale"])
        # Without the precision, the widest that MySQL has.
        typed = decimal(int(parameters.get("connect.decimal.precision", 65)), scale)
        return typed, v.unscaled(typed, scale), {}
    if meaning in _TICKS:
        typed, factor, divisor = _TICKS[meaning]
        return typed, v.counted(typed, factor, divisor), {}
    if meaning in _TEXTUAL:
        return *_TEXTUAL[meaning], {}
    if meaning == "io.debezium.time.Year":
        return pa.int16(), v.integers(pa.int16()), {}
    if meaning == "io.debezium.data.Bits":
        return pa.uint64(), v.bits_little, {"bits": str(parameters.get("length", 64))}
    if meaning == "io.debezium.data.Json":
        return pa.string(), v.texts, {"json": "true"}
    if meaning == "io.debezium.data.Enum" and parameters.get("allowed"):
        allowed = parameters["allowed"].replace("\\,", "\0").split(",")
        return pa.string(), v.texts, {"labels": json.dumps([part.replace("\0", ",") for part in allowed], ensure_ascii=False)}
    if isinstance(meaning, str) and meaning.startswith("io.debezium.data.geometry."):
        return pa.binary(), v.geometries, {"geometry": meaning.rpartition(".")[2].lower()}
    if kind == "string" or (kind in _PLAIN and not meaning):
        return *_PLAIN[kind], {}
    raise Refused(
        f"column {item['field']} is of {meaning or kind}, which has no canonical type", "the connector's column.exclude.list"
    )


def schemaless(kind: MySqlType, hints: v.Hints) -> v.Reader:
    """The reader of a type whose records carry no schema. What they leave open is for ``hints`` to say."""
    canonical = kind.canonical
    if kind.base == "decimal":
        digits = _decimal_text(v.unscaled(canonical, (*kind.numbers, 0, 0)[1]), canonical, hints)
        return _by_kind(digits, v.decimals(canonical))
    if kind.base == "bigint" and kind.unsigned:
        precise = decimal(20, 0)
        text = _decimal_text(v.unscaled(precise, 0), precise, hints)
        return _by_kind(lambda values: text(values).cast(pa.uint64()), v.wrapped(64, pa.uint64()))
    if kind.base == "bit":
        return v.bits_little
    if kind.base == "date":
        return _by_kind(v.dates, v.counted(pa.date32(), 1))
    if kind.base in ("datetime", "time"):
        return _by_kind(v.datetimes if kind.base == "datetime" else v.durations, _ticks(kind, canonical, hints))
    if kind.base in GEOMETRIES:
        return v.geometries
    if kind.base == "json":
        return v.texts
    return v.plain(kind, hints, v.binaries(hints.binary_mode) if kind.base in BINARIES else v.texts)


def _by_kind(text: v.Reader, number: v.Reader) -> v.Reader:
    """``text`` for a column of strings, ``number`` for one of numbers."""

    def read(values: Any) -> pa.Array:
        strings = {isinstance(value, str) for value in values if value is not None}
        if len(strings) > 1:
            return pa.concat_arrays([read([value]) for value in values])
        return text(values) if True in strings else number(values)

    return read


def _decimal_text(unscaled: v.Reader, kind: pa.DataType, hints: v.Hints) -> v.Reader:
    def read(values: Any) -> pa.Array:
        if hints.decimal_mode is None:
            raise v.Undecided("a decimal as text: digits, or their bytes in base64", "decimal_mode")
        return unscaled(values) if hints.decimal_mode == "precise" else v.decimals(kind)(values)

    return read


def _ticks(kind: MySqlType, canonical: pa.DataType, hints: v.Hints) -> v.Reader:
    """A moment or a length as a number, of a unit that Debezium's ``time.precision.mode`` decides."""
    fine = bool(kind.numbers) and kind.numbers[0] > 3

    def read(values: Any) -> pa.Array:
        if all(value is None for value in values):
            return pa.nulls(len(values), canonical)
        match hints.time_mode:
            case "connect":
                unit = (1000, 1)
            case "adaptive":
                unit = (1, 1) if fine else (1000, 1)
            case "adaptive_time_microseconds":
                unit = (1, 1) if fine or kind.base == "time" else (1000, 1)
            case "microseconds":
                unit = (1, 1)
            case "nanoseconds":
                unit = (1, 1000)
            case _:
                raise v.Undecided("a time as a number: of milliseconds, microseconds or nanoseconds", "time_mode")
        return v.counted(canonical, *unit)(values)

    return read
