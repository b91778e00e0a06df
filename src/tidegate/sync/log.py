"""The ledger of a target without transactions: a log in it that only grows, and what the log says.

A record is appended under the next free number, which can be taken once. That is the fence: a run that was taken over finds its
number taken, reads who took it, and stops. The record by which a run takes the lease carries the whole state, so nobody reads
further back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from tidegate.changes.position import from_json, to_json
from tidegate.changes.schema import TableName, TableSchema
from tidegate.errors import ConfigError
from tidegate.sync.protocols import ChunkRecord, Entry, Intent, Limits, Window

Record = Mapping[str, Any]


class LogStore(Protocol):
    """An append-only log per name, in the target."""

    def setup(self) -> None: ...

    def ddl(self) -> Sequence[str]: ...

    def now(self) -> datetime:
        """The target's clock, so that workers needn't agree on theirs."""

    def append(self, name: str, number: int, record: Record) -> bool:
        """Store the record under the number; False if that number is taken. Decides a lost reply by asking."""

    def records(self, name: str, since: int | None = None) -> Sequence[tuple[int, Record]]:
        """Records in order of their numbers, which have no gaps: those from ``since`` on, or None: from the last one on that has a
        ``state``, or the first. Empty where there is no log yet."""

    def remembers(self, name: str, number: int, table: TableName) -> bool:
        """Whether the target still knows what became of loads into ``table`` that came after this record. If it does, then a label
        that it doesn't know was never loaded."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that becomes true when a window is decided: what was loaded under a label, or a statement.

    ``tables`` are the target's, ``sources`` whose rows go there. ``keyed``: its rows can be loaded again without harm. ``action``
    is the statement in the target's words, None for a load. ``proof`` is by what rows of the load can be found in the table, where
    the label is forgotten.
    """

    tables: tuple[TableName, ...]
    sources: tuple[TableName, ...]
    label: str = ""
    keyed: bool = True
    action: Mapping[str, Any] | None = None
    proof: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "tables": [table_json(table) for table in self.tables],
            "sources": [table_json(table) for table in self.sources],
            "label": self.label,
            "keyed": self.keyed,
            "action": None if self.action is None else dict(self.action),
            "proof": None if self.proof is None else dict(self.proof),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Step:
        tables = tuple(TableName(*table) for table in value["tables"])
        sources = tuple(TableName(*table) for table in value["sources"])
        return cls(tables, sources, value["label"], value["keyed"], value["action"], value["proof"])


@dataclass(frozen=True, slots=True)
class Decision:
    """The steps that a run decided to take, and where the tables stood before. ``number`` is the record's."""

    number: int
    steps: tuple[Step, ...]
    before: Mapping[TableName, Entry | None]


@dataclass(slots=True)
class State:
    """What the log of a sync says."""

    count: int = 0
    fence: int = 0
    owner: str = ""
    expires: datetime = field(default_factory=lambda: datetime.min.replace(tzinfo=UTC))
    entries: dict[TableName, Entry] = field(default_factory=dict)
    intent: Intent | None = None
    """Chunks that a run announced, and went on to send one by one."""
    opened: Mapping[str, Any] | None = None
    """The id of a load that a run opened in the target's own transactions, and where."""
    decided: Decision | None = None
    """Steps of which nobody recorded that they were all taken."""

    def apply(self, number: int, record: Record) -> None:
        """The next record; one with a state replaces what was known."""
        if (known := record.get("state")) is not None:
            self._restore(known)
        self.count = number + 1
        match record["kind"]:
            case "lease":
                self.fence, self.owner = record["fence"], record["owner"]
                self.expires = datetime.fromisoformat(record["expires"])
                if self.decided is not None and record.get("settled") == self.decided.number:
                    self.decided = None
            case "intent":
                self.intent, self.decided = intent_from(record), None
            case "chunk":
                assert self.intent is not None
                chunk = replace(_chunk_from(record), record=number)
                self.intent = replace(self.intent, chunks=(*self.intent.chunks, chunk))
            case "opened":
                self.opened, self.decided = record["where"], None
            case "closed":
                self.intent = self.opened = None
            case "entries":
                self._enter(number, record)
            case "undone":
                self._undo({TableName(*table) for table in record["sources"]})
            case kind:
                raise ConfigError(f"a ledger record of the unknown kind {kind!r}: it was written by a newer tidegate")

    def _enter(self, number: int, record: Record) -> None:
        self.intent = self.opened = None
        entries = [_entry_from(item) for item in record["entries"]]
        steps = tuple(Step.from_json(step) for step in record.get("steps", ()))
        before = {entry.table: self.entries.get(entry.table) for entry in entries}
        self.decided = Decision(number, steps, before) if steps else None
        for entry in entries:
            known = self.entries.get(entry.table)
            schema = entry.schema or (known.schema if known is not None else None)
            self.entries[entry.table] = replace(entry, schema=schema)

    def _undo(self, sources: Set[TableName]) -> None:
        """What was decided for these tables didn't happen: they stand where they stood before."""
        assert self.decided is not None
        for table, entry in self.decided.before.items():
            if table not in sources:
                continue
            if entry is None:
                del self.entries[table]
            else:
                self.entries[table] = entry
        self.decided = None

    def to_json(self) -> dict[str, Any]:
        """All of it but the lease."""
        decided = None
        if self.decided is not None:
            before = [[table_json(table), entry and entry_record(entry)] for table, entry in self.decided.before.items()]
            steps = [step.to_json() for step in self.decided.steps]
            decided = {"number": self.decided.number, "steps": steps, "before": before}
        return {
            "entries": [entry_record(entry) for entry in self.entries.values()],
            "intent": None if self.intent is None else intent_record(self.intent),
            "chunks": [] if self.intent is None else [chunk_record(chunk) for chunk in self.intent.chunks],
            "opened": None if self.opened is None else dict(self.opened),
            "decided": decided,
        }

    def _restore(self, known: Mapping[str, Any]) -> None:
        entries = [_entry_from(item) for item in known["entries"]]
        self.entries = {entry.table: entry for entry in entries}
        self.intent = None if known["intent"] is None else intent_from(known["intent"])
        if self.intent is not None:
            self.intent = replace(self.intent, chunks=tuple(_chunk_from(chunk) for chunk in known["chunks"]))
        self.opened = known["opened"]
        self.decided = None
        if (decided := known["decided"]) is not None:
            before = {TableName(*table): entry and _entry_from(entry) for table, entry in decided["before"]}
            steps = tuple(Step.from_json(step) for step in decided["steps"])
            self.decided = Decision(decided["number"], steps, before)


