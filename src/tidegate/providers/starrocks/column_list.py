"""The header ``columns`` of Stream Load: ``page_id,visit_user_id,visit_users=to_bitmap(visit_user_id)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from tidegate.errors import ConfigError
from tidegate.providers.starrocks.catalog import CatalogColumn
from tidegate.providers.starrocks.jsontext import misread
from tidegate.providers.starrocks.texts import base
from tidegate.providers.starrocks.types import expression


@dataclass(frozen=True, slots=True)
class ColumnList:
    """``fields`` are what the load brings, by name; ``derived`` the target columns that are computed, by their expression."""

    fields: tuple[str, ...]
    derived: dict[str, str]

    def field(self, name: str) -> bool:
        """Whether the load is to bring a field of this name, whatever its case."""
        return any(item.lower() == name.lower() for item in self.fields)

    def computes(self, name: str) -> bool:
        """Whether the target's column of this name is computed."""
        return any(item.lower() == name.lower() for item in self.derived)


def parse_columns(text: str) -> ColumnList:
    """The header's parts: commas inside brackets, quotes and backticks don't part. ConfigError for brackets that don't match."""
    fields: list[str] = []
    derived: dict[str, str] = {}
    for part in _split(text):
        name, equals, expression = part.partition("=")
        if equals:
            derived[_bare(name)] = expression.strip()
        elif part.strip():
            fields.append(_bare(part))
    return ColumnList(tuple(fields), derived)


@dataclass(frozen=True, slots=True)
class Fields:
    """What a load brings: ``rows`` under the fields' names, for each the column that it goes to as it is or None, and the
    expressions that make the other columns of fields."""

    rows: pa.Table
    there: Sequence[CatalogColumn | None]
    made: Sequence[str]


def as_fields(rows: pa.Table, there: Sequence[CatalogColumn | None], kind: Literal["json", "csv"]) -> Fields:
    """The rows as they are sent into the columns ``there``: what is to be made by an expression is a field of another name."""
    names, into, made = [], [], []
    for name, column, values in zip(rows.column_names, there, rows.columns, strict=True):
        own = name if column is None else column.name
        text = column is not None and base(column.type) == "json" and pa.types.is_string(values.type)
        wrapped = text and bool(misread(values.combine_chunks(), kind).any())
        field = f"{own}__text" if wrapped else f"{own}__hex"
        made_of = None if column is None else expression(column, field, wrapped=wrapped)
        names.append(own if made_of is None else field)
        into.append(None if wrapped else column)
        if made_of is not None:
            made.append(f"`{own}`={made_of}")
    return Fields(rows.rename_columns(names), into, made)


def _bare(name: str) -> str:
    name = name.strip()
    return name[1:-1].replace("``", "`") if len(name) > 1 and name[0] == name[-1] == "`" else name


def _split(text: str) -> list[str]:
    parts, depth, quote, begin, at = [], 0, "", 0, 0
    while at < len(text):
        sign = text[at]
        if quote:
            if sign == "\\" and quote != "`":
                at += 1
            elif sign == quote:
                quote = ""
        elif sign in "'\"`":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
        at += 1
    if depth or quote:
        raise ConfigError(f"the header columns is not closed: {text!r}", setting="properties.columns")
    return [*parts, text[begin:]]
