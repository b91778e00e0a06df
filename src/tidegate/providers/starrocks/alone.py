"""Loads that stand alone, each under its label: by Stream Load (V1), or by a transaction for each (V2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.errors import ConflictError
from tidegate.providers.starrocks.asking import present
from tidegate.providers.starrocks.backoff import Backoff
from tidegate.providers.starrocks.encoding import Encoder, StepPayload
from tidegate.providers.starrocks.reply import Reply
from tidegate.providers.starrocks.statements import Statements
from tidegate.providers.starrocks.steps import StepRows, deletes
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.sync.mapping import Target
from tidegate.sync.payload import Payload
from tidegate.sync.protocols import Copy
from tidegate.sync.results import WriteResult
from tidegate.sync.writeahead import Outcome

Mask = npt.NDArray[np.bool_]
SHOWN_KEYS = 10


class Alone(Statements):
    """A :class:`tidegate.sync.writeahead.Transport`. ``by_transaction``: V2 was asked for."""

    def __init__(self, encoder: Encoder, streamload: StreamLoad, backoff: Backoff, *, by_transaction: bool = False) -> None:
        super().__init__(encoder, streamload)
        self._backoff, self._by_transaction = backoff, by_transaction

    def encoder(self, targets: Sequence[Target]) -> str:
        return self._encoder.digest(targets)

    def encode(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> Iterable[Payload]:
        return self._encoder.encode(target, batch)

    def send(self, label: str, target: Target, payload: Payload) -> WriteResult:
        assert isinstance(payload, StepPayload)
        if payload.step.ask is not None:
            return self._asked(label, target, payload, payload.step)
        return self._load(label, target, payload)

    def outcome(self, label: str, target: Target, payload: Payload) -> Outcome:
        table = self._metadata.full(target.table)
        match self._streamload.state(table.schema, label):
            case "COMMITTED" | "VISIBLE":
                self.unseen(table, label)
                return "done"
            case "ABORTED":
                return "absent"
            case "PREPARE" if not self._by_transaction:
                return "running"
            case "PREPARE" | "PREPARED":
                # Of a run that died in between: all of its rows may be in, or not.
                ended = self._streamload.rollback(label, table.schema, table.name)
                self.unseen(table, label)
                return "done" if ended in ("COMMITTED", "VISIBLE") else "absent"
            case _ if payload.proof is not None:
                return "done" if self._encoder.holds(target.table, payload.proof) else "absent"
        return "unknown"

    def _load(self, label: str, target: Target, payload: StepPayload) -> WriteResult:
        table = self._metadata.full(target.table)
        self._backoff.wait(table)
        if self._by_transaction:
            reply = self._streamload.begin(label, table.schema, table.name)
            if reply.existing_job_status.upper() != "FINISHED":
                self._streamload.send(label, table, payload.settings, payload.body)
                counted = self._streamload.prepare(label, table.schema, table.name)
                self._streamload.commit(label, table.schema, table.name)
                reply = counted
        else:
            reply = self._streamload.load(label, table, payload.settings, payload.body)
        if self._by_transaction or reply.settled or reply.status.lower() != "success":
            self.unseen(table, label)
        return result_of(payload, reply)

    def _asked(self, label: str, target: Target, payload: StepPayload, step: StepRows) -> WriteResult:
        """Look the keys up, then load what is to go. After a crash it finds its own rows, and leaves them."""
        self.see(target.table)
        table = self._encoder.table(target.table)
        mark = target.options.soft_delete_column
        there, marked = present(self._metadata, table, step.rows, target.key, mark, self._values["time_zone"])
        here = there & ~marked
        born, result = there & marked | ~there, WriteResult(rows=0)
        if step.ask == "strict" and here.any():
            keys = step.rows.select(list(target.key)).filter(pa.array(here)).slice(0, SHOWN_KEYS).to_pylist()
            raise ConflictError(
                f"{int(here.sum())} keys exist",
                keys=[tuple(key.values()) for key in keys],
                connection=self._name,
                table=target.table,
                setting="conflict_mode",
            )
        if step.ask == "mark":
            result += self._part(label, target, step, here, "deleted")
            result.not_found = int((~here).sum())
            result.rows = payload.rows
            return result
        match step.ask:
            case "update" | "existing":
                result += self._update(f"{label}-u", target, step, here)
            case "unmark":
                result += self._part(f"{label}-u", target, step, here, "updated")
            case _:
                result.ignored = int(here.sum())
        if step.ask == "existing":
            result.not_found = int(born.sum())
        else:
            if step.partial:
                # What is marked begins a new life: nothing of the row that is there may stay.
                gone = deletes(step.rows.select(list(target.key)), table, target.schema)
                self._part(f"{label}-d", target, gone, there & marked, "")
            result += self._part(label, target, replace(step, version=None), born, "inserted")
        result.rows = payload.rows
        return result

    def _update(self, label: str, target: Target, step: StepRows, here: Mask) -> WriteResult:
        """Set the listed columns of the rows that are there."""
        others = [name for name in step.rows.column_names if name not in target.key]
        wanted = [name for name in others if name in (target.options.columns or others)]
        if not wanted:
            return WriteResult(ignored=int(here.sum()))
        old = replace(step, rows=step.rows.select([*target.key, *wanted]), partial=True)
        return self._part(label, target, old, here, "updated")

    def _part(self, label: str, target: Target, step: StepRows, mask: Mask, counts_as: str) -> WriteResult:
        number = int(np.count_nonzero(mask))
        if not number:
            return WriteResult()
        ops = None if step.ops is None else step.ops[mask]
        part = replace(step, rows=step.rows.filter(pa.array(mask)), ops=ops, ask=None)
        result = self._load(label, target, self._encoder.payload(target, self._encoder.table(target.table), part))
        for name in ("inserted", "updated", "deleted", "ignored", "not_found"):
            setattr(result, name, number if name == counts_as else 0)
        return result


def result_of(payload: StepPayload, reply: Reply) -> WriteResult:
    """What a load did, as far as StarRocks tells."""
    return WriteResult(
        rows=payload.rows,
        inserted=None,
        updated=None,
        deleted=None,
        ignored=None if "merge_condition" in payload.settings else payload.ignored,
        not_found=None,
        folded=None if payload.keyed else 0,
        filtered=0 if reply.settled else reply.filtered_rows,
        bytes=payload.size,
        loads=1,
    )
