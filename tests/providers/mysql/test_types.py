"""Tables as information_schema describes them, in canonical terms."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from tests.providers.mysql.reading import Database, changes, copy_chunks, rows
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.errors import SchemaError

pytestmark = pytest.mark.mysql

TYPES = {
    "TINYINT(1)": (pa.int8(), {"display_width": "1"}),
    "TINYINT(4) UNSIGNED": (pa.uint8(), {}),
    "SMALLINT": (pa.int16(), {}),
    "MEDIUMINT": (pa.int32(), {}),
    "MEDIUMINT UNSIGNED": (pa.uint32(), {}),
    "BIGINT UNSIGNED ZEROFILL": (pa.uint64(), {}),
    "DECIMAL(38, 10)": (pa.decimal128(38, 10), {}),
    "DECIMAL(39, 0)": (pa.decimal256(39, 0), {}),
    "FLOAT(7, 3) UNSIGNED": (pa.float32(), {}),
    "REAL": (pa.float64(), {}),
    "BIT": (pa.uint64(), {"bits": "1"}),
    "BIT(17)": (pa.uint64(), {"bits": "17"}),
    "DATE": (pa.date32(), {}),
    "DATETIME": (pa.timestamp("us"), {"fsp": "0"}),
    "TIMESTAMP(4) NULL": (pa.timestamp("us", tz="UTC"), {"fsp": "4"}),
    "TIME(3)": (pa.duration("us"), {"fsp": "3"}),
    "YEAR": (pa.int16(), {}),
    "VARCHAR(7) CHARACTER SET latin1": (pa.string(), {"length": "7", "charset": "latin1", "collation": "latin1_swedish_ci"}),
    "TINYTEXT CHARACTER SET latin1 COLLATE latin1_bin": (
        pa.string(),
        {"length": "255", "charset": "latin1", "collation": "latin1_bin"},
    ),
    "ENUM('a', 'it''s', 'ü') CHARACTER SET latin1": (
        pa.string(),
        {"charset": "latin1", "collation": "latin1_swedish_ci", "labels": '["a", "it\'s", "ü"]'},
    ),
    "BINARY(16)": (pa.binary(), {"length": "16"}),
    "MEDIUMBLOB": (pa.binary(), {"length": "16777215"}),
    "POINT": (pa.binary(), {"geometry": "point"}),
}


def test_every_type_has_its_canonical_one_and_says_what_else_is_known(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, " + ", ".join(f"c{i} {ddl}" for i, ddl in enumerate(TYPES)) + ")")
    schema = db.source().schema(db.table("t"))
    assert schema.key == ("k",)
    assert not schema.column("k").nullable
    for (ddl, (kind, attributes)), column in zip(TYPES.items(), schema.columns[1:], strict=True):
        told = {name: value for name, value in column.attributes.items() if name != "mysql_type"}
        assert (column.type, told, column.nullable) == (kind, attributes, True), ddl
        assert column.attributes["mysql_type"] == {"real": "double"}.get(word := re.split(r"\W", ddl.lower())[0], word)


def test_json_is_told_from_long_text_on_mariadb_in_copy_and_changes(maria: Database) -> None:
    table = maria.table("t")
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, `a``b` JSON, c LONGTEXT)")
    source = maria.source()
    begin = source.head()
    maria.execute("""INSERT INTO t VALUES (1, '{"b":  1.0, "a": 12345678901234567890123}', 'x')""")
    schema = source.schema(table)
    assert [dict(column.attributes).get("json") for column in schema.columns] == [None, "true", None]
    (batch,) = changes(source, {table: begin})[0].batches
    assert batch.schema == schema
    assert batch.rows.to_pylist()[0]["a`b"] == '{"b":  1.0, "a": 12345678901234567890123}', "the text, not a value like it"


def test_geometries_are_ewkb_with_their_srid(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, g GEOMETRY)")
    source = db.source()
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1, ST_GeomFromText('POINT(1 2)')), (2, ST_GeomFromText('POINT(1 2)', 4326)), (3, NULL)")
    point = bytes.fromhex("000000000000f03f0000000000000040")
    expected = [b"\x01\x01\x00\x00\x00" + point, b"\x01\x01\x00\x00\x20\xe6\x10\x00\x00" + point, None]
    assert rows(copy_chunks(source, table)).column("g").to_pylist() == expected
    assert rows(changes(source, {table: begin})).column("g").to_pylist() == expected


def test_a_table_that_is_not_there_is_named(db: Database) -> None:
    with pytest.raises(SchemaError, match="does not exist") as caught:
        db.source().schema(db.table("no_such"))
    assert caught.value.table == str(db.table("no_such"))


def test_the_estimate_is_of_the_rows_that_are_still_to_be_copied(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES " + ", ".join(f"({k})" for k in range(1000)))
    db.execute("ANALYZE TABLE t")
    source = db.source()
    low = BinlogPosition("binlog.000001", 4, "s")
    whole = source.estimate(table, None)
    assert whole is not None
    assert 500 < whole < 2000
    assert source.estimate(table, SnapshotPosition(low, ("399",), 400)) == whole - 400
    assert source.estimate(table, low) is None
