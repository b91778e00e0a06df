"""What becomes of dates that no calendar has, and of TINYINT(1), is the connection's to say; copies and the log do the same."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.mysql.reading import NAME, Database, batches, changes, copy_chunks, events, one_route, rows
from tidegate.changes.position import BinlogPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, EventRefused, SchemaError
from tidegate.providers.mysql import dates
from tidegate.providers.mysql.connection import SYSTEM
from tidegate.providers.mysql.fast import ConnectorxRoute
from tidegate.providers.mysql.policy import Policies, Zero, policies
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.source import MysqlSource
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits

pytestmark = pytest.mark.mysql

LAX = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'"
ABSURD = ("0000-00-00", "2024-00-15", "2024-05-00", "2024-02-30", "0000-00-01")
Day, Moment = datetime.date, datetime.datetime


def copied(source: MysqlSource, table: TableName, begin: BinlogPosition, route: type[Any]) -> pa.Table:
    """The table's rows by one of the routes, which has to manage by itself."""
    session = Session(source._values, NAME)
    try:
        chosen = route(session)
        found = rows(list(copy(one_route(session, chosen), read_table(session, table), SnapshotPosition(begin), Limits(4))))
        assert route is PyMySqlRoute or not chosen.gave_up
        return found
    finally:
        session.close()


def readers(source: MysqlSource, table: TableName, begin: BinlogPosition) -> list[Callable[[], pa.Table]]:
    """Every way to read the rows that were inserted after ``begin``."""
    return [
        lambda: copied(source, table, begin, PyMySqlRoute),
        lambda: copied(source, table, begin, ConnectorxRoute),
        lambda: rows(changes(source, {table: begin})),
    ]


@pytest.fixture
def begin(db: Database) -> BinlogPosition:
    """Makes table ``t``, with a row of good dates, then each of the dates that no calendar has; where its rows begin in the log."""
    good = "'2024-02-29', '2024-02-29 01:02:03.5', '2024-02-29 01:02:03'"
    zeros = [f"'{day}', '{day} 04:05:06.25', '0000-00-00 00:00:00'" for day in ABSURD]
    inserted = ", ".join(f"({k}, {values})" for k, values in enumerate([good, *zeros]))
    db.execute(
        "CREATE TABLE t (k INT PRIMARY KEY, d DATE NOT NULL, m DATETIME(3) NOT NULL, "
        "s TIMESTAMP NOT NULL DEFAULT '2000-01-01 00:00:00')",
    )
    begin = db.source().head()
    db.execute(LAX, f"INSERT INTO t VALUES {inserted}")
    return begin


GOOD = (Day(2024, 2, 29), Moment(2024, 2, 29, 1, 2, 3, 500_000), Moment(2024, 2, 29, 1, 2, 3, tzinfo=datetime.UTC))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("null", (None, None, None)),
        ("1970-01-01", (Day(1970, 1, 1), Moment(1970, 1, 1), Moment(1970, 1, 1, tzinfo=datetime.UTC))),
        ("0001-01-01", (Day(1, 1, 1), Moment(1, 1, 1), Moment(1, 1, 1, tzinfo=datetime.UTC))),
        (
            "1900-12-31 23:59:59",
            (Day(1900, 12, 31), Moment(1900, 12, 31, 23, 59, 59), Moment(1900, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)),
        ),
    ],
)
def test_zero_and_partial_dates_become_null_or_the_given_value(
    db: Database, begin: BinlogPosition, setting: str, expected: tuple[Any, ...]
) -> None:
    source, table = db.source(zero_dates=setting), db.table("t")
    nullable = setting == "null"
    assert [column.nullable for column in source.schema(table).columns] == [False, nullable, nullable, nullable]
    for read in readers(source, table, begin):
        found = [tuple(row.values()) for row in read().to_pylist()]
        assert found == [(0, *GOOD), *((k, *expected) for k in range(1, 6))]


