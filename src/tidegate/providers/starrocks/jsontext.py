"""Texts that go into JSON columns: which are no JSON, and which a load would take for something else."""

from __future__ import annotations

import io
import json
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from tidegate.providers.starrocks.texts import Mask, Scan, ends, marks

LONGEST_WRAPPED = 1_048_576 - len('{"v":}')
"""Bytes of a text that an expression can put into an object: a VARCHAR in between has no more."""
_ROWS = 16_384
"""Of texts that are parsed at once."""


def misread(values: pa.Array, kind: Literal["json", "csv"]) -> Mask:
    """Which JSON texts become something else if they go straight into a JSON column.

    In a load of JSON the value null is NULL (BE, ``nullable_column.cpp``). Of CSV a text is parsed if it begins with ``{``, ``[``
    or ``"``, and any other, ``1`` or ``true``, becomes a JSON string (``json_converter.cpp``, ``JsonValue::parse_json_or_string``).
    """
    if kind == "json":
        return marks(pc.equal(pc.ascii_trim_whitespace(values), "null"))
    return marks(pc.invert(pc.match_substring_regex(values, r'^\s*[{\["]')))


def invalid_json(values: pa.Array) -> Mask:
    """Which of the texts aren't one JSON value each. NULL is none of them."""
    return np.concatenate([np.zeros(0, np.bool_), *(_invalid(values.slice(at, _ROWS)) for at in range(0, len(values), _ROWS))])


def _invalid(values: pa.Array) -> Mask:
    # Arrow's parser takes a line as a value and NaN as a number: texts with these are looked at one by one.
    slow = values.is_valid().to_numpy(zero_copy_only=False)
    if not len(Scan(values, b"", below=0x20).at):
        odd = marks(pc.or_(pc.match_substring(values, "NaN"), pc.match_substring(values, "Inf")))
        if _all_json(values.filter(pa.array(slow & ~odd)) if odd.any() or values.null_count else values):
            slow = odd
    found = np.zeros(len(values), np.bool_)
    at = np.flatnonzero(slow)
    found[at] = [not _is_json(text) for text in values.take(pa.array(at)).to_pylist()]
    return found


def _all_json(values: pa.Array) -> bool:
    """Whether Arrow's parser takes each text as a member's value and as an array's only item.

    The two together leave no text that is more than one value: after the first one only a comma and a member may follow in an
    object, and only a comma and a value in an array.
    """
    for begin, end in (('{"v":', "}\n"), ('{"v":[', "]}\n")):
        data = ends(pc.binary_join_element_wise(begin, values, end, ""))[1]
        ignored = pyarrow.json.ParseOptions(explicit_schema=pa.schema([]), unexpected_field_behavior="ignore")
        options = pyarrow.json.ReadOptions(use_threads=False, block_size=max(len(data), 1))
        try:
            if len(data):
                pyarrow.json.read_json(io.BytesIO(data.tobytes()), read_options=options, parse_options=ignored)
        except pa.ArrowInvalid:
            return False
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return not _lone_surrogate(text)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _lone_surrogate(text: str) -> bool:
    if "\\u" not in text:
        return False
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
