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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import Column, TableName
from tidegate.errors import PermanentError, TransientError
from tidegate.sync.log import Step, entries_record, table_json
from tidegate.sync.logledger import WriteAheadLedger
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Copy, Entry, Lease
from tidegate.sync.results import WriteResult
from tidegate.sync.settling import Action, Transactions

log = logging.getLogger(__name__)


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
        self._id = transactions.id()
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
