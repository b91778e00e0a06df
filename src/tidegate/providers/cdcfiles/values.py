"""From a column of JSON values to a canonical Arrow array, in bulk.

A reader takes what the records of a chunk hold in one column (None is NULL) and gives an array, or raises ValueError, TypeError or
an Arrow error for a value that isn't of its type; the caller finds the row. Numbers with a fraction come as Decimal, so none has
been rounded on its way here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidegate.providers.cdcfiles.types import BINARIES, GEOMETRIES, MySqlType

Reader = Callable[[Sequence[Any]], pa.Array]
UTC = pa.timestamp("us", tz="UTC")


class Undecided(ValueError):
    """A value that may mean several things; ``setting`` decides."""

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class Hints:
    """What a connection says where its records leave it open; None: it doesn't."""

    time_zone: str | None = None
    decimal_mode: str | None = None
    time_mode: str | None = None
    binary_mode: str = "base64"


def each(values: Sequence[Any], convert: Callable[[Any], Any], kind: pa.DataType) -> pa.Array:
    """The array of what ``convert`` makes of each value that isn't NULL."""
    return pa.array([None if value is None else convert(value) for value in values], kind)


def integers(kind: pa.DataType) -> Reader:
    """Numbers, or texts of numbers; true and false are 1 and 0."""

    def read(values: Sequence[Any]) -> pa.Array:
        try:
            # Arrow makes 1 of 1.5 if it is told the type, and refuses to if it has found out itself.
            return pa.array(values).cast(kind)
        except (pa.ArrowException, OverflowError):
            return each(values, _integer, kind)

    return read


def _integer(value: Any) -> int:
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError("a fraction in a column of whole numbers")
    return number


def wrapped(bits: int, kind: pa.DataType) -> Reader:
    """Unsigned numbers that were forced into signed ones: negative ones stand for those from 2**(bits - 1) up."""
    return lambda values: each(values, lambda value: _integer(value) + ((1 << bits) if _integer(value) < 0 else 0), kind)


def floats(kind: pa.DataType) -> Reader:
    """Numbers, or texts of numbers."""
    # The text is that of a double: read as such and narrowed it is the stored value, read as a float it might be rounded twice.
    return lambda values: each(values, float, pa.float64()).cast(kind)


def decimals(kind: pa.DataType) -> Reader:
    """Numbers, or texts of numbers, exactly."""
    return lambda values: each(values, lambda value: Decimal(value) if isinstance(value, str) else value, kind)


def unscaled(kind: pa.DataType, scale: int) -> Reader:
    """Kafka Connect's decimals: the digits as a big-endian number in base64. A JSON number is taken as it is."""

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        number = int.from_bytes(_base64(value), "big", signed=True)
        return Decimal((number < 0, tuple(int(digit) for digit in str(abs(number))), -scale))

    return lambda values: each(values, convert, kind)


def texts(values: Sequence[Any]) -> pa.Array:
    """Strings."""
    return pa.array(values, pa.string())


def json_texts(values: Sequence[Any]) -> pa.Array:
    """Documents that stand in the record as such, as MySQL would write them."""
    return each(values, json_text, pa.string())


def json_text(value: Any) -> str:
    """The document's text, its numbers digit by digit."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(json_text(item) for item in value) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def dates(values: Sequence[Any]) -> pa.Array:
    """Texts of dates, ISO's zone letter allowed; zero and partial dates become NULL."""
    return _moments([None if value is None else value.removesuffix("Z") for value in values], pa.date32())


def datetimes(values: Sequence[Any]) -> pa.Array:
    """Texts of wall clock times, ISO's zone letter allowed; zero and partial dates become NULL."""
    return _moments([None if value is None else value.removesuffix("Z") for value in values], pa.timestamp("us"))


def instants(time_zone: str | None) -> Reader:
    """Texts of instants: with a zone of their own, or wall clock times of ``time_zone``.

    The hour that a zone's clock runs through twice is taken as the first of the two.
    """

    def read(values: Sequence[Any]) -> pa.Array:
        zoned = [value is not None and _ZONED.search(value) is not None for value in values]
        if all(zone or value is None for zone, value in zip(zoned, values, strict=True)):
            return _moments(values, UTC)
        if any(zoned):
            return pa.concat_arrays([read([value]) for value in values])
        if time_zone is None:
            raise Undecided("a TIMESTAMP without a zone, in the zone of the server or of the tool that wrote it", "time_zone")
        local = _moments(values, pa.timestamp("us"))
        return pc.assume_timezone(local, time_zone, ambiguous="earliest", nonexistent="earliest").cast(UTC)

    return read


_ZONED = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)$")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T].*)?$", re.DOTALL)


