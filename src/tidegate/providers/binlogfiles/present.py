"""What is known of DDL without the server: :class:`tidegate.providers.mysql.binlog.tables.Present`."""

from __future__ import annotations

from typing import Any

from pymysql.charset import charset_by_id, charset_by_name

from tidegate.changes.schema import TableName
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.ddl.altered import Dialect
from tidegate.providers.mysql.ddl.collations import Collations
from tidegate.providers.mysql.ddl.lexer import NotUnderstood
from tidegate.providers.mysql.types import MySqlTable

_IDS = range(1, 310)
"""The numbers of the collations that PyMySQL may know."""


class NothingPresent:
    """Character sets by PyMySQL's table; of tables as they are now, nothing."""

    def __init__(self, charsets: Charsets, *, mariadb: bool) -> None:
        self._charsets, self._mariadb = charsets, mariadb

    def dialect(self) -> Dialect:
        found: list[Any] = []
        for number in _IDS:
            try:
                found.append(charset_by_id(number))
            except KeyError:
                continue
        sets = {item.name for item in found}
        names: Any = charset_by_name
        widths = {name: (str(names(name).collation), self._charsets.width(name)) for name in sets}
        return Dialect(Collations(widths, {item.collation: item.name for item in found}), self._mariadb)

    def table(self, table: TableName) -> tuple[MySqlTable, str]:
        raise NotUnderstood("what it is now can't be asked without the server")