def test_as_an_error_they_are_refused_by_column_table_and_place(db: Database, begin: BinlogPosition) -> None:
    source, table = db.source(zero_dates="error"), db.table("t")
    assert not any(column.nullable for column in source.schema(table).columns)
    by_text, by_connectorx, from_log = readers(source, table, begin)
    for read in (by_text, by_connectorx):
        with pytest.raises(SchemaError, match=r"column d holds a date that no calendar has .*\[zero_dates\]") as caught:
            read()
        assert (caught.value.connection, caught.value.table, caught.value.setting) == (NAME, str(table), "zero_dates")
        assert "0000" not in str(caught.value)
    with pytest.raises(EventRefused, match=r"column d holds a date that no calendar has .*\[zero_dates\]") as refused:
        from_log()
    assert refused.value.position == row_event_after(db, begin)
    assert refused.value.table == str(table)


def test_the_query_of_the_documents_finds_exactly_the_rows_that_are_refused(db: Database, begin: BinlogPosition) -> None:
    condition = "MONTH(d) = 0 OR DAY(d) = 0 OR DAY(d) > DAY(LAST_DAY(d))"
    assert condition in (Path(__file__).parents[3] / "docs" / "mysql.md").read_text().replace("\n", " ")
    assert [k for (k,) in db.rows(f"SELECT k FROM t WHERE {condition}")] == [1, 2, 3, 4, 5]


def row_event_after(db: Database, begin: BinlogPosition) -> str:
    """The end of the first row event after a position."""
    found = db.rows(f"SHOW BINLOG EVENTS IN '{begin.file}' FROM {begin.offset}")
    return next(f"{row[0]}:{row[4]}" for row in found if row[2].startswith("Write_rows"))


def test_the_event_that_is_named_is_the_one_with_the_value(db: Database) -> None:
    """Rows become columns many events at a time; still the right one is named."""
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, d DATE)")
    source = db.source(zero_dates="error")
    start = source.head()
    db.execute(*(f"INSERT INTO t VALUES ({k}, '2024-01-01'), ({k + 100}, NULL)" for k in range(5)))
    begin = source.head()
    db.execute(LAX, "INSERT INTO t VALUES (50, '2024-01-01'), (51, '2024-00-01')", "INSERT INTO t VALUES (60, '2024-01-01')")
    with pytest.raises(EventRefused) as caught:
        changes(source, {table: start})
    assert caught.value.position == row_event_after(db, begin)


@pytest.mark.parametrize("kind", ["DATE", "DATETIME(6)", "TIMESTAMP"])
@pytest.mark.parametrize("setting", ["null", "error", "1970-01-01"])
def test_in_a_key_they_are_refused_whatever_the_setting(db: Database, kind: str, setting: str) -> None:
    """NULL is no key, two of them could not be told apart, and the given value may be another row's key."""
    table = db.table("t")
    db.execute(f"CREATE TABLE t (k INT, d {kind} NOT NULL DEFAULT '2000-01-01', PRIMARY KEY (k, d))")
    source = db.source(zero_dates=setting)
    begin = source.head()
    db.execute(LAX, "INSERT INTO t VALUES (1, '0000-00-00'), (1, '1970-01-02'), (2, '2024-01-01')")
    assert not source.schema(table).column("d").nullable
    for read in readers(source, table, begin):
        with pytest.raises(
            (SchemaError, EventRefused), match="column d holds a date that no calendar has, and is a column of the key"
        ):
            read()


