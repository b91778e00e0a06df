"""A column of values as texts, and what a format has to do with them: what JSON and CSV have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.changes.types import canonical
from tidegate.errors import RowRefused
from tidegate.providers.starrocks.catalog import CatalogColumn

Kind = Literal["number", "plain", "string", "json"]
"""number: a JSON number; plain: text of digits and signs that needs no escaping; string: any text; json: JSON text."""

NESTED = ("array", "map", "struct", "json")
"""StarRocks' types that JSON text goes into as it is."""

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def marks(found: pa.Array) -> Mask:
    """A boolean array as a mask: NULL is False."""
    mask: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


def base(type_name: str) -> str:
    """``varchar(20)`` → ``varchar``; ``array<int>`` → ``array``; ``decimal64(10, 2)`` → ``decimal``."""
    name = re.split(r"[(<\s]", type_name.strip().lower(), maxsplit=1)[0]
    if name.startswith("decimal") or name == "numeric":
        return "decimal"
    return {"integer": "int", "string": "varchar", "binary": "varbinary", "character": "char", "bool": "boolean"}.get(name, name)


def texts(values: pa.Array, there: CatalogColumn | None, time_zone: str = "UTC") -> tuple[pa.Array, Kind]:
    """The values as an array of strings, NULL where they are NULL. ``there`` is the column they go to, if they go to one."""
    target = base(there.type) if there is not None else ""
    kind = values.type
    if pa.types.is_nested(kind):
        return _nested(values), "json"
    if pa.types.is_string(kind):
        return values, "json" if target in NESTED else "string"
    if pa.types.is_time(kind):
        # Arrow casts a time of day to a number, and no further.
        nanos = kind.unit == "ns"
        whole = values.cast(kind if nanos else pa.time64("us")).cast(pa.int64())
        return texts((pc.divide(whole, 1000) if nanos else whole).cast(pa.duration("us")), there, time_zone)
    wanted = canonical(kind)
    if wanted != kind:
        return texts(values.cast(wanted), there, time_zone)
    if pa.types.is_boolean(kind):
        return values.cast(pa.uint8()).cast(pa.string()), "number"
    if pa.types.is_integer(kind):
        # StarRocks reads LARGEINT from a string without going through a 64-bit number (BE, add_column_with_string_value).
        return values.cast(pa.string()), "plain" if kind == pa.uint64() else "number"
    if pa.types.is_floating(kind):
        # A float32 goes as the double that it equals: StarRocks reads a double and makes a float of it.
        exact = values if target not in ("float", "double") else values.cast(pa.float64())
        return _positive_zero(exact), "number"
    if pa.types.is_decimal(kind):
        return decimal_text(values), "plain"
    if pa.types.is_date(kind):
        wide = values.cast(pa.timestamp("s")) if target == "datetime" else values
        return wide.cast(pa.string()), "plain"
    if pa.types.is_timestamp(kind):
        return _timestamp(values, time_zone, short=target == "datetime"), "plain"
    if pa.types.is_duration(kind):
        return duration_text(values), "plain"
    return hex_text(values), "plain"


def _positive_zero(values: pa.Array) -> pa.Array:
    """Floats as their shortest text; the negative zero as -0.0: StarRocks would read -0 as an integer."""
    text = values.cast(pa.string())
    numbers = values.fill_null(1).to_numpy(zero_copy_only=False)
    minus = (numbers == 0) & np.signbit(numbers)
    return pc.if_else(pa.array(minus), "-0.0", text) if minus.any() else text


def decimal_text(values: pa.Array) -> pa.Array:
    """Decimals with all digits of their scale and no exponent, which Arrow writes for the smallest."""
    text = values.cast(pa.string())
    scale = values.type.scale
    if scale < 7 and scale >= 0:
        return text
    short = pc.fill_null(pc.match_substring(text, "E"), False)
    if not pc.any(short).as_py():
        return text
    plain = pa.array([format(value.as_py(), "f") for value in values.filter(short)], pa.string())
    return pc.replace_with_mask(text, short, plain)


def _timestamp(values: pa.Array, time_zone: str, *, short: bool) -> pa.Array:
    """``short``: without the fraction where no value has one."""
    if values.type.tz is not None:
        values = local(values, time_zone)
    if short:
        micros = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        if not (micros % 1_000_000).any():
            values = values.cast(pa.timestamp("s"))
    return values.cast(pa.string())


def is_utc(time_zone: str) -> bool:
    return time_zone.upper() in ("UTC", "ETC/UTC", "Z", "+00:00")


def is_zone(time_zone: str) -> bool:
    """Whether instants can be written in it."""
    try:
        local(pa.array([0], pa.timestamp("us", tz="UTC")), time_zone)
    except pa.ArrowInvalid:
        return False
    return True


def local(instants: pa.Array, time_zone: str) -> pa.Array:
    """What the clocks of the zone show."""
    if is_utc(time_zone):
        return instants.cast(pa.timestamp("us"))
    return pc.local_timestamp(instants.cast(pa.timestamp("us", tz=time_zone)))


