"""Rows that are written by COPY … ON CONFLICT, where the strategy says so."""

from __future__ import annotations

from tidegate.providers.adbpg.staging import AdbpgCopyStager
from tidegate.providers.adbpg.strategy import AdbpgStrategy
from tidegate.providers.postgres.writer import Group, TableWriter
from tidegate.sync.results import WriteResult


class AdbpgWriter(TableWriter):
    """Writes the batches of one target. The distribution key is part of every unique index, so no statement of it is SET."""

    def _put(self, group: Group) -> WriteResult:
        rows = group.rows
        native = isinstance(self.strategy, AdbpgStrategy) and self.strategy.native
        if not native or not isinstance(self.stager, AdbpgCopyStager) or set(rows.column_names) != set(self.table.names):
            return super()._put(group)
        if not rows.num_rows:
            return WriteResult()
        update = self._rules.conflict_mode != "ignore"
        self.stager.merge(self.table.name, rows, update=update)
        # The server doesn't tell which rows were there; to count them first would bring the keys to it a second time.
        sets = update and set(rows.column_names) > set(self.target.key)
        return WriteResult(inserted=None, updated=None) if sets else WriteResult(inserted=None, ignored=None)

    def _create_seen(self) -> None:
        there = self._session.rows(
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = %s",
            (self.seen.schema, self.seen.name),
        )
        if not there:
            super()._create_seen()
