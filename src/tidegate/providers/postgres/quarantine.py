"""Where refused changes are kept: ``tidegate_quarantine``, in the transaction that went on without them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tidegate.changes.schema import TableName
from tidegate.providers.postgres.encode import text_rows
from tidegate.providers.postgres.session import Session
from tidegate.sync.held import Key, Quarantine


def quarantine_of(session: Session, table: str, sync: str, target: TableName) -> Quarantine:
    """The quarantined changes of one target of one sync, as the table ``table`` has them."""
    return Quarantine(PostgresShelf(session, table, sync, target), partial(text_rows, refuse_nul=False))


class PostgresShelf:
    """The rows of ``tidegate_quarantine`` that are of one target of one sync."""

    def __init__(self, session: Session, table: str, sync: str, target: TableName) -> None:
        self._session, self._sync, self._target = session, sync, target
        self.name = table

    def open(self) -> Mapping[str, set[Key]]:
        rows = self._session.rows(
            f"SELECT id, keys::text FROM {self.name} "
            "WHERE sync = %s AND target_schema = %s AND target_table = %s AND superseded_at IS NULL",
            (self._sync, self._target.schema, self._target.name),
        )
        return {entry: {tuple(key) for key in json.loads(keys)} for entry, keys in rows}

    def add(self, keys: Sequence[Key], events: Sequence[Mapping[str, Any]], error: str) -> str:
        entry = uuid.uuid4().hex
        self._session.run(
            f"INSERT INTO {self.name} (id, sync, target_schema, target_table, keys, events, error, at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())",
            (
                *(entry, self._sync, self._target.schema, self._target.name),
                json.dumps([list(key) for key in keys]),
                json.dumps(list(events)),
                error,
            ),
        )
        return entry

    def narrow(self, entry: str, keys: Sequence[Key]) -> str:
        left = json.dumps([list(key) for key in keys])
        self._session.run(f"UPDATE {self.name} SET keys = %s WHERE id = %s", (left, entry))
        return entry

    def settle(self, entry: str) -> None:
        self._session.run(f"UPDATE {self.name} SET superseded_at = clock_timestamp() WHERE id = %s", (entry,))