def _nested(values: pa.Array) -> pa.Array:
    """Lists, maps and structs of users' own tables as JSON text, a value at a time. RowRefused for NaN and infinities in them."""
    kind = values.type
    shown = [_shown(value, kind) for value in values.to_pylist()]
    try:
        found = [None if value is None else json.dumps(value, allow_nan=False, separators=(",", ":")) for value in shown]
    except ValueError:
        raise RowRefused(f"NaN or an infinity in a {kind}, which JSON doesn't have") from None
    return pa.array(found, pa.string())


def _shown(value: Any, kind: pa.DataType) -> Any:
    """What of Python's values ``json`` can write."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if pa.types.is_map(kind):
        return {str(_shown(key, kind.key_type)): _shown(item, kind.item_type) for key, item in value}
    if pa.types.is_struct(kind):
        return {field.name: _shown(value[field.name], field.type) for field in kind}
    if pa.types.is_nested(kind):
        return [_shown(item, kind.value_type) for item in value]
    return value.hex().upper() if isinstance(value, bytes) else str(value)


# Texts that Arrow has no cast for


def ends(values: pa.Array) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Where each value of a string or binary array begins in the bytes, and the last ends; and the bytes."""
    _, offset_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    return offsets - offsets[0], data[offsets[0] : offsets[-1]]


def strings(offsets: npt.NDArray[np.int64], data: Any, valid: pa.Array | None) -> pa.Array:
    """The string array of these ends and bytes; NULL where ``valid`` is false."""
    found = pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)])
    return found if valid is None else pc.if_else(valid, found, pa.scalar(None, pa.string()))


def valid(values: pa.Array) -> pa.Array | None:
    """Which values aren't NULL; None if all are."""
    return values.is_valid() if values.null_count else None


class Scan:
    """Where strings have one of some bytes: ``at``, in ``data``, of which ``offsets`` are the strings' ends."""

    def __init__(self, values: pa.Array, some: bytes, *, below: int = 0) -> None:
        self.offsets, self.data = ends(values)
        found = self.data < below if below else np.zeros(len(self.data), np.bool_)
        # A comparison a byte is several times faster than a look-up.
        for byte in some:
            found |= self.data == byte
        self.at = np.flatnonzero(found)

    def before(self) -> npt.NDArray[np.int64]:
        """How many of ``at`` are before each of the offsets."""
        return np.searchsorted(self.at, self.offsets)

    def mask(self) -> Mask | None:
        """Which strings have one; None if none has."""
        if not len(self.at):
            return None
        found: Mask = np.diff(self.before()) > 0
        return found


class Escapes:
    """Bytes that are written as others. ``first`` is the one that the others' texts have in them, so it is replaced first."""

    def __init__(self, escapes: Mapping[int, bytes], first: int) -> None:
        self._escapes, self._first = escapes, first
        self._more = np.zeros(256, np.int64)
        for byte, text in escapes.items():
            self._more[byte] = len(text) - 1

    def __call__(self, values: pa.Array, scan: Scan) -> pa.Array:
        """The strings with their bytes replaced. ``scan`` has looked for these, at least, in ``values``."""
        if not len(scan.at):
            return values
        found = scan.data[scan.at]
        added = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._more[found])])
        new = scan.data.tobytes()
        for byte in sorted(np.flatnonzero(np.bincount(found)).tolist(), key=lambda byte: byte != self._first):
            if byte in self._escapes:
                new = new.replace(bytes([byte]), self._escapes[byte])
        return strings(scan.offsets + added[scan.before()], new, valid(values))


def content(whole: pa.Array) -> pa.Buffer:
    """The bytes of all the strings of a fresh array, one after the other."""
    offsets = np.frombuffer(whole.buffers()[1], np.int32)
    return whole.buffers()[2].slice(0, int(offsets[len(whole)]))


_HEX = np.frombuffer("".join(f"{byte:02X}" for byte in range(256)).encode(), dtype=np.uint16)


def hex_text(values: pa.Array) -> pa.Array:
    """Binary as hexadecimal digits, two a byte, which StarRocks' ``to_binary`` and ``unhex`` read."""
    if len(values) == 0:
        return pa.array([], pa.string())
    offsets, data = ends(values)
    return strings(offsets * 2, _HEX[data].view(np.uint8), valid(values))


def duration_text(values: pa.Array) -> pa.Array:
    """Microseconds as ``[-]HHH:MM:SS[.ffffff]``, as MySQL writes a TIME."""
    micros = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    negative = micros < 0
    # In two's complement, so that the lowest int64 has a magnitude too.
    size = np.where(negative, ~micros.view(np.uint64) + np.uint64(1), micros.view(np.uint64))
    seconds, fraction = size // np.uint64(1_000_000), size % np.uint64(1_000_000)
    sixty = np.uint64(60)
    clock = pc.binary_join_element_wise(
        _digits(seconds // np.uint64(3600), 2), _digits(seconds // sixty % sixty, 2), _digits(seconds % sixty, 2), ":"
    )
    text = pc.binary_join_element_wise(pc.if_else(pa.array(negative), "-", ""), clock, "")
    if fraction.any():
        # Each value by itself: the text of one must not depend on its neighbours.
        text = pc.if_else(pa.array(fraction > 0), pc.binary_join_element_wise(text, _digits(fraction, 6), "."), text)
    return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string())) if values.null_count else text


def _digits(values: npt.NDArray[np.uint64], width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(values).cast(pa.string()), width, "0")
