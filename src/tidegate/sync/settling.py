"""A target's own transactions, which are prepared and then committed under labels; and what becomes of those of a run that died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import Column, TableName
from tidegate.errors import PermanentError
from tidegate.sync.log import Decision, Step
from tidegate.sync.mapping import Target
from tidegate.sync.payload import Payload
from tidegate.sync.protocols import Copy
from tidegate.sync.results import WriteResult

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

    def id(self) -> str:
        """A new one, for labels of transactions as they are begun now."""

    def label(self, id: str, number: int) -> str: ...

    def spans(self, label: str) -> bool:
        """Whether its transaction takes rows of several tables, whatever is begun now."""

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
        elif found == "prepared" or (found == "open" and transactions.spans(step.label)):
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
