"""What SHOW GRANTS says, as far as it can be read.

StarRocks 3 lists grants by name and the names of roles, not what the roles hold (its documentation of SHOW GRANTS); of these only
``public`` is asked, which everybody has. StarRocks 2.5 has other columns altogether. So a privilege is granted, or not known to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tidegate.changes.schema import TableName

_GRANT = re.compile(
    r"GRANT\s+(?P<what>.+?)\s+ON\s+(?:(?P<kind>TABLE|DATABASE|ALL\s+TABLES\s+IN|ALL\s+DATABASES|CATALOG|SYSTEM)\b\s*)?"
    r"(?P<where>.*?)\s+TO\s+(?:USER|ROLE)?",
    re.I | re.S,
)
_ROLES = re.compile(r"GRANT\s+(?P<roles>(?!.*\sON\s).+?)\s+TO\s", re.I | re.S)


@dataclass(frozen=True, slots=True)
class Privileges:
    """Grants by name. ``tables`` holds (database, table, privilege), ``*`` for all; ``databases`` (database, privilege)."""

    tables: frozenset[tuple[str, str, str]] = frozenset()
    databases: frozenset[tuple[str, str]] = frozenset()
    roles: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, grants: Iterable[str]) -> Privileges:
        """From the column Grants of SHOW GRANTS. What isn't about tables and databases is left out."""
        tables: set[tuple[str, str, str]] = set()
        databases: set[tuple[str, str]] = set()
        roles: list[str] = []
        for text in (part for grant in grants for part in grant.split(";") if part.strip()):
            if match := _ROLES.match(text.strip()):
                roles += [item.strip().strip("'`\"") for item in match["roles"].split(",")]
            elif match := _GRANT.match(text.strip()):
                rights = [item.strip().upper().replace("_", " ") for item in match["what"].split(",")]
                kind, where = re.sub(r"\s+", " ", (match["kind"] or "TABLE").upper()), match["where"].strip()
                if kind in ("DATABASE", "ALL DATABASES"):
                    databases |= {(_bare(where) if kind == "DATABASE" else "*", right) for right in rights}
                elif kind in ("TABLE", "ALL TABLES IN"):
                    database, table = _object(kind, where)
                    tables |= {(database, table, right) for right in rights}
        return cls(frozenset(tables), frozenset(databases), tuple(roles))

    def on_table(self, table: TableName, privilege: str) -> bool:
        """Whether it was granted by name."""
        return any(
            database in ("*", table.schema) and name in ("*", table.name) and right in (privilege, "ALL", "ALL PRIVILEGES")
            for database, name, right in self.tables
        )

    def on_database(self, database: str, privilege: str) -> bool:
        return any(name in ("*", database) and right in (privilege, "ALL", "ALL PRIVILEGES") for name, right in self.databases)

    @property
    def complete(self) -> bool:
        """Whether these are all that the account has: some could be read, and it has no role but ``public``."""
        return bool(self.tables or self.databases) and not [role for role in self.roles if role.lower() != "public"]


def _bare(text: str) -> str:
    return text.strip().strip("`'\"")


def _object(kind: str, where: str) -> tuple[str, str]:
    if kind == "ALL TABLES IN":
        inside = re.sub(r"^(?:ALL\s+DATABASES|DATABASE)\s*", "", where, flags=re.I)
        return (_bare(inside) or "*"), "*"
    parts = [_bare(part) for part in where.split(".")]
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("*", parts[0])
