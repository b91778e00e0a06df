"""Text from the binlog is converted as the server converts what it sends."""

from __future__ import annotations

import pytest

from tests.providers.mysql.reading import Database
from tidegate.errors import SchemaError
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.session import Session

pytestmark = pytest.mark.mysql

UNICODE = {"utf32": "utf-32-be", "ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le"}


def codes_of(name: str, width: int) -> list[bytes]:
    """Some characters of a set: all single bytes, or a good sample of the pairs."""
    if name in UNICODE:
        return [character.encode(UNICODE[name]) for character in "aé中"]
    if width == 1:
        return [bytes((code,)) for code in range(128, 256)]
    seconds = (*range(0x40, 0x7F, 5), *range(0x80, 0xFF, 5))
    return [bytes((first, second)) for first in range(0x81, 0xFF, 3) for second in seconds]


def converted(session: Session, name: str, codes: list[bytes]) -> list[tuple[bytes, str]]:
    """The codes that are characters of the set, and what the server makes of them."""
    found = []
    for start in range(0, len(codes), 1000):
        part = codes[start : start + 1000]
        there = ", ".join(f"CONVERT(CONVERT(x'{code.hex()}' USING {name}) USING utf8mb4)" for code in part)
        back = ", ".join(
            f"HEX(CONVERT(CONVERT(CONVERT(x'{code.hex()}' USING {name}) USING utf8mb4) USING {name}))" for code in part
        )
        texts, codes_again = session.rows(f"SELECT {there}")[0], session.rows(f"SELECT {back}")[0]
        for code, text, again in zip(part, texts, codes_again, strict=True):
            if text and again == code.hex().upper():
                found.append((code, text))
    return found


def test_every_character_of_one_and_two_bytes_is_converted_as_the_server_does(db: Database) -> None:
    """The sets that Python decodes as well as those that the server is asked about."""
    session = Session(db.source()._values, "shop_mysql")
    charsets = Charsets(lambda: session)
    sets = session.rows("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
    checked = 0
    for name, width in sets:
        if name in ("binary", "utf8", "utf8mb3", "utf8mb4", None):
            continue
        known = converted(session, name, codes_of(name, int(width or 1)))
        found = charsets.texts(name)([code for code, _ in known]).to_pylist()
        different = [(code.hex(), text, got) for (code, text), got in zip(known, found, strict=True) if text != got]
        assert not different, (name, different[:5])
        checked += len(known)
    assert checked > 5000
    # A code that the server reads, and would not write.
    assert charsets.text("sjis", b"\x81\x5f") == "\\"
    session.close()


def test_nulls_stay_nulls_and_collations_have_their_character_set(db: Database) -> None:
    session = Session(db.source()._values, "shop_mysql")
    charsets = Charsets(lambda: session)
    for name in ("utf8mb4", "latin1", "gbk", "ujis"):
        assert charsets.texts(name)([None, b"a", None]).to_pylist() == [None, "a", None]
    assert [charsets.of_collation(number) for number in (8, 28, 45, 46)] == ["latin1", "gbk", "utf8mb4", "utf8mb4"]
    with pytest.raises(SchemaError, match="collation 9999"):
        charsets.of_collation(9999)
    session.close()
