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


def quarantine_of(metadata: Metadata, database: str, sync: str, target: TableName, replication_num: int | None) -> Quarantine:
    """The quarantined changes of one target of one sync; the table is made if there is none."""
    shelf = StarrocksShelf(metadata, TableName(database, TABLE), sync, metadata.full(target))
    if metadata.table(shelf.table) is None:
        metadata.apply(shelf.table, shelf.ddl(replication_num))
    return Quarantine(shelf, _rows)


class StarrocksShelf:
    """The rows of ``tidegate_quarantine`` that are of one target of one sync.

    An entry's id is a hash of what it holds: a run that is repeated after a crash keeps the same changes under the same id, once.
    """

    def __init__(self, metadata: Metadata, table: TableName, sync: str, target: TableName) -> None:
        self._metadata, self._sync, self._target = metadata, sync, target
        self.table = metadata.full(table)
        self.name = str(self.table)

    def ddl(self, replication_num: int | None) -> str:
        """CREATE TABLE for it."""
        replicas = "" if replication_num is None else f' PROPERTIES ("replication_num" = "{replication_num}")'
        return (
            f"CREATE TABLE IF NOT EXISTS {sql.table(self.table)} (`id` VARCHAR(64) NOT NULL, `sync` VARCHAR(512) NOT NULL, "
            "`target_schema` VARCHAR(1024) NOT NULL, `target_table` VARCHAR(1024) NOT NULL, `keys` VARCHAR(1048576) NOT NULL, "
            "`events` VARCHAR(1048576) NOT NULL, `error` VARCHAR(65533) NOT NULL, `at` DATETIME NOT NULL, "
            f"`superseded_at` DATETIME NULL) PRIMARY KEY (`id`) DISTRIBUTED BY HASH (`id`) BUCKETS 1{replicas}"
        )

    def open(self) -> Mapping[str, set[Key]]:
        rows = self._metadata.session.rows(
            f"SELECT `id`, `keys` FROM {self._quoted} "
            "WHERE `sync` = %s AND `target_schema` = %s AND `target_table` = %s AND `superseded_at` IS NULL",
            (self._sync, self._target.schema, self._target.name),
            table=self.table,
        )
        return {str(entry): {tuple(key) for key in json.loads(keys)} for entry, keys in rows}

    def add(self, keys: Sequence[Key], events: Sequence[Mapping[str, Any]], error: str) -> str:
        held = json.dumps(list(events), sort_keys=True)
        if len(held.encode()) > _LONGEST:
            what = f"{len(events)} changes that were refused are too long to be kept ({len(held)} bytes)"
            raise RowRefused(what, connection=self._metadata.name, table=self._target, setting="on_error='fail' or 'skip'")
        entry = hashlib.sha256(f"{self._sync}\0{self._target}\0{held}".encode()).hexdigest()
        self._metadata.session.run(
            f"INSERT INTO {self._quoted} (`id`, `sync`, `target_schema`, `target_table`, `keys`, `events`, `error`, `at`) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP())",
            (
                *(entry, self._sync, self._target.schema, self._target.name),
                json.dumps([list(key) for key in keys]),
                held,
                error,
            ),
            table=self.table,
        )
        return entry

    def narrow(self, entry: str, keys: Sequence[Key]) -> None:
        self._again(entry, "%s", "`superseded_at`", (json.dumps([list(key) for key in keys]), entry))

    def settle(self, entry: str) -> None:
        self._again(entry, "`keys`", "UTC_TIMESTAMP()", (entry,))

    def _again(self, entry: str, keys: str, superseded: str, params: Sequence[str]) -> None:
        """The row written over by its key, which takes no right but SELECT and INSERT."""
        self._metadata.session.run(
            f"INSERT INTO {self._quoted} (`id`, `sync`, `target_schema`, `target_table`, `keys`, `events`, `error`, `at`, "
            f"`superseded_at`) SELECT `id`, `sync`, `target_schema`, `target_table`, {keys}, `events`, `error`, `at`, {superseded} "
            f"FROM {self._quoted} WHERE `id` = %s",
            params,
            table=self.table,
        )

    @property
    def _quoted(self) -> str:
        return sql.table(self.table)


def _rows(table: pa.Table) -> Iterable[tuple[str | None, ...]]:
    columns = [texts(column.combine_chunks(), None)[0].to_pylist() for column in table.columns]
    return zip(*columns, strict=True)
