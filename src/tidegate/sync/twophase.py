"""Exactly once over a target's own transactions, which are prepared, then committed, under labels.

A window goes like this::

    opened    an id, from which the labels are made                 before the first transaction begins
    (send)    rows, into one transaction a table or one for all
    (prepare) each: from here on the target keeps them
    entries   where the tables stand, and what is to be committed   this is the decision
    (commit)  each

A run that dies before the decision leaves transactions that the next one rolls back. One that dies after it leaves prepared ones,
which the next one commits. A transaction that the target gave up meanwhile, its time being over, takes the decision back: its
tables stand where they stood, and the window is read again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import Column, TableName
from tidegate.errors import PermanentError, TransientError
from tidegate.sync.log import Decision, Step, entries_record, table_json
from tidegate.sync.mapping import Target
from tidegate.sync.payload import Payload
from tidegate.sync.protocols import Copy, Entry, Lease
from tidegate.sync.results import WriteResult

if TYPE_CHECKING:
    from tidegate.sync.logledger import WriteAheadLedger

log = logging.getLogger(__name__)

Standing = Literal["open", "prepared", "done", "absent", "unknown"]
"""A transaction is open; prepared; committed; given up; or the target doesn't know the label, any more or at all."""
_UNKNOWN = 3
"""Labels in a row; one alone may be of a transaction that was given up long ago, and is forgotten."""
Action = Mapping[str, Any]
"""A statement of the target's, in its own words, JSON-able. Doing it twice in a row does no harm."""


