"""The roles that a run plays with: source, sink, load, ledger. N sources and M sinks meet here, never each other.

How the shapes fit the systems: a transactional sink (the PostgreSQL family) keeps rows and ledger in one transaction of its
:class:`Load`. A sink without transactions (StarRocks, TDengine, Lakehouse) builds its Load and Ledger from
:mod:`tidegate.sync.writeahead`, bringing only "send this under that label" and "what became of that label". A source read in
splits (TDengine) says in its position which are done; a topic keeps an offset per partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch, Chunk, TableEventKind
from tidegate.changes.position import Position
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import TidegateError
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.results import WriteResult

Copy = Literal["fresh", "replace", "merge", "shadow"]
"""How a copy meets the target: it was empty; it is to hold what the source holds in the end; other rows stay; the copy goes to a
table of its own (:meth:`Sink.shadow`), which takes the target's place once it is complete."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a read covers: per table everything after its position, up to and with ``until`` (None: to the end of a first copy).

    ``schemas``: the source's schema of each table as of that position, as far as the ledger has it. ``unknown``: the tables of
    which nobody knows it, since they begin at a place in the past.
    """

    after: Mapping[TableName, Position]
    until: Position | None
    schemas: Mapping[TableName, TableSchema] = field(default_factory=dict)
    unknown: frozenset[TableName] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """The size of a chunk; whichever is reached first. ``share``: how many reads go on at this time, this one among them."""

    rows: int = 100_000
    bytes: int = 32 * 1024 * 1024
    share: int = 1


@dataclass(frozen=True, slots=True)
class Findings:
    """What a preflight saw: problems stop the run, warnings are shown."""

    problems: tuple[TidegateError, ...] = ()
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """Where changes come from."""

    @property
    def name(self) -> str:
        """The connection's name, for messages."""

    @property
    def copies_at_once(self) -> int:
        """How many tables may be copied at a time, each by a :meth:`read` of its own in a thread of its own."""

    def preflight(self, stored: Mapping[TableName, Position | None]) -> Findings:
        """Settings, privileges, tables, and whether each stored position can still be read. Reads only."""

    def schema(self, table: TableName) -> TableSchema:
        """The table as it is now. SchemaError if it is missing or has a column without canonical type."""

    def estimate(self, table: TableName, after: Position | None) -> int | None:
        """About how many rows are to be read; None if the source can't tell."""

    def start(self, tables: Sequence[TableName], *, consistent: bool) -> Mapping[TableName, Position]:
        """Where copies of tables begin. ``consistent``: one view of all of them, at one position, in one piece."""

    def current(self, position: Position, table: TableName) -> Position:
        """Where to go on from a stored position: the same, unless the source was moved to a place that can be told to be its equal.

        PositionLost, with the evidence, if there is none.
        """

    def locate(self, start: str) -> Position:
        """Where tables begin that are not copied: ``latest``, a position in the source's own words, or a time (ISO 8601).

        ConfigError if the source can't begin there.
        """

    def head(self) -> Position:
        """The position up to which a run that starts now reads."""

    def read(self, window: Window, limits: Limits) -> Iterator[Chunk]:
        """The window's changes. The same window under the same limits is cut into the same chunks, but for first copies.

        Tables that are being copied are read one at a time (a window each); the last chunk of a copy ends at the position from
        which its changes are to be applied. Other windows end with a chunk whose end is ``until``, though it may have no rows.
        """

    def lag_seconds(self) -> float | None:
        """Age of the newest change read, 0 if the source has nothing newer; None if it can't be told."""

    def ack(self, position: Position) -> None:
        """Everything up to ``position`` is recorded in the target: what is kept for a resend may go."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target can do, for the plan and the documented matrix. What isn't listed is refused, with ``refusals`` as reason."""

    transactional: bool
    options: Mapping[str, tuple[Any, ...]]
    """Per option of WriteOptions the values it takes; an option that isn't here is taken as it comes."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """``option=value`` to the reason, and what to use instead."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What None means here, per option."""
    follows: frozenset[TableEventKind] = frozenset()
    """The events of whole tables that :class:`Load` can apply. Others break the table: it has to be copied again."""
    loads_at_once: bool = False
    """Whether several loads, of different tables, can be open at a time."""
    shadow: bool = False
    """Whether a table can be copied anew beside the old one and take its place at the end."""
    ignores_case: bool = False
    """Whether a column is found by a name that differs from its own in case only."""
    keeps_events: bool = False
    """Whether ``append`` keeps the events themselves among the rows, for whoever replays them."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a target table stands to what is to be written to it."""

    exists: bool
    empty: bool
    rows: int | None
    """Estimate of the rows in it."""
    ddl: tuple[str, ...] = ()
    """Statements that create it or add what it lacks."""
    grants: tuple[str, ...] = ()
    """Statements after these by which somebody else gives the account what it isn't known to have and a run needs; a run has no use
    for them."""
    strategy: str = ""
    """How rows will be merged, for people."""
    needs_consistent: bool = False
    """Its constraints allow no overlap of copy and changes."""
    problems: tuple[TidegateError, ...] = ()
    warnings: tuple[str, ...] = ()
    no_copy: str = ""
    """Why rows of a copy can't be brought, if they can't; changes can."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a sync. The fence grows with each taking; what carries a lower one is refused."""

    sync: str
    owner: str
    fence: int
    ttl: float
    """Seconds without a heartbeat after which anyone may take over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: where a table of a sync stands once the rows of this line's load are in."""

    sync: str
    table: TableName
    target: TableName
    position: Position
    run: str = ""
    rows: int = 0
    copy: Copy | None = None
    """Set while a first copy is under way."""
    schema: TableSchema | None = None
    """The source's schema at that position. Recorded only when it changes; :meth:`Ledger.last` gives the latest."""
    at: datetime | None = None
    """When it was recorded, by the target's clock."""


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """A load that a run without transactions announced before sending it."""

    number: int
    table: TableName
    rows: int
    checksum: str
    label: str
    record: int = -1
    """The number of the ledger's record that announced it; -1 outside a ledger."""
    after_refusal: bool = False
    """The target had refused the rows of the chunk before it."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a run is about to load into a target without transactions, recorded before the first byte goes."""

    id: str
    sync: str
    window: Window
    limits: Limits
    encoder: str
    """Hash of the options and the encoding: another one cannot repeat the same bytes."""
    chunks: tuple[ChunkRecord, ...] = ()
    keyed: bool = True
    """Whether its rows can be loaded again without harm."""


