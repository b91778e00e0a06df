"""Random tables with random values: the copy by either route, the images in the log and the server's own answers agree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.mysql.random_tables import SESSION, Alphabets, RandomTable, alphabets, by_id, same, tables, tick
from tests.providers.mysql.reading import Database, batches, changes, copy_chunks, one_route, rows
from tests.scale import examples
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.changes.position import BinlogPosition, Position, SnapshotPosition
from tidegate.errors import SchemaError
from tidegate.providers.mysql.fast import ConnectorxRoute, fast_route
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.source import MysqlSource
from tidegate.providers.mysql.types import MySqlTable, read_table
from tidegate.sync.protocols import Limits

pytestmark = pytest.mark.mysql

KNOWN: dict[str, Alphabets] = {}
"""Alphabets by the server's version: asked once."""


def known_to(db: Database) -> Alphabets:
    ((version,),) = db.rows("SELECT VERSION()")
    if version not in KNOWN:
        KNOWN[version] = alphabets(db)
    return KNOWN[version]


def copies(session: Session, described: MySqlTable, begin: Position) -> list[pa.Table]:
    """The table's rows by every route that takes it, in pages of three."""
    assert isinstance(begin, BinlogPosition)
    start = SnapshotPosition(begin)
    routes: list[Any] = [PyMySqlRoute(session)]
    fast = fast_route(session, described)
    if fast is not None:
        routes.append(fast)
    found = []
    for route in routes:
        parts = [batch.rows for batch in batches(list(copy(one_route(session, route), described, start, Limits(3))))]
        found.append(pa.concat_tables(parts))
        assert not isinstance(route, ConnectorxRoute) or not route.gave_up, "connectorx could not read it"
    return found


def images(found: Sequence[ChangeBatch], kind: RowKind) -> pa.Table:
    return pa.concat_tables([batch.rows.filter(pa.array([own == kind for own in batch.kinds])) for batch in found])


def check(db: Database, table: RandomTable, written: list[Any], second: list[Any]) -> None:
    """Write the rows, change all of them, delete them; read them each way."""
    db.execute(f"DROP TABLE IF EXISTS {tick(table.name)}", table.ddl())
    source = db.source()
    with contextlib.closing(source), contextlib.closing(Session(source._values, "shop_mysql")) as session:
        _check(db, table, written, second, source, session)


def _check(db: Database, table: RandomTable, written: list[Any], second: list[Any], source: MysqlSource, session: Session) -> None:
    name = db.table(table.name)
    begin = source.head()
    db.execute(SESSION, *(table.insert(number, values) for number, values in enumerate(written)))
    first_stored = table.stored(db)
    assert len(first_stored) == len(written)
    described = read_table(session, name)
    for copied in copies(session, described, begin):
        same(table, by_id(copied, table), first_stored, "first copy")
    db.execute(SESSION, *(table.update(number, values) for number, values in enumerate(second)))
    second_stored = table.stored(db)
    for copied in copies(session, described, begin):
        same(table, by_id(copied, table), second_stored, "second copy")
    db.execute(f"DELETE FROM {tick(table.name)}")

    found = list(batches(changes(source, {name: begin}), name))
    assert rows(changes(source, {name: begin}), name).schema == described.schema.arrow()
    expected = {
        RowKind.INSERT: first_stored,
        RowKind.UPDATE_BEFORE: first_stored,
        RowKind.UPDATE_AFTER: second_stored,
        RowKind.DELETE: second_stored,
    }
    for kind, stored in expected.items():
        same(table, by_id(images(found, kind), table), stored, f"{kind.short} in the log")


def any_table(db: Database) -> Callable[[st.DataObject], None]:
    json = bool(db.rows("SELECT VERSION() LIKE '%MariaDB%'")[0][0])
    known = known_to(db)

    def run(data: st.DataObject) -> None:
        table = data.draw(tables(known, json=json))
        written = data.draw(st.lists(table.row(), min_size=1, max_size=6))
        second = data.draw(st.lists(table.row(), min_size=len(written), max_size=len(written)))
        check(db, table, written, second)

    return run


EVERYTHING = list(HealthCheck)


@settings(max_examples=examples(12), deadline=None, suppress_health_check=EVERYTHING)
@given(data=st.data())
def test_copy_by_either_route_and_the_log_give_what_the_server_stored(db: Database, data: st.DataObject) -> None:
    any_table(db)(data)


@pytest.mark.soak
@settings(max_examples=examples(1500), deadline=None, suppress_health_check=EVERYTHING)
@given(data=st.data())
def test_many_more_tables_are_read_alike(db: Database, data: st.DataObject) -> None:
    any_table(db)(data)


def test_a_set_in_a_key_is_paged_by(db: Database) -> None:
    labels = ", ".join(f"'{number}'" for number in range(63))
    db.execute(f"CREATE TABLE t (k SET({labels}), id INT, PRIMARY KEY (k, id))")
    values = (12, 1221, 193_861, 11_917_297_212_836, 2**53 + 1, 2**53 + 2, 2**62, 2**63 - 1)
    db.execute("INSERT INTO t VALUES " + ", ".join(f"({value}, {number})" for number, value in enumerate(values)))
    source = db.source()
    assert rows(copy_chunks(source, db.table("t"), Limits(2))).num_rows == len(values)


def test_a_set_of_64_in_a_key_is_refused_where_a_page_would_begin_by_it(db: Database) -> None:
    labels = ", ".join(f"'{number}'" for number in range(64))
    db.execute(f"CREATE TABLE t (k SET({labels}), id INT, PRIMARY KEY (k, id))", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
    with pytest.raises(SchemaError, match="SET of 64 members"):
        copy_chunks(db.source(), db.table("t"), Limits(2))
