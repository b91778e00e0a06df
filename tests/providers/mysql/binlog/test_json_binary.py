"""MySQL's binary JSON as text. The bytes are laid out by hand, after ``json_binary.h``: no server at hand writes them."""

from __future__ import annotations

import base64
import decimal
import json
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymysqlreplication.util.bytes import parse_decimal_from_bytes

from tests.providers.mysql.reading import Database
from tests.scale import examples
from tidegate.providers.mysql.binlog.decimals import decimal_reader
from tidegate.providers.mysql.binlog.json_binary import json_text


def size_of(length: int) -> bytes:
    encoded = bytearray()
    while True:
        encoded.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes(encoded)


def encoded(value: Any, *, large: bool) -> tuple[int, bytes]:
    """A type byte and the bytes of a value."""
    if value is None or isinstance(value, bool):
        return 4, bytes(({None: 0, True: 1, False: 2}[value],))
    if isinstance(value, int):
        for kind, layout in ((5, "<h"), (6, "<H"), (7, "<i"), (8, "<I"), (9, "<q"), (10, "<Q")):
            try:
                return kind, struct.pack(layout, value)
            except struct.error:
                continue
    if isinstance(value, float):
        return 11, struct.pack("<d", value)
    if isinstance(value, str):
        return 12, size_of(len(value.encode())) + value.encode()
    return container(value, large=large)


def container(value: list[Any] | dict[str, Any], *, large: bool) -> tuple[int, bytes]:
    width, layout = (4, "<I") if large else (2, "<H")
    keys = [key.encode() for key in value] if isinstance(value, dict) else []
    items = list(value.values()) if isinstance(value, dict) else value
    header = 2 * width + len(keys) * (width + 2) + len(items) * (width + 1)
    key_entries, value_entries, tail = b"", b"", b""
    for key in keys:
        key_entries += struct.pack(layout, header + len(tail)) + struct.pack("<H", len(key))
        tail += key
    for item in items:
        kind, data = encoded(item, large=large)
        if kind in (4, 5, 6) or (large and kind in (7, 8)):
            value_entries += bytes((kind,)) + data.ljust(width, b"\0")
        else:
            value_entries += bytes((kind,)) + struct.pack(layout, header + len(tail))
            tail += data
    body = key_entries + value_entries + tail
    head = struct.pack(layout, len(items)) + struct.pack(layout, 2 * width + len(body))
    return (1 if large else 0) if isinstance(value, dict) else (3 if large else 2), head + body


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('aé"\\', max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(values, st.booleans())
def test_any_value_comes_back_from_small_and_large_layouts(value: Any, large: bool) -> None:
    kind, data = encoded(value, large=large)
    text = json_text(bytes((kind,)) + data)
    found = json.loads(text)
    assert found == value
    assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)


def test_keys_keep_their_order_and_text_is_spaced_as_the_server_does() -> None:
    kind, data = encoded({"b": [1, 2.5, "x"], "a": {}, "é": None}, large=False)
    assert json_text(bytes((kind,)) + data) == '{"b": [1, 2.5, "x"], "a": {}, "é": null}'


def opaque(field: int, value: bytes) -> str:
    return json_text(bytes((15, field)) + size_of(len(value)) + value)


def test_values_of_sql_types_are_spelled_as_the_server_does() -> None:
    packed = ((2024 * 13 + 2) << 5 | 29) << 17 | 13 << 12 | 5 << 6 | 7
    stamp = (packed << 24 | 123456).to_bytes(8, "little")
    assert opaque(12, stamp) == '"2024-02-29 13:05:07.123456"'
    assert opaque(10, stamp) == '"2024-02-29"'
    assert opaque(11, (-((100 << 12 | 1 << 6 | 2) << 24)).to_bytes(8, "little", signed=True)) == '"-100:01:02.000000"'
    assert opaque(252, b"\xff\x00") == '"base64:type252:/wA="'
    assert opaque(246, bytes((5, 2)) + bytes.fromhex("80 01 17".replace(" ", ""))) == "1.23"


def test_an_unset_column_is_null_and_unknown_types_are_errors() -> None:
    assert json_text(b"") == "null"
    with pytest.raises(ValueError, match="type 13"):
        json_text(b"\x0d")


@given(st.integers(1, 65).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, min(p, 30)))), st.data())
def test_decimals_agree_with_another_decoder(shape: tuple[int, int], data: st.DataObject) -> None:
    precision, scale = shape
    unscaled = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    packed = packed_decimal(unscaled, precision, scale)
    text, end = decimal_reader(precision, scale)(b"\xaa" + packed + b"\xbb", 1)
    assert end == 1 + len(packed)
    with decimal.localcontext(prec=70):
        assert decimal.Decimal(text) == decimal.Decimal(unscaled).scaleb(-scale)
        assert decimal.Decimal(parse_decimal_from_bytes(packed, precision, scale)) == decimal.Decimal(text)