class Transactions(Protocol):
    """The target's transactions. All raise TransientError if the outcome can't be had now."""

    spans_tables: bool
    """Whether one transaction takes rows of several tables of a schema."""

    def label(self, id: str, number: int) -> str: ...

    def encode(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> Iterable[Payload]:
        """The batch's net effect, to be loaded in this order."""

    def begin(self, label: str, table: TableName) -> None: ...

    def send(self, label: str, target: Target, payload: Payload) -> WriteResult:
        """Add the rows. After an error the transaction can only be rolled back."""

    def prepare(self, label: str, tables: Sequence[TableName]) -> None:
        """RowRefused if the target takes some row not."""

    def commit(self, label: str, tables: Sequence[TableName]) -> None:
        """Idempotent. TransientError if the target has given the transaction up."""

    def rollback(self, label: str, tables: Sequence[TableName]) -> None:
        """Idempotent."""

    def outcome(self, label: str, table: TableName) -> Standing: ...

    def holds(self, table: TableName, proof: Mapping[str, Any]) -> bool: ...

    def act(self, action: Action) -> None: ...

    def truncation(self, target: Target) -> Action | None:
        """How all rows of the table go, as ``delete_mode`` says; None if they stay."""

    def filling(self, target: Target, column: Column, value: pa.Scalar | None) -> Action | None: ...

    def swapping(self, target: Target, shadow: Target) -> Action: ...


@dataclass(slots=True)
class _Open:
    label: str
    settings: dict[TableName, Mapping[str, str]] = field(default_factory=dict)
    sources: set[TableName] = field(default_factory=set)
    keyed: bool = True
    proof: Mapping[str, Any] | None = None


class TwoPhaseLoad:
    """A Load over the target's transactions. Without ``ledger`` and ``lease`` it stands outside any sync."""

    def __init__(
        self,
        transactions: Transactions,
        targets: Sequence[Target],
        connection: str,
        ledger: WriteAheadLedger | None = None,
        lease: Lease | None = None,
    ) -> None:
        self._transactions, self._connection = transactions, connection
        self._ledger, self._lease = ledger, lease
        self._tables = sorted({target.table for target in targets})
        self._id = uuid.uuid4().hex
        self._opened = self._decided = False
        self._steps: list[_Open | Step] = []
        self._current: dict[object, _Open] = {}

    def write(self, target: Target, batch: ChangeBatch, copy: Copy | None = None) -> WriteResult:
        result = WriteResult()
        for payload in self._transactions.encode(target, batch, copy):
            into = self._transaction(target, payload.settings)
            result += self._transactions.send(into.label, target, payload)
            into.keyed &= payload.keyed
            into.proof = payload.proof
        result.rows = batch.events()
        return result

    def finish_copy(self, target: Target) -> int | None:
        raise AssertionError(f"{target.table}: a copy that replaces goes into a shadow here")

    def truncate(self, target: Target) -> WriteResult:
        self._act(target, self._transactions.truncation(target))
        return WriteResult(deleted=None)

    def fill(self, target: Target, column: Column, value: pa.Scalar | None) -> WriteResult:
        self._act(target, self._transactions.filling(target, column, value))
        return WriteResult(updated=None)

    def swap(self, target: Target, shadow: Target) -> None:
        self._act(shadow, self._transactions.swapping(target, shadow))

    def commit(self, entries: Sequence[Entry]) -> None:
        steps = tuple(self._step(step) for step in self._steps)
        for step in steps:
            if step.action is None:
                self._transactions.prepare(step.label, step.tables)
        number = None
        if self._ledger is not None and self._lease is not None:
            number = self._ledger.append(self._lease, entries_record(entries, self._ledger.now(), steps))
        self._decided = True
        for step in steps:
            if step.action is None:
                self._transactions.commit(step.label, step.tables)
            else:
                # Nothing in the target keeps a zombie's statement out: the fence is looked at once more.
                if self._ledger is not None and self._lease is not None:
                    self._ledger.renew(self._lease)
                self._transactions.act(step.action)
        if self._ledger is not None and self._lease is not None and number is not None:
            self._ledger.taken(self._lease, number)

    def abort(self) -> None:
        """Roll back what was begun, unless it has been decided: then the next attempt commits it."""
        if self._decided:
            return
        for step in map(self._step, self._steps):
            if step.action is None:
                try:
                    self._transactions.rollback(step.label, step.tables)
                except (TransientError, PermanentError) as error:
                    log.warning("the load %s was not rolled back and ends by its time-out: %s", step.label, error)

    def _transaction(self, target: Target, settings: Mapping[str, str]) -> _Open:
        """The one that takes rows of the table under these settings: all of one table's are loaded under the same."""
        table = target.table
        group: object = table.schema if self._transactions.spans_tables else table
        current = self._current.get(group)
        if current is None or current.settings.get(table, settings) != settings:
            if not self._opened and self._ledger is not None and self._lease is not None:
                where = {"id": self._id, "tables": [table_json(name) for name in self._tables]}
                self._ledger.append(self._lease, {"kind": "opened", "where": where})
            self._opened = True
            label = self._transactions.label(self._id, sum(isinstance(step, _Open) for step in self._steps))
            current = self._current[group] = _Open(label)
            self._steps.append(current)
            current.settings[table] = settings  # before it begins: if that fails, abort knows where
            current.sources.add(target.schema.table)
            self._transactions.begin(label, table)
        current.settings.setdefault(table, settings)
        current.sources.add(target.schema.table)
        return current

    def _act(self, target: Target, action: Action | None) -> None:
        if action is not None:
            self._current.clear()  # what comes after it must not be committed before it
            self._steps.append(Step((target.table,), (target.schema.table,), action=action))

    @staticmethod
    def _step(step: _Open | Step) -> Step:
        if isinstance(step, Step):
            return step
        return Step(tuple(step.settings), tuple(sorted(step.sources)), step.label, step.keyed, None, step.proof)


def settle(transactions: Transactions, decision: Decision, connection: str) -> list[TableName]:
    """Take the steps of a decision that weren't taken. Returns the source tables for which it can't be: they stand where they stood
    before. PermanentError if neither is known.

    A transaction that is open has all of its rows, since the decision came after them: where the target knows no prepare, it is
    committed like a prepared one.
    """
    standing = [transactions.outcome(step.label, step.tables[0]) if step.action is None else None for step in decision.steps]
    taken = max((at for at, found in enumerate(standing) if found == "done"), default=-1)
    lost: list[Step] = []
    for at, (step, found) in enumerate(zip(decision.steps, standing, strict=True)):
        if found == "done" or (at < taken and found != "absent"):
            continue  # they are taken in order
        if lost:
            if step.action is None and found in ("open", "prepared"):
                transactions.rollback(step.label, step.tables)
            elif found == "unknown" and not step.keyed and _is_in(transactions, step, found, connection):
                standing[at] = "done"
                continue
            lost.append(step)
        elif step.action is not None:
            transactions.act(step.action)
        elif found == "prepared" or (found == "open" and transactions.spans_tables):
            transactions.commit(step.label, step.tables)
        elif not _is_in(transactions, step, found, connection):
            lost.append(step)
    undone = list(dict.fromkeys(table for step in lost for table in step.sources))
    for step, found in zip(decision.steps, standing, strict=True):
        if found == "done" and not step.keyed and set(step.sources) & set(undone):
            what = f"of the window's loads {step.label} is in and a later one was given up, so neither all of it nor nothing is"
            raise PermanentError(what, connection=connection, table=step.tables[0], setting="a new copy of the table")
    return undone


def _is_in(transactions: Transactions, step: Step, found: Standing | None, connection: str) -> bool:
    """Whether the rows of a load that the target gave up or forgot are in."""
    if found == "open":
        transactions.rollback(step.label, step.tables)
    if found in ("open", "absent") or step.keyed:
        return False
    if step.proof is None:
        what = f"the target has forgotten the label {step.label}, and nothing in the rows tells whether they are in"
        raise PermanentError(what, connection=connection, table=step.tables[0], setting="a new copy of the table")
    return transactions.holds(step.tables[0], step.proof)


def sweep(transactions: Transactions, where: Mapping[str, Any]) -> None:
    """Roll back what a run opened and didn't decide. Labels are given in order, so where several are unknown there are no more."""
    tables = [TableName(*table) for table in where["tables"]]
    number = unknown = 0
    while unknown < _UNKNOWN:
        label = transactions.label(where["id"], number)
        found = {table: transactions.outcome(label, table) for table in tables}
        for table, standing in found.items():
            if standing in ("open", "prepared"):
                transactions.rollback(label, [table])
        unknown = unknown + 1 if all(standing == "unknown" for standing in found.values()) else 0
        number += 1
