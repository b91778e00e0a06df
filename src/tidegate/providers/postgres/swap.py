"""The swap: a complete copy takes the table's place, with all that belonged to the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

from tidegate.changes.schema import TableName
from tidegate.errors import PermanentError, SchemaError, Unavailable
from tidegate.providers.postgres.belongings import Belongings, Grant, Index
from tidegate.providers.postgres.catalog import Catalog
from tidegate.providers.postgres.session import Session
from tidegate.providers.postgres.shadow import ShadowTarget, is_shadow, made_name, mark
from tidegate.providers.postgres.shadow_inspection import hindrances, key_index, make_index, not_a_shadow
from tidegate.providers.postgres.sql import PostgresSql

LOCK_SECONDS = 3.0
"""How long readers are kept waiting behind a request for the lock before it is withdrawn and made again. More than the server's
``deadlock_timeout`` (1 s), after which it ends an autovacuum that is in the way."""


def swap(session: Session, sql: PostgresSql, catalog: Catalog, shadow: ShadowTarget) -> None:
    """Drop the table and give its name, owner, grants, comments, settings and indexes to its shadow.

    In the session's transaction, whose commit makes it so. Indexes are built first; only then is the table locked against readers.
    Raises SchemaError if the table was altered since the copy began, or has something that would be lost; Unavailable if a reader
    or writer held the table for longer than ``lock_timeout``.
    """
    _Swap(session, sql, catalog, shadow).run()


class _Swap:
    def __init__(self, session: Session, sql: PostgresSql, catalog: Catalog, shadow: ShadowTarget) -> None:
        self._session, self._sql, self._catalog = session, sql, catalog
        self._target, self._shadow, self._table = shadow, shadow.table, shadow.of

    def run(self) -> None:
        owned = self._catalog.belongings(self._session, self._table)
        self._check_mark(owned)
        if owned is None:
            self._comment(f"TABLE {self._sql.table(self._shadow)}", None)
        else:
            self._check_table(owned)
            names = self._make_indexes(owned)
            self._settings(owned)
            self._rights(owned)
            self._run(f"ANALYZE {self._sql.table(self._shadow)}")
            self._lock()
            if self._catalog.belongings(self._session, self._table) != owned:
                raise Unavailable("was altered at this moment", connection=self._session.name, table=self._table)
            self._check_table(owned)
            self._run(self._sql.drop_for_good(self._table))
            for made, name in names.items():
                self._run(self._sql.rename_index(self._table.schema, made, name))
        self._run(self._sql.rename_table(self._shadow, self._table.name))

    def _run(self, statement: str) -> None:
        self._session.run(statement, table=self._table)

    # What has to be as it was

    def _check_mark(self, owned: Belongings | None) -> None:
        comment, there = self._catalog.comment(self._session, self._shadow)
        if not there:
            raise SchemaError("there is no such table", connection=self._session.name, table=self._shadow)
        if comment == mark(self._table, owned.definition if owned is not None else ""):
            return
        if not is_shadow(comment, self._table):
            raise not_a_shadow(self._target, self._session.name)
        what = "its columns or CHECK constraints were altered since its copy began: copy it again (tidegate resync)"
        raise SchemaError(what, connection=self._session.name, table=self._table)

    def _check_table(self, owned: Belongings) -> None:
        table = self._catalog.table(self._session, self._table)
        if table is not None:
            for problem in hindrances(self._session, self._catalog, self._target, table, owned):
                raise problem

    # What goes over

    def _make_indexes(self, owned: Belongings) -> dict[str, str]:
        """The names that the shadow's indexes have now, to those that they are to take."""
        table = self._catalog.table(self._session, self._table)
        shadow = self._catalog.belongings(self._session, self._shadow)
        assert table is not None
        assert shadow is not None
        key, replaced = key_index(table, owned, self._target.key)
        there = {index.name: index for index in shadow.indexes}
        names: dict[str, str] = {}
        for number, index in enumerate(owned.indexes, 1):
            made = made_name(self._table, 0 if index is key else number)
            if index is not key:
                for statement in make_index(self._sql, made, self._shadow, index):
                    self._run(statement)
            elif made not in there or (not replaced and there[made].rest != index.rest):
                what = f"its index {index.name} was altered since its copy began: copy it again (tidegate resync)"
                raise SchemaError(what, connection=self._session.name, table=self._table)
            self._comment_index(made, index)
            names[made] = index.name
        return names

    def _comment_index(self, name: str, index: Index) -> None:
        if index.comment is not None:
            self._comment(f"INDEX {self._sql.table(TableName(self._shadow.schema, name))}", index.comment)
        if index.constraint_comment is not None:
            self._comment(f"CONSTRAINT {self._sql.name(name)} ON {self._sql.table(self._shadow)}", index.constraint_comment)

    def _settings(self, owned: Belongings) -> None:
        shadow = self._sql.table(self._shadow)
        if owned.options:
            self._run(self._sql.set_options(self._shadow, owned.options))
        for column in owned.columns:
            if column.statistics >= 0:
                self._run(self._sql.set_statistics(self._shadow, column.name, column.statistics))
            if column.options:
                self._run(self._sql.set_options(self._shadow, column.options, column.name))
            self._comment(f"COLUMN {shadow}.{self._sql.name(column.name)}", column.comment)
        self._comment(f"TABLE {shadow}", owned.comment)

    def _rights(self, owned: Belongings) -> None:
        """The same owner and grants, instead of the defaults with which the shadow was created."""
        shadow = self._catalog.belongings(self._session, self._shadow)
        assert shadow is not None
        if shadow.owner != owned.owner:
            self._run(self._sql.set_owner(self._shadow, owned.owner))
        if self._grants() == owned.grants:
            return
        for grantee in sorted({grant.grantee for grant in self._grants()}):
            self._run(self._sql.revoke_all(self._shadow, grantee))
        for (column, grantee, grantable), grants in groupby(sorted(owned.grants, key=_together), _together):
            privileges = [grant.privilege for grant in grants]
            self._run(self._sql.grant(self._shadow, privileges, column, grantee, grantable=grantable))
        if self._grants() != owned.grants:
            what = f"its grants could not be given to {self._shadow}: be made a member of {owned.owner}, or use tidegate resync"
            raise PermanentError(what, connection=self._session.name, table=self._table)

    def _grants(self) -> Sequence[Grant]:
        shadow = self._catalog.belongings(self._session, self._shadow)
        return shadow.grants if shadow is not None else ()

    def _comment(self, on: str, text: str | None) -> None:
        self._run(self._sql.comment(on, text))

    # The moment when nobody may read

    def _lock(self) -> None:
        """Wait for the table in short spells: while a request waits for a long query to end, later readers wait behind it."""
        patience = float(self._session.value("SELECT extract(epoch FROM current_setting('lock_timeout')::interval)"))
        began = time.monotonic()
        while True:
            left = patience - (time.monotonic() - began) if patience else LOCK_SECONDS
            spell = max(0.001, min(LOCK_SECONDS, left))
            self._session.run("SAVEPOINT tidegate_swap")
            self._session.run(f"SET LOCAL lock_timeout = '{int(spell * 1000)}ms'")
            try:
                self._run(self._sql.lock(self._table))
            except Unavailable as error:
                if error.setting != "lock_timeout" or (left <= LOCK_SECONDS and patience):
                    raise
                self._session.run("ROLLBACK TO SAVEPOINT tidegate_swap")
                continue
            self._session.run(f"SET LOCAL lock_timeout = '{int(patience * 1000)}ms'")
            self._session.run("RELEASE SAVEPOINT tidegate_swap")
            return


def _together(grant: Grant) -> tuple[str, str, bool]:
    return grant.column, grant.grantee, grant.grantable
