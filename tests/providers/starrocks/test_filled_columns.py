"""Columns that StarRocks fills by itself and the source doesn't have: AUTO_INCREMENT and generated ones, on old and new servers.

What the catalog of a server tells of them differs: tests/sandbox/starrocks/test_information_schema.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from tests.providers.starrocks.conftest import Box, changes, inserts, rows, schema_of
from tests.servers import start_starrocks
from tidegate.changes.schema import TableName
from tidegate.errors import SchemaError

COLUMNS = "id BIGINT, price INT, amount INT, note VARCHAR(20), no BIGINT NOT NULL AUTO_INCREMENT, total INT AS price * amount"
KINDS = {"id": pa.int64(), "price": pa.int32(), "amount": pa.int32(), "note": pa.string()}


@pytest.fixture(scope="module", params=["3.1.11", "3.3.2", "3.3.5"])
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """On a server of its own: the oldest with generated columns, the last that doesn't tell of them, and a newer one."""
    server = start_starrocks(f"--server-version={request.param}")
    box = Box(server)
    yield box
    box.close()
    server.stop()


@pytest.fixture(params=["V1", "V2"])
def orders(request: pytest.FixtureRequest, box: Box) -> Iterator[Box]:
    box.table(COLUMNS)
    box.reopen(sink_version=request.param)
    yield box
    box.execute("DROP TABLE t FORCE")


def of(*values: tuple[int, int | None, int | None, str | None]) -> pa.Table:
    return pa.table({name: pa.array([row[n] for row in values], kind) for n, (name, kind) in enumerate(KINDS.items())})


def test_the_catalog_knows_them(orders: Box) -> None:
    table = orders.sink.metadata.table(TableName("", "t"))
    assert table is not None
    assert [column.name for column in table.columns if column.numbered] == ["no"]
    assert {column.name: column.refers for column in table.columns if column.generated} == {"total": ("price", "amount")}
    assert [column.name for column in table.columns if not column.optional] == ["id"]


def test_rows_are_put_changed_and_deleted_without_them_and_keep_their_number(orders: Box) -> None:
    first = of((1, 2, 3, "a"), (2, 5, 5, "b"), (3, None, 1, None))
    target = orders.target(schema_of(first, "id"))
    orders.write(target, inserts(first, "id"))
    numbers = {row[0]: row[4] for row in rows(orders)}
    assert [(*row[:4], row[5]) for row in rows(orders)] == [(1, 2, 3, "a", 6), (2, 5, 5, "b", 25), (3, None, 1, None, None)]
    assert len(set(numbers.values())) == 3

    log = of((1, 2, 3, "a"), (1, 2, 30, "a"), (2, 5, 5, "b"), (3, 4, 4, None), (4, 1, 1, "d"))
    present = {"note": pa.array([True, True, True, False, True])}
    orders.write(target, changes(log, "-U +U -D +U +I", "id", present=present))
    found = {row[0]: row for row in rows(orders)}
    assert found.keys() == {1, 3, 4}
    assert found[1] == (1, 2, 30, "a", numbers[1], 60)
    assert found[3] == (3, 4, 4, None, numbers[3], 16)
    assert (*found[4][:4], found[4][5]) == (4, 1, 1, "d", 1)
    assert found[4][4] not in numbers.values()


def test_a_row_that_leaves_out_what_one_is_computed_from_is_not_taken(orders: Box) -> None:
    log = of((1, 2, None, "a"))
    batch = changes(log, "+U", "id", present={"amount": pa.array([False])})
    words = r"amount needs to be used .* column total; rows that leave columns out .* whole rows"
    with pytest.raises(SchemaError, match=words):
        orders.write(orders.target(batch.schema), batch)
    assert rows(orders) == []


def test_keys_alone_are_enough_for_a_delete_and_not_for_an_update(orders: Box) -> None:
    verbs = orders.verbs()
    verbs.upsert("t", of((1, 2, 3, "a"), (2, 5, 5, "b")))
    assert verbs.delete("t", pa.table({"id": [2]})).rows == 1
    with pytest.raises(SchemaError, match=r"amount needs to be used .* column total"):
        verbs.update("t", pa.table({"id": [1], "price": pa.array([7], pa.int32())}), max_retries=0)
    verbs.update("t", pa.table({"id": [1], "price": pa.array([7], pa.int32()), "amount": pa.array([2], pa.int32())}))
    assert [(*row[:4], row[5]) for row in rows(orders)] == [(1, 7, 2, "a", 14)]


def test_a_sync_that_never_brings_what_one_is_computed_from_is_refused_in_the_plan(orders: Box) -> None:
    narrow = of((1, 2, 3, "a")).select(["id", "price", "note"])
    (problem,) = orders.sink.inspect(orders.target(schema_of(narrow, "id"))).problems
    assert "column total is computed from amount, and no load brings it" in str(problem)


def test_an_auto_increment_key_numbers_the_rows_that_are_appended(box: Box) -> None:
    box.table("no BIGINT NOT NULL AUTO_INCREMENT, name VARCHAR(20)", "PRIMARY KEY(no) DISTRIBUTED BY HASH(no)", name="log")
    events = pa.table({"name": ["ann", "bob"]})
    box.write(box.target(schema_of(events), "log", write_mode="append"), inserts(events))
    assert sorted(name for _, name in rows(box, "log", "no")) == ["ann", "bob"]
