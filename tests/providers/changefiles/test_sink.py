from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from tests.providers.changefiles.streams import (
    AFTER,
    BEFORE,
    DELETE,
    INSERT,
    ITEMS,
    OPTIONS,
    ORDERS,
    SCHEMAS,
    TARGETS,
    batch,
    binlog,
    commit,
    inserts,
    open_sink,
    open_source,
    replay,
    rows_of,
    stream_of,
)
from tidegate.changes.batch import KIND
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, EventRefused, SchemaError, SyncBusy
from tidegate.providers.changefiles import datafile
from tidegate.sync.mapping import Sync, Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import plan, refusals
from tidegate.sync.run import run
from tidegate.sync.verbs import Verbs

CAPTURE = Sync.of("recapture", ["shop.orders", "shop.items"], schema="copy", options=OPTIONS)
SEGMENTS = [
    [inserts(1, 2), inserts(7, table=ITEMS)],
    [batch([(BEFORE, 1, "note 1"), (AFTER, 1, None), (DELETE, 2, "note 2")])],
    [batch([(INSERT, 2, "back"), (BEFORE, 1, None), (AFTER, 5, "moved")]), batch([(DELETE, 7, "note 7")], ITEMS)],
]


def test_a_run_captures_the_log_as_it_is_and_a_second_run_does_nothing_twice(tmp_path: Path) -> None:
    stream_of(tmp_path / "a", *SEGMENTS)
    source, sink = open_source(tmp_path / "a"), open_sink(tmp_path / "b")
    result = run(CAPTURE, source, sink, owner="me")
    orders = result.table("shop.orders").write
    assert (orders.rows, orders.inserted, orders.updated, orders.deleted) == (6, 3, 2, 1)

    copy = open_source(tmp_path / "b")
    target = TableName("copy", "orders")
    assert copy.schema(target) == replace(SCHEMAS[ORDERS], table=target)
    assert rows_of(replay(copy, [target]), target) == rows_of(replay(source), ORDERS)

    again = run(CAPTURE, open_source(tmp_path / "a"), open_sink(tmp_path / "b"), owner="me")
    assert again.rows == 0
    assert copy.head().segment == 1


def test_a_capture_in_steps_equals_a_capture_in_one(tmp_path: Path) -> None:
    stream_of(tmp_path / "a", *SEGMENTS)
    for _ in range(4):
        run(CAPTURE, open_source(tmp_path / "a", segments_per_run=1), open_sink(tmp_path / "b"), owner="me")
    copy = open_source(tmp_path / "b")
    assert copy.head().segment == 3
    # A copy of a capture keeps the positions of where it all came from.
    assert copy.head().origin == binlog(300)
    for table in ("orders", "items"):
        target, original = TableName("copy", table), TableName("shop", table)
        assert rows_of(replay(copy, [target]), target) == rows_of(replay(open_source(tmp_path / "a"), [original]), original)


