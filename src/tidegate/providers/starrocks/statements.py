"""What happens to whole tables between the loads: emptied, filled, put in another's place."""

from __future__ import annotations

import logging

import pyarrow as pa

from tidegate.changes.schema import Column, TableName
from tidegate.errors import EventRefused, SchemaError
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.encoding import Encoder
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.providers.starrocks.texts import texts
from tidegate.sync.mapping import Target
from tidegate.sync.settling import Action

log = logging.getLogger(__name__)


class Statements:
    """Statements that can be recorded, and done again after a crash."""

    def __init__(self, encoder: Encoder, streamload: StreamLoad) -> None:
        self._streamload = streamload
        self._encoder, self._metadata, self._values = encoder, encoder.metadata, encoder.values
        self._name = self._metadata.name
        self._unseen: dict[TableName, str] = {}

    def unseen(self, table: TableName, label: str) -> None:
        """A load that is committed and may not be visible yet (Publish Timeout)."""
        self._unseen[self._metadata.full(table)] = label

    def see(self, table: TableName) -> None:
        """Wait until what was loaded can be seen. LoadUnresolved if that takes longer than a minute."""
        full = self._metadata.full(table)
        if full in self._unseen:
            self._streamload.settled(full.schema, self._unseen[full], running=("PREPARE", "COMMITTED"))
            del self._unseen[full]

    def act(self, action: Action) -> None:
        table = TableName(*action["table"])
        self.see(table)
        if action["kind"] == "swap":
            self._swap(table, TableName(*action["shadow"]), action["mark"])
        else:
            self._metadata.apply(table, action["statement"])

    def truncation(self, target: Target) -> Action | None:
        options, table = target.options, self._metadata.full(target.table)
        if options.conflict_mode == "strict":
            what = "TRUNCATE under conflict_mode='strict', which takes inserts alone"
            raise EventRefused(what, connection=self._name, table=table, setting="conflict_mode")
        if options.delete_mode == "ignore" or options.write_mode == "append":
            log.info("%s: all rows were removed at the source, and are kept", table)
            return None
        where = [table.schema, table.name]
        if options.soft_delete_column is not None:
            mark = sql.name(options.soft_delete_column)
            return {
                "kind": "run",
                "table": where,
                "statement": f"UPDATE {sql.table(table)} SET {mark} = 1 WHERE {mark} = 0 OR {mark} IS NULL",
            }
        return {"kind": "run", "table": where, "statement": sql.truncate(table)}

    def filling(self, target: Target, column: Column, value: pa.Scalar | None) -> Action | None:
        options, table = target.options, self._metadata.full(target.table)
        if value is None and options.ignore_nulls:
            return None
        there = self._encoder.table(target.table).column(column.name)
        if there is None or there.key or self._encoder.table(target.table).model != "PRIMARY_KEYS":
            what = f"column {column.name} can't be set in rows that are there: the table has no primary key model"
            raise SchemaError(what, connection=self._name, table=table, setting="on_ddl='resync'")
        text = "NULL"
        if value is not None and value.is_valid:
            written, _ = texts(pa.array([value.as_py()], column.type), there, self._values["time_zone"])
            text = sql.literal(str(written[0].as_py()))
        statement = f"UPDATE {sql.table(table)} SET {sql.name(there.name)} = {text} WHERE 1 = 1"
        return {"kind": "run", "table": [table.schema, table.name], "statement": statement}

    def swapping(self, target: Target, shadow: Target) -> Action:
        table, copy = self._metadata.full(target.table), self._metadata.full(shadow.table)
        mark = self._metadata.identity(copy)
        return {"kind": "swap", "table": [table.schema, table.name], "shadow": [copy.schema, copy.name], "mark": mark}

    def _swap(self, table: TableName, shadow: TableName, mark: str) -> None:
        """Put the shadow in the table's place, unless that was done: the table is then the one that was the shadow."""
        there = self._metadata.identity(table)
        if there is None:
            self._metadata.apply(shadow, sql.rename(shadow, table.name))
        elif there != mark:
            self._metadata.apply(table, sql.swap(table, shadow.name))
        if self._metadata.identity(shadow) is not None and self._metadata.identity(table) == mark:
            self._metadata.apply(shadow, sql.drop_table(shadow))
        for name in (table, shadow):
            self._metadata.forget(name)
            self._encoder.forget(name)
