"""Change batches: Arrow columns of one table under one schema, with the kind and the origin of each row in hidden columns."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.position import Position
from tidegate.changes.schema import HIDDEN, Column, TableName, TableSchema
from tidegate.errors import SchemaError

KIND = f"{HIDDEN}kind"
"""uint8, a :class:`RowKind`."""
FILE = f"{HIDDEN}file"
"""string: the log file that the row's event stands in."""
OFFSET = f"{HIDDEN}offset"
"""uint64: the end of the row's event in that file."""
ROW = f"{HIDDEN}row"
"""uint32: the row's number within its event. (server, file, offset, row) identifies an event."""
TIME = f"{HIDDEN}time"
"""timestamp[us, UTC]: when the source says it was committed. For people; nothing is ever ordered by it."""
PRESENT = f"{HIDDEN}present:"
"""Prefix of a bool column per data column that the source may have left out: False is absent, which is not NULL."""


class RowKind(enum.IntEnum):
    """Flink's four kinds of a row in a changelog, with its byte values. An update is two adjacent rows."""

    INSERT = 0
    UPDATE_BEFORE = 1
    UPDATE_AFTER = 2
    DELETE = 3

    @property
    def short(self) -> str:
        """``+I``, ``-U``, ``+U``, ``-D``."""
        return ("+I", "-U", "+U", "-D")[self]


_HIDDEN_TYPES = {KIND: pa.uint8(), FILE: pa.string(), OFFSET: pa.uint64(), ROW: pa.uint32(), TIME: pa.timestamp("us", tz="UTC")}


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """Rows of one table under one schema, in source order.

    ``data`` holds the schema's columns in its order, then the hidden ones: the kind always; file, offset, row and time where the
    source has them; a ``present:`` column for each column that some row leaves out.
    """

    schema: TableSchema
    data: pa.Table

    def __post_init__(self) -> None:
        expected = [*self.schema.names]
        names = self.data.column_names
        if names[: len(expected)] != expected or KIND not in names or not all(n.startswith(HIDDEN) for n in names[len(expected) :]):
            raise SchemaError(f"batch columns {names} are not the schema's {expected} and hidden ones", table=self.schema.table)

    @classmethod
    def of(
        cls,
        schema: TableSchema,
        rows: pa.Table,
        kinds: RowKind | npt.NDArray[np.uint8] | pa.Array,
        *,
        present: dict[str, pa.Array] | None = None,
        **hidden: pa.Array,
    ) -> ChangeBatch:
        """A batch of ``rows`` (the schema's columns), all of one kind or with a kind each.

        ``present`` maps a column to a bool array. ``hidden`` may be ``file``, ``offset``, ``row`` and ``time``.
        """
        if isinstance(kinds, RowKind):
            kinds = np.full(rows.num_rows, int(kinds), dtype=np.uint8)
        data = rows.select(list(schema.names)).append_column(KIND, pa.array(kinds, pa.uint8()))
        for name, values in hidden.items():
            data = data.append_column(HIDDEN + name, values.cast(_HIDDEN_TYPES[HIDDEN + name]))
        for name, flags in (present or {}).items():
            data = data.append_column(PRESENT + name, flags)
        return cls(schema, data)

    @property
    def num_rows(self) -> int:
        return int(self.data.num_rows)

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)

    @property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """The kind of each row."""
        return np.asarray(self.data.column(KIND).to_numpy(), dtype=np.uint8)

    @property
    def rows(self) -> pa.Table:
        """The table's own columns."""
        return self.data.select(list(self.schema.names))

    def present(self, name: str) -> npt.NDArray[np.bool_] | None:
        """Which rows have a value (or NULL) in the column; None if all have."""
        if PRESENT + name not in self.data.column_names:
            return None
        return np.asarray(self.data.column(PRESENT + name).to_numpy(), dtype=np.bool_)

    @property
    def partial(self) -> bool:
        """Whether some row leaves a column out."""
        return any(name.startswith(PRESENT) for name in self.data.column_names)

    def take(self, indices: npt.NDArray[np.int64]) -> ChangeBatch:
        return ChangeBatch(self.schema, self.data.take(pa.array(indices)))

    def filter(self, mask: npt.NDArray[np.bool_]) -> ChangeBatch:
        return ChangeBatch(self.schema, self.data.filter(pa.array(mask)))

    def slice(self, start: int, length: int | None = None) -> ChangeBatch:
        return ChangeBatch(self.schema, self.data.slice(start, length))

    def select(self, names: Iterable[str]) -> ChangeBatch:
        """These columns of the table, in this order, with the hidden ones that go with them. The key's have to be among them."""
        schema = self.schema.select(names)
        rest = [name for name in self.data.column_names if name.startswith(HIDDEN)]
        kept = [name for name in rest if not name.startswith(PRESENT) or name.removeprefix(PRESENT) in schema.names]
        return ChangeBatch(schema, self.data.select([*schema.names, *kept]))

    def counts(self) -> dict[RowKind, int]:
        """Rows by kind."""
        counts = np.bincount(self.kinds, minlength=4)
        return {kind: int(counts[kind]) for kind in RowKind}

    def events(self) -> int:
        """Changes in the batch: an update counts once, though it is two rows."""
        counts = self.counts()
        return self.num_rows - min(counts[RowKind.UPDATE_BEFORE], counts[RowKind.UPDATE_AFTER])


