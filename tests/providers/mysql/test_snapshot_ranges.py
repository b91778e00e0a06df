"""Copies read over several connections: in key order, within their limits, and right whatever is written meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.providers.mysql.reading import Database, apply, changes, copy_chunks, rows
from tests.scale import examples
from tidegate.changes.position import BinlogPosition, Position, SnapshotPosition, from_json, to_json
from tidegate.errors import SchemaError
from tidegate.providers.mysql.fast import ConnectorxRoute
from tidegate.providers.mysql.ranges import RangeReader, Routes
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.select import KeyRange, bound_query, page_query
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql


def use_route(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "pymysql":
        monkeypatch.setattr("tidegate.providers.mysql.source.fast_route", lambda *_: None)


@pytest.mark.parametrize("limit", [1, 3, 4, 1000])
@pytest.mark.parametrize("connections", [1, 2, 5])
def test_ranges_of_a_composite_key_hold_every_row_once(db: Database, limit: int, connections: int) -> None:
    db.execute("CREATE TABLE t (a VARCHAR(5), b BIGINT UNSIGNED, c BINARY(2), v INT, PRIMARY KEY (a, b, c))")
    written = [(a, b, c) for a in ("a", "B", "é", "z ") for b in (0, 2**63, 2**64 - 1) for c in ("00", "61")]
    db.execute("INSERT INTO t (a, b, c) VALUES " + ", ".join(f"('{a}', {b}, x'{c}')" for a, b, c in written))
    copied = rows(copy_chunks(db.source(snapshot_connections=connections), db.table("t"), Limits(rows=limit)))
    found = [(row["a"], row["b"], row["c"].hex()) for row in copied.to_pylist()]
    assert sorted(found) == sorted((a, b, c.ljust(4, "0")) for a, b, c in written)
    order = [(a, int(b), c.hex()) for a, b, c in db.rows("SELECT a, b, c FROM t ORDER BY a, b, c")]
    assert found == order


def test_a_range_and_a_bound_read_a_range_of_the_index(db: Database) -> None:
    db.execute("CREATE TABLE t (a INT, b INT, v VARCHAR(9), PRIMARY KEY (a, b))")
    db.execute("INSERT INTO t (a, b, v) VALUES " + ", ".join(f"({i // 400}, {i % 400}, 'é')" for i in range(2000)))
    session = Session(db.source()._values, "shop_mysql")
    table = read_table(session, db.table("t"))
    within = KeyRange(("2", "7"), ("2", "57"))
    for query, found, reads in (
        (page_query(table, within, 1000), 50, 55),
        (bound_query(table, KeyRange(("2", "7"), ("4", "399")), 50), 1, 55),
    ):
        session.execute("FLUSH STATUS")
        answer = session.rows(query)
        assert len(answer) == found
        status = {name: int(value or 0) for name, value in session.rows("SHOW SESSION STATUS LIKE 'Handler_read%'")}
        assert status["Handler_read_next"] <= reads
        assert status["Handler_read_rnd_next"] == status.get("Handler_read_first", 0) == 0
    session.close()


@pytest.mark.parametrize("route", ["pymysql", "connectorx"])
@pytest.mark.parametrize("connections", [1, 3])
def test_a_range_whose_rows_are_large_is_read_in_pages_within_the_limit_of_bytes(
    db: Database, route: str, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rows are small, so that many seem to fit; then all are large."""
    use_route(route, monkeypatch)
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v LONGTEXT)")
    db.execute(*(f"INSERT INTO t VALUES ({k}, REPEAT('x', {50 if k < 100 else 20_000}))" for k in range(300)))
    limits = Limits(bytes=400_000)
    chunks = copy_chunks(db.source(snapshot_connections=connections), db.table("t"), limits)
    assert rows(chunks).column("k").to_pylist() == list(range(300))
    assert max(chunk.nbytes for chunk in chunks) < 2 * limits.bytes


def test_a_page_that_becomes_too_large_for_connectorx_is_read_by_pymysql_and_the_next_range_is_not(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v TEXT)")
    db.execute(*(f"INSERT INTO t VALUES ({k}, REPEAT('x', {20_000 if k < 30 else 50}))" for k in range(60)))
    session = Session(db.source()._values, "shop_mysql")
    table, route, limits = read_table(session, db.table("t")), ConnectorxRoute(session), Limits(rows=100, bytes=100_000)
    large = list(route.pages(table, KeyRange(None, ("29",)), limits))
    assert sum(page.num_rows for page in large) == 30
    assert max(page.nbytes for page in large) < 1.5 * limits.bytes
    assert not route.gave_up
    (small,) = route.pages(table, KeyRange(("29",), ("59",)), limits)
    assert small.num_rows == 30
    session.close()


