"""Canal's flat messages: many rows in one, values as texts, statements among them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.providers.cdcfiles.reading import append, apply, events, open_source, read, rows, tables, write
from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused
from tidegate.sync.protocols import Limits

T = "shop.t"
TYPES = {"id": "int(11)", "x": "varchar(10)"}


def message(kind: str, data: Any, old: Any = None, *, number: int = 1, types: Any = TYPES, **more: Any) -> dict[str, Any]:
    return {
        "data": data, "database": "shop", "es": 1_700_000_000_000 + number, "id": number, "isDdl": False, "mysqlType": types,
        "old": old, "pkNames": ["id"], "sql": "", "table": "t", "ts": 1_700_000_000_000 + number, "type": kind, **more,
    }  # fmt: skip


def statement(sql: str, kind: str = "ALTER", number: int = 1, **more: Any) -> dict[str, Any]:
    return message(kind, None, number=number, types=None, isDdl=True, sql=sql, pkNames=None, **more)


def follow(path: Path, **fields: Any) -> list[tuple[str, Any]]:
    chunks, _ = read(open_source(path, **fields), [T])
    return rows(chunks)


@pytest.mark.parametrize(
    ("kind", "text", "fields", "expected"),
    [
        ("bigint(20) unsigned", "18446744073709551615", {}, 2**64 - 1),
        ("tinyint(1)", "-128", {}, -128),
        ("INTEGER", "7", {}, 7),
        ("decimal(65,30)", "1." + "1" * 30, {}, Decimal("1." + "1" * 30)),
        ("float", "3.14", {}, pytest.approx(3.14)),
        ("double", "1e300", {}, 1e300),
        ("enum('a','b','it''s')", "3", {}, "it's"),
        ("enum('a','b')", "0", {}, ""),
        ("enum('2','1')", "1", {}, "2"),
        ("set('a','b','c')", "5", {}, "a,c"),
        ("set('a','b','c')", "0", {}, ""),
        ("varbinary(4)", "\x00ÿé", {}, b"\x00\xff\xe9"),
        ("binary(3)", "\x01", {}, b"\x01\x00\x00"),
        ("blob", "", {}, b""),
        ("bit(12)", "2049", {}, 0x801),
        ("date", "2016-01-16", {}, date(2016, 1, 16)),
        ("date", "0000-00-00", {}, None),
        ("datetime(6)", "2023-03-23 15:00:10.123456", {}, datetime(2023, 3, 23, 15, 0, 10, 123456)),
        ("datetime", "2024-00-15 00:00:00", {}, None),
        (
            "timestamp(6)",
            "2023-03-23 15:00:10.123456",
            {"time_zone": "Asia/Shanghai"},
            datetime(2023, 3, 23, 7, 0, 10, 123456, UTC),
        ),
        ("timestamp", "0000-00-00 00:00:00", {"time_zone": "UTC"}, None),
        ("time(3)", "-838:59:59.500", {}, -timedelta(hours=838, minutes=59, seconds=59.5)),
        ("year(4)", "2023", {}, 2023),
        ("json", '{"a":1}', {}, '{"a":1}'),
        ("text", "null\u0000é😀", {}, "null\u0000é😀"),
        ("point", "\x00" * 4 + "\x01\x01\x00\x00\x00" + "\x00" * 16, {}, b"\x01\x01\x00\x00\x00" + bytes(16)),
    ],
)
def test_each_type_by_its_mysql_type(tmp_path: Path, kind: str, text: str, fields: Any, expected: Any) -> None:
    types = {"id": "int(11)", "x": kind}
    path = write(tmp_path / "a.json", message("INSERT", [{"id": "1", "x": text}, {"id": "2", "x": None}], types=types))
    assert follow(path, **fields) == [("+I", {"id": 1, "x": expected}), ("+I", {"id": 2, "x": None})]


@pytest.mark.parametrize(
    ("kind", "text", "setting"),
    [
        ("timestamp", "2023-03-23 15:00:10", "time_zone"),
        ("int(11)", "x", "ddl"),
        ("enum('a')", "2", "ddl"),
        ("date", "soon", "ddl"),
    ],
)
def test_a_value_that_cannot_be_told_is_refused_with_its_line(tmp_path: Path, kind: str, text: str, setting: str) -> None:
    types = {"id": "int(11)", "x": kind}
    path = write(tmp_path / "a.json", b"\n", message("INSERT", [{"id": "1", "x": None}, {"id": "2", "x": text}], types=types))
    with pytest.raises(EventRefused, match=r"a\.json:2: column x") as caught:
        follow(path)
    assert caught.value.setting == setting


def test_an_update_s_rows_before_it_are_those_after_it_with_what_old_has(tmp_path: Path) -> None:
    data = [{"id": "1", "x": "new"}, {"id": "20", "x": None}]
    path = write(tmp_path / "a.json", message("UPDATE", data, [{"x": None}, {"id": "2"}]))
    assert follow(path) == [
        ("-U", {"id": 1, "x": None}),
        ("+U", {"id": 1, "x": "new"}),
        ("-U", {"id": 2, "x": None}),
        ("+U", {"id": 20, "x": None}),
    ]


def test_a_change_of_the_key_removes_the_row_under_the_old_one(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("INSERT", [{"id": "1", "x": "a"}]),
        message("UPDATE", [{"id": "2", "x": "a"}], [{"id": "1"}], number=2),
    )
    assert tables(open_source(path), T)[T] == [{"id": 2, "x": "a"}]


def test_a_column_that_a_row_leaves_out_is_absent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", message("INSERT", [{"id": "1"}, {"id": "2", "x": None}]))
    assert follow(path) == [("+I", {"id": 1}), ("+I", {"id": 2, "x": None})]


def test_statements_are_events(tmp_path: Path) -> None:
    types = TYPES | {"n": "int(11)"}
    path = write(
        tmp_path / "a.json",
        statement("CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(10))", "CREATE"),
        message("INSERT", [{"id": "1", "x": "a"}], number=2),
        statement("ALTER TABLE `shop`.`t` ADD COLUMN n INT NOT NULL DEFAULT '5' AFTER x, ADD INDEX i (n)", number=3),
        message("INSERT", [{"id": "2", "x": "b", "n": "6"}], number=4, types=types),
        statement("TRUNCATE TABLE t", "TRUNCATE", number=5),
        message("INSERT", [{"id": "3", "x": "c", "n": "7"}], number=6, types=types),
        statement("CREATE INDEX j ON t (x)", "CINDEX", number=7),
        statement("ALTER TABLE other DROP PRIMARY KEY", number=8),
    )
    chunks, positions = read(open_source(path), [T])
    assert [(event.kind, event.position) for event in events(chunks)] == [("column_added", "a.json:3"), ("truncated", "a.json:5")]
    (model,) = apply({}, chunks).values()
    assert list(model.rows.values()) == [{"id": 3, "x": "c", "n": 7}]
    append(path, message("INSERT", [{"id": "4", "x": "c", "n": "7"}], number=9, types=types))
    chunks, _ = read(open_source(path), positions)
    assert rows(chunks) == [("+I", {"id": 4, "x": "c", "n": 7})]
    assert events(chunks) == []


def test_an_added_column_s_constant_reaches_the_rows_that_are_there(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("INSERT", [{"id": "1", "x": "a"}]),
        statement("ALTER TABLE t ADD n DECIMAL(5,2) DEFAULT 1.5", number=3),
    )
    chunks, _ = read(open_source(path), [T])
    (model,) = apply({}, chunks).values()
    assert list(model.rows.values()) == [{"id": 1, "x": "a", "n": Decimal("1.50")}]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("ALTER TABLE t MODIFY x INT", "ALTER"),
        ("ALTER TABLE t ADD n INT NOT NULL", "ALTER"),
        ("ALTER TABLE t ADD n TIMESTAMP DEFAULT CURRENT_TIMESTAMP", "ALTER"),
        ("ALTER TABLE t ADD n INT AS (id + 1)", "ALTER"),
        ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (x)", "ALTER"),
        ("ALTER TABLE t DROP PARTITION p0", "ALTER"),
        ("RENAME TABLE t TO u", "RENAME"),
        ("RENAME TABLE t_new TO t", "RENAME"),
        ("DROP TABLE IF EXISTS a, t", "ERASE"),
        ("ALTER TABLE t RENAME TO u", "ALTER"),
        ("ALTER TABLE _t_new RENAME TO t", "ALTER"),
        ("ALTER TABLE shop._t_new RENAME t", "ALTER"),
        ("DROP DATABASE IF EXISTS shop", "QUERY"),
        ("/*!50000 DROP TABLE t */", "ERASE"),
        ("ALTER TABLE t ADD n VARCHAR(9) DEFAULT x'4142'", "ALTER"),
        ("ALTER TABLE t ADD n BIT(8) DEFAULT 'a'", "ALTER"),
        ("ALTER TABLE t ADD n INT DEFAULT 'many'", "ALTER"),
        ("", "ERASE"),
        ("ALTER TABLE t ADD COLUMN 'unclosed", "ALTER"),
    ],
)
def test_a_statement_whose_outcome_no_record_tells_breaks_the_table_and_begins_a_chunk(tmp_path: Path, sql: str, kind: str) -> None:
    path = write(tmp_path / "a.json", message("INSERT", [{"id": "1", "x": "a"}]), statement(sql, kind, 2))
    chunks, _ = read(open_source(path), [T])
    assert [len(chunk.parts) for chunk in chunks[:2]] == [1, 1]
    assert [event.kind for event in events(chunks)][:1] == ["broken"]


@pytest.mark.parametrize(
    ("line", "message_"),
    [
        (message("MERGE", []), "unknown type 'MERGE'"),
        (message("INSERT", None), "INSERT without rows"),
        (message("INSERT", [None]), "a row that isn't an object"),
        (message("INSERT", [{"id": "1"}]) | {"es": "1000"}, "a time that isn't in milliseconds"),
        (message("INSERT", [{"id": "1"}]) | {"es": 10**17}, "a time that isn't in milliseconds"),
        (message("INSERT", [{"id": "1"}], types={"id": ""}), "not of the shape"),
        (message("INSERT", [{"id": "1"}], types={"id": "decimal(99,2)"}), "no canonical type"),
        (message("UPDATE", [{"id": "1"}], []), "don't pair"),
        (message("INSERT", [{"id": "1"}], types=None), r"no mysqlType.*\[ddl\]"),
        (message("INSERT", [{"id": "1"}], types={"id": "wormhole"}), "no canonical type"),
    ],
)
def test_what_is_no_change_of_canal_s_is_refused(tmp_path: Path, line: Any, message_: str) -> None:
    path = write(tmp_path / "a.json", message("INSERT", [{"id": "1", "x": "a"}]), line)
    with pytest.raises(EventRefused, match=message_) as caught:
        follow(path)
    assert "a.json:2" in str(caught.value)


def test_flink_cdc_s_native_values(tmp_path: Path) -> None:
    ddl = "CREATE TABLE t (id INT PRIMARY KEY, d DATE, raw VARBINARY(3), e ENUM('a','b'), b BOOLEAN, at DATETIME(3))"
    row = {"id": 1, "d": "2020-07-30", "raw": "AP8=", "e": "b", "b": True, "at": "2020-07-30 18:00:00.123"}
    line = {"old": None, "data": [row], "type": "INSERT", "database": "shop", "table": "t", "pkNames": ["id"]}
    assert follow(write(tmp_path / "a.json", line), ddl=ddl) == [
        (
            "+I",
            {"id": 1, "d": date(2020, 7, 30), "raw": b"\x00\xff", "e": "b", "b": 1, "at": datetime(2020, 7, 30, 18, 0, 0, 123000)},
        )
    ]


def test_equal_messages_of_one_batch_are_changes_and_those_of_a_repeated_file_are_not(tmp_path: Path) -> None:
    batch = [
        message("INSERT", [{"id": "1", "x": "a"}]),
        message("DELETE", [{"id": "1", "x": "a"}]),
        message("INSERT", [{"id": "1", "x": "a"}]),
    ]
    write(tmp_path / "1.json", *batch)
    chunks, positions = read(open_source(tmp_path), [T])
    assert [kind for kind, _ in rows(chunks)] == ["+I", "-D", "+I"]
    write(tmp_path / "2.json", *batch, message("DELETE", [{"id": "1", "x": "a"}], number=2))
    chunks, _ = read(open_source(tmp_path), positions)
    assert [kind for kind, _ in rows(chunks)] == ["-D"]


def test_a_message_like_the_batch_s_first_that_comes_in_the_next_run_is_no_repeat(tmp_path: Path) -> None:
    first = message("INSERT", [{"id": "1", "x": "a"}])
    path = write(tmp_path / "a.json", first, message("DELETE", [{"id": "1", "x": "a"}]))
    _, positions = read(open_source(path), [T])
    append(path, first)
    chunks, _ = read(open_source(path), positions)
    assert [kind for kind, _ in rows(chunks)] == ["+I"]


def test_a_message_is_not_cut(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json", *[message("INSERT", [{"id": str(n * 10 + m), "x": ""} for m in range(3)], number=n) for n in range(3)]
    )
    chunks, _ = read(open_source(path), [T], Limits(rows=2))
    assert [(chunk.num_rows, chunk.end is None) for chunk in chunks] == [(3, False)] * 3


def test_statements_that_come_again_are_repeats(tmp_path: Path) -> None:
    types = TYPES | {"n": "int(11)", "m": "int(11)"}
    lines = [
        statement("TRUNCATE TABLE t", "TRUNCATE", number=2),
        statement("ALTER TABLE t ADD n INT DEFAULT 4, ADD m INT DEFAULT 5", number=3),
        message("INSERT", [{"id": "4", "x": "four", "n": "1", "m": "1"}], number=4, types=types),
    ]
    write(tmp_path / "1.json", message("INSERT", [{"id": "1", "x": "a"}]), *lines)
    chunks, positions = read(open_source(tmp_path), [T])
    assert [event.kind for event in events(chunks)] == ["truncated", "column_added", "column_added"]
    write(tmp_path / "2.json", *lines, message("INSERT", [{"id": "5", "x": "", "n": "1", "m": "1"}], number=5, types=types))
    chunks, _ = read(open_source(tmp_path), positions)
    assert events(chunks) == []
    assert [row["id"] for _, row in rows(chunks)] == [5]


def test_a_column_that_the_last_statement_adds_is_planned_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", message("INSERT", [{"id": "1", "x": "a"}]))
    _, positions = read(open_source(path), [T])
    append(path, statement("ALTER TABLE t ADD n INT DEFAULT 4", number=2))
    for stored in (None, positions[T]):
        source = open_source(path)
        assert source.preflight({TableName.parse(T): stored}).problems == ()
        assert source.schema(TableName.parse(T)).names == ("id", "x", "n")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("BIT(8) DEFAULT b'101'", 5),
        ("INT DEFAULT 0x10", 16),
        ("VARBINARY(8) DEFAULT 'abc'", b"abc"),
        ("BINARY(4) DEFAULT 'ab'", b"ab\0\0"),
        ("VARCHAR(40) DEFAULT 'it''s /*!x*/'", "it's /*!x*/"),
        ("INT /*!50000 NOT NULL */ DEFAULT 7 /* DEFAULT 8 */", 7),
    ],
)
def test_an_added_column_s_default_is_what_mysql_makes_of_it(tmp_path: Path, declared: str, expected: Any) -> None:
    path = write(
        tmp_path / "a.json", message("INSERT", [{"id": "1", "x": "a"}]), statement(f"ALTER TABLE t ADD n {declared}", number=2)
    )
    (event,) = events(read(open_source(path), [T])[0])
    assert event.value is not None
    assert event.value.as_py() == expected


def test_a_column_that_is_added_if_it_is_missing_and_is_not_is_nothing(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("INSERT", [{"id": "1", "x": "a"}]),
        statement("ALTER TABLE t ADD COLUMN IF NOT EXISTS x VARCHAR(10) DEFAULT 'z'", number=2),
        statement("ALTER TABLE t ADD COLUMN IF NOT EXISTS x VARCHAR(10) NOT NULL", number=3),
        statement("DROP DATABASE other", "QUERY", number=4),
    )
    assert events(read(open_source(path), [T])[0]) == []
