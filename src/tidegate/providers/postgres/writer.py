"""One target table within one load: batches become statements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.batch import PRESENT, ChangeBatch, RowKind
from tidegate.changes.fold import Folded, fold
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, ConflictError, EventRefused, SchemaError
from tidegate.providers.postgres.catalog import CatalogTable
from tidegate.providers.postgres.session import DuplicateKey, Session
from tidegate.providers.postgres.sql import PostgresSql, Put
from tidegate.providers.postgres.staging import Stager
from tidegate.providers.postgres.strategy import Strategy
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Copy
from tidegate.sync.results import WriteResult

SHOWN_KEYS = 20
"""Keys that a ConflictError carries."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one round that leave out the same columns."""

    rows: pa.Table
    absent: tuple[str, ...]


def groups(rows: pa.Table) -> Iterator[Group]:
    """Rows with ``present:`` columns, by the set of columns that they leave out; usually there is one."""
    flags = [name for name in rows.column_names if name.startswith(PRESENT)]
    data = rows.drop_columns(flags)
    if not flags:
        yield Group(data, ())
        return
    codes = np.zeros(rows.num_rows, dtype=np.int64)
    for name in flags:
        # Numbered anew after each column, so that any number of columns fits.
        _, codes = np.unique(codes * 2 + ~rows.column(name).to_numpy(), return_inverse=True)
    for code in np.unique(codes):
        mask = codes == code
        first = int(np.argmax(mask))
        absent = tuple(name.removeprefix(PRESENT) for name in flags if not rows.column(name)[first].as_py())
        yield Group(data.drop_columns(list(absent)).filter(pa.array(mask)), absent)


def key_changes(batch: ChangeBatch) -> int:
    """Updates that move a row to another key."""
    before = np.flatnonzero(batch.kinds == RowKind.UPDATE_BEFORE)
    if not len(before):
        return 0
    changed = np.zeros(len(before), dtype=bool)
    for name in batch.schema.key:
        column = batch.data.column(name)
        same = pc.fill_null(pc.equal(column.take(pa.array(before)), column.take(pa.array(before + 1))), False)
        changed |= ~same.to_numpy()
    return int(changed.sum())


