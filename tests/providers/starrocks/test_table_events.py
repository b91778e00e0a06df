"""A table that was emptied, or gained a column, at the source: the target follows, in order with the loads around it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.providers.starrocks.conftest import (
    FIRST,
    SCHEMA,
    Box,
    Killed,
    at,
    changes,
    entry,
    inserts,
    kill,
    people,
    rows,
    schema_of,
)
from tidegate.errors import EventRefused, SchemaError
from tidegate.sync.protocols import Window


def test_truncate_removes_all_rows_of_earlier_batches_too_and_none_of_later_ones(either: Box) -> None:
    target = either.target(SCHEMA)
    either.write(target, inserts(FIRST, "id"))
    load = either.begin(target)
    load.write(target, inserts(people((3, "cid")), "id"))
    assert load.truncate(target).deleted is None
    load.write(target, inserts(people((2, "new")), "id"))
    load.commit([])
    assert rows(either) == [(2, "new")]


def test_an_aborted_truncate_leaves_everything(box: Box) -> None:
    target = box.target(SCHEMA)
    box.write(target, inserts(FIRST, "id"))
    load = box.begin(target)
    load.truncate(target)
    load.abort()
    assert len(rows(box)) == 2


def test_truncate_follows_the_delete_mode(box: Box) -> None:
    soft = box.target(SCHEMA, delete_mode="soft", soft_delete_column="gone")
    box.write(soft, inserts(FIRST, "id"), changes(people((1, "ann")), "-D", "id"))
    load = box.begin(soft)
    load.truncate(soft)
    load.write(soft, inserts(people((1, "back")), "id"))
    load.commit([])
    assert rows(box) == [(1, "back", 0), (2, "bob", 1)]
    kept: list[dict[str, Any]] = [{"delete_mode": "ignore"}, {"write_mode": "append", "op_column": "op"}]
    for options in kept:
        load = box.begin(box.target(SCHEMA, **options))
        load.truncate(box.target(SCHEMA, **options))
        load.commit([])
        assert len(rows(box)) == 2


def test_strict_takes_no_truncate(box: Box) -> None:
    target = box.target(SCHEMA, conflict_mode="strict")
    box.prepare(target)
    load = box.begin(target)
    with pytest.raises(EventRefused, match=r"TRUNCATE under .*inserts alone.*\[conflict_mode\]"):
        load.truncate(target)
    load.abort()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (pa.scalar(7, pa.int32()), 7),
        (pa.scalar("O'Reilly\\ \t%s ü"), "O'Reilly\\ \t%s ü"),
        (pa.scalar(True), 1),
        (None, None),
        (pa.scalar(None, pa.int32()), None),
    ],
)
def test_a_column_added_with_a_value_holds_it_in_all_rows_before_and_none_after(either: Box, value: Any, shown: Any) -> None:
    either.write(either.target(SCHEMA), inserts(FIRST, "id"))
    kind = pa.int32() if value is None else value.type
    wide = pa.table({"id": [4], "name": ["d"], "n": pa.array([None], kind)})
    target = either.target(schema_of(wide, "id"))
    either.prepare(target)
    load = either.begin(target)
    load.write(target, inserts(people((3, "cid")), "id"))
    load.fill(target, target.schema.column("n"), value)
    load.write(target, inserts(wide, "id"))
    load.commit([])
    assert rows(either) == [(1, "ann", shown), (2, "bob", shown), (3, "cid", shown), (4, "d", None)]


def test_a_fill_is_refused_where_rows_that_are_there_cannot_be_changed(box: Box) -> None:
    box.table("id BIGINT, name VARCHAR(20)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)")
    target = box.target(SCHEMA, write_mode="append", op_column="op")
    box.prepare(target)
    load = box.begin(target)
    with pytest.raises(SchemaError, match=r"no primary key model.*on_ddl='resync'"):
        load.fill(target, SCHEMA.column("name"), pa.scalar("x"))
    load.abort()


def test_a_truncate_that_was_decided_is_done_before_the_loads_after_it_by_the_next_run(box: Box) -> None:
    target = box.target(SCHEMA)
    box.write(target, inserts(FIRST, "id"))
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    load = box.begin(target, lease=lease)
    load.write(target, inserts(people((3, "cid")), "id"))
    load.truncate(target)
    load.write(target, inserts(people((4, "new")), "id"))
    kill(box.sink, "commit")
    with pytest.raises(Killed):
        load.commit([entry(10)])
    box.reopen()
    box.sink.ledger.acquire("s", "me", 60)
    assert rows(box) == [(4, "new")]


def test_a_truncate_of_v1_is_not_done_again_after_the_loads_that_follow_it(box: Box) -> None:
    box.reopen(sink_version="V1")
    target = box.target(SCHEMA)
    box.write(target, inserts(FIRST, "id"))
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    load = box.begin(target, lease=lease)
    load.truncate(target)
    load.write(target, inserts(people((4, "new")), "id"))
    box.reopen(sink_version="V1")
    lease = box.sink.ledger.acquire("s", "me", 60)
    (intent,) = box.sink.ledger.intents(lease)
    load = box.sink.begin([target], lease, Window({SCHEMA.table: at(4)}, at(10)), intent)
    load.truncate(target)
    load.write(target, inserts(people((4, "new")), "id"))
    load.commit([entry(10)])
    assert rows(box) == [(4, "new")]
