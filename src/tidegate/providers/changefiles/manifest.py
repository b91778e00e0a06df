"""The manifest of a segment: what its data files hold, where the source stood, and the ledger lines that it commits.

A segment exists when its manifest does. Manifests are never changed; each names its predecessor by checksum, so that a stream is a
chain. What holds for the whole stream (its tables, where each stands) is carried along, so that the newest manifest says it all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from tidegate.changes.batch import RowKind, TableEventKind
from tidegate.changes.position import BinlogPosition, Position, SegmentPosition, from_json, to_json
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, CorruptSegment
from tidegate.sync.protocols import Entry

FORMAT = 2
"""The version of the format; a reader takes this and every lower one. 2 brought events of whole tables: a segment without any is
written as 1, since a reader of 1 loses nothing by it."""

Phase = Literal["snapshot", "changes"]
"""Rows of a first copy (all of them inserts), or changes from the log."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file: rows of one table under one schema, in source order."""

    name: str
    """Relative to the stream's folder."""
    schema: TableSchema
    phase: Phase
    rows: Mapping[RowKind, int]
    bytes: int
    arrow_bytes: int
    """Bytes of the rows in memory."""
    sha256: str
    newest: datetime | None = None
    """The latest commit time of its rows."""

    @property
    def table(self) -> TableName:
        return self.schema.table

    @property
    def num_rows(self) -> int:
        return sum(self.rows.values())

    @property
    def events(self) -> int:
        """Changes; an update is one, though it is two rows."""
        return self.num_rows - min(self.rows[RowKind.UPDATE_BEFORE], self.rows[RowKind.UPDATE_AFTER])


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What happened to a whole table in a segment; ``before`` of the segment's files of the table come before it."""

    table: TableName
    kind: TableEventKind
    what: str
    before: int
    column: Column | None = None
    value: pa.Scalar | None = None


@dataclass(frozen=True, slots=True)
class TableState:
    """A table of the stream at the end of a segment."""

    schema: TableSchema
    events: int = 0
    """Changes of it in the stream so far."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A segment. ``files`` and ``after`` are its own; ``tables`` and ``entries`` are the stream's at its end."""

    stream: str
    number: int
    token: str
    """Random: no two manifests are alike, so a writer knows its own by its bytes."""
    previous: str
    """The predecessor's checksum; '' for the first."""
    at: datetime
    sync: str | None = None
    """The sync that owns the stream; None while none does."""
    run: str = ""
    fence: int = 0
    """The fence of the lease under which it, or the newest segment of a lease before it, was committed."""
    files: tuple[DataFile, ...] = ()
    events: tuple[StoredEvent, ...] = ()
    after: Mapping[TableName, Position] = field(default_factory=dict)
    """Where the tables that this segment moves on stood before it."""
    entries: Mapping[TableName, Entry] = field(default_factory=dict)
    """The latest ledger line of each source table."""
    tables: Mapping[TableName, TableState] = field(default_factory=dict)

    @property
    def end(self) -> SegmentPosition:
        """The position of a reader that has applied this segment."""
        return SegmentPosition(self.stream, self.number, origin([entry.position for entry in self.entries.values()]))

    def dump(self) -> bytes:
        """The manifest as a file."""
        body = self._body()
        return json.dumps(body | {"checksum": _checksum(body)}, indent=1, ensure_ascii=False).encode() + b"\n"

    @property
    def checksum(self) -> str:
        return _checksum(self._body())

    def _body(self) -> dict[str, Any]:
        schemas = _Schemas()
        body = {
            "format": FORMAT if self.events else 1,
            "stream": self.stream,
            "number": self.number,
            "token": self.token,
            "previous": self.previous,
            "at": self.at.isoformat(),
            "sync": self.sync,
            "run": self.run,
            "fence": self.fence,
            "end": to_json(self.end),
            "files": [_file_json(item, schemas) for item in self.files],
            **({"events": [_event_json(item) for item in self.events]} if self.events else {}),
            "after": [{"table": _name(table), "position": to_json(position)} for table, position in self.after.items()],
            "entries": [_entry_json(entry, schemas) for entry in self.entries.values()],
            "tables": [{"schema": schemas.id(state.schema), "events": state.events} for state in self.tables.values()],
        }
        return body | {"schemas": schemas.found}

    @classmethod
    def load(cls, data: bytes, *, name: str, connection: str) -> Manifest:
        """The manifest of a file. CorruptSegment if it was altered or cut; ConfigError if a newer tidegate wrote it."""
        try:
            body = json.loads(data)
            checksum = body.pop("checksum")
            version = body["format"]
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise CorruptSegment(f"{name} is no manifest of a segment", connection=connection) from error
        if not isinstance(version, int) or not 1 <= version <= FORMAT:
            raise ConfigError(f"{name} has format {version}; this tidegate reads format {FORMAT}", connection=connection)
        if checksum != _checksum(body):
            raise CorruptSegment(f"{name} differs from its own checksum", connection=connection)
        schemas = {key: TableSchema.from_json(value) for key, value in body["schemas"].items()}
        entries = [_entry(item, schemas) for item in body["entries"]]
        tables = [TableState(schemas[item["schema"]], item["events"]) for item in body["tables"]]
        return cls(
            stream=body["stream"],
            number=body["number"],
            token=body["token"],
            previous=body["previous"],
            at=datetime.fromisoformat(body["at"]),
            sync=body["sync"],
            run=body["run"],
            fence=body["fence"],
            files=tuple(_file(item, schemas) for item in body["files"]),
            events=tuple(_event(item) for item in body.get("events", ())),
            after={TableName(*item["table"]): from_json(item["position"]) for item in body["after"]},
            entries={entry.table: entry for entry in entries},
            tables={state.schema.table: state for state in tables},
        )