def packed_decimal(unscaled: int, precision: int, scale: int) -> bytes:
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    digits = f"{abs(unscaled):0{precision}}"
    whole, part = digits[: precision - scale], digits[precision - scale :]
    lead = len(whole) % 9
    groups = [whole[:lead]] if lead else []
    groups += [whole[i : i + 9] for i in range(lead, len(whole), 9)] + [part[i : i + 9] for i in range(0, len(part), 9)]
    packed = bytearray(b"".join(int(group).to_bytes(sizes[len(group)], "big") for group in groups))
    packed[0] ^= 0x80
    return bytes(byte ^ 0xFF for byte in packed) if unscaled < 0 else bytes(packed)


def json_double(value: float) -> str:
    return json_text(b"\x0b" + struct.pack("<d", value))


EDGES = [0.0, -0.0, 1.0, -1.5, 0.1, 120.0, 1e14, 1e15, 1e16, 1e20, 1e200, 123456789012345678.0, 1234567890123456.7]
EDGES += [1e-4, 1e-14, 1e-15, 1.5e-15, 1e-16, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**53, 2.0**63, 0.00001234]


@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50))
@example(numbers=EDGES)
def test_doubles_are_spelled_as_the_server_spells_them(db: Database, numbers: list[float]) -> None:
    """In JSON with ".0" where nothing else tells them from integers."""
    if not numbers:
        return
    spelled = db.rows("SELECT " + ", ".join(f"CAST('{number!r}' + 0e0 AS CHAR)" for number in numbers))[0]
    for number, text in zip(numbers, spelled, strict=True):
        if number:
            expected = text if "." in text or "e" in text else text + ".0"
            assert json_double(number) == expected
        assert struct.pack("<d", float(json_double(number))) == struct.pack("<d", number)


@given(st.integers(1, 65).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, min(p, 30)))), st.data())
def test_decimals_have_all_their_digits_and_no_zeros_before_them(shape: tuple[int, int], data: st.DataObject) -> None:
    precision, scale = shape
    unscaled = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1) | st.sampled_from((0, 1, 10 ** (precision - 1))))
    text = opaque(246, bytes(shape) + packed_decimal(unscaled, precision, scale))
    assert text == format(decimal.Decimal(unscaled).scaleb(-scale, decimal.Context(prec=70)), "f")


@given(st.binary(max_size=300), st.sampled_from((15, 16, 249, 250, 251, 252, 253, 254)))
def test_bytes_are_base64_in_lines_as_of_the_server(data: bytes, field: int) -> None:
    lines = base64.encodebytes(data).decode().rstrip("\n")
    assert json.loads(opaque(field, data)) == f"base64:type{field}:{lines}"
    assert "\n" not in opaque(field, data)


def test_lines_of_base64_end_where_the_server_ends_them(db: Database) -> None:
    ((text,),) = db.rows("SELECT TO_BASE64(REPEAT('a', 200))")
    assert json.loads(opaque(252, b"a" * 200)) == f"base64:type252:{text}"


def test_documents_past_64_kib_and_a_hundred_levels_are_read() -> None:
    big: Any = {f"key{number}": ["x" * 1000, number, -number, 2**40 + number, None, True] for number in range(200)}
    kind, data = encoded(big, large=True)
    assert len(data) > 2**17
    assert json.loads(json_text(bytes((kind,)) + data)) == big
    deep: Any = 2**64 - 1
    for _ in range(100):
        deep = [deep] if isinstance(deep, dict) else {"k": deep}
    for large in (False, True):
        kind, data = encoded(deep, large=large)
        assert json.loads(json_text(bytes((kind,)) + data)) == deep


def test_numbers_past_2_to_the_53_keep_every_digit() -> None:
    for number in (2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1):
        kind, data = encoded([number], large=False)
        assert json_text(bytes((kind,)) + data) == f"[{number}]"


def test_a_small_document_may_hold_a_large_one() -> None:
    """Each container says by its own type how wide its offsets are."""
    inner_kind, inner = encoded({"a": [1, 2**20]}, large=True)
    header = struct.pack("<HH", 1, 7 + len(inner)) + bytes((inner_kind,)) + struct.pack("<H", 7)
    assert json_text(b"\x02" + header + inner) == '[{"a": [1, 1048576]}]'


def test_control_characters_and_unicode_in_strings_are_escaped_as_of_the_server() -> None:
    text = '\0\x01\b\t\n\f\r\x1f"\\/\x7fé\u2028😀'
    kind, data = encoded({text: text}, large=False)
    spelled = '"\\u0000\\u0001\\b\\t\\n\\f\\r\\u001f\\"\\\\/\x7fé\u2028😀"'
    assert json_text(bytes((kind,)) + data) == "{" + f"{spelled}: {spelled}" + "}"
