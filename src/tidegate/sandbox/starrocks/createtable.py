"""CREATE TABLE and the columns of ALTER TABLE, read and checked as the frontend does, before the engine keeps the table.

Rules and words: fe-core ``analyzer/CreateTableAnalyzer.java``, ``KeysDesc.analyze`` and ``ColumnDefAnalyzer.java``.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tidegate.sandbox.starrocks.coltypes import base, key_refusal, read_type
from tidegate.sandbox.starrocks.model import AGGREGATIONS, ColumnDef, Model, TableDef
from tidegate.sandbox.starrocks.select import parse
from tidegate.sandbox.starrocks.sqlerror import analyzing, syntax
from tidegate.sandbox.starrocks.tokens import Cursor

MODELS: dict[str, Model] = {"PRIMARY": "PRIMARY_KEYS", "DUPLICATE": "DUP_KEYS", "AGGREGATE": "AGG_KEYS", "UNIQUE": "UNIQUE_KEYS"}
PARTITION_BY, ORDER_BY, TABLE_ID = "tidegate.partition_by", "tidegate.order_by", "tidegate.id"
"""Under these names a table's properties keep what TableDef has no field for; they are not shown as properties."""
_INTEGERS = ("tinyint", "smallint", "int", "bigint", "largeint")
_AFTER_EXPRESSION = (",", ")", "COMMENT", "AFTER", "PROPERTIES", ";")


@dataclass(frozen=True, slots=True)
class Written:
    """A column as it was written: ``null`` is None where nothing was said, ``is_key`` by the word KEY."""

    column: ColumnDef
    null: bool | None
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class CreateTable:
    """A CREATE TABLE that was read: the table (its database empty if none was written) and IF NOT EXISTS.

    ``like``: database and table after LIKE, from which all but the name is taken.
    """

    table: TableDef
    if_not_exists: bool
    like: tuple[str, str] | None = None


def split(parts: tuple[str, ...]) -> tuple[str, str]:
    """Database and table of a qualified name; the catalog is dropped, a database that isn't named is empty."""
    return ("", parts[0]) if len(parts) == 1 else (parts[-2], parts[-1])


def read_column(cursor: Cursor, version: Sequence[int]) -> Written:
    """``name type [KEY] [aggregation] [NULL|NOT NULL] [DEFAULT …|AUTO_INCREMENT|AS …] [COMMENT …]``, what follows the type in any
    order. AUTO_INCREMENT came with 3.0, AS with 3.1."""
    name = cursor.name()
    type = read_type(cursor)
    column = ColumnDef(name, type)
    null: bool | None = None
    is_key = null_default = False
    while True:
        if cursor.next.upper in AGGREGATIONS:
            column = dataclasses.replace(column, aggregation=cursor.take().upper)
        elif cursor.accept("KEY"):
            is_key = True
        elif cursor.accept("NOT", "NULL"):
            null = False
        elif cursor.accept("NULL"):
            null = True
        elif cursor.accept("DEFAULT"):
            default = _default(cursor)
            null_default = default is None
            column = dataclasses.replace(column, default=default)
        elif cursor.accept("COMMENT"):
            column = dataclasses.replace(column, comment=cursor.string())
        elif tuple(version) >= (3, 0) and cursor.accept("AUTO_INCREMENT"):
            column = dataclasses.replace(column, auto_increment=True)
        elif tuple(version) >= (3, 1) and cursor.accept("AS"):
            column = dataclasses.replace(column, generated=_written(cursor, _AFTER_EXPRESSION))
        else:
            break
    if null is False and null_default:
        raise analyzing(f"Invalid default value for '{name}'")
    if column.aggregation == "REPLACE_IF_NOT_NULL":
        null = True
    if column.auto_increment:
        if null:
            raise syntax(f"AUTO_INCREMENT column {name} must be NOT NULL")
        null = False
    return Written(dataclasses.replace(column, nullable=null is not False), null, is_key)


def _default(cursor: Cursor) -> str | None:
    token = cursor.next
    if token.kind == "string":
        return cursor.string()
    if cursor.accept("NULL"):
        return None
    if cursor.accept("CURRENT_TIMESTAMP"):
        if cursor.next.upper == "(":
            cursor.parenthesis()
        return "CURRENT_TIMESTAMP"
    if token.upper == "(":
        return cursor.parenthesis()
    sign = "-" if cursor.accept("-") else ""
    return sign + cursor.take().text