def concat(batches: Sequence[ChangeBatch]) -> ChangeBatch:
    """One batch of several of the same schema. Rows of a batch without a hidden column are null in it, or present."""
    if len(batches) == 1:
        return batches[0]
    data = pa.concat_tables([batch.data for batch in batches], promote_options="default")
    for index, name in enumerate(data.column_names):
        if name.startswith(PRESENT) and data.column(index).null_count:
            data = data.set_column(index, name, pc.fill_null(data.column(index), True))
    return ChangeBatch(batches[0].schema, data)


TableEventKind = Literal["truncated", "column_added", "altered", "broken", "unreadable"]


@dataclass(frozen=True, slots=True)
class TableEvent:
    """What happened to a whole table, at its place among the batches.

    ``truncated``
        all rows that were there are gone.
    ``column_added``
        ``column`` is new, and every row that was there holds ``value`` in it (of the column's type; None is NULL).
    ``altered``
        its columns are others, and each row that was there holds what it held.
    ``broken``
        the table's rows were changed in a way that the source can't tell, or can't follow: nothing after it
        holds. It begins a chunk.

    ``unreadable``
        after a break: what its columns are isn't known any more, so no further rows of it come.

    ``what`` is the statement in short and why it matters, for people, without values; ``position`` where it stands.
    """

    table: TableName
    kind: TableEventKind
    what: str
    position: str
    column: Column | None = None
    value: pa.Scalar | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """The piece of a window that is in memory at once: batches and events of any tables of it, in source order per table.

    ``end`` is the position that all tables of the window have reached once the chunk is applied. None: the chunk ends inside a
    transaction, so nothing may be recorded here. ``schemas``: the source's schema of tables as of ``end``, where the source follows
    it; without an entry, what the ledger has for the table stays.
    """

    parts: tuple[ChangeBatch | TableEvent, ...]
    end: Position | None
    schemas: Mapping[TableName, TableSchema] = field(default_factory=dict)

    @property
    def batches(self) -> tuple[ChangeBatch, ...]:
        """The parts that are rows."""
        return tuple(part for part in self.parts if isinstance(part, ChangeBatch))

    @property
    def num_rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    @property
    def nbytes(self) -> int:
        return sum(batch.nbytes for batch in self.batches)


def joined(parts: Iterable[ChangeBatch | TableEvent]) -> list[ChangeBatch | TableEvent]:
    """Runs of batches of one table and schema as one batch each, in source order per table: larger batches load faster. None goes
    past an event of its table."""
    runs: list[list[ChangeBatch] | TableEvent] = []
    latest: dict[TableName, list[ChangeBatch]] = {}
    for part in parts:
        if isinstance(part, TableEvent):
            runs.append(part)
            latest.pop(part.table, None)
            continue
        run = latest.get(part.schema.table)
        if run is None or run[0].schema != part.schema:
            run = latest[part.schema.table] = []
            runs.append(run)
        run.append(part)
    return [run if isinstance(run, TableEvent) else concat(run) for run in runs]
