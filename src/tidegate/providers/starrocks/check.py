"""Rows that StarRocks would refuse or change, found before they are sent.

Without ``strict_mode`` StarRocks makes NULL of a value that it can't convert, and rounds a decimal; and one text that isn't JSON
spoils the whole body that it is in. None of that is left to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.errors import RowRefused
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.encode_csv import csv_texts, examined, unsendable
from tidegate.providers.starrocks.format import Format
from tidegate.providers.starrocks.jsontext import LONGEST_WRAPPED, invalid_json, misread
from tidegate.providers.starrocks.keys import KEY_BYTES, SIZES
from tidegate.providers.starrocks.texts import NESTED, Mask, Scan, base, is_utc, local, marks, texts
from tidegate.providers.starrocks.types import INTEGER_BITS, numeric, size

_FLOAT_MAX = float(np.finfo(np.float32).max)
_DAYS = (-719_528, 2_932_896)
"""0000-01-01 and 9999-12-31, in days since 1970."""
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows that can't go: ``mask`` has a True for each of them; ``why`` is without their values."""

    mask: Mask
    column: str
    why: str


def require(rows: pa.Table, table: CatalogTable, format: Format, connection: str, time_zone: str) -> None:
    """RowRefused for the first of what :func:`refused` finds."""
    for found in refused(rows, table, format, time_zone):
        what = f"{int(found.mask.sum())} rows that the table can't take: {found.why}"
        bad = rows.filter(pa.array(found.mask))
        raise RowRefused(what, column=found.column, rows=bad, connection=connection, table=table.name, setting="on_error")


def refused(rows: pa.Table, table: CatalogTable, format: Format | None = None, time_zone: str = "UTC") -> list[Refusal]:
    """What of ``rows`` can't go into the table as it is; an empty list: all of it can. A row may be in several.

    A column that the table lacks is only looked at for what ``format`` can't send.
    """
    format = format or Format()
    found: list[Refusal] = []
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        there = table.column(name)
        values = column.combine_chunks()
        reasons = _why(values, there) if there is not None else iter(())
        found += [Refusal(mask, name, why) for mask, why in reasons if mask.any()]
        if there is not None and base(there.type) == "json" and pa.types.is_string(values.type):
            found += _unwrappable(values, name, format)
        if format.kind == "csv" and examined(values.type, format):
            shifting = unsendable(*csv_texts(values, there), format, alone=rows.num_columns == 1)
            found += [Refusal(mask, name, why) for mask, why in shifting]
    if table.model != "DUP_KEYS" and not is_utc(time_zone):
        found += _twice(rows, table, time_zone)
    if table.model == "PRIMARY_KEYS" and (mask := _long_keys(rows, table)) is not None and mask.any():
        why = f"a key of more than {KEY_BYTES} bytes: raise primary_key_limit_size on the backends, or choose a shorter key"
        found.append(Refusal(mask, ", ".join(table.key), why))
    return found


def _why(values: pa.Array, there: CatalogColumn) -> Iterator[tuple[Mask, str]]:
    kind, target = values.type, base(there.type)
    if values.null_count and not there.nullable:
        yield marks(values.is_null()), "NULL in a column that is NOT NULL"
    if pa.types.is_null(kind) or values.null_count == len(values):
        return
    if target in NESTED and not pa.types.is_nested(kind):
        yield invalid_json(texts(values, there)[0]), "no valid JSON text"
    elif target in ("varchar", "char", "varbinary"):
        limit = size(there) or 0
        text = values if pa.types.is_binary(kind) and target == "varbinary" else texts(values, there)[0]
        yield marks(pc.greater(pc.binary_length(text), limit)), f"longer than {there.type}, which counts bytes: make it wider"
    elif pa.types.is_floating(kind):
        yield marks(pc.invert(pc.is_finite(values))), "NaN or infinite, which JSON and StarRocks don't have"
        if target == "float" and kind != pa.float32():
            yield marks(pc.greater(pc.abs(values), _FLOAT_MAX)), f"out of the range of {there.type}"
    elif target in INTEGER_BITS or target in ("boolean", "decimal"):
        if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            yield from _number(values, there, target)
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        yield _years(values), "outside of the years 0 to 9999"


