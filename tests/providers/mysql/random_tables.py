"""Random tables and random values, and what the server itself says that it stored: the oracle of the tests of values.

The oracle asks in text and hexadecimal over a plain PyMySQL connection and makes plain Python values of the answers, with code of
its own: numbers, texts, bytes, days, microseconds. :func:`plain` brings the columns that tidegate reads into the same form.
"""

from __future__ import annotations

import datetime
import decimal
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.providers.mysql.reading import Database

SESSION = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"
"""For writing: dates that no calendar has are taken as they are, and a TIMESTAMP literal is in UTC."""

Alphabets = Mapping[str, str]
"""Some characters of each of the server's character sets."""


Written = str
"""An SQL literal."""
NULL = "NULL"


@dataclass(frozen=True)
class Kind:
    """A column type, with literals for it, and ``ask``: an SQL expression whose text ``read`` makes a plain value of.

    ``key`` says whether it may be part of a key.
    """

    ddl: str
    values: st.SearchStrategy[Written]
    ask: str
    read: Callable[[str], Any]
    key: bool = True


def alphabets(db: Database) -> Alphabets:
    """Some characters of each character set: all of ASCII that it has, and others spread over Unicode."""
    points = [*range(0x80), *range(0x80, 0x3000, 7), *range(0x3000, 0xD800, 97), *range(0xFF61, 0xFFA0, 5), 0x20AC, 0x1F600]
    connection = db.server.connect()
    found = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS")
        for name in [name for (name,) in cursor.fetchall() if name != "binary"]:
            text = "".join(map(chr, points))
            there = f"CONVERT(CONVERT(_utf32 x'{text.encode('utf-32-be').hex()}' USING {name}) USING utf32)"
            cursor.execute(f"SELECT HEX({there})")
            back = bytes.fromhex(cursor.fetchone()[0]).decode("utf-32-be")
            found[name] = "".join(one for one, again in zip(text, back, strict=True) if one == again)
    connection.close()
    return found


def quoted(text: str) -> str:
    return f"_utf8mb4 x'{text.encode().hex()}'" if text else "''"


# Answers of the server to plain values.


def days_of(text: str) -> int | None:
    """``YYYY-MM-DD`` as days since 1970; None for a date that no calendar has."""
    year, month, day = map(int, text[:10].split("-"))
    try:
        # Year 0 is like year 400.
        moved = datetime.date(year or 400, month, day).toordinal()
    except ValueError:
        return None
    return moved - datetime.date(1970, 1, 1).toordinal() - (0 if year else 146_097)


def micros_of(text: str) -> int | None:
    """``YYYY-MM-DD HH:MM:SS[.f]`` as microseconds since 1970."""
    days = days_of(text)
    return None if days is None else days * 86_400_000_000 + span_of(text[11:])


def span_of(text: str) -> int:
    """``[-]HH:MM:SS[.f]`` in microseconds."""
    match = re.fullmatch(r"(-?)(\d+):(\d+):(\d+)(?:\.(\d+))?", text)
    assert match
    seconds = int(match[2]) * 3600 + int(match[3]) * 60 + int(match[4])
    micros = seconds * 1_000_000 + int((match[5] or "").ljust(6, "0"))
    return -micros if match[1] else micros


def ewkb_of(text: str) -> bytes:
    """``SRID:WKB`` in hexadecimal as EWKB."""
    srid, wkb = text.split(":")
    data = bytes.fromhex(wkb)
    assert data[0] == 1
    if srid == "0":
        return data
    return b"\x01" + struct.pack("<II", struct.unpack("<I", data[1:5])[0] | 0x20000000, int(srid)) + data[5:]


def _utf8(text: str) -> str:
    return bytes.fromhex(text).decode()


# Types.

TEXT = "HEX(CONVERT({} USING utf8mb4))"
CHARS = "CAST({} AS CHAR)"
ROUNDED = "CAST({} * 1e0 AS CHAR)"
"""The text of a column is rounded; that of a product has all digits."""


def integers(low: int, high: int) -> st.SearchStrategy[Written]:
    return (st.integers(low, high) | st.sampled_from((low, high, 0, 1))).map(lambda value: str(value))