def test_the_plan_refuses_what_files_cannot_do_and_says_what_to_do_instead(tmp_path: Path) -> None:
    stream_of(tmp_path / "a", *SEGMENTS)
    source, sink = open_source(tmp_path / "a"), open_sink(tmp_path / "b")
    sync = Sync.of("mirror", ["shop.orders"], schema="copy")
    with pytest.raises(ConfigError, match=r"keep the change log as it is; use write_mode='append'"):
        plan(sync, source, sink).check()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "options",
    [
        WriteOptions(),
        WriteOptions(write_mode="overwrite"),
        WriteOptions(write_mode="append", delete_mode="ignore"),
        WriteOptions(write_mode="append", op_column="op"),
        WriteOptions(write_mode="append", on_error="quarantine"),
        WriteOptions(write_mode="append", initial="replace"),
        WriteOptions(write_mode="append", method="copy"),
        WriteOptions(write_mode="append", parallelism=4),
        WriteOptions(conflict_mode="update", columns=("note",)),
        WriteOptions(version_column="note"),
        WriteOptions(ignore_nulls=True),
        WriteOptions(delete_mode="soft", soft_delete_column="gone"),
    ],
)
def test_every_refused_option_comes_with_a_reason(options: WriteOptions, tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    found = list(refusals(Target(ORDERS, SCHEMAS[ORDERS], options), sink.capabilities, sink.name))
    assert found
    assert all("the target can't do it" not in str(problem) for problem in found)


def test_what_is_asked_of_append_alone_is_taken(tmp_path: Path) -> None:
    sink = open_sink(tmp_path)
    assert list(refusals(TARGETS[ORDERS], sink.capabilities, sink.name)) == []


def test_an_update_verb_is_refused(tmp_path: Path) -> None:
    preparation = open_sink(tmp_path).inspect(replace(TARGETS[ORDERS], existing_only=True))
    assert len(preparation.problems) == 1


def test_a_table_without_rows_is_a_table_of_the_stream(tmp_path: Path) -> None:
    stream_of(tmp_path, [inserts(1)])
    assert open_source(tmp_path).schema(ITEMS) == SCHEMAS[ITEMS]
    preparation = open_sink(tmp_path).inspect(TARGETS[ITEMS])
    assert (preparation.exists, preparation.empty, preparation.rows) == (True, True, 0)
    preparation = open_sink(tmp_path).inspect(TARGETS[ORDERS])
    assert (preparation.exists, preparation.empty, preparation.rows) == (True, False, 1)


def test_rows_of_a_load_that_was_given_up_are_neither_seen_nor_left_behind(tmp_path: Path) -> None:
    sink = stream_of(tmp_path, [inserts(1)])
    before = sorted((tmp_path / "data").iterdir())
    load = sink.begin([TARGETS[ORDERS]], sink.ledger.acquire("capture_shop", "me", 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datafile, "ROW_GROUP_BYTES", 1)
        load.write(TARGETS[ORDERS], inserts(2))
        load.write(TARGETS[ORDERS], inserts(3))
    assert len(list((tmp_path / "data").iterdir())) == len(before) + 1
    load.abort()
    assert sorted((tmp_path / "data").iterdir()) == before
    assert [row[1] for row in rows_of(replay(open_source(tmp_path)))] == [1]


def test_a_file_of_a_large_load_is_ended_and_the_next_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datafile, "ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr(datafile, "FILE_BYTES", 5000)
    stream_of(tmp_path, [inserts(*range(start, start + 100)) for start in range(0, 2000, 100)])
    assert len(list((tmp_path / "data").iterdir())) > 3
    assert [row[1] for row in rows_of(replay(open_source(tmp_path)))] == list(range(2000))


def test_a_batch_that_ends_inside_an_update_is_refused(tmp_path: Path) -> None:
    load = open_sink(tmp_path).begin([TARGETS[ORDERS]], None)
    with pytest.raises(EventRefused, match="between the two rows of an update"):
        load.write(TARGETS[ORDERS], batch([(BEFORE, 1, "a")]))


def test_read_gives_the_change_log_with_its_kinds(tmp_path: Path) -> None:
    sink = stream_of(tmp_path, *SEGMENTS)
    rows = [row for item in sink.read(ORDERS, ["id", KIND]) for row in item.to_pylist()]
    expected = [{"id": number, KIND: int(kind)} for kind, number, _ in rows_of(replay(open_source(tmp_path)))]
    assert rows == expected
    assert next(sink.read(ORDERS)).schema.names == ["id", "note"]
    with pytest.raises(SchemaError, match="no column nmae"):
        next(sink.read(ORDERS, ["nmae"]))
    with pytest.raises(SchemaError, match="not in the stream"):
        next(sink.read(TableName("shop", "nothing")))


def test_rows_can_be_appended_and_read_by_hand(tmp_path: Path) -> None:
    verbs = Verbs(lambda: open_sink(tmp_path))
    assert verbs.append("shop.orders", [{"id": 1, "note": "a"}, {"id": 2, "note": None}]).inserted == 2
    changes = [{"id": 1, "note": "a", "row_kind": "-D"}]
    assert verbs.apply("shop.orders", changes, write_mode="append").deleted == 1
    assert verbs.read("shop.orders").to_pylist() == [{"id": 1, "note": "a"}, {"id": 2, "note": None}, {"id": 1, "note": "a"}]
    assert rows_of(replay(open_source(tmp_path))) == [(INSERT, 1, "a"), (INSERT, 2, None), (DELETE, 1, "a")]
    with pytest.raises(ConfigError, match="use write_mode='append'"):
        verbs.upsert("shop.orders", [{"id": 1, "note": "a"}], key=["id"])
    with pytest.raises(ConfigError, match=r"append without a key, or through a sync \[idempotency_key\]"):
        verbs.append("shop.orders", [{"id": 3, "note": "c"}], idempotency_key="2026-03-01")


def test_a_capture_into_memory() -> None:
    url = f"memory://{uuid.uuid4().hex}"
    stream_of(url, *SEGMENTS)
    assert run(CAPTURE, open_source(url), open_sink(f"{url}-copy"), owner="me").rows == 8


# A child process that captures one segment and is killed at a step of it: when the file of that name is about to be created.
_KILLED = """
import os, signal, sys
from tests.providers.changefiles.streams import *
from tidegate.providers.changefiles.store import LocalStore

url, step = sys.argv[1:]
sink = open_sink(url)
original = LocalStore.create

def create(self, name, data):
    if step == "before the manifest" and name == "00000002.json":
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, name, data)
    if step == "after the manifest" and name == "00000002.json":
        os.kill(os.getpid(), signal.SIGKILL)

LocalStore.create = create
lease = sink.ledger.acquire("capture_shop", "airflow/1", 60)
load = sink.begin(list(TARGETS.values()), lease)
load.write(TARGETS[ORDERS], inserts(2))
if step == "before the files are finished":
    os.kill(os.getpid(), signal.SIGKILL)
load.commit([entry(ORDERS, binlog(200))])
"""


@pytest.mark.crash
@pytest.mark.parametrize(
    ("step", "done"), [("before the files are finished", False), ("before the manifest", False), ("after the manifest", True)]
)
def test_a_load_that_is_killed_is_there_whole_or_not_at_all(tmp_path: Path, step: str, done: bool) -> None:
    stream_of(tmp_path, [inserts(1)])
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path), step],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.returncode == -signal.SIGKILL
    source, sink = open_source(tmp_path), open_sink(tmp_path)
    assert [row[1] for row in rows_of(replay(source))] == ([1, 2] if done else [1])
    assert sink.ledger.last("capture_shop")[ORDERS].position == (binlog(200) if done else binlog(100))
    with pytest.raises(SyncBusy):
        sink.ledger.acquire("capture_shop", "airflow/2", 60)
    # The task's own retry goes on from what the ledger says.
    lease = sink.ledger.acquire("capture_shop", "airflow/1", 60)
    if not done:
        commit(sink, lease, 200, inserts(2))
    commit(sink, lease, 300, inserts(3))
    assert [row[1] for row in rows_of(replay(source))] == [1, 2, 3]