class TableWriter:
    """Writes the batches of one target, as its strategy says. ``seen`` is where a copy that replaces remembers the keys it brought.

    A system of PostgreSQL's family that merges rows otherwise overrides :meth:`_put_source`.
    """

    def __init__(
        self,
        session: Session,
        sql: PostgresSql,
        stager: Stager,
        target: Target,
        table: CatalogTable,
        strategy: Strategy,
        seen: TableName,
    ):
        self._session, self._sql, self.stager = session, sql, stager
        self.target, self.table, self.seen = target, table, seen
        self.opened: set[str] = set()
        """What :meth:`open` has done in this load."""
        self._rules = target.options.rules
        self._mark = target.options.soft_delete_column
        self.strategy = strategy
        for problem in self.strategy.problems:
            raise problem

    def write(self, batch: ChangeBatch, copy: Copy | None) -> WriteResult:
        """Apply a batch. Raises RowRefused for values that the table refuses, ConflictError and EventRefused as the options say."""
        self._lacks_none(batch.schema.names)
        bytes_before, loads_before = self.stager.bytes, self.stager.loads
        result = self._write(batch, copy)
        result.rows = batch.events()
        result.bytes = self.stager.bytes - bytes_before
        result.loads = self.stager.loads - loads_before
        return result

    def _write(self, batch: ChangeBatch, copy: Copy | None) -> WriteResult:
        mode = self.target.options.write_mode
        if mode == "append":
            return self._append(batch)
        if mode == "overwrite" and not batch.schema.key:
            return self._insert_all(batch, "write_mode='overwrite' without a key")
        plain = not batch.partial and not self._rules.ignore_nulls and bool((batch.kinds == RowKind.INSERT).all())
        if copy == "fresh" and plain:
            return self._insert_all(batch, "a first copy")
        return self._merge(batch, fold(batch, self._rules), remember=copy == "replace" and mode == "upsert")

    def open(self, copy: Copy | None, *, copy_starts: bool) -> WriteResult:
        """What comes before the first rows of a load: overwriting clears the table, a copy that replaces forgets an earlier one.

        A log (``append``) that is copied anew is cleared too: it has no keys by which old rows could be told.
        """
        mode = self.target.options.write_mode
        replaces = copy == "replace"
        result = WriteResult()
        if "cleared" not in self.opened and (mode == "overwrite" or (mode == "append" and replaces and copy_starts)):
            result.deleted = self._session.run(self._sql.clear_table(self.table.name), table=self.table.name)
            self.opened.add("cleared")
        if replaces and mode == "upsert" and "remembers" not in self.opened:
            if copy_starts:
                self._session.run(self._sql.drop_table(self.seen))
            self._create_seen()
            self.opened.add("remembers")
        return result

    def _create_seen(self) -> None:
        self._session.run(self._sql.create_seen(self.seen, self.table.name, self.target.key))

    # All rows at once

    def truncate(self) -> WriteResult:
        """Delete or mark all rows, or (``delete_mode='ignore'``) keep them. EventRefused under ``conflict_mode='strict'``."""
        if self._rules.conflict_mode == "strict":
            what = "TRUNCATE under conflict_mode='strict', which takes inserts alone"
            raise EventRefused(what, connection=self._session.name, table=self.table.name, setting="conflict_mode")
        if self._rules.delete_mode == "ignore":
            return WriteResult()
        name = self.table.name
        statement = self._sql.clear_table(name) if self._mark is None else self._sql.mark_all(name, self._mark)
        return WriteResult(deleted=self._session.run(statement, table=name))

    def fill(self, column: str, value: pa.Array) -> WriteResult:
        """Set ``column`` to the one value in all rows, marked ones too. RowRefused for a value that the column doesn't take.

        An UPDATE of the rows that hold another value, also of a column that was added a moment ago: adding it again with a DEFAULT
        would write no row, and shut every reader out until the load is committed.
        """
        result = WriteResult()
        if value.null_count and self._rules.ignore_nulls:
            return result
        self._lacks_none((column,))
        bytes_before, loads_before = self.stager.bytes, self.stager.loads
        for source, _ in self.stager.sources(self.table, pa.table({column: value})):
            result.updated = self._session.run(self._sql.fill(self.table.name, source, column), table=self.table.name)
        result.bytes = self.stager.bytes - bytes_before
        result.loads = self.stager.loads - loads_before
        return result

    def _lacks_none(self, columns: Iterable[str]) -> None:
        if missing := [name for name in columns if self.table.column(name) is None]:
            what = f"the table lacks {', '.join(missing)}: it has to be prepared first"
            raise SchemaError(what, connection=self._session.name, table=self.table.name)

    # Rows as they come

    def _append(self, batch: ChangeBatch) -> WriteResult:
        options = self.target.options
        ignored = 0
        if options.delete_mode == "ignore":
            kept = batch.filter(batch.kinds != RowKind.DELETE)
            ignored, batch = batch.num_rows - kept.num_rows, kept
        if options.op_column is None:
            result = self._insert_all(batch, "write_mode='append' without op_column")
            result.ignored = ignored
            return result
        # Each group keeps the order of its rows; rows of a log table have no other.
        labels = pa.array([kind.name for kind in RowKind]).take(pa.array(batch.kinds))
        for group in groups(_visible(batch).append_column(options.op_column, labels)):
            self.stager.put(self.table, group.rows)
        return WriteResult(inserted=batch.num_rows, ignored=ignored)

    def _insert_all(self, batch: ChangeBatch, why: str) -> WriteResult:
        if (batch.kinds != RowKind.INSERT).any():
            kinds = sorted({RowKind(int(kind)).name for kind in np.unique(batch.kinds)} - {"INSERT"})
            what = f"{', '.join(kinds)} under {why}, which takes inserts alone"
            raise EventRefused(what, connection=self._session.name, table=self.table.name, setting="op_column")
        for group in groups(_visible(batch)):
            rows = group.rows
            if self._mark:
                rows = rows.append_column(self._mark, pa.array(np.zeros(rows.num_rows, dtype=bool)))
            try:
                self.stager.put(self.table, rows)
            except DuplicateKey as error:
                raise self._conflict(error) from None
        return WriteResult(inserted=batch.num_rows)

    def _conflict(self, error: DuplicateKey) -> DuplicateKey | ConflictError:
        if self._rules.conflict_mode != "strict" or self.target.options.write_mode == "append":
            return error
        return ConflictError(str(error), setting="conflict_mode")

    # Rows merged by key

    def _merge(self, batch: ChangeBatch, folded: Folded, *, remember: bool) -> WriteResult:
        result = WriteResult()
        counts = batch.counts()
        operations = counts[RowKind.INSERT] + counts[RowKind.UPDATE_AFTER]
        if self._rules.delete_mode == "ignore":
            result.ignored = counts[RowKind.DELETE]
        else:
            operations += counts[RowKind.DELETE] + key_changes(batch)
        steps = folded.remove.num_rows + sum(rows.num_rows for rows in folded.rounds) + folded.remove_after.num_rows
        result.folded = operations - steps
        result += self._remove(folded.remove)
        for rows in folded.rounds:
            if not self.strategy.in_place:
                result += self._replace(rows)
            else:
                for group in groups(rows):
                    result += self._put(group)
            if remember:
                self._remember(rows.select(list(batch.schema.key)))
        return result + self._remove(folded.remove_after)

    def _remove(self, keys: pa.Table) -> WriteResult:
        deleted, found = self._delete(keys, self._mark)
        return WriteResult(deleted=deleted, not_found=keys.num_rows - found)

    def _delete(self, keys: pa.Table, mark: str | None) -> tuple[int, int]:
        """Rows deleted or marked, and keys that were there: without a unique index a key can be there more than once."""
        deleted = found = 0
        once = self.table.key_index(self.target.key) is not None
        for source, _ in self.stager.sources(self.table, keys, keys.column_names):
            if not once:
                counted = self._sql.count_keys(self.table.name, source, keys.column_names, mark)
                found += int(self._session.value(counted, table=self.table.name))
            if mark is None:
                statement = self._sql.delete(self.table.name, source, keys.column_names)
            else:
                statement = self._sql.set_mark(self.table.name, source, keys.column_names, mark)
            deleted += self._session.run(statement, table=self.table.name)
        return deleted, deleted if once else found

    def _replace(self, rows: pa.Table) -> WriteResult:
        """Delete every key that comes, then insert: so no unique index is met by a row that is about to move."""
        left_out = [name for name in rows.column_names if name.startswith(PRESENT)]
        left_out += [column.name for column in self.table.columns if column.name not in rows.column_names and not column.generated]
        if left_out:
            names = ", ".join(sorted({name.removeprefix(PRESENT) for name in left_out}))
            what = f"rows are replaced whole here, and these leave out {names}: give the table a unique index on the key alone"
            raise ConfigError(what, connection=self._session.name, table=self.table.name)
        _, found = self._delete(rows.select(list(self.target.key)), None)
        self.stager.put(self.table, rows)
        return WriteResult(inserted=rows.num_rows - found, updated=found)

    def _put(self, group: Group) -> WriteResult:
        result = WriteResult()
        rows = group.rows
        if self._strict and self._mark is None and self._inserted_at_once(rows):
            return WriteResult(inserted=rows.num_rows)
        for source, number in self.stager.sources(self.table, rows, self.target.key if self._joins(rows) else ()):
            put = Put(
                table=self.table.name,
                source=source,
                key=self.target.key,
                columns=tuple(rows.column_names),
                absent=group.absent,
                rules=self._rules,
                mark=self._mark,
            )
            result += self._put_source(put, number)
        return result

    @property
    def _strict(self) -> bool:
        return self._rules.conflict_mode == "strict" and not self.target.existing_only

    def _inserted_at_once(self, rows: pa.Table) -> bool:
        """Insert rows none of which should be there; False, and nothing done, if one is: the long way says which."""
        if self.table.key_index(self.target.key) is None:
            return False
        made = self.stager.made()
        try:
            with self._session.savepoint():
                self.stager.put(self.table, rows)
        except DuplicateKey:
            self.stager.undone(made)
            return False
        return True

    def _joins(self, rows: pa.Table) -> bool:
        """Whether the rows will be joined to the table, for which the planner has to know them."""
        counts_first = self.table.partitioned or not self._sql.tells_fresh
        return self.target.existing_only or self._rules.conflict_mode == "strict" or counts_first

    def _put_source(self, put: Put, number: int) -> WriteResult:
        if self.target.existing_only:
            return self._update(put, number)
        if self._rules.conflict_mode == "strict":
            return self._insert_new(put, number)
        statement = self._sql.upsert(put)
        if self.table.partitioned or not self._sql.tells_fresh:
            # RETURNING can't show xmax through a partitioned table.
            inserted = number - int(self._session.value(self._sql.count_present(_unmarked(put)), table=self.table.name))
            touched = self._session.run(statement, table=self.table.name)
        else:
            inserted, touched = self._session.rows(self._sql.counted(statement), table=self.table.name)[0]
        return WriteResult(inserted=inserted, updated=touched - inserted, ignored=number - touched)

    def _update(self, put: Put, number: int) -> WriteResult:
        present = int(self._session.value(self._sql.count_present(put), table=self.table.name))
        statement = self._sql.update_existing(put)
        updated = 0 if statement is None else self._session.run(statement, table=self.table.name)
        return WriteResult(updated=updated, ignored=present - updated, not_found=number - present)

    def _insert_new(self, put: Put, number: int) -> WriteResult:
        there = self._session.rows(self._sql.conflicts(put, SHOWN_KEYS), table=self.table.name)
        if there:
            least = "at least " if len(there) == SHOWN_KEYS else ""
            raise ConflictError(
                f"{least}{len(there)} keys exist",
                keys=there,
                connection=self._session.name,
                table=self.table.name,
                setting="conflict_mode",
            )
        try:
            self._session.run(self._sql.insert(put), table=self.table.name)
        except DuplicateKey as error:
            raise self._conflict(error) from None
        return WriteResult(inserted=number)

    # A copy that replaces

    def _remember(self, keys: pa.Table) -> None:
        for source, _ in self.stager.sources(self.table, keys):
            self._session.run(self._sql.remember(self.seen, source, keys.column_names))

    def finish_copy(self) -> int:
        """Remove, or mark, the rows whose keys the copy didn't bring; how many."""
        if self.target.options.write_mode != "upsert":
            return 0
        self._session.run(f"ANALYZE {self._sql.table(self.seen)}")
        statement = self._sql.remove_unseen(self.table.name, self.seen, self.target.key, self._mark)
        removed = self._session.run(statement, table=self.table.name)
        self._session.run(self._sql.drop_table(self.seen))
        self.opened.discard("remembers")
        return removed


def _visible(batch: ChangeBatch) -> pa.Table:
    """The data columns, and those that say which rows leave them out."""
    return batch.data.select([*batch.schema.names, *(name for name in batch.data.column_names if name.startswith(PRESENT))])


def _unmarked(put: Put) -> Put:
    """The same without a mark: a marked row is there, as far as a unique index is concerned."""
    return Put(put.table, put.source, put.key, put.columns, put.absent, put.rules)


def seen_table(ledger_schema: str, sync: str, table: TableName) -> TableName:
    """Where a copy of this sync into this table remembers the keys that it brought."""
    digest = hashlib.sha256(f"{sync}\0{table.schema}\0{table.name}".encode()).hexdigest()
    return TableName(ledger_schema, f"tidegate_seen_{digest[:16]}")
