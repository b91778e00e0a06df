"""Every value is the same whichever way it is read, and the one that was written."""

from __future__ import annotations

import datetime
import decimal
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.mysql.reading import Database, changes, one_route, rows
from tests.scale import examples
from tidegate.changes.batch import RowKind
from tidegate.changes.position import SnapshotPosition
from tidegate.providers.mysql.fast import ConnectorxRoute
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits

pytestmark = pytest.mark.mysql

Value = tuple[str, Any]
"""An SQL literal, and what it is to be read as."""


def quoted(text: str) -> str:
    return f"_utf8mb4 x'{text.encode().hex()}'" if text else "''"


def integers(low: int, high: int) -> st.SearchStrategy[Value]:
    return (st.integers(low, high) | st.sampled_from((low, high, 0))).map(lambda value: (str(value), value))


def decimals(precision: int, scale: int) -> st.SearchStrategy[Value]:
    top = 10**precision - 1

    def value(unscaled: int) -> Value:
        digits = f"{abs(unscaled):0{scale + 1}}"
        text = digits[: len(digits) - scale] + ("." + digits[len(digits) - scale :] if scale else "")
        text = ("-" if unscaled < 0 else "") + text
        return text, decimal.Decimal(text)

    return (st.integers(-top, top) | st.sampled_from((top, -top, 0, 1, -1))).map(value)


