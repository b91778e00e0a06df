"""What the rows that are there hold in a column that DDL adds: the constant default, as the column's canonical value."""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext
from typing import Any

from tidegate.providers.mysql.charsets import UTF8
from tidegate.providers.mysql.columns import from_text
from tidegate.providers.mysql.ddl.coldefs import ColumnDef, Literal
from tidegate.providers.mysql.ddl.lexer import NotUnderstood
from tidegate.providers.mysql.policy import ValueRefused
from tidegate.providers.mysql.types import BINARIES, GEOMETRIES, TEXTS, MySqlColumn

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_ZERO = Literal(Decimal(0), "0")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?)?")
_TIME = re.compile(r"(-?\d{2,3}:\d\d:\d\d)(?:\.(\d{1,6}))?")
_MOMENTS = {"date": "0000-00-00", "datetime": "0000-00-00 00:00:00", "timestamp": "0000-00-00 00:00:00", "time": "00:00:00"}


def initial(definition: ColumnDef, column: MySqlColumn, *, mariadb: bool) -> Any:
    """The scalar (None: NULL) that each row holds in ``column`` once a statement has added it as ``definition``.

    Only what is the same on every server and under every setting is answered; NotUnderstood is raised for anything else, with the
    reason: expressions, numbers handed out, values that the server would round, cut or convert.
    """
    if definition.auto_increment:
        raise NotUnderstood("rows are numbered by AUTO_INCREMENT")
    if definition.why:
        raise NotUnderstood(definition.why)
    kind, default = column.data_type, definition.default
    if kind == "timestamp" and definition.null is None and default is None:
        raise NotUnderstood("whether a TIMESTAMP is NULL or the present time depends on explicit_defaults_for_timestamp: say NULL")
    if kind == "timestamp" and definition.null is not True and default is None:
        raise NotUnderstood("what a TIMESTAMP without default holds depends on explicit_defaults_for_timestamp: say DEFAULT")
    if default is None:
        if definition.null is not False:
            return None
        text = _implicit(column)
    elif default.value is None:
        if definition.null is False:
            raise NotUnderstood("NOT NULL with DEFAULT NULL")
        return None
    else:
        if not mariadb and (kind in ("json", "longtext", "mediumtext", "text", "tinytext") or "blob" in kind or kind in GEOMETRIES):
            raise NotUnderstood(f"MySQL has no constant defaults for {kind.upper()}")
        text = _text(column, default, definition)
    try:
        value = from_text(column, [text])[0]
    except ValueRefused as refused:
        raise NotUnderstood(f"the default of {column.name} is {refused} [{refused.setting}]") from None
    return value if value.is_valid else None


def _implicit(column: MySqlColumn) -> bytes:
    """The server's own default of a column that is NOT NULL and has none (MySQL's manual, "Data Type Default Values")."""
    kind = column.data_type
    if kind in ("json", *GEOMETRIES):
        raise NotUnderstood(f"{kind.upper()} NOT NULL has no default")
    if kind == "enum":
        return column.labels[0].encode()
    if kind == "binary":
        return bytes(column.length)
    if kind in TEXTS or kind in BINARIES or kind == "set":
        return b""
    return _text(column, _ZERO, ColumnDef(column.name))


def _text(column: MySqlColumn, literal: Literal, definition: ColumnDef) -> bytes:
    """The literal as the server sends it once it is stored in the column, in UTF-8."""
    kind, value = column.data_type, literal.value
    if kind in _BITS:
        return _integer(column, literal)
    if kind == "bit":
        number = int.from_bytes(value, "big") if isinstance(value, bytes) else _whole(literal, strings=False)
        if number >> column.length or number < 0:
            raise _unfit(column)
        return str(number).encode()
    if kind in ("decimal", "float", "double"):
        return _fraction(column, literal, definition)
    if kind == "year":
        # As a text, 0 to 99 are years of two digits: '0' is 2000, the number 0 is 0000.
        if isinstance(literal.value, str) and not re.fullmatch(r"\d{4}", literal.value):
            raise _unfit(column)
        number = _whole(literal, strings=True)
        if number and not (1901 <= number <= 2155):
            raise _unfit(column)
        return f"{number:04}".encode()
    if kind in _MOMENTS:
        return _moment(column, literal)
    if kind in BINARIES:
        return _binary(column, literal)
    if kind in ("enum", "set"):
        return _labels(column, literal)
    if kind in TEXTS or kind == "json":
        return _string(column, literal)
    raise _unfit(column)


def _unfit(column: MySqlColumn) -> NotUnderstood:
    return NotUnderstood(f"the server may change the default of {column.name} to fit {column.data_type.upper()}")


def _number(literal: Literal, *, strings: bool) -> Decimal:
    if isinstance(literal.value, Decimal):
        return literal.value
    if strings and isinstance(literal.value, str) and re.fullmatch(r"-?\d+(\.\d+)?", literal.value):
        return Decimal(literal.value)
    raise NotUnderstood("a default that isn't written as a number")