def _number(values: pa.Array, there: CatalogColumn, target: str) -> Iterator[tuple[Mask, str]]:
    """Whole numbers and decimals: StarRocks would round one, or make NULL of it."""
    if target == "decimal":
        precision, scale = numeric(there)
        most, least = 10 ** (precision - scale) - 1, -(10 ** (precision - scale)) + 1
    else:
        bits = INTEGER_BITS.get(target, 0)
        (most, least), scale = (2 ** (bits - 1) - 1, -(2 ** (bits - 1))) if bits else (1, 0), 0
    kind = values.type
    if pa.types.is_integer(kind):
        info = np.iinfo(kind.to_pandas_dtype())
        if int(info.min) >= least and int(info.max) <= most:
            return
        high, low = pa.scalar(min(most, int(info.max)), kind), pa.scalar(max(least, int(info.min)), kind)
        outside = pc.or_(pc.greater(values, high), pc.less(values, low))
        yield marks(outside), f"out of the range of {there.type}"
        return
    if kind.scale > scale:
        yield marks(pc.not_equal(pc.round(values, scale), values)), f"more digits after the point than {there.type}"
    if kind.precision - kind.scale >= len(str(most)):
        whole, bounds = pc.trunc(values), [pa.scalar(Decimal(bound), kind) for bound in (least, most)]
        outside = pc.or_(pc.less(whole, bounds[0]), pc.greater(whole, bounds[1]))
        yield marks(outside), f"out of the range of {there.type}"


def _years(values: pa.Array) -> Mask:
    if pa.types.is_date32(values.type):
        bounds, numbers = _DAYS, values.cast(pa.int32())
    else:
        bounds = (_DAYS[0] * _DAY, (_DAYS[1] + 1) * _DAY - 1)
        numbers = values.cast(pa.timestamp("us", tz=values.type.tz) if pa.types.is_timestamp(values.type) else pa.timestamp("us"))
        numbers = numbers.cast(pa.int64())
    return marks(pc.or_(pc.less(numbers, bounds[0]), pc.greater(numbers, bounds[1])))


def _twice(rows: pa.Table, table: CatalogTable, time_zone: str) -> Iterator[Refusal]:
    """Instants in an hour that the zone's clocks show twice: two of them would be one key."""
    for name in rows.column_names:
        kind = rows.schema.field(name).type
        if not any(name.lower() == key.lower() for key in table.key) or not pa.types.is_timestamp(kind) or not kind.tz:
            continue
        clock = local(rows.column(name).combine_chunks(), time_zone)
        first, second = (pc.assume_timezone(clock, time_zone, ambiguous=which) for which in ("earliest", "latest"))
        mask = marks(pc.not_equal(first, second))
        if mask.any():
            why = f"a key in an hour that the clocks of {time_zone} show twice; with the connection's time_zone='UTC' it can go"
            yield Refusal(mask, name, why)


def _unwrappable(values: pa.Array, name: str, format: Format) -> Iterator[Refusal]:
    if marks(pc.greater(pc.binary_length(values), LONGEST_WRAPPED)).any() and (odd := misread(values, format.kind)).any():
        why = f"a JSON null or scalar that goes through a VARCHAR, in one load with a text of over {LONGEST_WRAPPED} bytes"
        yield Refusal(odd, name, why)


def _long_keys(rows: pa.Table, table: CatalogTable) -> Mask | None:
    """Keys as ``PrimaryKeyEncoder::encode_exceed_limit`` counts them: texts of all but the last column end in two bytes more."""
    fixed, sizes = 0, np.zeros(rows.num_rows, np.int64)
    names = {name.lower(): name for name in rows.column_names}
    for at, key in enumerate(table.key):
        there = table.column(key)
        if there is None or key.lower() not in names:
            return None
        kind = base(there.type)
        if kind != "varchar":
            fixed += SIZES.get(kind, 0)
            continue
        text = texts(rows[names[key.lower()]].combine_chunks(), there)[0]
        sizes += pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
        if at + 1 < len(table.key):
            scan = Scan(text, b"\0")
            sizes += 2 + np.diff(scan.before())
    found: Mask = sizes + fixed > KEY_BYTES
    return found if len(table.key) > 1 or fixed == 0 else None
