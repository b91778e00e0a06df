"""What the Test button tries: the query port, the HTTP port, a backend, and the SELECT and INSERT that loading needs."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.changes.schema import TableName
from tidegate.errors import PreflightError, SchemaError
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.grants import tried
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.streamload import StreamLoad

TABLES = 50
"""Tables of the connection's database that are tried at most."""

_TABLES = """
SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME
"""


def trial(metadata: Metadata, loader: StreamLoad) -> str:
    """``StarRocks 3.3.5 at fe1:9030, which takes loads with transactions; SELECT and INSERT on 3 of 3 tables of shop; loads go to
    be1:8040``.

    Unavailable if a port doesn't answer, or the backend that a load would go to; PreflightError for a wrong password or database,
    or if there are tables in the database of the connection and the account may load none of them. Writes nothing.
    """
    version = ".".join(str(part) for part in metadata.version())
    transactions = "with" if loader.transactions() else "without"
    said = f"StarRocks {version} at {metadata.session.address}, which takes loads {transactions} transactions"
    database = str(metadata.session.values["database"])
    if not database:
        return f"{said}; privileges were not tried: the connection names no database"
    if not metadata.database_exists(database):
        what = f"there is no database {database}, or the account may see nothing of it"
        raise PreflightError(what, connection=metadata.name, setting="database")
    rights, loadable = _privileges(metadata, database)
    return f"{said}; {rights}" + (f"; loads go to {loader.reach(loadable)}" if loadable is not None else "")


def _privileges(metadata: Metadata, database: str) -> tuple[str, TableName | None]:
    """In words, and a table that takes loads."""
    names = [str(row[0]) for row in metadata.session.rows(_TABLES, (database,))]
    if not names:
        return f"{database} has no table yet that the account may see", None
    rights = {name: _rights(metadata, TableName(database, name)) for name in names[:TABLES]}
    lacking = {name: right for name, may in rights.items() if (right := _first(may, False))}
    untold = [name for name, may in rights.items() if name not in lacking and _first(may, None)]
    tables = f"{len(rights)} table{'' if len(rights) == 1 else 's'} of {database}"
    if len(names) > len(rights):
        tables += f" that were tried, of the {len(names)} that the account sees"
    if len(lacking) == len(rights):
        what = f"the account lacks {', '.join(sorted(set(lacking.values()), reverse=True))} on {len(lacking)} of {tables}"
        grant = sql.grant(("SELECT", "INSERT"), f"ALL TABLES IN DATABASE {sql.name(database)}", metadata.session.values["login"])
        raise PreflightError(what, connection=metadata.name, setting=grant)
    said = f"SELECT and INSERT on {len(rights) - len(lacking) - len(untold)} of {tables}"
    if lacking:
        said += f"; lacking: {', '.join(f'{right} on {name}' for name, right in lacking.items())}"
    if untold:
        said += f"; INSERT can't be tried on {', '.join(untold)}"
    usable = [name for name in rights if name not in lacking and name not in untold]
    return said, TableName(database, usable[0]) if usable else None


def _rights(metadata: Metadata, table: TableName) -> dict[str, bool | None]:
    try:
        there = metadata.table(table)
        return {"SELECT": False} if there is None else tried(metadata, there)
    except SchemaError:
        return {"INSERT": None}  # an external table, or gone since the question for the names


def _first(rights: Mapping[str, bool | None], answer: bool | None) -> str | None:
    """The first of the rights that trying gave this answer for."""
    return next((right for right, may in rights.items() if may is answer), None)
