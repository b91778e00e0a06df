"""Canonical types to StarRocks' and back; the vendor's type map, row by row."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest

from tidegate.changes.schema import Column
from tidegate.errors import SchemaError
from tidegate.providers.starrocks.catalog import CatalogColumn
from tidegate.providers.starrocks.types import VARCHAR_MAX, canonical, ddl_type, expression, misfit

INT, TEXT, JSON = pa.int32(), Column("c", pa.string()), Column("c", pa.string(), attributes={"json": "1"})


def column(kind: pa.DataType, **attributes: object) -> Column:
    return Column("c", kind, attributes={name: str(value) for name, value in attributes.items()})


def there(kind: str, *, nullable: bool = True, generated: bool = False) -> CatalogColumn:
    return CatalogColumn("c", kind, nullable, generated=generated)


VENDORS_MAP = [
    ("BOOLEAN", column(pa.bool_()), "boolean", "BOOLEAN"),
    ("TINYINT", column(pa.int8()), "tinyint", "TINYINT"),
    ("SMALLINT", column(pa.int16()), "smallint", "SMALLINT"),
    ("INTEGER", column(pa.int32()), "int", "INT"),
    ("BIGINT", column(pa.int64()), "bigint", "BIGINT"),
    ("FLOAT", column(pa.float32()), "float", "FLOAT"),
    ("DOUBLE", column(pa.float64()), "double", "DOUBLE"),
    ("DECIMAL", column(pa.decimal128(10, 2)), "decimal(10,2)", "DECIMAL(10,2)"),
    # The vendor maps BINARY to INT, of which there is no telling what it would do. Here bytes stay bytes.
    ("BINARY", column(pa.binary(), length=16), "varbinary(16)", "VARBINARY(16)"),
    ("CHAR", column(pa.string(), length=10), "varchar(40)", "VARCHAR(40)"),
    ("VARCHAR", column(pa.string(), length=300), "string", "VARCHAR(1200)"),
    ("STRING", column(pa.string()), "varchar(65533)", "VARCHAR(1048576)"),
    ("DATE", column(pa.date32()), "date", "DATE"),
    ("TIMESTAMP_WITHOUT_TIME_ZONE", column(pa.timestamp("us")), "datetime", "DATETIME"),
    ("TIMESTAMP_WITH_LOCAL_TIME_ZONE", column(pa.timestamp("us", tz="UTC")), "datetime", "DATETIME"),
    # MySQL has none of these: what it has is JSON.
    ("ARRAY<T>", JSON, "array<int(11)>", "JSON"),
    ("MAP<KT,VT>", JSON, "map<varchar(10),int(11)>", "JSON"),
    ("ROW<arg T...>", JSON, "json", "JSON"),
]


@pytest.mark.parametrize(("flink", "source", "target", "declared"), VENDORS_MAP, ids=[row[0] for row in VENDORS_MAP])
def test_the_vendors_type_map(flink: str, source: Column, target: str, declared: str) -> None:
    assert misfit(source, there(target)) is None
    assert ddl_type(source) == declared
    assert misfit(source, there(declared.lower())) is None


def test_the_vendors_map_has_eighteen_rows_and_json_text_goes_into_strings_too() -> None:
    assert len(VENDORS_MAP) == 18
    assert misfit(JSON, there("varchar(65533)")) is None
    assert misfit(column(pa.binary()), there("int")) is not None


@pytest.mark.parametrize(
    ("source", "version", "key", "declared"),
    [
        (column(pa.uint8()), (3, 3), False, "SMALLINT"),
        (column(pa.uint16()), (3, 3), False, "INT"),
        (column(pa.uint32()), (3, 3), False, "BIGINT"),
        (column(pa.uint64()), (3, 3), False, "LARGEINT"),
        (column(pa.uint64()), (3, 3), True, "LARGEINT"),
        (column(pa.uint64(), bits=1), (3, 3), False, "BIGINT"),
        (column(pa.uint64(), bits=64), (3, 3), False, "LARGEINT"),
        (column(pa.string(), length=300_000), (3, 3), False, "VARCHAR(1048576)"),
        (column(pa.duration("us")), (3, 3), False, "VARCHAR(32)"),
        (column(pa.decimal128(38, 38)), (3, 3), False, "DECIMAL(38,38)"),
        (column(pa.decimal256(65, 30)), (3, 3), False, "VARCHAR(67)"),
        (column(pa.decimal256(65, 30)), (4, 0), False, "DECIMAL(65,30)"),
        (column(pa.decimal128(10, -2)), (3, 3), False, "DECIMAL(12,0)"),
        (column(pa.decimal128(18, 0)), (3, 3), True, "BIGINT"),
        (column(pa.decimal128(38, 0)), (3, 3), True, "LARGEINT"),
        (column(pa.decimal128(10, 2)), (3, 3), True, "VARCHAR(12)"),
        (JSON, (2, 1), False, "VARCHAR(1048576)"),
        (JSON, (2, 5), False, "JSON"),
        (column(pa.binary()), (3, 3), False, "VARBINARY(1048576)"),
        (column(pa.binary(), length=16), (2, 5), False, "VARCHAR(32)"),
        (column(pa.binary(), length=16), (3, 3), True, "VARCHAR(32)"),
        (column(pa.string(), length=20), (3, 3), True, "VARCHAR(80)"),
    ],
)
def test_a_new_column_is_declared_as(source: Column, version: tuple[int, ...], key: bool, declared: str) -> None:
    assert ddl_type(source, key=key, version=version) == declared
    assert misfit(source, there(declared.lower())) is None


@pytest.mark.parametrize("source", [column(pa.float32()), column(pa.float64()), JSON])
def test_what_cant_be_a_key(source: Column) -> None:
    with pytest.raises(SchemaError, match="in a primary key"):
        ddl_type(source, key=True)


@pytest.mark.parametrize(
    ("type_name", "kind", "attributes"),
    [
        ("boolean", pa.bool_(), {}),
        ("tinyint(4)", pa.int8(), {}),
        ("bigint(20)", pa.int64(), {}),
        ("largeint(40)", pa.decimal256(39, 0), {}),
        ("decimal(10, 2)", pa.decimal128(10, 2), {}),
        ("decimal128(38, 9)", pa.decimal128(38, 9), {}),
        ("varchar(40)", pa.string(), {"length": "40"}),
        ("string", pa.string(), {"length": "65533"}),
        ("varbinary", pa.binary(), {"length": str(VARCHAR_MAX)}),
        ("json", pa.string(), {"json": "1"}),
        ("datetime", pa.timestamp("us"), {"fsp": "6"}),
    ],
)
def test_a_column_there_has_a_canonical_type(type_name: str, kind: pa.DataType, attributes: dict[str, str]) -> None:
    found = canonical(there(type_name, nullable=False))
    assert (found.type, dict(found.attributes), found.nullable) == (kind, attributes, False)
    assert misfit(found, there(type_name)) is None


@pytest.mark.parametrize("type_name", ["bitmap", "hll", "percentile", "array<int>", "map<int,int>", "struct<a int>"])
def test_a_column_there_without_a_canonical_type(type_name: str) -> None:
    with pytest.raises(SchemaError, match="no canonical type"):
        canonical(there(type_name))


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (column(pa.int64()), "int(11)", False),
        (column(pa.uint64()), "bigint", False),
        (column(pa.uint32()), "bigint", True),
        (column(pa.int8(), display_width=1), "boolean", True),
        (column(pa.int8()), "boolean", False),
        (column(pa.int32()), "double", True),
        (column(pa.int64()), "double", False),
        (column(pa.int64()), "decimal(19,0)", True),
        (column(pa.int64()), "decimal(20,2)", False),
        (column(pa.decimal128(12, 2)), "decimal(12,4)", False),
        (column(pa.decimal128(12, 2)), "decimal(14,4)", True),
        (column(pa.decimal128(18, 0)), "bigint", True),
        (column(pa.decimal128(12, 2)), "double", False),
        (column(pa.float64()), "float", False),
        (column(pa.float32()), "double", True),
        (column(pa.date32()), "datetime", True),
        (column(pa.timestamp("us")), "date", False),
        (column(pa.duration("us")), "bigint", False),
        (column(pa.duration("us")), "varchar(20)", True),
        (column(pa.string(), length=11), "varchar(10)", False),
        # It may be ASCII: a value that has more bytes is refused before the load.
        (column(pa.string(), length=10), "varchar(10)", True),
        (column(pa.string()), "varchar(10)", True),
        (column(pa.string()), "int", False),
        (column(pa.string()), "varbinary", False),
        (column(pa.binary()), "varchar(100)", True),
        (column(pa.bool_()), "tinyint(1)", True),
    ],
)
def test_whether_a_column_fits(source: Column, target: str, fits: bool) -> None:
    found = misfit(source, there(target))
    assert (found is None) == fits
    if found:
        assert target in found


def test_narrower_integers_fit_into_wider_ones_only() -> None:
    names = ["tinyint", "smallint", "int", "bigint"]
    kinds = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
    for (at, kind), (wide, name) in itertools.product(enumerate(kinds), enumerate(names)):
        assert (misfit(column(kind), there(name)) is None) == (at <= wide)


def test_bitmaps_and_sketches_take_expressions_only() -> None:
    assert "c=to_bitmap(" in str(misfit(column(pa.int64()), there("bitmap")))
    assert "c=hll_hash(" in str(misfit(column(pa.int64()), there("hll")))


def test_a_generated_column_takes_no_values() -> None:
    assert "computed" in str(misfit(column(INT), there("int", generated=True)))


def test_only_binary_needs_an_expression() -> None:
    assert expression(there("varbinary(16)"), "b") == "to_binary(`b`, 'hex')"
    assert expression(there("varchar(16)"), "b") is None
