"""One target table within one load, on a server without ON CONFLICT."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, RowRefused
from tidegate.providers.gaussdb.sql import GaussdbPut, GaussdbSql
from tidegate.providers.gaussdb.strategy import GaussdbStrategy
from tidegate.providers.postgres.sql import Put
from tidegate.providers.postgres.writer import TableWriter
from tidegate.sync.protocols import Copy
from tidegate.sync.results import WriteResult

MOVED = "tidegate_stage_moved"
"""Rows between their old place and their new one."""


class GaussdbWriter(TableWriter):
    """Writes the batches of one target by the statements that the server has.

    What happens to a row is counted before it is written: neither ON DUPLICATE KEY UPDATE nor MERGE tells inserted rows from
    updated ones.
    """

    _sql: GaussdbSql
    strategy: GaussdbStrategy

    def write(self, batch: ChangeBatch, copy: Copy | None) -> WriteResult:
        """Apply a batch. RowRefused for ``''`` too, where the server would store NULL and the connection says ``refuse``."""
        return super().write(self._without_empty(batch), copy)

    def fill(self, column: str, value: pa.Array) -> WriteResult:
        """Set the column to ``value`` (one) in all rows."""
        if pa.types.is_string(value.type) and value[0].as_py() == "":
            if self.strategy.empty_string == "refuse":
                raise self._refused(column, None)
            if self.strategy.empty_string == "space":
                value = pa.array([" "])
        return super().fill(column, value)

    def open(self, copy: Copy | None, *, copy_starts: bool) -> WriteResult:
        """What comes before the first rows of a load. An earlier load's table of keys is looked up: CREATE TABLE AS would fail."""
        upserts = copy == "replace" and self.target.options.write_mode == "upsert"
        if upserts and not copy_starts and self._is_there(self.seen):
            self.opened.add("remembers")
        return super().open(copy, copy_starts=copy_starts)

    def finish_copy(self) -> int:
        """Remove, or mark, the rows that the copy didn't bring. No ANALYZE: only temporary tables take it in a transaction."""
        if self.target.options.write_mode != "upsert":
            return 0
        statement = self._sql.remove_unseen(self.table.name, self.seen, self.target.key, self._mark)
        removed = self._session.run(statement, table=self.table.name)
        self._session.run(self._sql.drop_table(self.seen))
        self.opened.discard("remembers")
        return removed

    def _is_there(self, table: TableName) -> bool:
        found = self._session.rows(
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = %s",
            (table.schema, table.name),
        )
        return bool(found)

    # Texts that the server takes for NULL

    def _without_empty(self, batch: ChangeBatch) -> ChangeBatch:
        how = self.strategy.empty_string
        if how not in ("refuse", "space"):
            return batch
        data = batch.data
        brings = pa.array((batch.kinds == RowKind.INSERT) | (batch.kinds == RowKind.UPDATE_AFTER))
        for index, column in enumerate(batch.schema.columns):
            if column.type != pa.string() or "json" in column.attributes:
                continue
            empty = pc.fill_null(pc.equal(data.column(index), ""), False)
            if how == "space":
                if pc.any(empty, min_count=0).as_py():
                    data = data.set_column(index, data.schema.field(index), pc.if_else(empty, " ", data.column(index)))
            elif pc.any(pc.and_(empty, brings), min_count=0).as_py():
                raise self._refused(column.name, batch.rows.filter(pc.and_(empty, brings)).slice(0, 10))
        return batch if data is batch.data else ChangeBatch(batch.schema, data)

    def _refused(self, column: str, rows: pa.Table | None) -> RowRefused:
        what = "'', which this database would store as NULL"
        where = {"connection": self._session.name, "table": self.table.name, "setting": "empty_string, on_error"}
        return RowRefused(what, column=column, rows=rows, **where)

    # Putting

    def _put_source(self, put: Put, number: int) -> WriteResult:
        if self._rules.conflict_mode == "strict" and not self.target.existing_only:
            return self._insert_new(put, number)
        here = GaussdbPut(put.table, put.source, put.key, put.columns, put.absent, put.rules, put.mark, self.strategy.fixed)
        revives = not self.target.existing_only
        present, touched = self._session.rows(self._sql.count_touched(here, revives=revives), table=self.table.name)[0]
        if revives and put.mark is not None:
            self._revive(here)
        if present and self._sql.moves(here):
            self._move(here)
        if self.target.existing_only:
            statement = self._sql.update_existing(here)
            if touched and statement is not None:
                self._session.run(statement, table=self.table.name)
            return WriteResult(updated=touched, ignored=present - touched, not_found=number - present)
        self._merge_live(here)
        return WriteResult(inserted=number - present, updated=touched, ignored=present - touched)

    def _merge_live(self, put: GaussdbPut) -> None:
        """Every row that is there counts as live from here on: marked ones were revived, and hold what comes."""
        table = self.table.name
        if self.strategy.way == "odku":
            self._session.run(self._sql.upsert(put), table=table)
        elif self.strategy.way == "merge":
            self._session.run(self._sql.merge(put), table=table)
        else:
            update = self._sql.update_live(put)
            if update is not None:
                self._session.run(update, table=table)
            self._session.run(self._sql.insert_absent(put), table=table)

    def _revive(self, put: GaussdbPut) -> None:
        if left_out := [name for name in put.absent if name in put.fixed]:
            what = f"delete_mode='soft' needs rows that bring {', '.join(left_out)}: a marked row can't be given its default"
            raise ConfigError(what, connection=self._session.name, table=self.table.name, setting="delete_mode")
        self._session.run(self._sql.revive(put), table=self.table.name)

    def _move(self, put: GaussdbPut) -> None:
        """Take the rows out that go to another place and put them back as they are to be, with all that they hold."""
        table = self.table.name
        if not self._session.value(self._sql.any_move(put), table=table):
            return
        columns = [column.name for column in self.table.columns if not column.generated]
        self._session.run(self._sql.create_staging(MOVED, table, columns), table=table)
        self._session.run(self._sql.take_out(put, MOVED, columns), table=table)
        self._session.run(self._sql.delete(table, self._sql.staged(MOVED), put.key), table=table)
        self._session.run(self._sql.put_back(table, MOVED, columns), table=table)
        self._session.run(self._sql.drop_staging(MOVED))