def read_create_table(cursor: Cursor, version: Sequence[int]) -> CreateTable:
    """After ``CREATE TABLE``. SqlError for what the server refuses of it by itself, without looking at the cluster."""
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    db, name = split(cursor.qualified())
    if cursor.accept("LIKE"):
        like = split(cursor.qualified())
        cursor.done()
        return CreateTable(TableDef(db, name, "DUP_KEYS", (), ()), if_not_exists, like)
    written = _columns(cursor, version)
    model: Model | None = None
    key: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    distribution: tuple[str, ...] | None = None
    comment, partition, buckets = "OLAP", "", 0
    properties: dict[str, str] = {}
    while cursor.next.kind != "end" and cursor.next.upper != ";":
        if cursor.accept("ENGINE"):
            _engine(cursor)
        elif cursor.next.upper in MODELS and cursor.peek(1).upper == "KEY":
            model = MODELS[cursor.take().upper]
            cursor.expect("KEY")
            key = cursor.names()
        elif cursor.accept("COMMENT"):
            cursor.accept("=")
            comment = cursor.string()
        elif cursor.accept("PARTITION", "BY"):
            partition = _written(cursor, ("DISTRIBUTED", "ORDER", "PROPERTIES", "COMMENT", ";"))
        elif cursor.accept("DISTRIBUTED", "BY"):
            distribution, buckets = _distribution(cursor)
        elif cursor.accept("ORDER", "BY"):
            order = cursor.names()
        elif cursor.accept("PROPERTIES"):
            properties |= cursor.properties()
        else:
            raise cursor.unexpected("<EOF>", ";")
    if model is None:
        model, key = _derived(written)
    columns = _keyed(model, key, written)
    for column in columns:
        check_column(column, model)
    if sum(column.auto_increment for column in columns) > 1:
        raise analyzing("More than one AUTO_INCREMENT column defined in CREATE TABLE Statement")
    for before, column in itertools.pairwise(columns):
        if before.generated is not None and column.generated is None:
            raise analyzing("All generated columns must be defined after ordinary columns")
    check_generated(columns, columns, model)
    if distribution is None:
        if tuple(version) < (3, 1):
            raise analyzing("Create olap table should contain distribution desc")
        distribution = () if model == "DUP_KEYS" else key
    _check_distribution(distribution, columns, model)
    kept = {PARTITION_BY: partition, ORDER_BY: ",".join(order)}
    properties |= {label: value for label, value in kept.items() if value}
    key = tuple(column.name for column in columns[: len(key)])
    return CreateTable(TableDef(db, name, model, columns, key, distribution, buckets or 1, properties, comment), if_not_exists)


def _engine(cursor: Cursor) -> None:
    cursor.accept("=")
    engine = cursor.name()
    if engine.lower() != "olap":
        raise analyzing(f"Unknown storage engine '{engine}'", 1286, "42000")


def _columns(cursor: Cursor, version: Sequence[int]) -> list[Written]:
    cursor.expect("(")
    found: list[Written] = []
    while True:
        if cursor.accept("INDEX"):
            cursor.name()
            cursor.names()
            while cursor.next.upper not in (",", ")"):
                cursor.take()
        else:
            found.append(read_column(cursor, version))
        if not cursor.accept(","):
            break
    cursor.expect(")")
    names = [one.column.name.lower() for one in found]
    twice = next((one.column.name for place, one in enumerate(found) if one.column.name.lower() in names[:place]), None)
    if twice:
        raise analyzing(f"Duplicate column name '{twice}'", 1060, "42S21")
    return found


def _written(cursor: Cursor, until: Sequence[str]) -> str:
    """The text up to one of these words, as it is written."""
    start = stop = cursor.next.start
    while cursor.next.kind != "end" and cursor.next.upper not in until:
        if cursor.next.upper == "(":
            cursor.parenthesis()
            stop = cursor.peek(-1).stop
        else:
            stop = cursor.take().stop
    return cursor.sql[start:stop]


def _distribution(cursor: Cursor) -> tuple[tuple[str, ...], int]:
    columns: tuple[str, ...] = ()
    if not cursor.accept("RANDOM"):
        cursor.expect("HASH")
        columns = cursor.names()
    return columns, cursor.number() if cursor.accept("BUCKETS") else 0


def _derived(written: Sequence[Written]) -> tuple[Model, tuple[str, ...]]:
    """Without a key: AGGREGATE if a column says how it aggregates, else DUPLICATE by the first columns, three at most."""
    if any(one.column.aggregation for one in written):
        return "AGG_KEYS", tuple(one.column.name for one in written if one.column.aggregation is None)
    key: list[str] = []
    for one in written[:3]:
        if key_refusal(one.column.name, one.column.type, primary=False) is not None:
            break
        key.append(one.column.name)
        if base(one.column.type) == "varchar":
            break
    if not key:
        raise analyzing(f"Data type of first column cannot be {written[0].column.type.upper()}")
    return "DUP_KEYS", tuple(key)