def entries_record(entries: Sequence[Entry], now: datetime, steps: Sequence[Step] = ()) -> Record:
    """The record that closes what was open: where the tables stand once the steps are taken."""
    record: dict[str, Any] = {"kind": "entries", "entries": [entry_record(replace(entry, at=now)) for entry in entries]}
    return record | ({"steps": [step.to_json() for step in steps]} if steps else {})


def table_json(table: TableName) -> list[str]:
    return [table.schema, table.name]


def entry_record(entry: Entry) -> Record:
    return {
        "sync": entry.sync,
        "table": table_json(entry.table),
        "target": table_json(entry.target),
        "position": to_json(entry.position),
        "run": entry.run,
        "rows": entry.rows,
        "copy": entry.copy,
        "schema": entry.schema.to_json() if entry.schema is not None else None,
        "at": None if entry.at is None else entry.at.isoformat(),
    }


def _entry_from(record: Record) -> Entry:
    return Entry(
        record["sync"],
        TableName(*record["table"]),
        TableName(*record["target"]),
        from_json(record["position"]),
        record["run"],
        record["rows"],
        record["copy"],
        None if record["schema"] is None else TableSchema.from_json(record["schema"]),
        None if record["at"] is None else datetime.fromisoformat(record["at"]),
    )


def intent_record(intent: Intent) -> Record:
    after = [[table_json(table), to_json(position)] for table, position in intent.window.after.items()]
    until = None if intent.window.until is None else to_json(intent.window.until)
    return {
        "kind": "intent",
        "id": intent.id,
        "sync": intent.sync,
        "after": after,
        "until": until,
        "schemas": [schema.to_json() for schema in intent.window.schemas.values()],
        "unknown": [table_json(table) for table in intent.window.unknown],
        "limits": [intent.limits.rows, intent.limits.bytes],
        "encoder": intent.encoder,
        "keyed": intent.keyed,
    }


def intent_from(record: Record) -> Intent:
    after = {TableName(*table): from_json(position) for table, position in record["after"]}
    until = None if record["until"] is None else from_json(record["until"])
    schemas = [TableSchema.from_json(schema) for schema in record.get("schemas", ())]
    unknown = frozenset(TableName(*table) for table in record.get("unknown", ()))
    window = Window(after, until, {schema.table: schema for schema in schemas}, unknown)
    return Intent(record["id"], record["sync"], window, Limits(*record["limits"]), record["encoder"], keyed=record["keyed"])


def chunk_record(chunk: ChunkRecord) -> Record:
    return {
        "kind": "chunk",
        "number": chunk.number,
        "table": table_json(chunk.table),
        "rows": chunk.rows,
        "checksum": chunk.checksum,
        "label": chunk.label,
        "record": chunk.record,
        "after_refusal": chunk.after_refusal,
    }


def _chunk_from(record: Record) -> ChunkRecord:
    table = TableName(*record["table"])
    return ChunkRecord(
        record["number"], table, record["rows"], record["checksum"], record["label"], record["record"], record["after_refusal"]
    )