def _narrowed(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def texts(size: int, alphabet: str = "aZé😀'\"\\\n\t\0€ %_中") -> st.SearchStrategy[Value]:
    return st.text(alphabet, max_size=size).map(lambda text: (quoted(text), text))


def padless(size: int, alphabet: str) -> st.SearchStrategy[Value]:
    """CHAR: spaces at the end are no part of the value."""
    return st.text(alphabet, max_size=size).map(lambda text: (quoted(text), text.rstrip(" ")))


def byte_strings(size: int) -> st.SearchStrategy[Value]:
    return st.binary(max_size=size).map(lambda value: (f"x'{value.hex()}'" if value else "''", value))


def moments(fsp: int, low: datetime.datetime, high: datetime.datetime, zone: datetime.tzinfo | None) -> st.SearchStrategy[Value]:
    def value(moment: datetime.datetime) -> Value:
        cut = moment.replace(microsecond=moment.microsecond // 10 ** (6 - fsp) * 10 ** (6 - fsp))
        text = f"{cut.year:04}-{cut:%m-%d %H:%M:%S.%f}"
        return f"'{text}'", cut.replace(tzinfo=zone)

    return st.datetimes(low, high).map(value)


def durations(fsp: int) -> st.SearchStrategy[Value]:
    most = (838 * 3600 + 59 * 60 + 59) * 1_000_000

    def value(micros: int) -> Value:
        unit = 10 ** (6 - fsp)
        size = abs(micros) // unit * unit
        seconds, fraction = divmod(size, 1_000_000)
        negative = micros < 0 and size > 0
        text = f"{'-' if negative else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
        return f"'{text}'", datetime.timedelta(microseconds=-size if negative else size)

    return (st.integers(-most, most) | st.sampled_from((most, -most, -1, -10_000, 0))).map(value)


dates = st.dates(datetime.date(1, 1, 1)).map(lambda day: (f"'{day.year:04}-{day.month:02}-{day.day:02}'", day))
LABELS = ("", "red", "it's", "ü,b", 'q"\\')
ENUM = "ENUM('red', 'it''s', 'ü,b', 'q\"\\\\')"
SET_LABELS = ("a", "b'c", "dé", "e")
SET = "SET('a', 'b''c', 'dé', 'e')"
sets = st.sets(st.sampled_from(SET_LABELS)).map(
    lambda chosen: (
        str(sum(1 << SET_LABELS.index(label) for label in chosen)),
        ",".join(label for label in SET_LABELS if label in chosen),
    )
)
UTC = datetime.UTC

COLUMNS: dict[str, tuple[str, st.SearchStrategy[Value]]] = {
    "tiny": ("TINYINT", integers(-128, 127)),
    "tiny1": ("TINYINT(1)", integers(-128, 127)),
    "tinyu": ("TINYINT UNSIGNED", integers(0, 255)),
    "small": ("SMALLINT", integers(-(2**15), 2**15 - 1)),
    "smallu": ("SMALLINT UNSIGNED ZEROFILL", integers(0, 2**16 - 1)),
    "medium": ("MEDIUMINT", integers(-(2**23), 2**23 - 1)),
    "mediumu": ("MEDIUMINT UNSIGNED", integers(0, 2**24 - 1)),
    "int": ("INT", integers(-(2**31), 2**31 - 1)),
    "intu": ("INT(9) UNSIGNED ZEROFILL", integers(0, 2**32 - 1)),
    "big": ("BIGINT", integers(-(2**63), 2**63 - 1)),
    "bigu": ("BIGINT UNSIGNED", integers(0, 2**64 - 1)),
    "dec": ("DECIMAL(12, 2)", decimals(12, 2)),
    "dec_whole": ("DECIMAL(28, 0)", decimals(28, 0)),
    "dec_part": ("DECIMAL(30, 30)", decimals(30, 30)),
    "dec_odd": ("DECIMAL(23, 11) UNSIGNED ZEROFILL", decimals(23, 11).map(lambda v: (v[0].lstrip("-"), abs(v[1])))),
    "dec_38": ("DECIMAL(38, 10)", decimals(38, 10)),
    "dec_65": ("DECIMAL(65, 30)", decimals(65, 30)),
    "float": ("FLOAT", st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda v: (f"'{v!r}'", v))),
    "double": ("DOUBLE", st.floats(allow_nan=False, allow_infinity=False).map(lambda v: (f"'{v!r}'", v))),
    "float_md": ("FLOAT(8, 2)", st.integers(-99_999, 99_999).map(lambda v: (f"{v / 100:.2f}", _narrowed(v / 100)))),
    "bit1": ("BIT(1)", integers(0, 1)),
    "bit9": ("BIT(9)", integers(0, 511)),
    "bit64": ("BIT(64)", integers(0, 2**64 - 1)),
    "date": ("DATE", dates),
    "dt0": ("DATETIME", moments(0, datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), None)),
    "dt3": ("DATETIME(3)", moments(3, datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), None)),
    "dt6": ("DATETIME(6)", moments(6, datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), None)),
    "ts0": ("TIMESTAMP NULL", moments(0, datetime.datetime(1970, 1, 2), datetime.datetime(2038, 1, 18), UTC)),
    "ts5": ("TIMESTAMP(5) NULL", moments(5, datetime.datetime(1970, 1, 2), datetime.datetime(2038, 1, 18), UTC)),
    "time0": ("TIME", durations(0)),
    "time2": ("TIME(2)", durations(2)),
    "time4": ("TIME(4)", durations(4)),
    "time6": ("TIME(6)", durations(6)),
    "year": ("YEAR", st.sampled_from((0, 1901, 2024, 2155)).map(lambda v: (f"'{v:04}'", v))),
    "char": ("CHAR(5)", padless(5, "aé😀 '\0")),
    "char_long": ("CHAR(200)", padless(200, "aé😀")),
    "char_latin1": ("CHAR(5) CHARACTER SET latin1", padless(5, "aé€ÿ ")),
    "varchar": ("VARCHAR(20)", texts(20)),
    "varchar_long": ("VARCHAR(300)", texts(300)),
    "latin1": ("VARCHAR(20) CHARACTER SET latin1", texts(20, "aé€ÿ\x81\x9d\n\0")),
    "cp1251": ("VARCHAR(20) CHARACTER SET cp1251", texts(20, "ajЖя№")),
    "gbk": ("VARCHAR(20) CHARACTER SET gbk", texts(20, "a中文測|\\")),
    "sjis": ("VARCHAR(20) CHARACTER SET sjis", texts(20, "aひ表\\ｱ")),
    "big5": ("VARCHAR(20) CHARACTER SET big5", texts(20, "a中文功\\")),
    "ujis": ("VARCHAR(20) CHARACTER SET ujis", texts(20, "aひ表")),
    "ucs2": ("VARCHAR(20) CHARACTER SET ucs2", texts(20, "aé中 ")),
    "utf16": ("CHAR(20) CHARACTER SET utf16", padless(20, "aé😀")),
    "utf32": ("VARCHAR(20) CHARACTER SET utf32", texts(20, "aé😀")),
    "text": ("TEXT", texts(50)),
    "tinytext": ("TINYTEXT CHARACTER SET latin1", texts(50, "aé€")),
    "mediumtext": ("MEDIUMTEXT", texts(50)),
    "longtext": ("LONGTEXT", texts(50)),
    "enum": (ENUM, st.sampled_from(LABELS).map(lambda v: (str(LABELS.index(v)) if v == "" else quoted(v), v))),
    "set": (SET, sets),
    "binary": ("BINARY(6)", byte_strings(6).map(lambda v: (v[0], v[1].ljust(6, b"\0")))),
    "binary_long": ("BINARY(255)", byte_strings(255).map(lambda v: (v[0], v[1].ljust(255, b"\0")))),
    "varbinary": ("VARBINARY(6)", byte_strings(6)),
    "varbinary_long": ("VARBINARY(300)", byte_strings(300)),
    "tinyblob": ("TINYBLOB", byte_strings(20)),
    "blob": ("BLOB", byte_strings(20)),
    "longblob": ("LONGBLOB", byte_strings(20)),
}