@st.composite
def _integer(draw: st.DrawFn) -> Kind:
    name, bits = draw(st.sampled_from((("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64))))
    width = draw(st.sampled_from(("", "(1)", "(4)")))
    if draw(st.booleans()):
        return Kind(f"{name}{width} UNSIGNED{draw(st.sampled_from(('', ' ZEROFILL')))}", integers(0, 2**bits - 1), CHARS, int)
    return Kind(f"{name}{width}", integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), CHARS, int)


@st.composite
def _decimal(draw: st.DrawFn) -> Kind:
    precision = draw(st.sampled_from((65, 38, 39, 18, 19, 9, 10, 1)) | st.integers(1, 65))
    scale = draw(st.sampled_from((0, min(30, precision))) | st.integers(0, min(30, precision)))
    unsigned = draw(st.booleans())
    top = 10**precision - 1
    numbers = (st.integers(0 if unsigned else -top, top) | st.sampled_from((top, 0 if unsigned else -top, 0, 1))).map(
        lambda value: format(decimal.Decimal(value).scaleb(-scale, decimal.Context(prec=70)), "f")
    )
    return Kind(f"DECIMAL({precision}, {scale})" + " UNSIGNED ZEROFILL" * unsigned, numbers, CHARS, decimal.Decimal)


def _exact(value: float) -> Written:
    # As a string: MariaDB folds the literal -0e0 to 0.
    return f"'{value!r}'"


def floating(width: int) -> st.SearchStrategy[Written]:
    """Any finite number of 32 or 64 bits, of every size alike; denormal ones and zeros of both signs too."""
    whole, layout = ("<I", "<f") if width == 32 else ("<Q", "<d")
    bits = st.integers(0, 2**width - 1).map(lambda number: struct.unpack(layout, struct.pack(whole, number))[0])
    edges = (0.0, -0.0, *(struct.unpack(layout, struct.pack(whole, number))[0] for number in (1, 2, 5)))
    return (bits.filter(lambda value: value - value == 0) | st.sampled_from(edges)).map(_exact)


@st.composite
def _floating(draw: st.DrawFn) -> Kind:
    form = draw(st.sampled_from(("FLOAT", "DOUBLE", "FLOAT(7, 3)", "DOUBLE(15, 4)")))
    if "(" not in form:
        return Kind(form, floating(32 if form == "FLOAT" else 64), ROUNDED, float, key=form == "DOUBLE")
    scale = 3 if form.startswith("FLOAT") else 4
    numbers = st.integers(-9_999_999, 9_999_999).map(lambda v: f"{v / 10**scale:.{scale}f}")
    return Kind(form, numbers, ROUNDED, float, key=False)


@st.composite
def _bit(draw: st.DrawFn) -> Kind:
    bits = draw(st.sampled_from((1, 7, 8, 9, 63, 64)) | st.integers(1, 64))
    return Kind(f"BIT({bits})", integers(0, 2**bits - 1), "HEX({})", lambda text: int(text, 16))


def _fraction(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(("", "(1)", "(2)", "(3)", "(4)", "(5)", "(6)")))


ABSURD = ("0000-00-00", "2024-00-15", "2024-05-00", "2024-02-30", "2023-02-29", "0000-00-01")
"""Dates that no calendar has."""
ANCIENT = ("0000-01-01", "0000-12-31", "0001-01-01", "0099-02-28", "1582-10-10", "9999-12-31", "2000-02-29")

_days = st.dates(datetime.date(1, 1, 1)).map(lambda day: f"{day.year:04}-{day.month:02}-{day.day:02}")
_clocks = st.times().map(lambda time: f"{time:%H:%M:%S.%f}") | st.sampled_from(("00:00:00", "23:59:59.000000"))


def _dates(*, key: bool) -> st.SearchStrategy[str]:
    return _days | st.sampled_from(ANCIENT) | (st.nothing() if key else st.sampled_from(ABSURD))


def _date(*, key: bool) -> Kind:
    return Kind("DATE", _dates(key=key).map(lambda day: f"'{day}'"), CHARS, days_of)


@st.composite
def _datetime(draw: st.DrawFn, *, key: bool) -> Kind:
    # Rounding would carry the last moment of all into year 10000.
    moments = st.tuples(_dates(key=key), _clocks).filter(lambda pair: not (pair[0] == "9999-12-31" and pair[1] > "23:59:59"))
    return Kind(f"DATETIME{_fraction(draw)}", moments.map(lambda pair: f"'{pair[0]} {pair[1]}'"), CHARS, micros_of)


@st.composite
def _timestamp(draw: st.DrawFn, *, key: bool) -> Kind:
    inside = st.datetimes(datetime.datetime(1970, 1, 1, 0, 0, 1), datetime.datetime(2038, 1, 19, 3, 14, 6))
    edges = ("1970-01-01 00:00:01", "2038-01-19 03:14:07", "2024-03-31 01:30:00", "2024-10-27 00:30:00", "2024-10-27 01:30:00")
    moments = inside.map(lambda moment: f"{moment:%Y-%m-%d %H:%M:%S.%f}") | st.sampled_from(edges)
    if not key:
        moments |= st.just("0000-00-00 00:00:00")
    return Kind(f"TIMESTAMP{_fraction(draw)}", moments.map(lambda text: f"'{text}'"), CHARS, micros_of)


@st.composite
def _time(draw: st.DrawFn) -> Kind:
    most = 838 * 3600 + 59 * 60 + 59

    def literal(micros: int) -> Written:
        seconds, fraction = divmod(abs(micros), 1_000_000)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
        return f"'{'-' if micros < 0 else ''}{clock}'"

    spans = st.integers(-most * 1_000_000, most * 1_000_000) | st.sampled_from((most * 1_000_000, -most * 1_000_000, -1, -10, 0))
    return Kind(f"TIME{_fraction(draw)}", spans.map(literal), CHARS, span_of)


_year = Kind("YEAR", st.sampled_from((0, 1901, 1970, 2024, 2155)).map(lambda year: f"'{year:04}'"), CHARS, int)


@st.composite
def _text(draw: st.DrawFn, *, known: Alphabets, key: bool) -> Kind:
    charset = draw(st.sampled_from(sorted(known)))
    name = draw(st.sampled_from(("CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT")[: 2 if key else 6]))
    size = draw(st.sampled_from((1, 10, 40) if key else (0, 1, 10, 40, 255, 300)))
    if name == "CHAR":
        size = min(size, 255)
    texts = st.text(known[charset], max_size=min(size, 40)) | st.sampled_from(("", " ", "a ", "\0", "'", "a\0"))
    fitting = texts.filter(lambda text: len(text) <= size and set(text) <= set(known[charset]))
    length = f"({size})" if name.endswith("CHAR") else ""
    return Kind(f"{name}{length} CHARACTER SET {charset}", fitting.map(lambda text: quoted(text)), TEXT, _utf8)


@st.composite
def _labelled(draw: st.DrawFn, *, known: Alphabets) -> Kind:
    charset = draw(st.sampled_from(sorted(known)))
    letters = "".join(sorted(set(known[charset]) - set(",\0 "))) or "a"
    ends = draw(st.lists(st.text(letters, max_size=3), min_size=1, max_size=12) | st.just([""] * 64))
    labels = [f"{number}{end}" for number, end in enumerate(ends)]
    ddl = ", ".join("'" + label.replace("\\", "\\\\").replace("'", "''") + "'" for label in labels)
    if draw(st.booleans()):
        values = st.integers(0, len(labels)).map(lambda number: str(number))
        return Kind(f"ENUM({ddl}) CHARACTER SET {charset}", values, TEXT, _utf8)
    values = st.integers(0, 2 ** len(labels) - 1).map(lambda number: str(number))
    # No key: a copy that pages by a SET of many labels loses rows (see test_a_set_in_a_key_is_paged_by).
    return Kind(f"SET({ddl}) CHARACTER SET {charset}", values, TEXT, _utf8, key=False)


@st.composite
def _binary(draw: st.DrawFn, *, key: bool) -> Kind:
    name = draw(st.sampled_from(("BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB")[: 2 if key else 6]))
    size = draw(st.sampled_from((1, 16, 40) if key else (1, 16, 255, 300)))
    if name == "BINARY":
        size = min(size, 255)
    data = st.binary(max_size=min(size, 40)) | st.sampled_from((b"", b"\0", b" ")).filter(lambda value: len(value) <= size)
    length = f"({size})" if name.endswith("BINARY") else ""
    literals = data.map(lambda value: f"x'{value.hex()}'" if value else "''")
    return Kind(f"{name}{length}", literals, "HEX({})", bytes.fromhex)


_SHAPES = (
    "POINT(1 -2.5)",
    "LINESTRING(3 0, 3 3, 3 5)",
    "POLYGON((1 1, 2 1, 2 2, 1 2, 1 1))",
    "MULTIPOINT(1 1, 2 2)",
    "MULTILINESTRING((1 1, 2 2, 3 3), (4 4, 5 5))",
    "MULTIPOLYGON(((0 0, 10 0, 10 10, 0 10, 0 0)), ((5 5, 7 5, 7 7, 5 7, 5 5)))",
    "GEOMETRYCOLLECTION(POINT(10 10), LINESTRING(15 15, 20 20))",
)


@st.composite
def _geometry(draw: st.DrawFn) -> Kind:
    name = draw(st.sampled_from(("GEOMETRY", *(shape.partition("(")[0] for shape in _SHAPES))))
    shapes = [shape for shape in _SHAPES if name in ("GEOMETRY", shape.partition("(")[0])]
    values = st.tuples(st.sampled_from(shapes), st.sampled_from((0, 1, 4326, 2**31))).map(
        lambda pair: f"ST_GeomFromText('{pair[0]}', {pair[1]})"
    )
    return Kind(name, values, "CONCAT(CAST(SRID({0}) AS UNSIGNED), ':', HEX(AsWKB({0})))", ewkb_of, key=False)


_numbers = st.sampled_from(("0", "-0", "1.0", "1.10", "12345678901234567890123", "1e2", "-0.1e-7", "9007199254740993"))
_names = st.sampled_from(('"a"', '"b"', '"é\U0001f600"', '"\\u00e9"', '""', '"q\\"\\\\"'))
_documents = st.recursive(
    st.sampled_from(("null", "true", "false", '"x"', '"\\n"', '"2024-01-01"')) | _numbers | _names,
    lambda inner: (
        st.tuples(st.lists(st.tuples(_names, inner), max_size=3), st.sampled_from((",", " ,  "))).map(
            lambda both: "{" + both[1].join(f"{name}:{value}" for name, value in both[0]) + "}"
        )
        | st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
    ),
    max_leaves=6,
)
_json = Kind("JSON", _documents.map(lambda text: quoted(text)), "HEX({})", _utf8, key=False)
"""On MariaDB, where it is text with a check."""


def kinds(known: Alphabets, *, json: bool, key: bool) -> st.SearchStrategy[Kind]:
    """Any column type; with ``key`` one that a key may have, and no dates that no calendar has."""
    every: list[st.SearchStrategy[Kind]] = [
        _integer(),
        _decimal(),
        _floating(),
        _bit(),
        st.just(_date(key=key)),
        _datetime(key=key),
        _timestamp(key=key),
        _time(),
        st.just(_year),
        _text(known=known, key=key),
        _text(known=known, key=key),
        _labelled(known=known),
        _binary(key=key),
    ]
    if not key:
        every.append(_geometry())
        if json:
            every.append(st.just(_json))
    return st.one_of(every).filter(lambda kind: kind.key or not key)


# Tables.


@dataclass(frozen=True)
class RandomTable:
    """``id`` and ``n`` (which every update changes) stand before the random columns; ``key`` names the primary key."""

    name: str
    columns: tuple[tuple[str, Kind, bool], ...]
    key: tuple[str, ...]

    def ddl(self) -> str:
        lines = ["`id` INT NOT NULL", "`n` INT NOT NULL"]
        lines += [f"{tick(name)} {kind.ddl}{' NULL' if nullable else ' NOT NULL'}" for name, kind, nullable in self.columns]
        return f"CREATE TABLE {tick(self.name)} ({', '.join(lines)}, PRIMARY KEY ({', '.join(map(tick, self.key))}))"

    def row(self) -> st.SearchStrategy[list[Written]]:
        """A literal for each of the random columns."""
        return st.tuples(*[st.just(NULL) | kind.values if null else kind.values for _, kind, null in self.columns]).map(list)

    def insert(self, number: int, values: Sequence[Written]) -> str:
        return f"INSERT INTO {tick(self.name)} VALUES ({', '.join((str(number), '0', *values))})"

    def update(self, number: int, values: Sequence[Written]) -> str:
        assignments = [f"{tick(name)} = {value}" for (name, _, _), value in zip(self.columns, values, strict=True)]
        return f"UPDATE {tick(self.name)} SET {', '.join(['n = n + 1', *assignments])} WHERE id = {number}"

    def stored(self, db: Database) -> dict[int, list[Any]]:
        """By ``id``, what the server says that the random columns hold."""
        asked = [kind.ask.format(tick(name)) for name, kind, _ in self.columns]
        connection = db.server.connect(database=db.name)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION time_zone = '+00:00', sql_mode = ''")
            cursor.execute(f"SELECT id, {', '.join(asked)} FROM {tick(self.name)}")
            answers = cursor.fetchall()
        connection.close()
        found = {}
        for number, *values in answers:
            found[int(number)] = [
                None if text is None else kind.read(text) for (_, kind, _), text in zip(self.columns, values, strict=True)
            ]
        return found


def tick(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


_NAMES = ("", "`", "ü", ".", " x", "%s", "日本", "'", '"', "\\", "`.`", "?")


@st.composite
def tables(draw: st.DrawFn, known: Alphabets, *, json: bool) -> RandomTable:
    """A table of one to twelve random columns, whose key may begin or end with one of them."""
    count = draw(st.integers(1, 12))
    columns = []
    for number in range(count):
        name = f"c{number}{draw(st.sampled_from(_NAMES))}"
        columns.append((name, draw(kinds(known, json=json, key=False)), draw(st.booleans())))
    key = ["id"]
    if draw(st.booleans()):
        columns.append(("k", draw(kinds(known, json=json, key=True)), False))
        key.insert(draw(st.integers(0, 1)), "k")
    return RandomTable("t" + draw(st.sampled_from(_NAMES)), tuple(columns), tuple(key))


# What tidegate read, in the oracle's form.


def plain(array: Any) -> list[Any]:
    """A canonical column as the oracle's values."""
    kind = array.type
    if pa.types.is_date(kind):
        return list(array.cast(pa.int32()).to_pylist())
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return list(array.cast(pa.int64()).to_pylist())
    return list(array.to_pylist())


def bits(value: Any) -> Any:
    """A value that differs where the bits do: 0.0 and -0.0, 1.0 and 1.00."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    return value.as_tuple() if isinstance(value, decimal.Decimal) else value


def by_id(rows: pa.Table, table: RandomTable) -> dict[int, list[Any]]:
    """By ``id``, the random columns."""
    columns = [plain(rows.column(name).combine_chunks()) for name, _, _ in table.columns]
    return dict(zip(rows.column("id").to_pylist(), map(list, zip(*columns, strict=True)), strict=True))


def same(table: RandomTable, found: Mapping[int, list[Any]], expected: Mapping[int, list[Any]], what: str) -> None:
    """Every value is the expected one, bit by bit."""
    assert found.keys() == expected.keys(), f"{what}: {sorted(found)}, not {sorted(expected)}, key {table.key}"
    for number in expected:
        for (name, kind, _), got, wanted in zip(table.columns, found[number], expected[number], strict=True):
            assert type(got) is type(wanted), f"{what}: {name} {kind.ddl}: {got!r}, not {wanted!r}"
            assert bits(got) == bits(wanted), f"{what}: {name} {kind.ddl}: {got!r}, not {wanted!r}"
