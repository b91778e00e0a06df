"""What the tests of change records share: files to write, a source over them, and the tables that its changes make."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.model import Change, Model, Row
from tidegate.changes.batch import KIND, PRESENT, ChangeBatch, Chunk, RowKind, TableEvent
from tidegate.changes.position import LinesPosition, Position, from_json, to_json
from tidegate.changes.schema import TableName
from tidegate.providers.cdcfiles.connection import SYSTEM
from tidegate.providers.cdcfiles.source import CdcFilesSource
from tidegate.sync.protocols import Limits, Window

CORPUS = Path(os.environ.get("TIDEGATE_CORPUS") or Path(__file__).parents[4] / "shared" / "corpus")


def open_source(url: Path | str, **fields: Any) -> CdcFilesSource:
    source = SYSTEM.open_source({"url": str(url)} | fields, "records")
    assert isinstance(source, CdcFilesSource)
    return source


def write(path: Path, *lines: Any) -> Path:
    """A file of these lines: bytes as they are, the rest as JSON."""
    path.write_bytes(b"".join(line_of(line) for line in lines))
    return path


def append(path: Path, *lines: Any) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line_of(line) for line in lines))


def line_of(line: Any) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def packed(path: Path, *members: bytes, cut: int = 0) -> Path:
    """A gzip file of these members, its last bytes cut off."""
    data = b"".join(gzip.compress(member) for member in members)
    path.write_bytes(data[: len(data) - cut])
    return path


def zstandard(path: Path, *frames: bytes, cut: int = 0) -> Path:
    data = b"".join(bytes(pa.compress(frame, "zstd", asbytes=True)) for frame in frames)
    path.write_bytes(data[: len(data) - cut])
    return path


def read(
    source: CdcFilesSource, tables: Sequence[str] | Mapping[str, Position | None], limits: Limits | None = None
) -> tuple[list[Chunk], dict[str, Position]]:
    """One run: the chunks from the tables' positions (or the beginning), and where the tables stand after it."""
    stored = {TableName.parse(table): position for table, position in dict.fromkeys(tables).items()}
    if isinstance(tables, Mapping):
        stored = {TableName.parse(table): position for table, position in tables.items()}
    findings = source.preflight(stored)
    for problem in findings.problems:
        raise problem
    for table in stored:
        source.schema(table)
    starts = source.start([table for table, position in stored.items() if position is None], consistent=False)
    after: dict[TableName, Position] = {table: position or starts[table] for table, position in stored.items()}
    head = source.head()
    behind = {table: position for table, position in after.items() if position.compare(head) != "equal"}
    for position in behind.values():
        assert position.compare(head) == "before"
    chunks = list(source.read(Window(behind, head), limits or Limits())) if behind else []
    if chunks:
        assert chunks[-1].end is not None
        assert chunks[-1].end.compare(head) == "equal"
        assert all(chunk.end is None or chunk.end.compare(head) in ("before", "equal") for chunk in chunks)
    end = chunks[-1].end if chunks else head
    assert isinstance(end, LinesPosition)
    # What a ledger keeps.
    kept = from_json(json.loads(json.dumps(to_json(end))))
    return chunks, {str(table): kept if table in behind else after[table] for table in stored}


def changes(batch: ChangeBatch) -> Iterable[Change]:
    """The batch's changes; a value that is absent is left out."""
    names = batch.schema.names
    rows = batch.data.to_pylist()
    index = 0
    while index < len(rows):
        kind = RowKind(rows[index][KIND])
        images = [_row(row, names) for row in rows[index : index + 2]]
        if kind == RowKind.UPDATE_BEFORE:
            assert RowKind(rows[index + 1][KIND]) == RowKind.UPDATE_AFTER
            yield Change(images[0], images[1])
            index += 1
        elif kind == RowKind.DELETE:
            yield Change(images[0], None)
        else:
            yield Change(None, images[0])
        index += 1


def _row(row: Mapping[str, Any], names: Sequence[str]) -> Row:
    return {name: row[name] for name in names if row.get(PRESENT + name, True)}


def apply(models: dict[str, Model], chunks: Iterable[Chunk], key: Sequence[str] | None = None) -> dict[str, Model]:
    """Apply chunks to models of the tables, which are made as they come."""
    for chunk in chunks:
        for part in chunk.parts:
            if isinstance(part, TableEvent):
                model = models[str(part.table)]
                if part.kind == "truncated":
                    model.rows.clear()
                elif part.kind == "column_added":
                    assert part.column is not None
                    value = None if part.value is None else part.value.as_py()
                    model.columns = (*model.columns, part.column.name)
                    for row in model.rows.values():
                        row[part.column.name] = value
                continue
            name = str(part.schema.table)
            model = models.setdefault(name, Model(part.schema.names, tuple(key or part.schema.key)))
            model.apply(changes(part))
    return models


def tables(source: CdcFilesSource, *names: str, key: Sequence[str] | None = None) -> dict[str, list[Row]]:
    """The tables' rows in the end, by key."""
    chunks, _ = read(source, names)
    return {name: [model.rows[at] for at in sorted(model.rows)] for name, model in apply({}, chunks, key).items()}


def events(chunks: Iterable[Chunk]) -> list[TableEvent]:
    return [part for chunk in chunks for part in chunk.parts if isinstance(part, TableEvent)]


def rows(chunks: Iterable[Chunk], table: str | None = None) -> list[tuple[str, Row]]:
    """The rows as they came, with their kinds."""
    found = []
    for chunk in chunks:
        for batch in chunk.batches:
            if table is None or str(batch.schema.table) == table:
                found += [(RowKind(row[KIND]).short, _row(row, batch.schema.names)) for row in batch.data.to_pylist()]
    return found
