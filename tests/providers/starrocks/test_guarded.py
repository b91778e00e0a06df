"""Rows that the table refuses, by our check or by the server: stored with all changes of their keys, or skipped; the rest is in."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.starrocks.conftest import (
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
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.errors import ConflictError, PermanentError, RowRefused, TidegateError, TransientError
from tidegate.providers.starrocks import quarantine as shelf
from tidegate.providers.starrocks.quarantine import StarrocksShelf
from tidegate.sync import quarantine
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Window
from tidegate.sync.results import WriteResult

CHECKED = {"columns": "id,name,n=id"}
"""With this header it is the server alone that refuses an id which is no TINYINT."""


@pytest.fixture
def strict(box: Box) -> Box:
    """A table that takes names of three bytes (our check) and ids below 128 (the server's, under CHECKED)."""
    box.table("id BIGINT, name VARCHAR(3), n TINYINT NOT NULL DEFAULT '0'")
    box.sink.ledger.setup()
    return box


def write(box: Box, batch: ChangeBatch, **options: Any) -> WriteResult:
    lease = box.sink.ledger.acquire("s", "me", 60)
    return box.write(box.target(SCHEMA, **options), batch, lease=lease)


def names(box: Box) -> list[tuple[Any, ...]]:
    return box.query("SELECT id, name FROM t ORDER BY id")


def quarantined(box: Box) -> list[tuple[Any, ...]]:
    return box.query(
        "SELECT sync, target_table, `keys`, events, error, superseded_at IS NOT NULL "
        "FROM tidegate_quarantine ORDER BY `keys`, events"
    )


@pytest.mark.parametrize("version", ["AUTO", "V2"])
@pytest.mark.parametrize("on_error", ["quarantine", "skip"])
def test_good_rows_are_written_and_refused_ones_counted(strict: Box, on_error: str, version: str) -> None:
    strict.reopen(sink_version=version)
    good = [(n, "ok") for n in range(20)]
    batch = inserts(people(*good[:8], (60, "toolong"), *good[8:], (61, "bad\0"), (200, "ok")), "id")
    result = write(strict, batch, on_error=on_error, properties=CHECKED)
    assert names(strict) == good
    assert (result.quarantined, result.skipped) == ((3, 0) if on_error == "quarantine" else (0, 3))
    assert result.rows == 23
    assert result.failed_loads > 0, "the server refused 200, and the halves that it was in"
    if on_error == "quarantine":
        assert len(quarantined(strict)) == 3


def test_a_refusal_of_the_server_ends_the_window_unless_told_otherwise(strict: Box) -> None:
    with pytest.raises(RowRefused, match="too many filtered rows"):
        write(strict, inserts(people((1, "ok"), (200, "ok")), "id"), properties=CHECKED)
    assert names(strict) == []
    assert strict.sink.ledger.last("s") == {}


def test_an_entry_has_the_key_all_its_changes_and_the_error_without_values(strict: Box) -> None:
    table = people((1, "a"), (1, "a"), (2, "toolong"), (3, "ok"))
    kinds = pa.array([0, 1, 2, 0], pa.uint8())
    offsets = pa.array([10, 20, 20, 30])
    batch = ChangeBatch.of(SCHEMA, table, kinds, file=pa.array(["b.1"] * 4), offset=offsets, row=pa.array([0, 0, 0, 0]))
    result = write(strict, batch, on_error="quarantine")
    assert (result.rows, result.quarantined) == (3, 2)
    assert names(strict) == [(3, "ok")]
    ((sync, table_name, keys, events, error, superseded),) = quarantined(strict)
    assert (sync, table_name, keys, superseded) == ("s", "t", '[["1"], ["2"]]', 0)
    assert '"offset": "20"' in events
    assert '"toolong"' in events
    assert "toolong" not in error


def test_skipped_rows_are_logged_by_number_and_not_by_value(strict: Box, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tidegate"):
        write(strict, inserts(people((1, "ok"), (2, "toolong")), "id"), on_error="skip")
    assert "1 changes of 1 keys were refused and are skipped" in caplog.text
    assert "toolong" not in caplog.text


@pytest.mark.parametrize("kind", ["+I", "-D"])
def test_a_later_full_row_or_delete_supersedes_the_entry(strict: Box, kind: str) -> None:
    write(strict, inserts(people((1, "toolong"), (2, "toolong")), "id"), on_error="quarantine")
    write(strict, changes(people((1, "ok")), kind, "id"), on_error="quarantine")
    assert [(line[2], line[5]) for line in quarantined(strict)] == [('[["1"]]', 1), ('[["2"]]', 0)]


def test_an_entry_of_two_keys_is_superseded_when_both_are_settled(strict: Box) -> None:
    write(strict, changes(people((1, "a"), (2, "toolong")), "-U +U", "id"), on_error="quarantine")
    write(strict, inserts(people((2, "ok")), "id"), on_error="quarantine")
    assert [line[2::3] for line in quarantined(strict)] == [('[["1"], ["2"]]', 1), ('[["1"]]', 0)]
    write(strict, changes(people((1, "a")), "-D", "id"), on_error="quarantine")
    assert [line[5] for line in quarantined(strict)] == [1, 1]


def test_a_later_partial_row_of_a_quarantined_key_waits_with_it(strict: Box) -> None:
    write(strict, inserts(people((1, "toolong")), "id"), on_error="quarantine")
    partial = changes(people((1, None), (2, None)), "+U +U", "id", present={"name": pa.array([False, False])})
    result = write(strict, partial, on_error="quarantine")
    assert (result.rows, result.quarantined) == (2, 1)
    assert sorted(line[4] for line in quarantined(strict))[1] == "waits for the quarantined changes of its key"
    assert names(strict) == [(2, None)]


def test_a_later_row_of_a_log_joins_its_key(strict: Box) -> None:
    strict.table("id BIGINT, name VARCHAR(3)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "u")
    for batch in (people((1, "toolong"), (2, "ok")), people((1, "ok"), (3, "ok"))):
        lease = strict.sink.ledger.acquire("s", "me", 60)
        strict.write(strict.target(SCHEMA, "u", write_mode="append", on_error="quarantine"), inserts(batch, "id"), lease=lease)
    assert rows(strict, "u") == [(2, "ok"), (3, "ok")]
    assert len(quarantined(strict)) == 2


def test_strict_still_raises_for_a_key_that_exists(strict: Box) -> None:
    write(strict, inserts(people((1, "ok")), "id"))
    with pytest.raises(ConflictError):
        write(strict, inserts(people((1, "ok"), (2, "bad")), "id"), on_error="skip", conflict_mode="strict")


def test_a_write_outside_any_sync_has_a_quarantine_too(strict: Box) -> None:
    target = strict.target(SCHEMA, on_error="quarantine")
    assert strict.write(target, inserts(people((1, "toolong"), (2, "ok")), "id")).quarantined == 1
    assert [line[0] for line in quarantined(strict)] == [""]


# Cut off between the halves


def halved(box: Box, batch: ChangeBatch, version: str, nth: int, *, after: bool, table: str = "t", **options: Any) -> None:
    """A run that dies at its nth load, and the next one, which goes on with the intent."""
    box.reopen(sink_version=version)
    target = box.target(SCHEMA, table, **options)
    box.prepare(target)
    lease = box.sink.ledger.acquire("s", "me", 60)
    kill(box.sink, "load" if version == "AUTO" else "send" if not after else "commit", nth=nth, after=after)
    load = box.begin(target, lease=lease)
    with pytest.raises(Killed):
        load.write(target, batch)
    box.reopen(sink_version=version)
    lease = box.sink.ledger.acquire("s", "me", 60)
    (intent,) = box.sink.ledger.intents(lease)
    load = box.sink.begin([target], lease, Window({SCHEMA.table: at(4)}, at(10)), intent)
    load.write(target, batch)
    load.commit([entry(10)])


@pytest.mark.parametrize("version", ["AUTO", "V2"])
@pytest.mark.parametrize(("nth", "after"), [(2, False), (1, True), (3, False)])
def test_a_chunk_that_was_halved_is_halved_the_same_way_by_the_next_run(strict: Box, version: str, nth: int, after: bool) -> None:
    batch = inserts(people((1, "a"), (2, "b"), (200, "c"), (4, "d"), (5, "toolong")), "id")
    halved(strict, batch, version, nth, after=after, on_error="quarantine", properties=CHECKED)
    assert names(strict) == [(1, "a"), (2, "b"), (4, "d")]
    assert [line[2] for line in quarantined(strict)] == ['[["200"]]', '[["5"]]'], "each once"


def test_a_chunk_that_was_refused_is_not_taken_after_its_halves(strict: Box) -> None:
    """Somebody widened the table between the two runs: rows of a log would be in twice."""
    strict.table("id BIGINT, name VARCHAR(3), n TINYINT NOT NULL", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "u")
    target = strict.target(SCHEMA, "u", write_mode="append", on_error="skip", properties=CHECKED)
    batch = inserts(people((1, "a"), (2, "b"), (200, "c")), "id")
    lease = strict.sink.ledger.acquire("s", "me", 60)
    kill(strict.sink, "load", nth=3)
    load = strict.begin(target, lease=lease)
    with pytest.raises(Killed):
        load.write(target, batch)
    assert len(rows(strict, "u")) == 1
    strict.execute("ALTER TABLE u MODIFY COLUMN n INT NOT NULL")
    strict.reopen()
    lease = strict.sink.ledger.acquire("s", "me", 60)
    (intent,) = strict.sink.ledger.intents(lease)
    load = strict.sink.begin([target], lease, Window({SCHEMA.table: at(4)}, at(10)), intent)
    load.write(target, batch)
    load.commit([entry(10)])
    assert [row[0] for row in rows(strict, "u")] == [1, 2, 200]


PARTIAL = {"name": pa.array([False])}
LOG = [
    inserts(people((1, "ok"), (2, "ok")), "id"),
    inserts(people((1, "toolong"), (3, "ok")), "id"),
    inserts(people((1, "ok"), (4, "toolong"), (5, "ok")), "id"),
]
TABLE = [
    changes(people((7, None)), "+U", "id", present=PARTIAL),
    changes(people((7, "a"), (8, "toolong"), (3, "ok")), "-U +U +I", "id"),
    inserts(people((7, "new"), (8, "ok")), "id"),
    changes(people((9, None)), "+U", "id", present=PARTIAL),
    inserts(people((5, "ok")), "id"),
]


STEPS = {("append", "load"): 3, ("append", "quarantine"): 3, ("upsert", "load"): 5, ("upsert", "quarantine"): 6}


@pytest.mark.parametrize(("mode", "dies_at", "nth"), [(*what, nth) for what, most in STEPS.items() for nth in range(1, most + 1)])
def test_what_a_dead_run_held_back_or_settled_changes_nothing_for_the_next(
    strict: Box, monkeypatch: pytest.MonkeyPatch, mode: Any, dies_at: str, nth: int
) -> None:
    """It cuts the window into the same chunks, so none of them reads differently."""
    strict.table("id BIGINT, name VARCHAR(3)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    target = strict.target(SCHEMA, "log" if mode == "append" else "t", on_error="quarantine", write_mode=mode)
    if mode == "upsert":
        write(strict, inserts(people((7, "toolong"), (9, "toolong")), "id"), on_error="quarantine")
    batches = LOG if mode == "append" else TABLE

    def run() -> None:
        lease = strict.sink.ledger.acquire("s", "me", 60)
        open_ = strict.sink.ledger.intents(lease)
        load = strict.sink.begin([target], lease, Window({SCHEMA.table: at(4)}, at(10)), open_[0] if open_ else None)
        for batch in batches:
            load.write(target, batch)
        load.commit([entry(10)])

    strict.prepare(target)
    with monkeypatch.context() as patch:
        if dies_at == "load":
            kill(strict.sink, "load", nth=nth, after=True)
        else:
            real, calls = StarrocksShelf._insert, itertools.count(1)

            def insert(self: StarrocksShelf, rows: str, params: Sequence[str]) -> None:
                real(self, rows, params)
                if next(calls) == nth:
                    raise Killed

            patch.setattr(StarrocksShelf, "_insert", insert)
        with pytest.raises(Killed):
            run()
    strict.reopen()
    run()
    found = [line[2::3] for line in quarantined(strict)]
    if mode == "append":
        assert strict.query("SELECT id, name FROM log ORDER BY id") == [(1, "ok"), (2, "ok"), (3, "ok"), (5, "ok")]
        assert found == [('[["1"]]', 0), ('[["1"]]', 0), ('[["4"]]', 0)]
    else:
        assert names(strict) == [(3, "ok"), (5, "ok"), (7, "new"), (8, "ok")]
        assert found == [('[["7"], ["8"]]', 1), ('[["7"]]', 1), ('[["7"]]', 1), ('[["9"]]', 0), ('[["9"]]', 0)]


# Put right between the runs


def again(box: Box, target: Target, *batches: ChangeBatch) -> None:
    """The next run, which goes on with what is open; after an error that may pass it is tried once more."""
    box.reopen(sink_version=box.sink._values["sink_version"])
    for last in (False, True):
        lease = box.sink.ledger.acquire("s", "me", 60)
        intents = box.sink.ledger.intents(lease)
        try:
            load = box.sink.begin([target], lease, Window({SCHEMA.table: at(4)}, at(10)), intents[0] if intents else None)
            for batch in batches:
                load.write(target, batch)
            load.commit([entry(10)])
            return
        except TransientError:
            assert not last


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("then", ["quarantine", "fail"])
def test_rows_that_stopped_a_run_are_taken_once_the_table_takes_them(
    strict: Box, monkeypatch: pytest.MonkeyPatch, mode: Any, then: Any
) -> None:
    """More were refused than one would look at one by one."""
    monkeypatch.setattr(quarantine, "MOST_REFUSED", 1)
    strict.reopen(sink_version="V1")
    name = "t" if mode == "upsert" else "log"
    strict.table("id BIGINT, name VARCHAR(3), n TINYINT NOT NULL", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    target = strict.target(SCHEMA, name, on_error="quarantine", write_mode=mode, properties=CHECKED)
    batch = inserts(people((1, "a"), (200, "b"), (3, "c"), (201, "d"), (202, "e"), (4, "f")), "id")
    lease = strict.sink.ledger.acquire("s", "me", 60)
    with pytest.raises(RowRefused):
        strict.begin(target, lease=lease).write(target, batch)
    strict.execute(f"ALTER TABLE {name} MODIFY COLUMN n INT NOT NULL")
    again(strict, strict.target(SCHEMA, name, on_error=then, write_mode=mode, properties=CHECKED), batch)
    assert [id for (id,) in strict.query(f"SELECT id FROM {name} ORDER BY id")] == [1, 3, 4, 200, 201, 202]


def test_halves_are_told_from_the_whole_that_was_refused_when_no_label_is_known_any_more(strict: Box) -> None:
    """The last event of both is the same."""
    events = "tidegate_file VARCHAR(512), tidegate_offset BIGINT, tidegate_row INT"
    strict.table(f"id BIGINT, name VARCHAR(3), n TINYINT NOT NULL, {events}", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    header = {"columns": "id,name,tidegate_file,tidegate_offset,tidegate_row,n=id"}
    target = strict.target(SCHEMA, "log", on_error="quarantine", write_mode="append", properties=header)
    some = people((1, "a"), (200, "b"), (3, "c"), (4, "d"))
    where = {"file": pa.array(["b.1"] * 4), "offset": pa.array([10, 20, 30, 40]), "row": pa.array([0] * 4)}
    batch = ChangeBatch.of(SCHEMA, some, RowKind.INSERT, **where)
    lease = strict.sink.ledger.acquire("s", "me", 60)
    load = strict.begin(target, lease=lease)
    load.write(target, batch)
    strict.server.control("POST", "/clock", forward=5 * 86_400)
    again(strict, target, batch)
    assert [id for (id,) in strict.query("SELECT id FROM log ORDER BY id")] == [1, 3, 4]
    assert [line[2] for line in quarantined(strict)] == ['[["200"]]']


def test_a_column_that_the_table_gains_does_not_stop_a_log(strict: Box) -> None:
    strict.reopen(sink_version="V1")
    strict.table("id BIGINT, name VARCHAR(3)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)", "log")
    target = strict.target(SCHEMA, "log", write_mode="append")
    batch = inserts(people((1, "a"), (2, "b")), "id")
    lease = strict.sink.ledger.acquire("s", "me", 60)
    strict.begin(target, lease=lease).write(target, batch)
    strict.execute("ALTER TABLE log ADD COLUMN more INT")
    again(strict, target, batch, inserts(people((3, "c")), "id"))
    assert strict.query("SELECT id, name FROM log ORDER BY id") == [(1, "a"), (2, "b"), (3, "c")]


def test_an_intent_of_strict_is_not_begun_anew(strict: Box) -> None:
    target = strict.target(SCHEMA, conflict_mode="strict")
    lease = strict.sink.ledger.acquire("s", "me", 60)
    strict.begin(target, lease=lease).write(target, inserts(people((1, "a")), "id"))
    other = strict.target(SCHEMA, conflict_mode="strict", ignore_nulls=True)
    strict.reopen()
    lease = strict.sink.ledger.acquire("s", "me", 60)
    with pytest.raises(PermanentError, match="written under other options"):
        strict.begin(other, lease=lease, intent=strict.sink.ledger.intents(lease)[0])


def test_what_is_too_long_for_one_entry_is_kept_in_several(strict: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_LONGEST", 100)
    write(strict, inserts(people((1, "toolong"), (2, "toolong"), (3, "toolong")), "id"), on_error="quarantine")
    waiting = changes(people((1, None), (2, None), (3, None)), "+U +U +U", "id", present={"name": pa.array([False] * 3)})
    assert write(strict, waiting, on_error="quarantine").quarantined == 3
    keys = sorted(key for line in quarantined(strict) for (key,) in json.loads(line[2]))
    assert keys == ["1", "1", "2", "2", "3", "3"]


# What was asked of the table is not asked again once later rows are in


@pytest.mark.parametrize("options", [{"conflict_mode": "ignore"}, {"conflict_mode": "update"}])
def test_a_chunk_that_loaded_no_new_row_loads_none_when_the_next_run_repeats_it(box: Box, options: dict[str, Any]) -> None:
    box.sink.ledger.setup()
    box.write(box.target(SCHEMA), inserts(people((1, "old"), (2, "old")), "id"))
    target = box.target(SCHEMA, **options)
    first, second = inserts(people((1, "new")), "id"), changes(people((1, "x"), (3, "y")), "-D +I", "id")
    lease = box.sink.ledger.acquire("s", "me", 60)
    load = box.begin(target, lease=lease)
    load.write(target, first)
    load.write(target, second)
    box.reopen()
    lease = box.sink.ledger.acquire("s", "me", 60)
    (intent,) = box.sink.ledger.intents(lease)
    load = box.sink.begin([target], lease, Window({SCHEMA.table: at(4)}, at(10)), intent)
    load.write(target, first)
    load.write(target, second)
    load.commit([entry(10)])
    assert rows(box) == [(2, "old"), (3, "y")]


def test_a_window_that_reads_differently_is_not_gone_on_with(box: Box) -> None:
    box.reopen(sink_version="V1")
    box.sink.ledger.setup()
    target = box.target(SCHEMA)
    box.prepare(target)
    lease = box.sink.ledger.acquire("s", "me", 60)
    box.begin(target, lease=lease).write(target, inserts(people((1, "a")), "id"))
    (intent,) = box.sink.ledger.intents(lease)
    with pytest.raises(TidegateError, match="reads differently now"):
        box.begin(target, lease=lease, intent=intent).write(target, inserts(people((1, "b")), "id"))
    with pytest.raises(TidegateError, match=r"had 1 chunks when it was announced and has 0 now"):
        box.begin(target, lease=lease, intent=intent).commit([entry(10)])
    other = box.target(schema_of(people((1, "a")), "id"), ignore_nulls=True)
    with pytest.raises(TidegateError, match="written under other options"):
        box.begin(other, lease=lease, intent=intent)