class Ledger(Protocol):
    """The truth about a sync, in the target itself. Append-only; the highest finished entry counts."""

    def setup(self) -> None:
        """Create what is missing. PreflightError with the statements if the account may not."""

    def ddl(self) -> Sequence[str]:
        """The statements that :meth:`setup` would run, and the grants that runs need."""

    def acquire(self, sync: str, owner: str, ttl: float) -> Lease:
        """Take the lease: free, expired, or the owner's own. SyncBusy if another's is live."""

    def renew(self, lease: Lease) -> None:
        """Heartbeat. LeaseLost if it was taken over."""

    def release(self, lease: Lease) -> None: ...

    def claim(self, lease: Lease, targets: Sequence[TableName]) -> None:
        """Make the sync the owner of these target tables. ConfigError if another sync is."""

    def owners(self, targets: Sequence[TableName]) -> Mapping[TableName, str]:
        """Which sync owns each, where one does. Reads only; empty where there is no ledger yet."""

    def last(self, sync: str) -> Mapping[TableName, Entry]:
        """The latest entry of each table. Reads only; empty where there is no ledger yet."""

    def record(self, lease: Lease, entries: Sequence[Entry]) -> None:
        """Append entries for which there is nothing to load. LeaseLost if the fence was passed."""

    def intents(self, lease: Lease) -> Sequence[Intent]:
        """Those that a run left open and this one has to go on with; none where there are transactions.

        An intent that a re-read can't repeat word for word but a keyed load makes good (a first copy) is closed by this call.
        """


class Load(Protocol):
    """One window on its way into a sink. Nothing counts before :meth:`commit`."""

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        """Apply a batch. ``copy`` is set for rows of a first copy; ``fresh`` promises that their keys are not in the target."""

    def finish_copy(self, target: Target) -> int | None:
        """The last row of a ``replace`` copy was written: remove rows that it didn't bring. How many; None if it can't be told."""

    def truncate(self, target: Target) -> WriteResult:
        """The source's table was emptied: delete, mark or keep all rows, as ``delete_mode`` says. Only if the sink follows it."""

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        """The source's table gained a column that holds ``value`` in all rows: set it in all of them. Only if the sink follows."""

    def swap(self, target: Target, shadow: Target) -> None:
        """The last row of a ``shadow`` copy was written: it takes the target's place, under its name and with its grants."""

    def commit(self, entries: Sequence[Entry]) -> None:
        """Rows and entries, all or nothing. LeaseLost if the fence was passed."""

    def abort(self) -> None:
        """Give up: with transactions nothing was written. Must not raise."""


class Sink(Protocol):
    """Where changes go."""

    @property
    def name(self) -> str:
        """The connection's name, for messages."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def ledger(self) -> Ledger: ...

    def describe(self, table: TableName) -> TableSchema | None:
        """The table as it is in the target, in canonical types, its primary key as the key; None if there is none."""

    def inspect(self, target: Target) -> Preparation:
        """Compare the table with what is to come. Reads only."""

    def prepare(self, target: Target, preparation: Preparation) -> None:
        """Run the preparation's statements."""

    def shadow(self, target: Target) -> Target:
        """The same target under the name of its shadow. Only if :attr:`Capabilities.shadow`."""

    def drop_shadow(self, target: Target) -> None:
        """Remove the target's shadow, if there is one."""

    def begin(
        self, targets: Sequence[Target], lease: Lease | None, window: Window | None = None, intent: Intent | None = None
    ) -> Load:
        """Open a load. ``lease`` is None for writes outside a sync. ``intent``: the open one that this load goes on with."""

    def read(self, table: TableName, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The table's rows in canonical types, in no order."""

    def close(self) -> None: ...


def chunk_limits(targets: Sequence[Target]) -> Limits:
    """The smallest chunk that any of the tables asks for."""
    rows = [target.options.batch_rows for target in targets if target.options.batch_rows]
    size = [target.options.batch_bytes for target in targets if target.options.batch_bytes]
    return Limits(min(rows, default=Limits().rows), min(size, default=Limits().bytes))


def resolve(options: WriteOptions, capabilities: Capabilities) -> WriteOptions:
    """The options with the target's defaults filled in. :func:`tidegate.sync.plan.refusals` says what it can't do."""
    given = {name: value for name, value in capabilities.defaults.items() if getattr(options, name) is None}
    return options.override(given)
