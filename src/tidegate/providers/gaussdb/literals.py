"""Parameters as SQL literals, put into the statement by the client as psycopg2 does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tidegate.providers.postgres.driver import Params


def bound(statement: str, params: Params | None) -> str:
    """The statement with literals for its ``%s`` or ``%(name)s``; as it is if there are no parameters."""
    if not params:
        return statement
    if isinstance(params, Mapping):
        return statement % {name: literal(value) for name, value in params.items()}
    return statement % tuple(map(literal, params))


def literal(value: Any) -> str:
    """One value. ValueError for a string with U+0000, TypeError for a type that has no literal here."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case str():
            return text_literal(value)
        case int():
            # In brackets a minus can't become part of an operator, or of a comment, before it.
            return f"({value})" if value < 0 else str(value)
        case float() | Decimal():
            if value != value or value in (float("inf"), float("-inf")):
                return f"'{value}'::{'float' if isinstance(value, float) else 'numeric'}"
            return f"({value!s})" if value < 0 else str(value)
        case datetime():
            return f"'{value.isoformat(' ')}'::{'timestamp' if value.tzinfo is None else 'timestamptz'}"
        case date():
            return f"'{value.isoformat()}'::date"
        case bytes() | bytearray() | memoryview():
            return f"'\\x{value.hex()}'::bytea"
        case tuple():
            return f"({', '.join(map(literal, value))})"
        case list():
            return f"ARRAY[{', '.join(map(literal, value))}]" if value else "'{}'"
    raise TypeError(f"a parameter of type {type(value).__name__}")


def text_literal(value: str) -> str:
    """A string, whatever ``standard_conforming_strings`` says."""
    if "\0" in value:
        raise ValueError("a string literal can't hold U+0000")
    quoted = value.replace("'", "''")
    if "\\" in quoted:
        # With a blank: the word before would swallow the E.
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"