def row() -> st.SearchStrategy[list[Value]]:
    return st.tuples(*[st.just(("NULL", None)) | strategy for _, strategy in COLUMNS.values()]).map(list)


def assignments(values: Sequence[Value]) -> str:
    return ", ".join(f"`{name}` = {literal}" for name, (literal, _) in zip(COLUMNS, values, strict=True))


def same(found: Any, expected: Any) -> bool:
    return bool(found == expected) and type(found) is type(expected)


def check(found: Sequence[dict[str, Any]], expected: Sequence[Sequence[Value]], what: str) -> None:
    assert len(found) == len(expected), what
    for got, wanted in zip(found, expected, strict=True):
        for name, (literal, value) in zip(COLUMNS, wanted, strict=True):
            assert same(got[name], value), f"{what}, column {name} written as {literal}: {got[name]!r}, not {value!r}"


@settings(max_examples=examples(10), deadline=None, suppress_health_check=list(HealthCheck))
@given(written=st.lists(row(), min_size=1, max_size=8), later=st.data())
def test_copy_and_changes_give_what_was_written(db: Database, written: list[list[Value]], later: st.DataObject) -> None:
    table = db.table("every_type")
    db.execute(
        "DROP TABLE IF EXISTS every_type",
        "CREATE TABLE every_type (id INT PRIMARY KEY, " + ", ".join(f"`{name}` {ddl}" for name, (ddl, _) in COLUMNS.items()) + ")",
    )
    source = db.source()
    begin = source.head()
    mode = "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"
    inserted = ", ".join(f"({i}, {', '.join(literal for literal, _ in values)})" for i, values in enumerate(written))
    db.execute(mode, f"INSERT INTO every_type VALUES {inserted}")
    session = Session(source._values, "shop_mysql")
    described = read_table(session, table)
    fast = ConnectorxRoute(session)
    for route in (fast, PyMySqlRoute(session)):
        copied = rows(list(copy(one_route(session, route), described, SnapshotPosition(begin), Limits(3)))).to_pylist()
        check(copied, written, f"copy by {type(route).__name__}")
    assert not fast.gave_up
    session.close()

    second = [later.draw(row()) for _ in written]
    db.execute(mode, *(f"UPDATE every_type SET {assignments(values)} WHERE id = {i}" for i, values in enumerate(second)))
    db.execute("DELETE FROM every_type ORDER BY id")
    chunks = changes(source, {table: begin})
    (batch,) = chunks[0].batches
    assert batch.schema == source.schema(table)
    images = batch.rows.to_pylist()
    by_kind = {kind: [image for image, own in zip(images, batch.kinds, strict=True) if own == kind] for kind in RowKind}
    check(by_kind[RowKind.INSERT], written, "insert in the log")
    check(by_kind[RowKind.DELETE], second, "delete in the log")
    changed = [i for i, values in enumerate(second) if [v for _, v in values] != [v for _, v in written[i]]]
    check(by_kind[RowKind.UPDATE_BEFORE], [written[i] for i in changed], "before image")
    check(by_kind[RowKind.UPDATE_AFTER], [second[i] for i in changed], "after image")
