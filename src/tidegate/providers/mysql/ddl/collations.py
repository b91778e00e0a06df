"""The server's character sets and collations by name, as DDL refers to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.providers.mysql.ddl.lexer import NotUnderstood
from tidegate.providers.mysql.session import Session


@dataclass(frozen=True, slots=True)
class Collations:
    """``charsets``: each set's default collation and the most bytes a character takes. ``collations``: each one's set."""

    charsets: Mapping[str, tuple[str, int]]
    collations: Mapping[str, str]

    def resolve(self, charset: str, collation: str, default: str) -> tuple[str, str]:
        """The set and the collation of what names a set, a collation, both, or neither (then it has ``default``).

        Raises NotUnderstood for names that the server doesn't know, or if there is no default.
        """
        charset, collation = charset.lower(), collation.lower()
        if charset == "utf8" and charset not in self.charsets:
            charset = "utf8mb3"
        if collation.startswith("utf8_") and collation not in self.collations:
            collation = f"utf8mb3_{collation[5:]}"
        if not charset and not collation:
            collation = default
        if not collation:
            if charset not in self.charsets:
                raise NotUnderstood(f"the character set {charset or 'of the table'} isn't known")
            collation = self.charsets[charset][0]
        if collation not in self.collations:
            raise NotUnderstood(f"the collation {collation} isn't known")
        found = self.collations[collation]
        if charset not in ("", found):
            raise NotUnderstood(f"the collation {collation} isn't one of the character set {charset}")
        return found, collation

    def binary(self, charset: str) -> str:
        """The binary collation of a set."""
        return f"{charset}_bin"

    def width(self, charset: str) -> int:
        """The greatest number of bytes of a character."""
        return self.charsets[charset][1]


def read_collations(session: Session) -> Collations:
    """What the server has. MariaDB's contextual collations (uca1400) aren't among them: they name no set."""
    sets = session.rows("SELECT CHARACTER_SET_NAME, DEFAULT_COLLATE_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
    known = session.rows("SELECT COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS")
    return Collations(
        {name or "": (default or "", int(width or 1)) for name, default, width in sets},
        {name or "": charset for name, charset in known if charset},
    )
