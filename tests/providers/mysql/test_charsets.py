"""Text from the binlog is converted as the server converts what it sends."""

from __future__ import annotations

import pytest

from tests.providers.mysql.reading import Database
from tidegate.errors import SchemaError
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.session import Session

pytestmark = pytest.mark.mysql


def test_every_character_of_one_and_two_bytes_is_converted_as_the_server_does(db: Database) -> None:
    """The sets that Python decodes as well as those that the server is asked about, character by character."""
    session = Session(db.source()._values, "shop_mysql")
    charsets = Charsets(lambda: session)
    sets = {
        str(name): int(width or 1)
        for name, width in session.rows("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
    }
    for name, width in sets.items():
        if name in ("binary", "utf8", "utf8mb3", "utf8mb4"):
            continue
        if width == 1 or name.startswith(("utf", "ucs")):
            codes = [
                bytes((0,) * ({"utf32": 4, "ucs2": 2, "utf16": 2, "utf16le": 2}.get(name, 1) - 1) + (code,))
                for code in range(128, 256)
            ]
        else:
            codes = [
                bytes((first, second))
                for first in range(0x81, 0xFF, 3)
                for second in (*range(0x40, 0x7F, 5), *range(0x80, 0xFF, 5))
            ]
        valid = []
        for start in range(0, len(codes), 1000):
            part = codes[start : start + 1000]
            marks = ", ".join(f"CONVERT(CONVERT(x'{code.hex()}' USING {name}) USING utf8mb4)" for code in part)
            for code, text in zip(part, session.rows(f"SELECT {marks}")[0], strict=True):
                if text is not None and len(text) == 1 and text not in "?\ufffd":
                    valid.append((code, text))
        assert valid or name in ("swe7", "ascii", "utf16", "utf16le", "ucs2", "utf32"), name
        found = charsets.texts(name)([code for code, _ in valid]).to_pylist()
        different = [(code.hex(), text, got) for (code, text), got in zip(valid, found, strict=True) if text != got]
        assert not different, (name, different[:5])
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
