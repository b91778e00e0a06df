"""Where refused changes are kept: ``tidegate_quarantine``, a primary key table beside the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tidegate.changes.schema import TableName
from tidegate.errors import RowRefused
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.texts import texts
from tidegate.sync.held import Key, Quarantine

TABLE = "tidegate_quarantine"
_LONGEST = 1_000_000


def quarantine_of(
    metadata: Metadata, database: str, sync: str, target: TableName, intent: str, replication_num: int | None
) -> Quarantine:
    """The quarantined changes of one target of one sync, as they were before the intent; the table is made if there is none."""
    shelf = StarrocksShelf(metadata, TableName(database, TABLE), sync, metadata.full(target), intent)
    if metadata.table(shelf.table) is None:
        metadata.apply(shelf.table, shelf.ddl(replication_num))
    return Quarantine(shelf, _rows)


class StarrocksShelf:
    """The rows of ``tidegate_quarantine`` that are of one target of one sync.

    Nothing ties an entry to the loads beside it, so it says in which intent it was kept and settled: a run that goes on with the
    intent sees what the dead one saw when it began, and cuts the same chunks. An entry's id is a hash of what it holds, so that it
    is kept once.
    """

    def __init__(self, metadata: Metadata, table: TableName, sync: str, target: TableName, intent: str) -> None:
        self._metadata, self._sync, self._target, self._intent = metadata, sync, target, intent
        self.table = metadata.full(table)
        self.name = str(self.table)

    def ddl(self, replication_num: int | None) -> str:
        """CREATE TABLE for it."""
        replicas = "" if replication_num is None else f' PROPERTIES ("replication_num" = "{replication_num}")'
        return (
            f"CREATE TABLE IF NOT EXISTS {sql.table(self.table)} (`id` VARCHAR(64) NOT NULL, `sync` VARCHAR(512) NOT NULL, "
            "`target_schema` VARCHAR(1024) NOT NULL, `target_table` VARCHAR(1024) NOT NULL, `keys` VARCHAR(1048576) NOT NULL, "
            "`events` VARCHAR(1048576) NOT NULL, `error` VARCHAR(65533) NOT NULL, `at` DATETIME NOT NULL, "
            "`intent` VARCHAR(64) NOT NULL, `superseded_at` DATETIME NULL, `superseded_in` VARCHAR(64) NULL) "
            f"PRIMARY KEY (`id`) DISTRIBUTED BY HASH (`id`) BUCKETS 1{replicas}"
        )

    def open(self) -> Mapping[str, set[Key]]:
        rows = self._metadata.session.rows(
            f"SELECT `id`, `keys` FROM {self._quoted} WHERE `sync` = %s AND `target_schema` = %s AND `target_table` = %s "
            "AND `intent` <> %s AND (`superseded_at` IS NULL OR `superseded_in` = %s)",
            (self._sync, self._target.schema, self._target.name, self._intent, self._intent),
            table=self.table,
        )
        return {str(entry): {tuple(key) for key in json.loads(keys)} for entry, keys in rows}

    def add(self, keys: Sequence[Key], events: Sequence[Mapping[str, Any]], error: str) -> str:
        held = json.dumps(list(events), sort_keys=True)
        if len(held.encode()) > _LONGEST:
            what = f"{len(events)} changes that were refused are too long to be kept ({len(held)} bytes)"
            raise RowRefused(what, connection=self._metadata.name, table=self._target, setting="on_error='fail' or 'skip'")
        waiting = json.dumps([list(key) for key in keys])
        entry = self._id(waiting, held)
        self._insert(
            "VALUES (%s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(), %s, NULL, NULL)",
            (entry, self._sync, self._target.schema, self._target.name, waiting, held, error, self._intent),
        )
        return entry

    def narrow(self, entry: str, keys: Sequence[Key]) -> str:
        waiting = json.dumps([list(key) for key in keys])
        narrowed = self._id(waiting, entry)
        self._again(entry, ("%s", "%s", "%s", "NULL", "NULL"), (narrowed, waiting, self._intent))
        self.settle(entry)
        return narrowed

    def settle(self, entry: str) -> None:
        self._again(entry, ("`id`", "`keys`", "`intent`", "UTC_TIMESTAMP()", "%s"), (self._intent,))

    def _id(self, keys: str, held: str) -> str:
        return hashlib.sha256(f"{self._sync}\0{self._target}\0{keys}\0{held}".encode()).hexdigest()

    def _again(self, entry: str, values: tuple[str, str, str, str, str], params: Sequence[str]) -> None:
        """The row written by its key once more, or under another, which takes no right but SELECT and INSERT."""
        id, keys, intent, superseded_at, superseded_in = values
        self._insert(
            f"SELECT {id}, `sync`, `target_schema`, `target_table`, {keys}, `events`, `error`, `at`, {intent}, {superseded_at}, "
            f"{superseded_in} FROM {self._quoted} WHERE `id` = %s",
            (*params, entry),
        )

    def _insert(self, rows: str, params: Sequence[str]) -> None:
        self._metadata.session.run(
            f"INSERT INTO {self._quoted} (`id`, `sync`, `target_schema`, `target_table`, `keys`, `events`, `error`, `at`, "
            f"`intent`, `superseded_at`, `superseded_in`) {rows}",
            params,
            table=self.table,
        )

    @property
    def _quoted(self) -> str:
        return sql.table(self.table)


def _rows(table: pa.Table) -> Iterable[tuple[str | None, ...]]:
    columns = [texts(column.combine_chunks(), None)[0].to_pylist() for column in table.columns]
    return zip(*columns, strict=True)