def _whole(literal: Literal, *, strings: bool) -> int:
    number = _number(literal, strings=strings)
    if number.adjusted() > 20 or number != int(number):
        raise NotUnderstood("a default that the server rounds")
    return int(number)


def _integer(column: MySqlColumn, literal: Literal) -> bytes:
    number = int.from_bytes(literal.value, "big") if isinstance(literal.value, bytes) else _whole(literal, strings=True)
    bits = _BITS[column.data_type]
    low, high = (0, (1 << bits) - 1) if column.unsigned else (-1 << bits - 1, (1 << bits - 1) - 1)
    if not low <= number <= high:
        raise _unfit(column)
    return str(number).encode()


def _fraction(column: MySqlColumn, literal: Literal, definition: ColumnDef) -> bytes:
    number = _number(literal, strings=True)
    if column.unsigned and number < 0:
        raise _unfit(column)
    if column.data_type == "decimal" or len(definition.numbers) == 2:
        scale = column.scale if column.data_type == "decimal" else definition.numbers[1]
        precision = column.precision if column.data_type == "decimal" else definition.numbers[0]
        if abs(number.adjusted()) > 70:
            raise _unfit(column)
        with localcontext(prec=200):
            stored = number.quantize(Decimal(1).scaleb(-scale))
            if number != stored or abs(number) >= Decimal(10) ** (precision - scale):
                raise _unfit(column)
            return format(stored, "f").encode()
    if math.isinf(float(number)) or (column.data_type == "float" and abs(number) > Decimal("3.4e38")):
        raise _unfit(column)
    return repr(float(number)).encode()


def _moment(column: MySqlColumn, literal: Literal) -> bytes:
    """A date or time that is written in full; the number 0 is the zero date."""
    kind, value = column.data_type, literal.value
    if isinstance(value, Decimal) and value == 0:
        value = _MOMENTS[kind]
    if not isinstance(value, str):
        raise _unfit(column)
    if kind == "date":
        if not _DATE.fullmatch(value):
            raise _unfit(column)
        return value.encode()
    found = (_TIME if kind == "time" else _DATETIME).fullmatch(value)
    if found is None:
        raise _unfit(column)
    if kind == "time":
        base, fraction = found[1], found[2] or ""
    else:
        base, fraction = f"{found[1]} {found[2] or '00:00:00'}", found[3] or ""
    if kind == "timestamp" and base != _MOMENTS[kind]:
        raise NotUnderstood("the instant that a TIMESTAMP's default means depends on the session's time_zone")
    if fraction.rstrip("0")[column.fsp :]:
        raise _unfit(column)
    return (base + (f".{fraction[: column.fsp]:0<{column.fsp}}" if column.fsp else "")).encode()


def _plain(column: MySqlColumn, literal: Literal) -> str:
    """A text in characters that the column's set is sure to have, and that mean the same whatever the client's set."""
    value = literal.value
    if isinstance(value, Decimal):
        if not re.fullmatch(r"-?(0|[1-9]\d*)", literal.written):
            raise _unfit(column)
        return literal.written
    if isinstance(value, bytes):
        if not value.isascii() or column.charset not in UTF8 | {"ascii", "latin1"}:
            raise NotUnderstood("bytes as the default of a text")
        value = value.decode()
    assert isinstance(value, str)
    if not value.isascii() and (
        column.charset not in UTF8 or "\ufffd" in value or (column.charset != "utf8mb4" and max(value) > "\uffff")
    ):
        raise NotUnderstood("characters that the column's character set may not have")
    return value


def _string(column: MySqlColumn, literal: Literal) -> bytes:
    value = _plain(column, literal)
    if column.data_type == "char":
        value = value.rstrip(" ")
    if column.data_type in ("char", "varchar") and len(value) > column.length:
        raise _unfit(column)
    if column.octets and len(value.encode()) > column.octets:
        raise _unfit(column)
    return value.encode()


def _binary(column: MySqlColumn, literal: Literal) -> bytes:
    value = literal.value
    if isinstance(value, str) and value.isascii():
        value = value.encode()
    if not isinstance(value, bytes) or len(value) > column.octets:
        raise _unfit(column)
    return value.ljust(column.octets, b"\0") if column.data_type == "binary" else value


def _labels(column: MySqlColumn, literal: Literal) -> bytes:
    if not isinstance(literal.value, str):
        raise _unfit(column)
    if column.data_type == "enum":
        if literal.value not in column.labels:
            raise _unfit(column)
        return literal.value.encode()
    chosen = set(literal.value.split(",")) - {""}
    if not chosen <= set(column.labels):
        raise _unfit(column)
    return ",".join(label for label in column.labels if label in chosen).encode()
