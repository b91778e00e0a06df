"""The decoder agrees with mysql-replication, over random tables and values."""

from __future__ import annotations

import datetime
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from tests.providers.mysql.reading import Database, changes, events
from tests.providers.mysql.test_values import COLUMNS, Value
from tests.scale import examples
from tidegate.changes.position import BinlogPosition

pytestmark = pytest.mark.mysql

Theirs = Callable[[Any], Any]
"""From our value to what mysql-replication makes of the same bytes."""


def bits(count: int) -> Theirs:
    return lambda value: format(value, f"0{count}b")


def naive(value: datetime.datetime) -> datetime.datetime:
    return value.replace(tzinfo=None)


OTHERWISE: dict[str, Theirs] = {
    "bit1": bits(1),
    "bit9": bits(9),
    "bit64": bits(64),
    "ts0": naive,
    "ts5": naive,
    # It adds 1900 to the zero that stands for no year.
    "year": lambda value: value or 1900,
    "set": lambda value: set(value.split(",")) if value else None,
}
# The fraction of a negative time isn't its complement there; texts are read by Python's codecs, not as the server reads them.
DIFFERENT = {"time2", "time4", "time6", "latin1", "cp1251", "gbk", "sjis", "big5", "ujis", "ucs2", "utf16", "utf32"}
DIFFERENT |= {"char_latin1", "tinytext"}
# It takes bytes for text, depending on the columns beside them; test_values.py has them.
NAMES = sorted(name for name in COLUMNS.keys() - DIFFERENT if "binary" not in name and "blob" not in name)
# Without metadata it knows neither signs nor labels.
PLAIN = [name for name in NAMES if not name.endswith("u") and name not in ("enum", "set")]
SMALL = [name for name in NAMES if "long" not in name and not name.startswith(("text", "mediumtext"))]


def theirs(db: Database, begin: BinlogPosition, table: str) -> Iterator[tuple[Any, ...]]:
    """As ``events`` has ours."""
    connection = {"host": db.server.host, "port": db.server.port, "user": db.server.user, "passwd": db.server.password}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stream = BinLogStreamReader(
            connection_settings=connection,
            server_id=990_001,
            log_file=begin.file,
            log_pos=begin.offset,
            resume_stream=True,
            only_schemas=[db.name],
            only_tables=[table],
            only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        )
        try:
            for event in stream:
                for row in event.rows:
                    if isinstance(event, UpdateRowsEvent):
                        yield ("-U", *row["before_values"].values())
                        yield ("+U", *row["after_values"].values())
                    else:
                        yield ("+I" if isinstance(event, WriteRowsEvent) else "-D", *row["values"].values())
        finally:
            stream.close()


def as_theirs(names: list[str], event: tuple[Any, ...]) -> tuple[Any, ...]:
    """One of our events in their values. The first column is the key."""
    kind, key, *values = event
    return (kind, key, *(None if v is None else OTHERWISE.get(n, lambda v: v)(v) for n, v in zip(names, values, strict=True)))


numbers = itertools.count()


def check(db: Database, names: list[str], written: list[list[str]], later: list[list[str]]) -> None:
    """Rows of literals are inserted, the first updated to those of ``later``, every other with another key, all deleted."""
    table = f"t{next(numbers)}"
    columns = ", ".join(f"c{i} {COLUMNS[name][0]}" for i, name in enumerate(names))
    db.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, {columns}) CHARACTER SET utf8mb4")
    source = db.source()
    begin = source.head()
    inserted = ", ".join(f"({i}, {', '.join(row)})" for i, row in enumerate(written))
    updates = (
        f"UPDATE {table} SET id = {i + (i % 2) * 100_000}, {', '.join(f'c{c} = {v}' for c, v in enumerate(row))} WHERE id = {i}"
        for i, row in enumerate(later)
    )
    db.execute(
        "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'",
        f"INSERT INTO {table} VALUES {inserted}",
        *updates,
        f"DELETE FROM {table}",
    )
    ours = [as_theirs(names, event) for event in events(changes(source, {db.table(table): begin}))]
    expected = list(theirs(db, begin, table))
    # An update that changes nothing isn't logged.
    assert len(ours) == len(expected) >= 2 * len(written)
    for found, other in zip(ours, expected, strict=True):
        for name, value, theirs_ in zip(("kind", "key", *names), found, other, strict=True):
            assert value == theirs_, name
    source.close()
    db.execute(f"DROP TABLE {table}")


def literals(data: st.DataObject, names: list[str], count: int) -> list[list[str]]:
    """Rows of values, NULLs among them."""
    null: st.SearchStrategy[Value] = st.just(("NULL", None))
    row = st.tuples(*[null | COLUMNS[name][1] for name in names])
    return [[literal for literal, _ in data.draw(row)] for _ in range(count)]


BOUNDED = settings(
    max_examples=examples(12), deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck)
)


@BOUNDED
@given(data=st.data())
def test_any_table_of_mariadb_is_read_as_another_reader_reads_it(maria: Database, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=12))
    written = literals(data, names, data.draw(st.integers(1, 4))) * data.draw(st.sampled_from((1, 1, 30)))
    check(maria, names, written, literals(data, names, 2) if len(written) > 1 else [])


@BOUNDED
@given(data=st.data())
def test_any_table_of_mysql_56_is_read_as_another_reader_reads_it(old: Database, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=12))
    check(old, names, literals(data, names, data.draw(st.integers(1, 4))), literals(data, names, 1))


@settings(BOUNDED, max_examples=examples(2))
@given(data=st.data())
def test_tables_of_many_columns_have_many_bytes_of_nulls(maria: Database, data: st.DataObject) -> None:
    names = (SMALL * 3)[:83]
    (row,) = literals(data, names, 1)
    holes = [["NULL" if column == hole else value for column, value in enumerate(row)] for hole in range(len(names))]
    nothing = ["NULL"] * len(names)
    check(maria, names, [row, *holes, nothing, row], [nothing, row])


def test_every_pattern_of_nulls(db: Database) -> None:
    names = ["big", "varchar", "dec", "text", "dt6", "double", "varchar_long", "tiny", "char"]
    literal = ["-7", "'ab'", "-12.34", "'note'", "'2024-02-29 01:02:03.456789'", "1.5", "'x'", "9", "'c'"]
    rows = [["NULL" if pattern >> i & 1 else value for i, value in enumerate(literal)] for pattern in range(1 << len(names))]
    check(db, names, rows, [])
