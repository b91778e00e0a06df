"""Text from the binlog is converted as the server converts what it sends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.providers.mysql.reading import Database, changes, copy_chunks
from tidegate.errors import EventRefused, SchemaError
from tidegate.providers.mysql.charsets import Charsets
from tidegate.providers.mysql.session import Session

pytestmark = pytest.mark.mysql

KNOWN_ELSEWHERE = ("binary", "utf8", "utf8mb3", "utf8mb4")


def every_code(width: int, name: str) -> Iterator[bytes]:
    """Every code of one and two bytes, and of three where a set has them; most are no character."""
    yield from (bytes((code,)) for code in range(256))
    if width > 1:
        yield from (bytes((first, second)) for first in range(256) for second in range(256))
    if name in ("ujis", "eucjpms"):
        yield from (bytes((0x8F, first, second)) for first in range(0xA0, 256) for second in range(0xA0, 256))


def stored(db: Database, name: str, literals: Iterator[str]) -> list[tuple[bytes, str]]:
    """The codes that a column of the set takes unchanged, and what the server sends for them."""
    connection = db.server.connect(database=db.name)
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("DROP TABLE IF EXISTS codes")
        cursor.execute(f"CREATE TABLE codes (b VARBINARY(4), c VARCHAR(1) CHARACTER SET {name}) ENGINE=MyISAM")
        while part := list(itertools.islice(literals, 20_000)):
            cursor.execute(f"INSERT IGNORE INTO codes VALUES {', '.join(f'({one}, {one})' for one in part)}")
        cursor.execute("SELECT HEX(c), HEX(CONVERT(c USING utf8mb4)) FROM codes WHERE HEX(b) = HEX(c)")
        found = [(bytes.fromhex(code), bytes.fromhex(text)) for code, text in cursor.fetchall()]
    connection.close()
    return [(code, text.decode("utf-8", "surrogatepass")) for code, text in found]


def differences(charsets: Charsets, name: str, known: list[tuple[bytes, str]]) -> list[object]:
    found = charsets.texts(name)([code for code, _ in known]).to_pylist()
    return [(code.hex(), text, got) for (code, text), got in zip(known, found, strict=True) if text != got]


def test_every_code_that_a_column_can_hold_is_converted_as_the_server_does(db: Database) -> None:
    """The sets that Python decodes, those of one byte, and those that the server is asked about."""
    session = Session(db.source()._values, "shop_mysql")
    charsets = Charsets(lambda: session)
    sets = session.rows("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
    assert len(sets) >= 40
    checked, unknown = {}, {}
    for name, width in sets:
        assert name is not None
        if name in KNOWN_ELSEWHERE or name.startswith(("utf", "ucs")):
            continue
        known = stored(db, name, (f"x'{code.hex()}'" for code in every_code(int(width or 1), name)))
        assert not differences(charsets, name, known), name
        checked[name] = len(known)
        unknown[name] = sum("?" in text and b"?" not in code for code, text in known)
    assert all(checked[name] == 256 for name, width in sets if name in checked and width == "1")
    assert all(checked[name] > 8_000 for name, width in sets if name in checked and width != "1"), checked
    # latin1 is cp1252 with five codes more: no byte of it is lost.
    assert unknown["latin1"] == 0
    assert charsets.text("latin1", b"\x80\x81\x9d") == "€\x81\x9d"
    assert unknown["gbk"] > 1000
    # A code that the server reads, and would not write.
    assert charsets.text("sjis", b"\x81\x5f") == "\\"
    session.close()


def test_every_character_of_the_unicode_sets_is_converted_as_the_server_does(db: Database) -> None:
    session = Session(db.source()._values, "shop_mysql")
    charsets = Charsets(lambda: session)
    points = [point for point in (*range(0x10000), *range(0x10000, 0x110000, 97)) if not 0xD800 <= point < 0xE000]
    for name, codec in (("utf32", "utf-32-be"), ("ucs2", "utf-16-be"), ("utf16", "utf-16-be"), ("utf16le", "utf-16-le")):
        within = [point for point in points if name != "ucs2" or point < 0x10000]
        known = stored(db, name, (f"_{name} x'{chr(point).encode(codec).hex()}'" for point in within))
        assert len(known) == len(within)
        assert not differences(charsets, name, known), name
    session.close()


@pytest.mark.parametrize(
    ("name", "code"),
    [("utf8", "EDA080"), ("utf8mb4", "61EDA08062"), ("ucs2", "D800"), ("ucs2", "D83DDE00"), ("utf32", "0000DFFF")],
)
def test_a_surrogate_by_itself_is_refused_by_the_copy_and_in_the_log(db: Database, name: str, code: str) -> None:
    """The servers take them; no text of any target can hold them."""
    table = db.table("t")
    db.execute(f"CREATE TABLE t (k INT PRIMARY KEY, c VARCHAR(5) CHARACTER SET {name})")
    source = db.source()
    begin = source.head()
    db.execute("SET SESSION sql_mode = ''", f"INSERT INTO t VALUES (1, _{name} x'{code}')")
    assert db.rows("SELECT HEX(c) FROM t") == [(code,)]
    with pytest.raises(SchemaError, match="column c holds a value that is no string"):
        copy_chunks(source, table)
    with pytest.raises(EventRefused, match="column c holds a value that is no string"):
        changes(source, {table: begin})


def test_nulls_stay_nulls_and_collations_have_their_character_set(db: Database) -> None:
    session = Session(db.source()._values, "shop_mysql")
    charsets = Charsets(lambda: session)
    for name in ("utf8mb4", "latin1", "gbk", "ujis"):
        assert charsets.texts(name)([None, b"a", None]).to_pylist() == [None, "a", None]
    assert [charsets.of_collation(number) for number in (8, 28, 45, 46)] == ["latin1", "gbk", "utf8mb4", "utf8mb4"]
    with pytest.raises(SchemaError, match="collation 9999"):
        charsets.of_collation(9999)
    session.close()
