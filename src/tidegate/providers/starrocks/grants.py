"""The GRANTs that a run needs, for whoever may give them. In the syntax of StarRocks 3."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from tidegate.changes.schema import TableName
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.catalog import CatalogTable
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.privileges import Privileges


def tried(metadata: Metadata, there: CatalogTable) -> dict[str, bool | None]:
    """Whether the account has the rights that a load needs, by trying; None where that can't be told."""
    select = metadata.may_select(there.name)
    return {"SELECT": select, "INSERT": metadata.may_insert(there) if select else None}


class Grants:
    """Statements that give the connection's account what SHOW GRANTS doesn't name; none if it names all."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    @cached_property
    def privileges(self) -> Privileges:
        """As SHOW GRANTS has them, which is asked once."""
        return self._metadata.privileges()

    def to_load(self, there: CatalogTable) -> tuple[str, ...]:
        """What loads of the table need, and trying didn't show."""
        return self.on_table(there.name, [right for right, may in tried(self._metadata, there).items() if not may])

    def on_table(self, table: TableName, rights: Sequence[str]) -> tuple[str, ...]:
        lacking = [right for right in dict.fromkeys(rights) if not self.privileges.on_table(table, right)]
        return self._grant(lacking, f"TABLE {sql.table(table)}")

    def on_database(self, database: str, right: str) -> tuple[str, ...]:
        lacking = [] if self.privileges.on_database(database, right) else [right]
        return self._grant(lacking, f"DATABASE {sql.name(database)}")

    def on_all_tables(self, database: str, rights: Sequence[str]) -> tuple[str, ...]:
        """For tables that a run makes: no GRANT can name one that isn't there."""
        every = TableName(database, "*")
        lacking = [right for right in rights if not self.privileges.on_table(every, right)]
        return self._grant(lacking, f"ALL TABLES IN DATABASE {sql.name(database)}")

    def statement(self, rights: Sequence[str], where: str) -> str:
        """``where`` is a TABLE, a DATABASE or ALL TABLES IN DATABASE."""
        return sql.grant(rights, where, self._metadata.session.values["login"])

    def _grant(self, rights: Sequence[str], where: str) -> tuple[str, ...]:
        return (self.statement(rights, where),) if rights else ()
