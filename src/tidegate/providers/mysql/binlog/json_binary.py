"""MySQL's binary JSON as the text that the server shows.

The format is described in ``sql-common/json_binary.h`` of MySQL: a type byte, then a value; objects and arrays hold a count, a size
and entries that point at keys and values, in two bytes each (small) or four (large). Small numbers and literals stand in the
entry itself. Texts are those of ``wrapper_to_string`` in ``sql/json_dom.cc``.
"""

from __future__ import annotations

import base64
import decimal
import json
import struct

from tidegate.providers.mysql.binlog.decimals import decimal_reader

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY, _LITERAL = range(5)
_INT16, _UINT16, _INT32, _UINT32, _INT64, _UINT64, _DOUBLE, _STRING = range(5, 13)
_OPAQUE = 15
_LITERALS = {0: "null", 1: "true", 2: "false"}
_NUMBERS = {_INT16: "<h", _UINT16: "<H", _INT32: "<i", _UINT32: "<I", _INT64: "<q", _UINT64: "<Q"}
_LINE = 76
_MOST_ZEROS = 15
"""Zeros before or after the digits of a number up to which it is written without exponent (MAX_DECPT_FOR_F_FORMAT)."""
_FIELD_DECIMAL, _FIELD_DATE, _FIELD_TIME, _FIELD_DATETIME, _FIELD_TIMESTAMP = 246, 10, 11, 12, 7


def json_text(data: bytes) -> str:
    """The value as text: keys in the stored order, numbers with all their digits. ValueError for bytes that are no JSON value.

    An empty value is what a server writes for a JSON column that was never set, and stands for null.
    """
    return _value(data[0], data, 1) if data else "null"


def _value(kind: int, data: bytes, pos: int) -> str:
    if kind in (_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY):
        return _container(kind, data, pos)
    if kind == _LITERAL:
        return _LITERALS[data[pos]]
    if kind in _NUMBERS:
        return str(struct.unpack_from(_NUMBERS[kind], data, pos)[0])
    if kind == _DOUBLE:
        return _double(struct.unpack_from("<d", data, pos)[0])
    if kind == _STRING:
        size, start = _variable_length(data, pos)
        return json.dumps(data[start : start + size].decode(), ensure_ascii=False)
    if kind == _OPAQUE:
        size, start = _variable_length(data, pos + 1)
        return _opaque(data[pos], data[start : start + size])
    raise ValueError(f"JSON value of type {kind}")


def _container(kind: int, data: bytes, start: int) -> str:
    """Offsets in it count from ``start``."""
    large = kind in (_LARGE_OBJECT, _LARGE_ARRAY)
    is_object = kind in (_SMALL_OBJECT, _LARGE_OBJECT)
    width = 4 if large else 2

    def number(at: int, size: int = width) -> int:
        return int.from_bytes(data[at : at + size], "little")

    count = number(start)
    entries = start + 2 * width
    keys = []
    if is_object:
        for index in range(count):
            entry = entries + index * (width + 2)
            key = start + number(entry)
            keys.append(json.dumps(data[key : key + number(entry + width, 2)].decode(), ensure_ascii=False))
        entries += count * (width + 2)
    values = []
    for index in range(count):
        entry = entries + index * (width + 1)
        item = data[entry]
        inlined = item in (_LITERAL, _INT16, _UINT16) or (large and item in (_INT32, _UINT32))
        values.append(_value(item, data, entry + 1 if inlined else start + number(entry + 1)))
    if is_object:
        return "{" + ", ".join(f"{key}: {value}" for key, value in zip(keys, values, strict=True)) + "}"
    return "[" + ", ".join(values) + "]"


def _variable_length(data: bytes, pos: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the high bit says that more follow."""
    size = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        size |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return size, pos
        shift += 7


def _double(value: float) -> str:
    """The shortest digits that tell the number, laid out by ``my_gcvt`` of ``strings/dtoa.cc``; ".0" marks it as no integer."""
    sign, figures, exponent = decimal.Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, figures)).rstrip("0") or "0"
    # The value is 0.digits times ten to this power.
    point = len(figures) + int(exponent) if value else 1
    minus = "-" if sign else ""
    if point < -_MOST_ZEROS + 1 or (point > _MOST_ZEROS and len(digits) <= point):
        return f"{minus}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1}"
    if point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    return f"{minus}{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"


def _opaque(field: int, value: bytes) -> str:
    """A value of an SQL type that JSON doesn't have."""
    if field == _FIELD_DECIMAL:
        text = decimal_reader(value[0], value[1])(value, 2)[0]
        whole, dot, part = text.lstrip("-").partition(".")
        return f"{'-' if text[0] == '-' else ''}{whole.lstrip('0') or '0'}{dot}{part}"
    if field in (_FIELD_DATE, _FIELD_DATETIME, _FIELD_TIMESTAMP, _FIELD_TIME):
        packed = int.from_bytes(value[:8], "little", signed=True)
        size = abs(packed)
        micros, clock = size & 0xFFFFFF, size >> 24
        minute, second = clock >> 6 & 63, clock & 63
        if field == _FIELD_TIME:
            return f'"{"-" if packed < 0 else ""}{clock >> 12 & 1023:02}:{minute:02}:{second:02}.{micros:06}"'
        year_month = clock >> 22
        date = f"{year_month // 13:04}-{year_month % 13:02}-{clock >> 17 & 31:02}"
        if field == _FIELD_DATE:
            return f'"{date}"'
        return f'"{date} {clock >> 12 & 31:02}:{minute:02}:{second:02}.{micros:06}"'
    text = base64.b64encode(value).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    # The server's base64 has lines, and in JSON a line's end is written so.
    return f'"base64:type{field}:' + "\\n".join(lines) + '"'
