"""Users, privileges and the frontend's settings: CREATE USER, GRANT, REVOKE, SHOW GRANTS, ADMIN SHOW and SET FRONTEND CONFIG.

fe-core ``analyzer/PrivilegeStmtAnalyzer.java``; docs ``sql-statements/account-management`` and ``cluster-management/config_vars``.
"""

from __future__ import annotations

from tidegate.sandbox.starrocks.result import OK, Result, table
from tidegate.sandbox.starrocks.sqlerror import SqlError, denied
from tidegate.sandbox.starrocks.sqlfront import SqlSession
from tidegate.sandbox.starrocks.tokens import Cursor, like

_CONFIG = ("Key", "AliasNames", "Value", "Type", "IsMutable", "Comment")
_FIXED = ("run_mode", "default_replication_num")


def read_user(cursor: Cursor) -> str:
    """``'name'@'host'``, of which the sandbox keeps the name."""
    name = cursor.string() if cursor.next.kind == "string" else cursor.name()
    if "@" in name:
        return name.split("@")[0]
    if cursor.next.text.startswith("@"):
        host = cursor.take()
        if host.text == "@":
            cursor.take()
    return name


def create_user(session: SqlSession, cursor: Cursor) -> Result:
    """After CREATE USER."""
    _check_grant(session)
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    name = read_user(cursor)
    if session.front.users.get(name) is not None:
        if if_not_exists:
            return OK
        raise SqlError(f"Operation CREATE USER failed for '{name}'@'%' : user already exists")
    session.front.users.add(name, _identified(cursor))
    return OK


def alter_user(session: SqlSession, cursor: Cursor) -> Result:
    """After ALTER USER."""
    _check_grant(session)
    name = _known(session, read_user(cursor))
    _password(session, name, _identified(cursor))
    return OK


def set_password(session: SqlSession, cursor: Cursor) -> Result:
    """SET PASSWORD [FOR user] = [PASSWORD('…') | '…']"""
    cursor.expect("PASSWORD")
    name = session.user
    if cursor.accept("FOR"):
        _check_grant(session)
        name = _known(session, read_user(cursor))
    cursor.expect("=")
    if cursor.accept("PASSWORD"):
        cursor.expect("(")
    _password(session, name, cursor.string())
    return OK


def drop_user(session: SqlSession, cursor: Cursor) -> Result:
    """After DROP USER."""
    _check_grant(session)
    if_exists = cursor.accept("IF", "EXISTS")
    name = read_user(cursor)
    if session.front.users.get(name) is None and if_exists:
        return OK
    session.front.users.drop(_known(session, name))
    return OK


def grant(session: SqlSession, cursor: Cursor) -> Result:
    """After GRANT."""
    for name, privilege, db, place in _privileges(session, cursor, "TO"):
        session.front.users.grant(name, privilege, db, place)
    return OK


def revoke(session: SqlSession, cursor: Cursor) -> Result:
    """After REVOKE."""
    for name, privilege, db, place in _privileges(session, cursor, "FROM"):
        session.front.users.revoke(name, privilege, db, place)
    return OK


def show_grants(session: SqlSession, cursor: Cursor) -> Result:
    """After SHOW GRANTS. There are no roles but root, and ``public``, to which nothing is granted."""
    if cursor.accept("FOR", "ROLE"):
        if read_user(cursor) != "public":
            raise SqlError("tidegate's sandbox has no roles", 1235, "42000")
        return table(("RoleName", "Catalog", "Grants"), [])
    name = _known(session, read_user(cursor)) if cursor.accept("FOR") else session.user
    user = session.front.users.get(name)
    assert user is not None
    who = f"'{name}'@'%'"
    rows: list[tuple[str, str | None, str]] = [(who, None, f"GRANT 'root' TO {who}")] if user.root else []
    for (db, place), privileges in sorted(user.grants.items()):
        if "CREATE" in privileges:
            where = "ALL DATABASES" if db == "*" else f"DATABASE {db}"
            rows.append((who, "default_catalog", f"GRANT CREATE TABLE ON {where} TO USER {who}"))
        if not (others := sorted(privileges - {"CREATE"})):
            continue
        if db == "*":
            where = "SYSTEM" if "OPERATE" in privileges else "ALL TABLES IN ALL DATABASES"
        else:
            where = f"ALL TABLES IN DATABASE {db}" if place == "*" else f"TABLE {db}.{place}"
        rows.append((who, "default_catalog", f"GRANT {', '.join(others)} ON {where} TO USER {who}"))
    return table(("UserIdentity", "Catalog", "Grants"), rows)


