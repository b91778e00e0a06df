"""What the Test button tries: the query port, the HTTP port, and the SELECT and INSERT that loading needs."""

from __future__ import annotations

from tidegate.changes.schema import TableName
from tidegate.errors import PreflightError
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.streamload import StreamLoad

TABLES = 50
"""Tables of the connection's database that are tried at most."""

_TABLES = """
SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME
"""


def trial(metadata: Metadata, loader: StreamLoad) -> str:
    """``StarRocks 3.3.5 at fe1:9030, which takes loads with transactions; SELECT and INSERT on 3 of 3 tables of shop``.

    Unavailable if a port doesn't answer, PreflightError for a wrong password or database, or if there are tables in the database of
    the connection and the account may load none of them. Writes nothing.
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
    return f"{said}; {_privileges(metadata, database)}"


def _privileges(metadata: Metadata, database: str) -> str:
    names = [TableName(database, str(row[0])) for row in metadata.session.rows(_TABLES, (database,))]
    if not names:
        return f"{database} has no table yet that the account may see"
    tried = names[:TABLES]
    lacking = {table: missing for table in tried if (missing := _missing(metadata, table))}
    if len(lacking) == len(tried):
        rights = ", ".join(sorted(set(lacking.values()), reverse=True))
        what = f"the account lacks {rights} on every table of {database} ({len(tried)} tried)"
        raise PreflightError(what, connection=metadata.name, setting=f"GRANT SELECT, INSERT ON ALL TABLES IN DATABASE {database}")
    said = f"SELECT and INSERT on {len(tried) - len(lacking)} of {len(names)} tables of {database}"
    if lacking:
        said += f"; lacking: {', '.join(f'{right} on {table.name}' for table, right in lacking.items())}"
    return said


def _missing(metadata: Metadata, table: TableName) -> str | None:
    """The first of SELECT and INSERT that the server refuses."""
    found = metadata.table(table) if metadata.may_select(table) else None
    if found is None:
        return "SELECT"
    column = next(column.name for column in found.columns if not column.generated)
    return "INSERT" if metadata.may_insert(table, column) is False else None
