"""Maxwell's records: native values, transactions, bootstraps, statements."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.providers.cdcfiles.reading import append, apply, events, open_source, read, rows, write
from tidegate.changes.position import LinesPosition
from tidegate.errors import EventRefused
from tidegate.sync.protocols import Limits

T = "shop.t"
DDL = "CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(10))"


def message(
    kind: str, data: Any = None, old: Any = None, *, xid: int | None = 1, commit: bool = True, **more: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {"database": "shop", "table": "t", "type": kind, "ts": 1_700_000_000 + (xid or 0)}
    if xid is not None:
        found |= {"xid": xid, **({"commit": True} if commit else {"xoffset": more.pop("xoffset", 0)})}
    found |= {"data": data} if data is not None else {}
    found |= {"old": old} if old is not None else {}
    return found | more


def follow(path: Path, **fields: Any) -> list[tuple[str, Any]]:
    chunks, _ = read(open_source(path, **({"ddl": DDL} | fields)), [T])
    return rows(chunks)


@pytest.mark.parametrize(
    ("declared", "value", "fields", "expected"),
    [
        ("BIGINT UNSIGNED", 2**64 - 1, {}, 2**64 - 1),
        ("DECIMAL(20,4)", 1234567890123456.5, {}, Decimal("1234567890123456.5")),
        ("FLOAT", 3.14, {}, pytest.approx(3.14)),
        ("VARBINARY(4)", "AAECAw==", {}, b"\x00\x01\x02\x03"),
        ("BINARY(4)", "AAE=", {}, b"\x00\x01\x00\x00"),
        ("BIT(12)", 2049, {}, 2049),
        ("SET('foo','bar','baz')", ["bar", "baz"], {}, "bar,baz"),
        ("SET('foo')", [], {}, ""),
        ("ENUM('a','b')", "b", {}, "b"),
        ("JSON", {"a": [1, 2.50, None, True, "é"], "b": {}}, {}, '{"a": [1, 2.5, null, true, "é"], "b": {}}'),
        ("JSON", "text", {}, '"text"'),
        ("DATETIME(6)", "2012-01-01 22:32:34.222222", {}, datetime(2012, 1, 1, 22, 32, 34, 222222)),
        ("DATETIME", "0000-00-00 00:00:00", {}, None),
        ("DATE", "2012-01-01", {}, date(2012, 1, 1)),
        ("TIME", "-01:02:03", {}, -timedelta(hours=1, minutes=2, seconds=3)),
        ("TIMESTAMP", "2012-01-01 22:32:34", {"time_zone": "UTC"}, datetime(2012, 1, 1, 22, 32, 34, tzinfo=UTC)),
        ("YEAR", 2012, {}, 2012),
    ],
)
def test_each_type_by_its_declaration(tmp_path: Path, declared: str, value: Any, fields: Any, expected: Any) -> None:
    ddl = f"CREATE TABLE t (id INT PRIMARY KEY, x {declared})"
    path = write(tmp_path / "a.json", message("insert", {"id": 1, "x": value}), message("insert", {"id": 2, "x": None}, xid=2))
    assert follow(path, ddl=ddl, **fields) == [("+I", {"id": 1, "x": expected}), ("+I", {"id": 2, "x": None})]


def test_numbers_in_documents_survive_digit_by_digit(tmp_path: Path) -> None:
    number = b"12345678901234567890.12345678901234567890"
    line = b'{"database":"shop","table":"t","type":"insert","ts":1,"data":{"id":1,"x":{"n":' + number + b"}}}\n"
    found = follow(write(tmp_path / "a.json", line), ddl="CREATE TABLE t (id INT PRIMARY KEY, x JSON)")
    assert found == [("+I", {"id": 1, "x": '{"n": 12345678901234567890.12345678901234567890}'})]


@pytest.mark.parametrize(
    ("declared", "value", "setting"),
    [("TIMESTAMP", "2012-01-01 22:32:34", "time_zone"), ("POINT", "POINT(1 2)", "ddl"), ("INT", "x", "ddl"), ("INT", 1.5, "ddl")],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, declared: str, value: Any, setting: str) -> None:
    path = write(tmp_path / "a.json", message("insert", {"id": 1, "x": value}))
    with pytest.raises(EventRefused, match=r"a\.json:1: column x") as caught:
        follow(path, ddl=f"CREATE TABLE t (id INT PRIMARY KEY, x {declared})")
    assert caught.value.setting == setting


def test_without_a_declaration_nothing_is_inferred(tmp_path: Path) -> None:
    with pytest.raises(EventRefused, match=r"\[ddl\]"):
        follow(write(tmp_path / "a.json", message("insert", {"id": 1})), ddl=None)


def test_changes_bootstraps_and_changes_of_the_key(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("bootstrap-start", {}, xid=None),
        message("bootstrap-insert", {"id": 1, "x": "a"}, xid=None),
        message("bootstrap-complete", {}, xid=None),
        message("update", {"id": 2, "x": "a"}, {"id": 1}, xid=5),
        message("update", {"id": 2, "x": None}, {"x": "a"}, xid=6),
        message("delete", {"id": 2, "x": None}, xid=7),
    )
    assert follow(path) == [
        ("+I", {"id": 1, "x": "a"}),
        ("-U", {"id": 1, "x": "a"}),
        ("+U", {"id": 2, "x": "a"}),
        ("-U", {"id": 2, "x": "a"}),
        ("+U", {"id": 2, "x": None}),
        ("-D", {"id": 2, "x": None}),
    ]


def test_a_transaction_without_its_end_waits_for_it(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("insert", {"id": 1, "x": "a"}),
        message("insert", {"id": 2, "x": "b"}, xid=2, commit=False),
        message("insert", {"id": 3, "x": "c"}, xid=2, commit=False, xoffset=1),
    )
    chunks, positions = read(open_source(path, ddl=DDL), [T])
    assert [row["id"] for _, row in rows(chunks)] == [1]
    append(path, message("insert", {"id": 4, "x": "d"}, xid=2))
    chunks, _ = read(open_source(path, ddl=DDL), positions)
    assert [row["id"] for _, row in rows(chunks)] == [2, 3, 4]


def test_a_transaction_goes_on_in_the_next_file(tmp_path: Path) -> None:
    write(tmp_path / "1.json", message("insert", {"id": 1, "x": ""}), message("insert", {"id": 2, "x": ""}, xid=2, commit=False))
    write(tmp_path / "2.json", message("insert", {"id": 3, "x": ""}, xid=2, commit=False, xoffset=1))
    chunks, positions = read(open_source(tmp_path, ddl=DDL), [T])
    assert [row["id"] for _, row in rows(chunks)] == [1]
    append(tmp_path / "2.json", message("insert", {"id": 4, "x": ""}, xid=2))
    chunks, _ = read(open_source(tmp_path, ddl=DDL), positions, Limits(rows=1))
    assert [row["id"] for _, row in rows(chunks)] == [2, 3, 4]
    assert [chunk.end is None for chunk in chunks] == [True, True, False]


def test_a_commit_on_a_row_of_another_table_ends_the_transaction(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("insert", {"id": 1, "x": ""}, commit=False),
        message("insert", {"id": 1}, table="other"),
        message("insert", {"id": 2, "x": ""}, xid=2),
    )
    chunks, _ = read(open_source(path, ddl=DDL), [T], Limits(rows=1))
    assert [(chunk.num_rows, isinstance(chunk.end, LinesPosition)) for chunk in chunks] == [(1, True), (1, True)]


def test_statements_are_events(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("table-create", xid=None, sql="CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(10))"),
        message("insert", {"id": 1, "x": "a"}),
        message("table-alter", xid=None, sql="alter table t add column n int default 4"),
        message("insert", {"id": 2, "x": "b", "n": 5}, xid=2),
        message("table-create", xid=None, sql="CREATE TABLE other (id INT)", table="other"),
        message("database-create", xid=None, table=None, sql="CREATE DATABASE d"),
    )
    chunks, positions = read(open_source(path), [T])
    assert [event.kind for event in events(chunks)] == ["column_added"]
    (model,) = apply({}, chunks).values()
    assert list(model.rows.values()) == [{"id": 1, "x": "a", "n": 4}, {"id": 2, "x": "b", "n": 5}]
    # What the statements told is remembered: they aren't read again.
    append(path, message("insert", {"id": 3, "x": "c", "n": 6}, xid=3))
    chunks, _ = read(open_source(path), positions)
    assert rows(chunks) == [("+I", {"id": 3, "x": "c", "n": 6})]


def test_a_dropped_table_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", message("insert", {"id": 1, "x": "a"}), message("table-drop", xid=None, sql="DROP TABLE `t`"))
    chunks, _ = read(open_source(path, ddl=DDL), [T])
    assert [event.kind for event in events(chunks)] == ["broken"]


def test_transactions_counted_anew_after_the_log_was_begun_anew_are_no_repeats(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        message("insert", {"id": 1, "x": ""}, position="log.000900:4", ts=100),
        message("insert", {"id": 2, "x": ""}, position="log.000001:7", ts=200),
        message("insert", {"id": 3, "x": ""}, position="log.000001:8", ts=201),
        message("insert", {"id": 2, "x": ""}, position="log.000001:7", ts=200),
    )
    assert [row["id"] for _, row in follow(path)] == [1, 2, 3]


@pytest.mark.parametrize("where", [{}, {"position": "log.000001:100"}, {"gtid": "3e11fa47-71ca-11e1-9e33-c80aa9429562:7"}])
def test_no_row_of_a_transaction_without_xoffset_is_taken_for_a_repeat(tmp_path: Path, where: dict[str, Any]) -> None:
    lines = [message("insert", {"id": 1, "x": str(n)}, commit=n == 2) | where for n in range(3)]
    for line in lines:
        line.pop("xoffset", None)
    write(tmp_path / "1.json", *lines)
    chunks, positions = read(open_source(tmp_path, ddl=DDL), [T])
    assert [row["x"] for _, row in rows(chunks)] == ["0", "1", "2"]
    write(tmp_path / "2.json", *lines, message("insert", {"id": 2, "x": ""}, xid=2))
    chunks, _ = read(open_source(tmp_path, ddl=DDL), positions)
    # With nothing to tell them by they are all applied again, not some of them.
    assert [row["x"] for _, row in rows(chunks)] == ([""] if where else ["0", "1", "2", ""])


def test_a_row_is_kept_when_a_file_that_repeats_a_part_of_its_transaction_came_in_between(tmp_path: Path) -> None:
    def transaction(xid: int, *values: str) -> list[dict[str, Any]]:
        lines = [
            message("insert", {"id": xid, "x": x}, xid=xid, commit=x == values[-1], position=f"log.000001:{xid}") for x in values
        ]
        return [{name: value for name, value in line.items() if name != "xoffset"} for line in lines]

    before, lines = transaction(8, "1", "2", "3"), transaction(9, "same", "same", "new", "end")
    write(tmp_path / "1.json", *before, *lines[:1])
    write(tmp_path / "2.json", *lines[:2])
    write(tmp_path / "3.json", *before[1:], *lines)
    assert [row["x"] for _, row in follow(tmp_path)][-4:] == ["same", "same", "new", "end"]


def test_rows_of_a_bootstrap_share_a_position(tmp_path: Path) -> None:
    lines = [message("bootstrap-insert", {"id": n, "x": ""}, xid=None, position="log.000001:100") for n in range(3)]
    assert [row["id"] for _, row in follow(write(tmp_path / "a.json", *lines))] == [0, 1, 2]


def test_numbers_of_transactions_are_in_no_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.json",
        *(message("insert", {"id": 1, "x": str(xid)}, xid=xid, ts=1_700_000_000) for xid in (11, 10, 12)),
    )
    assert [row["x"] for _, row in follow(path)] == ["11", "10", "12"]


def test_a_statement_that_comes_again_is_a_repeat(tmp_path: Path) -> None:
    lines = [
        message("table-alter", xid=None, sql="ALTER TABLE t DROP PRIMARY KEY", position="log.000001:200", ts=1_700_000_002_000),
        message("insert", {"id": 4, "x": ""}, xid=3, position="log.000001:300"),
    ]
    write(tmp_path / "1.json", message("insert", {"id": 1, "x": ""}, position="log.000001:100"), *lines)
    chunks, positions = read(open_source(tmp_path, ddl=DDL), [T])
    assert [event.kind for event in events(chunks)] == ["broken"]
    write(tmp_path / "2.json", *lines, message("insert", {"id": 5, "x": ""}, xid=5, position="log.000001:400"))
    chunks, _ = read(open_source(tmp_path, ddl=DDL), positions)
    assert events(chunks) == []
    assert [row["id"] for _, row in rows(chunks)] == [5]


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", message("insert", {"id": 1, "x": ""}), message("upsert", {"id": 1, "x": ""}))
    with pytest.raises(EventRefused, match=r"a\.json:2: a message of the unknown type 'upsert'"):
        follow(path)
