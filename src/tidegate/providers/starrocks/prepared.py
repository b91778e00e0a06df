"""Loads that are prepared, and committed once the run has decided: the transaction interface (V2)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import TableName
from tidegate.errors import Unavailable
from tidegate.providers.starrocks.alone import result_of
from tidegate.providers.starrocks.backoff import Backoff
from tidegate.providers.starrocks.encoding import Encoder, StepPayload
from tidegate.providers.starrocks.statements import Statements
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.sync.mapping import Target
from tidegate.sync.payload import Payload
from tidegate.sync.protocols import Copy
from tidegate.sync.results import WriteResult
from tidegate.sync.settling import Standing

PIECE_BYTES = 16 * 1024 * 1024
"""Of Arrow that are encoded and sent at a time: a transaction takes any number of loads, so a chunk needn't be encoded whole."""
WINDOW_SECONDS = 86_400
"""For which a transaction may be open: the copy of a table whose rows can't be told apart is one."""
_BEGINS = 4
_STANDING: Mapping[str, Standing] = {
    "UNKNOWN": "unknown",
    "PREPARE": "open",
    "PREPARED": "prepared",
    "COMMITTED": "done",
    "VISIBLE": "done",
    "ABORTED": "absent",
}


class Prepared(Statements):
    """:class:`tidegate.sync.settling.Transactions`. ``spans_tables``: one takes rows of all tables of a database (4.0)."""

    def __init__(self, encoder: Encoder, streamload: StreamLoad, backoff: Backoff, *, spans_tables: bool) -> None:
        super().__init__(encoder, streamload)
        self._backoff = backoff
        self.spans_tables = spans_tables

    def id(self) -> str:
        # It says which kind of transaction its labels are of: the next run may begin others, and has to end these.
        return ("m" if self.spans_tables else "") + uuid.uuid4().hex

    def label(self, id: str, number: int) -> str:
        return f"{self._values['label_prefix']}-{id}-{number}"

    def spans(self, label: str) -> bool:
        return label.rsplit("-", 2)[1].startswith("m")

    def encode(self, target: Target, batch: ChangeBatch, copy: Copy | None) -> Iterable[Payload]:
        return self._encoder.encode(target, batch, PIECE_BYTES)

    def begin(self, label: str, table: TableName) -> None:
        table = self._metadata.full(table)
        self._backoff.wait(table)
        multi = self.spans(label)
        name = None if multi else table.name
        # It lives as long as its window is read, and waits while other tables' rows are brought. One that a dead run leaves open is
        # rolled back by the next run, so a long time costs nothing.
        seconds = str(max(self._values["load_timeout"], WINDOW_SECONDS))
        idle = {"timeout": seconds, "idle_transaction_timeout": seconds}
        for attempt in range(_BEGINS):
            try:
                self._streamload.begin(label, table.schema, name, multi=multi, headers=idle)
                return
            except Unavailable:
                if attempt == _BEGINS - 1:
                    raise

    def send(self, label: str, target: Target, payload: Payload) -> WriteResult:
        assert isinstance(payload, StepPayload)
        assert payload.step.ask is None
        table = self._metadata.full(target.table)
        reply = self._streamload.send(label, table, payload.settings, payload.body, multi=self.spans(label))
        return result_of(payload, reply)

    def prepare(self, label: str, tables: Sequence[TableName]) -> None:
        # One over several tables knows no such step: if it is lost before its commit, the decision is taken back.
        if not self.spans(label):
            table = self._metadata.full(tables[0])
            self._streamload.prepare(label, table.schema, table.name)

    def commit(self, label: str, tables: Sequence[TableName]) -> None:
        database, table = self._where(label, tables)
        self._streamload.commit(label, database, table, multi=self.spans(label))
        for name in tables:
            self.unseen(name, label)

    def rollback(self, label: str, tables: Sequence[TableName]) -> None:
        database, table = self._where(label, tables)
        self._streamload.rollback(label, database, table, multi=self.spans(label))

    def outcome(self, label: str, table: TableName) -> Standing:
        standing = _STANDING[self._streamload.state(self._metadata.full(table).schema, label)]
        if standing == "done":
            self.unseen(table, label)
        return standing

    def holds(self, table: TableName, proof: Mapping[str, Any]) -> bool:
        return self._encoder.holds(table, proof)

    def _where(self, label: str, tables: Sequence[TableName]) -> tuple[str, str | None]:
        table = self._metadata.full(tables[0])
        return table.schema, None if self.spans(label) else table.name
