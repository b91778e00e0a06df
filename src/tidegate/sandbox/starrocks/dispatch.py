"""Which function answers which statement. Nothing here knows of MySQL's packets."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.sandbox.starrocks import admin, definitions, dml, show
from tidegate.sandbox.starrocks.model import EngineError
from tidegate.sandbox.starrocks.result import OK, Result
from tidegate.sandbox.starrocks.sqlerror import SqlError, syntax
from tidegate.sandbox.starrocks.sqlfront import SqlSession
from tidegate.sandbox.starrocks.tokens import Cursor, statements
from tidegate.sandbox.starrocks.variables import read_set


def execute(session: SqlSession, sql: str) -> Result:
    """The answer to a text, the last one if it holds several statements. SqlError for what is refused."""
    result = OK
    for statement in statements(sql):
        try:
            result = _statement(session, statement)
        except EngineError as refusal:
            raise SqlError(str(refusal)) from refusal
    return result


def _statement(session: SqlSession, sql: str) -> Result:
    cursor = Cursor(sql)
    word = cursor.next.upper
    if word in ("SELECT", "WITH", "(", "VALUES"):
        return session.query(sql)
    handler = _HANDLERS.get(word)
    if handler is None:
        raise syntax(f"Unexpected input '{cursor.next.text}', the most similar input is {{<EOF>, 'SELECT', 'SHOW', 'INSERT'}}")
    cursor.take()
    return handler(session, cursor)


def _use(session: SqlSession, cursor: Cursor) -> Result:
    session.use(cursor.qualified()[-1])
    return OK


def _set(session: SqlSession, cursor: Cursor) -> Result:
    if cursor.next.upper == "PASSWORD":
        return admin.set_password(session, cursor)
    for name, value, everywhere in read_set(cursor):
        session.variables.set(name, value)
        if everywhere:
            session.front.globals[name.lower()] = session.variables.get(name)
    return OK


def _nothing(session: SqlSession, cursor: Cursor) -> Result:
    return OK


_HANDLERS: dict[str, Callable[[SqlSession, Cursor], Result]] = {
    "SHOW": show.show,
    "DESC": show.describe,
    "DESCRIBE": show.describe,
    "EXPLAIN": show.explain,
    "USE": _use,
    "SET": _set,
    "CREATE": definitions.create,
    "ALTER": definitions.alter,
    "DROP": definitions.drop,
    "TRUNCATE": definitions.truncate,
    "INSERT": dml.insert,
    "UPDATE": dml.update,
    "DELETE": dml.delete,
    "GRANT": admin.grant,
    "REVOKE": admin.revoke,
    "ADMIN": admin.admin,
    "BEGIN": _nothing,
    "START": _nothing,
    "COMMIT": _nothing,
    "ROLLBACK": _nothing,
}