def _keyed(model: Model, key: tuple[str, ...], written: Sequence[Written]) -> tuple[ColumnDef, ...]:
    """The columns with their keys marked: a key is the first columns, in their order."""
    if len(key) > len(written):
        raise analyzing("The number of key columns should be less than the number of columns")
    names = [one.column.name.lower() for one in written]
    columns = []
    for place, one in enumerate(written):
        column = one.column
        if place < len(key):
            if names[place] != key[place].lower():
                if key[place].lower() not in names:
                    raise analyzing(f"Key column({key[place]}) doesn't exist")
                raise analyzing("Key columns should be a ordered prefix of the schema")
            column = _key_column(one, model)
        elif model == "AGG_KEYS" and column.aggregation is None:
            raise analyzing(f"AGG_KEYS table should specify aggregate type for non-key column[{column.name}]")
        elif model != "AGG_KEYS" and column.aggregation is not None:
            if column.aggregation in ("HLL_UNION", "BITMAP_UNION"):
                raise analyzing(f"{column.aggregation} must be used in AGG_KEYS")
            raise analyzing(f"{model} table should not specify aggregate type for non-key column[{column.name}]")
        columns.append(column)
    return tuple(columns)


def _key_column(one: Written, model: Model) -> ColumnDef:
    column = dataclasses.replace(one.column, key=True)
    if column.aggregation is not None:
        raise analyzing(f"Key column[{column.name}] should not specify aggregate type")
    if model == "PRIMARY_KEYS":
        if one.null:
            raise analyzing(f"primary key column[{column.name}] cannot be nullable")
        column = dataclasses.replace(column, nullable=False)
    refusal = key_refusal(column.name, column.type, primary=model == "PRIMARY_KEYS")
    if refusal is not None:
        raise refusal
    return column


def check_column(column: ColumnDef, model: Model) -> None:
    """What a column itself must keep to: BITMAP and HLL need their aggregation, a default must be of the type."""
    if column.name.lower() in ("__op", "__row"):
        raise analyzing(f"Incorrect column name '{column.name}'", 1166, "42000")
    kind = base(column.type)
    if kind in ("bitmap", "hll", "percentile") and column.aggregation is None and model in ("AGG_KEYS", "DUP_KEYS"):
        raise analyzing(f"No aggregate function specified for '{column.name}'")
    _check_aggregation(column, kind)
    if column.auto_increment and kind != "bigint":
        raise analyzing("The AUTO_INCREMENT column must be BIGINT")
    if column.default is None:
        return
    if kind in _INTEGERS:
        try:
            int(column.default)
        except ValueError:
            raise analyzing(f"Invalid default value for '{column.name}': Invalid number format: {column.default}") from None
    if kind in ("char", "varchar") and len(column.default) > int("".join(filter(str.isdigit, column.type))):
        raise analyzing(f"Invalid default value for '{column.name}': Default value is too long: {column.default}")


def check_generated(columns: Sequence[ColumnDef], table: Sequence[ColumnDef], model: Model) -> None:
    """What the generated ones of ``columns`` must keep to, in a table of the columns ``table``."""
    by_name = {column.name.lower(): column for column in table}
    for column in columns:
        if column.generated is None:
            continue
        if model == "AGG_KEYS":
            raise analyzing("Generated Column does not support AGG table")
        if column.key:
            raise analyzing("Generated Column can not be KEY")
        expression = parse(f"SELECT {column.generated}")
        if expression.find(exp.AggFunc):
            raise analyzing("Generated Column don't support aggregation function")
        for name in (named.name for named in expression.find_all(exp.Column)):
            there = by_name.get(name.lower())
            if there is None:
                raise analyzing(f"column:{name} does not exist")
            if there.generated is not None:
                raise analyzing("Expression can not refers to other generated columns")
            if there.auto_increment:
                raise analyzing("Expression can not refers to AUTO_INCREMENT columns")


def _check_aggregation(column: ColumnDef, kind: str) -> None:
    takes = {
        "BITMAP_UNION": ("bitmap", *_INTEGERS[:-1], "boolean"),
        "HLL_UNION": ("hll",),
        "SUM": (*_INTEGERS, "float", "double", "decimal"),
    }
    if column.aggregation is not None and kind not in takes.get(column.aggregation, (kind,)):
        raise analyzing(f"Invalid aggregate function '{column.aggregation}' for '{column.name}'")


def _check_distribution(distribution: Sequence[str], columns: Sequence[ColumnDef], model: Model) -> None:
    by_name = {column.name.lower(): column for column in columns}
    for name in distribution:
        column = by_name.get(name.lower())
        if column is None:
            raise analyzing(f"Distribution column({name}) doesn't exist")
        if model != "DUP_KEYS" and not column.key:
            raise analyzing(f"Distribution column[{name}] is not key column")
    if not distribution and model != "DUP_KEYS":
        raise analyzing(f"{model} table must use hash distribution")