def admin(session: SqlSession, cursor: Cursor) -> Result:
    """After ADMIN: SHOW and SET FRONTEND CONFIG."""
    session.check_system()
    if cursor.accept("SHOW"):
        cursor.expect("FRONTEND", "CONFIG")
        pattern = cursor.string() if cursor.accept("LIKE") else "%"
        rows = [
            (name, "[]", value, "long" if value.isdigit() else "String", str(name not in _FIXED).lower(), "")
            for name, value in sorted(session.front.config.all().items())
            if like(pattern, name)
        ]
        return table(_CONFIG, rows)
    cursor.expect("SET", "FRONTEND", "CONFIG")
    for name, value in cursor.properties().items():
        if name in _FIXED or name not in session.front.config.all():
            raise SqlError(f"Config '{name}' does not exist or is not mutable", 5102, "F0000")
        try:
            session.front.config.set(name, value)
        except ValueError:
            raise SqlError(f"Set config failed: invalid value of '{name}': {value}", 5101, "F0000") from None
    return OK


def _check_grant(session: SqlSession) -> None:
    if not session.may("GRANT"):
        raise denied("GRANT", "SYSTEM", "", session.user, session.version)


def _identified(cursor: Cursor) -> str:
    password = ""
    if cursor.accept("IDENTIFIED"):
        if cursor.accept("WITH"):
            cursor.name()
        if cursor.accept("BY") or cursor.accept("AS"):
            password = cursor.string()
    return password


def _password(session: SqlSession, name: str, password: str) -> None:
    user = session.front.users.get(name)
    assert user is not None
    user.password = password


def _known(session: SqlSession, name: str) -> str:
    if session.front.users.get(name) is None:
        raise SqlError(f"Getting analyzing error. Detail message: cannot find user '{name}'@'%'!.")
    return name


def _privileges(session: SqlSession, cursor: Cursor, before_user: str) -> list[tuple[str, str, str, str]]:
    """User, privilege, database and table of each privilege of a GRANT or REVOKE."""
    _check_grant(session)
    words = [cursor.take().upper]
    while cursor.next.upper not in ("ON", "TO", "FROM"):
        words.append(cursor.take().upper)
    names = [part.strip() for part in " ".join(words).split(",")]
    names = ["ALL" if name.startswith("ALL") else "CREATE" if name == "CREATE TABLE" else name for name in names]
    cursor.expect("ON")
    db, place = _object(session, cursor)
    cursor.expect(before_user)
    cursor.accept("USER")
    user = _known(session, read_user(cursor))
    return [(user, name, db, place) for name in names]


def _object(session: SqlSession, cursor: Cursor) -> tuple[str, str]:
    if cursor.accept("SYSTEM"):
        return "*", "*"
    if cursor.accept("ALL"):
        cursor.take()  # TABLES, VIEWS, …
        cursor.accept("IN")
        if cursor.accept("ALL", "DATABASES"):
            return "*", "*"
        if cursor.accept("DATABASE"):
            return cursor.name(), "*"
        return "*", "*"
    if cursor.accept("DATABASE"):
        return cursor.name(), "*"
    cursor.accept("TABLE")
    first = "*" if cursor.accept("*") else cursor.name()
    if not cursor.accept("."):
        return session.database, first
    return first, "*" if cursor.accept("*") else cursor.name()