def origin(positions: Sequence[Position]) -> BinlogPosition | None:
    """Where a live reader may go on with all of a stream's tables: the lowest of their positions in the log.

    None while a table is still being copied, or if they come from several servers.
    """
    lowest: BinlogPosition | None = None
    for position in positions:
        here = position.origin if isinstance(position, SegmentPosition) else position
        if not isinstance(here, BinlogPosition):
            return None
        order = "before" if lowest is None else here.compare(lowest)
        if order == "incomparable":
            return None
        if order == "before":
            lowest = here
    return lowest


class _Schemas:
    """The schemas of a manifest, each stored once under a hash of itself."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def id(self, schema: TableSchema) -> str:
        value = schema.to_json()
        key = _checksum(value)[:12]
        self.found[key] = value
        return key


def _checksum(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _name(table: TableName) -> list[str]:
    return [table.schema, table.name]


def _file_json(item: DataFile, schemas: _Schemas) -> dict[str, Any]:
    return {
        "name": item.name,
        "table": str(item.table),
        "schema": schemas.id(item.schema),
        "phase": item.phase,
        "rows": {kind.name: item.rows[kind] for kind in RowKind},
        "bytes": item.bytes,
        "arrow_bytes": item.arrow_bytes,
        "sha256": item.sha256,
        "newest": None if item.newest is None else item.newest.isoformat(),
    }


def _file(value: Mapping[str, Any], schemas: Mapping[str, TableSchema]) -> DataFile:
    return DataFile(
        name=value["name"],
        schema=schemas[value["schema"]],
        phase=value["phase"],
        rows={kind: value["rows"][kind.name] for kind in RowKind},
        bytes=value["bytes"],
        arrow_bytes=value["arrow_bytes"],
        sha256=value["sha256"],
        newest=None if value["newest"] is None else datetime.fromisoformat(value["newest"]),
    )


def _event_json(item: StoredEvent) -> dict[str, Any]:
    return {
        "table": _name(item.table),
        "kind": item.kind,
        "what": item.what,
        "before": item.before,
        "column": None if item.column is None else item.column.to_json(),
        "value": None if item.value is None else _packed(item.value),
    }


def _event(value: Mapping[str, Any]) -> StoredEvent:
    column = None if value["column"] is None else Column.from_json(value["column"])
    filled = None if value["value"] is None else _unpacked(value["value"])
    return StoredEvent(TableName(*value["table"]), value["kind"], value["what"], value["before"], column, filled)


def _packed(value: pa.Scalar) -> str:
    """The value as an Arrow stream of one row in base64: exact, whatever its type."""
    table = pa.table({"value": pa.array([value.as_py()], value.type) if value.is_valid else pa.nulls(1, value.type)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def _unpacked(text: str) -> pa.Scalar:
    with pa.ipc.open_stream(base64.b64decode(text)) as reader:
        return reader.read_all().column("value")[0]


def _entry_json(entry: Entry, schemas: _Schemas) -> dict[str, Any]:
    return {
        "sync": entry.sync,
        "table": _name(entry.table),
        "target": _name(entry.target),
        "position": to_json(entry.position),
        "run": entry.run,
        "rows": entry.rows,
        "copy": entry.copy,
        "schema": None if entry.schema is None else schemas.id(entry.schema),
        "at": None if entry.at is None else entry.at.isoformat(),
    }


def _entry(value: Mapping[str, Any], schemas: Mapping[str, TableSchema]) -> Entry:
    return Entry(
        sync=value["sync"],
        table=TableName(*value["table"]),
        target=TableName(*value["target"]),
        position=from_json(value["position"]),
        run=value["run"],
        rows=value["rows"],
        copy=value["copy"],
        schema=None if value["schema"] is None else schemas[value["schema"]],
        at=None if value["at"] is None else datetime.fromisoformat(value["at"]),
    )
