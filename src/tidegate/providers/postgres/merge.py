"""Large batches by MERGE, which a server from 15 on does faster than ON CONFLICT, where both mean the same."""

from __future__ import annotations

import pyarrow as pa

from tidegate.providers.postgres.session import DuplicateKey
from tidegate.providers.postgres.sql import Put
from tidegate.providers.postgres.writer import TableWriter
from tidegate.sync.results import WriteResult

MERGE_ROWS = 10_000
"""From here on MERGE makes up for its savepoint and for the statistics of the staging table."""

# Rules MERGE refuses. Triggers see other rows: ON CONFLICT calls those BEFORE INSERT for rows that are then updated, too.
# MERGE tells the rows it touched, and the server's own count those of them that it inserted.
_PLAIN = """
SELECT current_setting('server_version_num')::integer >= 150000 AND current_setting('track_counts')::boolean
       AND NOT (c.relhasrules OR c.relhastriggers OR c.relrowsecurity OR c.relhassubclass)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""
_INSERTED = """
SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""


class MergingWriter(TableWriter):
    """A writer that merges where ON CONFLICT would be slower.

    A key that another writer inserts at the same moment is an error to MERGE: such a batch goes by ON CONFLICT, which waits for it.
    """

    _plain: bool | None = None

    def _joins(self, rows: pa.Table) -> bool:
        return super()._joins(rows) or self._merges(rows.num_rows)

    def _put_source(self, put: Put, number: int) -> WriteResult:
        statement = self._sql.merge(put) if self._merges(number) else None
        if statement is None:
            return super()._put_source(put, number)
        before = self._inserted()
        try:
            with self._session.savepoint():
                touched = self._session.run(statement, table=self.table.name)
        except DuplicateKey:
            return super()._put_source(put, number)
        inserted = self._inserted() - before
        return WriteResult(inserted=inserted, updated=touched - inserted)

    def _merges(self, number: int) -> bool:
        """Whether so many rows go by MERGE: whole upserts into a plain table whose key has no NULL."""
        if number < MERGE_ROWS or self.target.existing_only or self.table.partitioned or self._mark is not None:
            return False
        if self._rules.conflict_mode not in ("upsert", "update") or self._rules.version_column is not None:
            return False
        if self._plain is None:
            key = [self.table.column(name) for name in self.target.key]
            name = (self.table.name.schema, self.table.name.name)
            there = all(column is not None and column.not_null for column in key)
            self._plain = there and bool(self._session.value(_PLAIN, name, table=self.table.name))
        return self._plain

    def _inserted(self) -> int:
        """Rows that this transaction has inserted into the table so far."""
        return int(self._session.value(_INSERTED, (self.table.name.schema, self.table.name.name), table=self.table.name))