def _moments(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    found = pa.array(values, pa.string())
    try:
        return found.cast(kind)
    except pa.ArrowInvalid:
        return pa.array([None if _no_date(value) else value for value in values], pa.string()).cast(kind)


def _no_date(value: str | None) -> bool:
    """Whether it is a zero date, a partial one, or a day that its month doesn't have."""
    match = _DATE.match(value) if value is not None else None
    if match is None:
        return False
    year, month, day = (int(part) for part in match.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return not (1 <= month <= 12 and 1 <= day <= lengths[month - 1])


def durations(values: Sequence[Any]) -> pa.Array:
    """Texts of MySQL's TIME, ``-838:59:59.999999`` to ``838:59:59.999999``; ISO's zone letter allowed."""
    return each(values, _microseconds, pa.duration("us"))


_TIME = re.compile(r"(-?)(\d+):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?Z?")


def _microseconds(value: str) -> int:
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError("not a time")
    sign, hours, minutes, seconds, fraction = match.groups()
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)
    total = whole * 1_000_000 + int((fraction or "").ljust(6, "0")[:6])
    return -total if sign else total


def counted(kind: pa.DataType, factor: int, divisor: int = 1) -> Reader:
    """Whole numbers of a unit since 1970, or of length, as microseconds or days: times ``factor``, by ``divisor``."""
    storage = pa.int32() if kind == pa.date32() else pa.int64()
    return lambda values: each(values, lambda value: _integer(value) * factor // divisor, storage).cast(kind)


def binaries(mode: str) -> Reader:
    """Bytes as text: ``base64``, ``base64-url-safe`` or ``hex``."""
    convert = {"base64": _base64, "base64-url-safe": _base64_url, "hex": bytes.fromhex}[mode]
    return lambda values: each(values, convert, pa.binary())


def _base64(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _base64_url(value: str) -> bytes:
    return _base64(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4))


def latin1(values: Sequence[Any]) -> pa.Array:
    """Bytes as ISO-8859-1, one letter a byte."""
    return each(values, lambda value: value.encode("latin-1"), pa.binary())


def padded(reader: Reader, length: int) -> Reader:
    """BINARY(n) whose trailing zeros were left out."""
    return lambda values: each(reader(values).to_pylist(), lambda value: value.ljust(length, b"\0"), pa.binary())


def bits_little(values: Sequence[Any]) -> pa.Array:
    """BIT as Debezium has it: true or false, or the bytes in base64, the lowest first."""

    def convert(value: Any) -> int:
        return int.from_bytes(_base64(value), "little") if isinstance(value, str) else _integer(value)

    return each(values, convert, pa.uint64())


def labels(names: Sequence[str]) -> Reader:
    """ENUM as the number of its label, from 1; 0 is the empty label of a value that was none."""

    def convert(value: Any) -> str:
        text = str(value)
        if not text.isdigit():
            return text
        number = int(text)
        if number > len(names):
            raise ValueError("a number past the ENUM's labels")
        return names[number - 1] if number else ""

    return lambda values: each(values, convert, pa.string())


def masks(names: Sequence[str]) -> Reader:
    """SET as the sum of its labels' bits."""

    def convert(value: Any) -> str:
        text = str(value)
        if not text.isdigit():
            return text
        number = int(text)
        if number >> len(names):
            raise ValueError("a number past the SET's labels")
        return ",".join(name for index, name in enumerate(names) if number >> index & 1)

    return lambda values: each(values, convert, pa.string())


def joined(values: Sequence[Any]) -> pa.Array:
    """SET as a list of labels, or as a text with commas."""
    return each(values, lambda value: ",".join(value) if isinstance(value, list) else value, pa.string())


def geometries(values: Sequence[Any]) -> pa.Array:
    """Debezium's ``{"wkb": base64, "srid": number}`` as EWKB."""
    return each(values, lambda value: ewkb(_base64(value["wkb"]), value.get("srid") or 0), pa.binary())


def mysql_geometries(reader: Reader) -> Reader:
    """MySQL's own form, an SRID of four bytes and WKB, as EWKB."""
    return lambda values: each(
        reader(values).to_pylist(), lambda value: ewkb(value[4:], int.from_bytes(value[:4], "little")), pa.binary()
    )


def ewkb(wkb: bytes, srid: int) -> bytes:
    """WKB with an SRID other than 0 in it."""
    if not srid:
        return wkb
    little = bool(wkb[0])
    kind = int.from_bytes(wkb[1:5], "little" if little else "big") | 0x20000000
    order: Any = "little" if little else "big"
    return wkb[:1] + kind.to_bytes(4, order) + srid.to_bytes(4, order) + wkb[5:]


def plain(kind: MySqlType, hints: Hints, binary: Reader) -> Reader:
    """The reader of a type whose values are what they look like: numbers, texts of numbers and moments, labels.

    ``binary`` reads its bytes; BIT is a number.
    """
    canonical = kind.canonical
    if kind.base == "decimal":
        return decimals(canonical)
    if kind.base in ("float", "double"):
        return floats(canonical)
    if kind.base in GEOMETRIES:
        return mysql_geometries(binary)
    if kind.base in BINARIES:
        return padded(binary, kind.numbers[0] if kind.numbers else 1) if kind.base == "binary" else binary
    by_name: dict[str, Reader] = {
        "date": dates,
        "datetime": datetimes,
        "timestamp": instants(hints.time_zone),
        "time": durations,
        "set": joined,
        "json": texts,
    }
    if kind.base in by_name:
        return by_name[kind.base]
    return texts if canonical == pa.string() else integers(canonical)
