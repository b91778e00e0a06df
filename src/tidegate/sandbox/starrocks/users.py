"""Who may log in, and on which tables they may do what."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

ALL = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "ALTER", "DROP", "CREATE"})


@dataclass
class User:
    """A user. ``grants`` maps ``(database, table)`` to privileges; ``*`` stands for any; root has them all."""

    name: str
    password: str
    grants: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    root: bool = False


class Users:
    """The users of a sandbox, for the query port and the HTTP ports alike."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}

    def add(self, name: str, password: str, *, root: bool = False) -> User:
        """A new user, without a privilege unless it is a root; a name that exists gets the new password."""
        self._users[name] = made = User(name, password, root=root)
        return made

    def get(self, name: str) -> User | None:
        return self._users.get(name)

    def names(self) -> list[str]:
        return sorted(self._users)

    def drop(self, name: str) -> None:
        """KeyError for one that there is none of."""
        del self._users[name]

    def authenticate(self, name: str, password: str) -> User | None:
        """The user, if the password is theirs."""
        user = self._users.get(name)
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            return None
        return user

    def grant(self, name: str, privilege: str, database: str = "*", table: str = "*") -> None:
        """KeyError for a user that there is none of."""
        self._users[name].grants.setdefault((database, table), set()).add(privilege.upper())

    def revoke(self, name: str, privilege: str, database: str = "*", table: str = "*") -> None:
        """KeyError for a user that there is none of."""
        self._users[name].grants.get((database, table), set()).discard(privilege.upper())

    def may(self, name: str, privilege: str, database: str, table: str) -> bool:
        """Has this user this privilege on this table?"""
        user = self._users.get(name)
        if user is None:
            return False
        if user.root:
            return True
        wanted = {privilege.upper(), "ALL"}
        places = ((database, table), (database, "*"), ("*", "*"))
        return any(wanted & user.grants.get(place, set()) for place in places)
