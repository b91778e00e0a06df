"""What a server says of its tables now, for the reader of its log: :class:`tidegate.providers.mysql.binlog.tables.Present`."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.changes.schema import TableName
from tidegate.providers.mysql.ddl.altered import Dialect
from tidegate.providers.mysql.ddl.collations import read_collations
from tidegate.providers.mysql.session import Session, quote
from tidegate.providers.mysql.types import MySqlTable, read_table


class PresentTables:
    """Asks the server, and only if a statement in the log makes it necessary."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session
        self._dialect: Dialect | None = None

    def dialect(self) -> Dialect:
        if self._dialect is None:
            session = self._session()
            self._dialect = Dialect(read_collations(session), session.server().mariadb)
        return self._dialect

    def table(self, table: TableName) -> tuple[MySqlTable, str]:
        """The table and its CREATE TABLE. SchemaError if it is gone."""
        session = self._session()
        found = read_table(session, table)
        where = f"{quote(found.where.schema)}.{quote(found.where.name)}"
        return found, session.rows(f"SHOW CREATE TABLE {where}", table=table)[0][1] or ""