def test_good_dates_in_a_key_are_paged_by_from_year_0_to_9999(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (d DATE, m DATETIME(2), PRIMARY KEY (d, m))")
    source = db.source()
    begin = source.head()
    days = ("0000-01-01", "0000-12-31", "0001-01-01", "0099-01-01", "1969-12-31", "1970-01-01", "9999-12-31")
    db.execute(LAX, "INSERT INTO t VALUES " + ", ".join(f"('{day}', '{day} 23:59:59.9{k}')" for day in days for k in range(3)))
    copies = [rows(copy_chunks(source, table, Limits(size), start=SnapshotPosition(begin))) for size in (1, 2, 50)]
    assert all(found.num_rows == 21 and found.equals(copies[0]) for found in copies)
    assert rows(changes(source, {table: begin})).equals(copies[0])


def test_columns_that_only_the_log_knows_follow_the_setting_too(maria: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a column was dropped: what it was is told by the row metadata."""
    table = maria.table("t")
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, m DATETIME NOT NULL)")
    source = maria.source(zero_dates="1970-01-01")
    begin = source.head()
    maria.execute(LAX, "INSERT INTO t VALUES (1, '0000-00-00'), (2, '2024-01-01 00:00:00')")
    now = read_table(source._session(), table)
    left = replace(now, columns=now.columns[:1], schema=replace(now.schema, columns=now.schema.columns[:1]))
    monkeypatch.setattr(source, "_table", lambda _: left)
    assert events(changes(source, {table: begin})) == [("+I", 1, Moment(1970, 1, 1)), ("+I", 2, Moment(2024, 1, 1))]


def test_a_setting_that_means_nothing_is_refused_by_name(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    for setting in ("nul", "2024-02-30", "2024-01-01 00:00:00.5", "2024-01-01T00:00:00+01:00", "0000-00-00"):
        with pytest.raises(ConfigError, match=r"neither null nor error.*\[zero_dates\]"):
            db.source(zero_dates=setting).schema(db.table("t"))
    with pytest.raises(ConfigError, match="tinyint1"):
        SYSTEM.values({"login": "x", "tinyint1": "bit"}, NAME)
    assert policies(SYSTEM.values({"login": "x"}, NAME), NAME) == Policies()


def test_values_after_a_null_are_not_taken_for_zero_dates() -> None:
    """NULL is NULL under every policy, wherever it stands."""
    text = pa.array([None, b"2024-01-01", None], pa.binary())
    for zero in (Zero(), Zero(0), Zero(refuse="x")):
        assert dates.dates_of_text(text, zero).to_pylist() == [None, Day(2024, 1, 1), None]
    assert dates.instants(pa.array([None, 1, 0], pa.int64()), Zero(5)).cast(pa.int64()).to_pylist() == [None, 1, 5]


def test_tinyint1_is_a_boolean_on_request_in_every_image(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, b TINYINT(1), bool BOOLEAN NOT NULL, i TINYINT(4), u TINYINT(1) UNSIGNED)")
    source = db.source(tinyint1="boolean")
    begin = source.head()
    db.execute("INSERT INTO t VALUES (1, 0, 1, 2, 1), (2, NULL, 0, 1, 0), (3, 1, 1, -1, NULL)")
    kinds = [column.type for column in source.schema(table).columns]
    assert kinds == [pa.int32(), pa.bool_(), pa.bool_(), pa.int8(), pa.bool_()]
    expected = [(1, False, True, 2, True), (2, None, False, 1, False), (3, True, True, -1, None)]
    for read in readers(source, table, begin):
        assert [tuple(row.values()) for row in read().to_pylist()] == expected
    begin = source.head()
    db.execute("UPDATE t SET b = 1, bool = 0 WHERE k = 1", "DELETE FROM t WHERE k = 2")
    found = [event[:4] for event in events(changes(source, {table: begin}))]
    assert found == [("-U", 1, False, True), ("+U", 1, True, False), ("-D", 2, None, False)]


@pytest.mark.parametrize("value", [2, -1, 127, -128])
def test_another_number_than_0_and_1_is_no_boolean(db: Database, value: int) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, b TINYINT(1))")
    source = db.source(tinyint1="boolean")
    begin = source.head()
    db.execute(f"INSERT INTO t VALUES (1, 0), (2, {value})")
    for read in readers(source, table, begin):
        with pytest.raises((SchemaError, EventRefused), match=r"column b holds a number that is no boolean.*\[tinyint1") as caught:
            read()
        assert (caught.value.connection, caught.value.table) == (NAME, str(table))
        assert str(value) not in str(caught.value).replace(str(table), "").partition("holds")[2]
    plain = db.source()
    assert rows(changes(plain, {table: begin})).column("b").to_pylist() == [0, value]


def test_a_boolean_key_is_paged_by(db: Database) -> None:
    table = db.table("t")
    db.execute("CREATE TABLE t (b TINYINT(1), k INT, PRIMARY KEY (b, k))")
    source = db.source(tinyint1="boolean")
    begin = source.head()
    db.execute("INSERT INTO t VALUES " + ", ".join(f"({k % 2}, {k})" for k in range(12)))
    for route in (PyMySqlRoute, ConnectorxRoute):
        found = copied(source, table, begin, route)
        assert found.column("b").to_pylist() == [False] * 6 + [True] * 6
        assert found.column("k").to_pylist() == [*range(0, 12, 2), *range(1, 12, 2)]
    assert sum(batch.num_rows for batch in batches(changes(source, {table: begin}))) == 12