def test_pages_under_way_are_a_share_of_the_limits(maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(2000))")
    maria.execute("INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_4000")
    session = Session(maria.source()._values, "shop_mysql")
    table = read_table(session, maria.table("t"))
    for route in (PyMySqlRoute, ConnectorxRoute):
        opened: list[Session] = []

        def take(route: Any = route, opened: list[Session] = opened) -> Any:
            opened.append(Session(session.values, "shop_mysql"))
            return route(opened[-1])

        limits = Limits(rows=1000, bytes=400_000)
        pages = list(RangeReader(Routes(session, 4, take), table, limits).pages(None))
        assert sum(page.num_rows for page in pages) == 4000
        assert max(page.num_rows for page in pages) <= 250
        assert max(page.nbytes for page in pages) <= 1.5 * limits.bytes / 8
        assert len(opened) == 4
        for one in opened:
            one.close()
    session.close()


def test_rows_that_fill_a_range_after_its_bounds_were_found_come_in_more_pages(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (0), (1000)")
    session = Session(db.source()._values, "shop_mysql")
    table = read_table(session, db.table("t"))
    for route in (PyMySqlRoute(session), ConnectorxRoute(session)):
        pages = route.pages(table, KeyRange(("0",), ("1000",)), Limits(rows=10))
        db.execute("DELETE FROM t", "INSERT INTO t VALUES " + ", ".join(f"({k})" for k in range(0, 1040, 10)))
        assert [page.num_rows for page in pages if page.num_rows] == [10] * 10
    session.close()


def test_a_table_that_grows_at_its_end_faster_than_it_is_read_comes_to_an_end(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3), (4), (5), (6)")
    source, table = db.source(), db.table("t")
    start: Position = source.start([table], consistent=False)[table]
    state: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, chunk in enumerate(source.read(Window({table: start}, None), Limits(rows=1))):
        db.execute("INSERT INTO t SELECT MAX(k) + 1 FROM t", "INSERT INTO t SELECT MAX(k) + 1 FROM t")
        apply(state, [chunk])
        assert number < 10
        assert chunk.end is not None
        start = chunk.end
    apply(state, changes(source, {table: start}))
    assert sorted(key for (key,) in state) == [key for (key,) in db.rows("SELECT k FROM t ORDER BY k")]


def test_a_copy_that_is_given_up_leaves_no_thread_behind(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES " + ", ".join(f"({k})" for k in range(200)))
    source, table = db.source(snapshot_connections=3), db.table("t")
    start = source.start([table], consistent=False)[table]
    chunks = source.read(Window({table: start}, None), Limits(rows=12))
    for _ in range(4):
        next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    source.close()
    assert not [thread.name for thread in threading.enumerate() if "tidegate-copy" in thread.name]


def test_a_table_that_is_emptied_or_truncated_meanwhile_ends_its_copy(db: Database) -> None:
    for statement in ("DELETE FROM t", "TRUNCATE TABLE t"):
        db.execute("DROP TABLE IF EXISTS t", "CREATE TABLE t (k INT PRIMARY KEY)")
        db.execute("INSERT INTO t VALUES " + ", ".join(f"({k})" for k in range(100)))
        source, table = db.source(), db.table("t")
        start = source.start([table], consistent=False)[table]
        chunks = source.read(Window({table: start}, None), Limits(rows=5))
        copied = [next(chunks), next(chunks)]
        db.execute(statement)
        copied += list(chunks)
        low = copied[-1].end
        assert isinstance(low, BinlogPosition)
        assert sum(chunk.num_rows for chunk in copied) < 60
        if statement.startswith("DELETE"):
            state: dict[tuple[Any, ...], dict[str, Any]] = {}
            apply(state, [*copied, *changes(source, {table: low})])
            assert state == {}


@pytest.mark.parametrize("route", ["pymysql", "connectorx"])
@pytest.mark.parametrize(
    ("statement", "message"),
    [("DROP TABLE t", "doesn't exist"), ("ALTER TABLE t DROP COLUMN v", "v"), ("RENAME TABLE t TO u", "doesn't exist")],
)
def test_a_table_that_is_dropped_or_loses_a_column_meanwhile_stops_its_copy(
    db: Database, route: str, statement: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_route(route, monkeypatch)
    db.execute("CREATE TABLE t (k INT PRIMARY KEY, v INT)")
    db.execute("INSERT INTO t (k) VALUES " + ", ".join(f"({k})" for k in range(100)))
    source, table = db.source(), db.table("t")
    start = source.start([table], consistent=False)[table]
    chunks = source.read(Window({table: start}, None), Limits(rows=5))
    next(chunks)
    db.execute(statement)
    with pytest.raises(SchemaError, match=message) as caught:
        list(chunks)
    assert caught.value.table == str(table)


# The model: random pages, random writes between them, a crash, and the replay.

TEXTS = ["a", "A", "b", "B", "é", "E", "e ", "z", "Z ", "zz", ""]
KEYS_OF = {
    "k INT PRIMARY KEY": st.integers(-5, 30).map(str),
    "k VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY": st.sampled_from(TEXTS).map(lambda text: f"'{text}'"),
    "k BIGINT UNSIGNED PRIMARY KEY": st.sampled_from([0, 1, 2, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]).map(str),
    "k ENUM('z','y','a','b','Q') PRIMARY KEY": st.sampled_from(["'z'", "'y'", "'a'", "'b'", "'Q'"]),
}
STEP = st.tuples(
    st.sampled_from(["insert", "delete", "move", "change", "reinsert", "case"]), st.integers(0, 10**6), st.integers(0, 10**6)
)
PLAN = st.fixed_dictionaries(
    {
        "limits": st.tuples(st.integers(1, 9), st.sampled_from([40, 200, 10**6])),
        "connections": st.integers(1, 4),
        "crash": st.integers(0, 6),
        "then": st.tuples(st.integers(1, 9), st.integers(1, 4)),
        "steps": st.lists(st.lists(STEP, max_size=4), min_size=1, max_size=12),
    }
)


def statements(step: tuple[str, int, int], keys: Sequence[str], number: int) -> list[str]:
    what, first, second = step
    one, two = keys[first % len(keys)], keys[second % len(keys)]
    match what:
        case "insert":
            return [f"INSERT IGNORE INTO t VALUES ({one}, {number})"]
        case "delete":
            return [f"DELETE FROM t WHERE k = {one}"]
        case "move":
            return [f"UPDATE IGNORE t SET k = {two}, v = {number} WHERE k = {one}"]
        case "change":
            return [f"UPDATE t SET v = {number} WHERE k >= {one}"]
        case "case":
            return [f"UPDATE IGNORE t SET k = SWAPPED({one}) WHERE k = {one}"]
        case _:
            return ["BEGIN", f"DELETE FROM t WHERE k = {one}", f"INSERT IGNORE INTO t VALUES ({one}, {number})", "COMMIT"]


@pytest.mark.parametrize("key", KEYS_OF)
@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), plan=PLAN)
def test_pages_under_random_writes_and_the_changes_since_the_low_watermark_give_what_the_source_holds(
    maria: Database, key: str, data: st.DataObject, plan: dict[str, Any]
) -> None:
    """Case-only changes of keys and moves across the bounds of pages included; killed once, and gone on with other limits."""
    keys = data.draw(st.lists(KEYS_OF[key], min_size=3, max_size=25, unique=True))
    textual = "VARCHAR" in key
    connection = maria.server.connect(database=maria.name)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute(f"CREATE TABLE t ({key}, v INT)")
        for number, literal in enumerate(keys[: len(keys) * 2 // 3]):
            cursor.execute(f"INSERT IGNORE INTO t VALUES ({literal}, {number})")
        written = 1000

        def write(steps: Sequence[tuple[str, int, int]]) -> None:
            nonlocal written
            for step in steps:
                for statement in statements(step, keys, written):
                    if "SWAPPED" in statement:
                        if not textual:
                            continue
                        literal = statement[statement.index("(") + 1 : statement.index(")")]
                        statement = statement.replace(f"SWAPPED({literal})", literal.swapcase())
                    cursor.execute(statement)
                written += 1

        table = maria.table("t")
        state: dict[tuple[Any, ...], dict[str, Any]] = {}
        steps = iter(plan["steps"])
        source = maria.source(snapshot_connections=plan["connections"])
        position: Position = source.start([table], consistent=False)[table]
        limits = Limits(*plan["limits"])
        seen = 0
        while isinstance(position, SnapshotPosition):
            with contextlib.closing(source.read(Window({table: position}, None), limits)) as chunks:  # type: ignore[type-var]
                for chunk in chunks:
                    for batch in chunk.batches:
                        # What lets a first copy be loaded by plain inserts.
                        copied = [tuple(row[name] for name in batch.schema.key) for row in batch.rows.to_pylist()]
                        assert len(set(copied)) == len(copied)
                        assert state.keys().isdisjoint(copied)
                    apply(state, [chunk])
                    assert chunk.end is not None
                    position = from_json(to_json(chunk.end))
                    write(next(steps, ()))
                    seen += 1
                    if seen == plan["crash"]:
                        break
            if seen == plan["crash"]:
                seen += 1
                source.close()
                source = maria.source(snapshot_connections=plan["then"][1])
                limits = Limits(plan["then"][0])
        for rest in steps:
            write(rest)
    connection.close()
    apply(state, changes(source, {table: position}))
    expected = rows(copy_chunks(source, table)).to_pylist()
    assert sorted(state.values(), key=str) == sorted(expected, key=str)
    assert len(expected) == maria.rows("SELECT COUNT(*) FROM t")[0][0]
    source.close()
