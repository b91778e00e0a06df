"""A run, however often it is killed, ends where one that was never killed ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FakeSource, Fault, Faults, Killed, LabelledSink, PreparedSink, Tables, Transaction, TransactionalSink
from tests.model import Change, Model
from tests.scale import examples
from tests.strategies import KEY, SCHEMA, changes, rows, rules
from tidegate.changes.batch import TableEvent, TableEventKind
from tidegate.changes.position import BinlogPosition
from tidegate.changes.rules import Rules
from tidegate.changes.schema import TableName
from tidegate.errors import (
    ConfigError,
    EventRefused,
    LeaseLost,
    LoadUnresolved,
    PermanentError,
    PositionLost,
    SyncBusy,
    TidegateError,
)
from tidegate.sync.mapping import Sync, TableMapping
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import plan
from tidegate.sync.run import run

ORDERS, CUSTOMERS = TableName("shop", "orders"), TableName("shop", "customers")
SCHEMAS = {table: replace(SCHEMA, table=table) for table in (ORDERS, CUSTOMERS)}


def options(rule: Rules, **more: Any) -> WriteOptions:
    return WriteOptions(
        conflict_mode=rule.conflict_mode,
        delete_mode=rule.delete_mode,
        columns=rule.columns,
        version_column=rule.version_column,
        ignore_nulls=rule.ignore_nulls,
        soft_delete_column="deleted" if rule.delete_mode == "soft" else None,
        **more,
    )


def sync_of(write: WriteOptions, *tables: TableName) -> Sync:
    return Sync("shop", tuple(TableMapping(table, TableName("ods", table.name), options=write) for table in tables))


def transactions(*, partial: bool) -> st.SearchStrategy[list[Transaction]]:
    one = st.tuples(st.sampled_from([ORDERS, CUSTOMERS]), changes(partial=partial))
    return st.lists(st.lists(one, min_size=1, max_size=6), max_size=8)


@st.composite
def histories(draw: Any) -> list[Transaction]:
    """Whole-row changes that fit: an insert of a free key, an update of a row that is there."""
    state: dict[TableName, dict[tuple[Any, ...], Any]] = {ORDERS: {}, CUSTOMERS: {}}
    log: list[Transaction] = []
    for _ in range(draw(st.integers(0, 10))):
        txn: Transaction = []
        for _ in range(draw(st.integers(1, 4))):
            table = draw(st.sampled_from([ORDERS, CUSTOMERS]))
            after = draw(rows(partial=False))
            key = tuple(after[name] for name in KEY)
            here = state[table]
            if here and draw(st.booleans()):
                old = draw(st.sampled_from(sorted(here)))
                before = here.pop(old)
                if draw(st.booleans()):
                    txn.append((table, Change(before, None)))
                    continue
                if key in here:
                    after = {**after, **{name: before[name] for name in KEY}}
                txn.append((table, Change(before, after)))
            elif key in here:
                continue
            else:
                txn.append((table, Change(None, after)))
            here[tuple(after[name] for name in KEY)] = after
        if txn:
            log.append(txn)
    return log


FAULTS = st.lists(st.dictionaries(st.integers(1, 25), st.sampled_from(["before", "after", "lost"]), max_size=2), max_size=4)


def run_until_done(
    sync: Sync, source: FakeSource, sink: Any, faults: list[dict[int, Fault]], meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Run, kill, run again; the last run meets no fault. ``meanwhile`` is what the target does between runs."""
    for planned in [*faults, {}]:
        sink.faults = Faults(planned)
        if isinstance(sink, LabelledSink):
            sink.restart(sink.faults)
            meanwhile()
        if planned:
            with suppress(Killed, TidegateError):
                run(sync, source, sink, owner="scheduler")
        else:
            run(sync, source, sink, owner="scheduler")


def sink_of(kind: Callable[..., Any]) -> Any:
    return kind(Tables(SCHEMA.names, SCHEMA.key))


def one_for_all(tables: Tables) -> PreparedSink:
    """One transaction takes the rows of all tables."""
    return PreparedSink(tables, spans_tables=True)


KINDS = [TransactionalSink, LabelledSink, PreparedSink, one_for_all]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(250), deadline=None)
@given(
    log=transactions(partial=True),
    rule=rules(),
    limit=st.integers(1, 4),
    stops=st.lists(st.integers(0, 8), max_size=3),
    faults=FAULTS,
)
def test_changes_cut_anywhere_and_killed_anywhere_end_as_if_applied_one_by_one(
    kind: Any, log: list[Transaction], rule: Rules, limit: int, stops: list[int], faults: list[dict[int, Fault]]
) -> None:
    if rule.conflict_mode == "strict" and kind in (PreparedSink, one_for_all):
        return  # what the rows meet has to be asked before they are loaded, so each load stands alone
    source, sink = FakeSource(SCHEMAS, log), sink_of(kind)
    sync = sync_of(options(rule, batch_rows=limit, flush_interval=1), ORDERS, CUSTOMERS)
    for stop in [0, *sorted(stops), len(log)]:
        source.visible = max(source.visible, min(stop, len(log)))
        run_until_done(sync, source, sink, faults)
    for table in (ORDERS, CUSTOMERS):
        expected = Model(SCHEMA.names, KEY, rule).apply(change for txn in log for name, change in txn if name == table)
        got = sink.tables.models.get(TableName("ods", table.name), Model(SCHEMA.names, KEY, rule))
        assert (got.rows, got.marked) == (expected.rows, expected.marked)
        assert sink.ledger.last("shop")[table].position == source.position(len(log))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(200), deadline=None)
@given(log=transactions(partial=False), limit=st.integers(1, 4), stops=st.lists(st.integers(0, 8), max_size=3), faults=FAULTS)
def test_append_stores_each_change_exactly_once_and_in_order(
    kind: Any, log: list[Transaction], limit: int, stops: list[int], faults: list[dict[int, Fault]]
) -> None:
    source, sink = FakeSource(SCHEMAS, log), sink_of(kind)
    sync = sync_of(WriteOptions(write_mode="append", op_column="op", batch_rows=limit), ORDERS, CUSTOMERS)
    for stop in [0, *sorted(stops), len(log)]:
        source.visible = max(source.visible, min(stop, len(log)))
        run_until_done(sync, source, sink, faults)
    for table in (ORDERS, CUSTOMERS):
        changes_of = [change for txn in log for name, change in txn if name == table and isinstance(change, Change)]
        expected = [(kind.name, row) for change in changes_of for kind, row in change.rows()]
        assert sink.tables.appended.get(TableName("ods", table.name), []) == expected


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(250), deadline=None)
@given(log=histories(), limit=st.integers(1, 3), first=st.integers(0, 10), faults=FAULTS)
def test_a_copy_among_changes_killed_anywhere_ends_equal_to_the_source(
    kind: Any, log: list[Transaction], limit: int, first: int, faults: list[dict[int, Fault]]
) -> None:
    source, sink = FakeSource(SCHEMAS, log, visible=min(first, len(log)), grows=True), sink_of(kind)
    sync = sync_of(WriteOptions(batch_rows=limit), ORDERS, CUSTOMERS)
    run_until_done(sync, source, sink, faults)
    source.visible = len(log)
    run_until_done(sync, source, sink, faults)
    for table in (ORDERS, CUSTOMERS):
        got = sink.tables.models.get(TableName("ods", table.name))
        assert (got.rows if got else {}) == source.state(table)


@st.composite
def altered_histories(draw: Any, kinds: tuple[TableEventKind, ...] = ("truncated", "column_added", "broken")) -> list[Transaction]:
    """Histories with statements in between that concern whole tables."""
    log: list[Transaction] = []
    for txn in draw(histories()):
        log.append(txn)
        if draw(st.booleans()):
            log.append([draw(table_events(kinds))])
    return log


def table_events(kinds: tuple[TableEventKind, ...]) -> st.SearchStrategy[tuple[TableName, TableEvent]]:
    def event(table: TableName, kind: TableEventKind, value: int | None) -> tuple[TableName, TableEvent]:
        constant = None if value is None else pa.scalar(value, SCHEMA.column("b").type)
        return table, TableEvent(table, kind, kind.upper(), "here", SCHEMA.column("b"), constant)

    return st.builds(event, st.sampled_from([ORDERS, CUSTOMERS]), st.sampled_from(kinds), st.none() | st.integers(1, 3))


@pytest.mark.parametrize("ends", ["give_up", "forget"])
@pytest.mark.parametrize("kind", [PreparedSink, one_for_all])
@settings(max_examples=examples(150), deadline=None)
@given(log=histories(), limit=st.integers(1, 3), stops=st.lists(st.integers(0, 10), max_size=3), faults=FAULTS)
def test_what_the_target_gave_up_or_forgot_meanwhile_is_loaded_again(
    kind: Any, ends: str, log: list[Transaction], limit: int, stops: list[int], faults: list[dict[int, Fault]]
) -> None:
    source, sink = FakeSource(SCHEMAS, log), sink_of(kind)
    sync = sync_of(WriteOptions(batch_rows=limit, flush_interval=1), ORDERS, CUSTOMERS)
    for stop in [*sorted(stops), len(log)]:
        source.visible = max(source.visible, min(stop, len(log)))
        run_until_done(sync, source, sink, faults, getattr(sink.transactions, ends))
    for table in (ORDERS, CUSTOMERS):
        got = sink.tables.models.get(TableName("ods", table.name))
        assert (got.rows if got else {}) == source.state(table)


@pytest.mark.parametrize("kind", [LabelledSink, PreparedSink, one_for_all])
@settings(max_examples=examples(150), deadline=None)
@given(
    log=altered_histories(("truncated",)), limit=st.integers(1, 3), stops=st.lists(st.integers(0, 10), max_size=3), faults=FAULTS
)
def test_a_truncate_takes_its_place_among_the_loads_however_often_the_run_is_killed(
    kind: Any, log: list[Transaction], limit: int, stops: list[int], faults: list[dict[int, Fault]]
) -> None:
    source, sink = FakeSource(SCHEMAS, log), sink_of(kind)
    sync = sync_of(WriteOptions(batch_rows=limit, flush_interval=1), ORDERS, CUSTOMERS)
    for stop in [0, *sorted(stops), len(log)]:
        source.visible = max(source.visible, min(stop, len(log)))
        run_until_done(sync, source, sink, faults)
    for table in (ORDERS, CUSTOMERS):
        got = sink.tables.models.get(TableName("ods", table.name))
        assert (got.rows if got else {}) == source.state(table)


@pytest.mark.parametrize("delete_mode", ["apply", "ignore"])
@settings(max_examples=examples(150), deadline=None)
@given(log=altered_histories(), limit=st.integers(1, 3), stops=st.lists(st.integers(0, 10), max_size=3), faults=FAULTS)
def test_tables_that_are_truncated_filled_or_broken_end_equal_to_the_source(
    delete_mode: Any, log: list[Transaction], limit: int, stops: list[int], faults: list[dict[int, Fault]]
) -> None:
    source, sink = FakeSource(SCHEMAS, log, grows=True), sink_of(TransactionalSink)
    sync = sync_of(WriteOptions(batch_rows=limit, flush_interval=1, on_ddl="resync", delete_mode=delete_mode), ORDERS, CUSTOMERS)
    for stop in [*sorted(stops), len(log)]:
        source.visible = max(source.visible, min(stop, len(log)))
        run_until_done(sync, source, sink, faults)
    for table in (ORDERS, CUSTOMERS):
        got = sink.tables.models.get(TableName("ods", table.name))
        rows = got.rows if got else {}
        expected = source.state(table)
        assert {key: rows.get(key) for key in expected} == expected
        assert delete_mode == "ignore" or rows.keys() == expected.keys()
        assert not any(name.name.endswith("__shadow") for name in sink.tables.models)


@pytest.mark.parametrize("kind", [TransactionalSink, LabelledSink])
def test_a_break_stops_the_run_with_what_was_before_it_written_or_not_at_all(kind: Any) -> None:
    broken = TableEvent(ORDERS, "broken", "ALTER TABLE changes values", "binlog.000003:4711")
    source, sink = FakeSource(SCHEMAS, [*_log("a"), [(ORDERS, broken)], *_log("b")]), sink_of(kind)
    run(sync_of(WriteOptions(), ORDERS), source, sink, owner="scheduler")
    source.visible = 3
    for _ in range(2):
        with pytest.raises(EventRefused, match=r"shop\.orders.*4711.*ALTER TABLE changes values.*on_ddl='resync'"):
            run(sync_of(WriteOptions(), ORDERS), source, sink, owner="scheduler")
    run(sync_of(WriteOptions(on_ddl="ignore"), ORDERS), source, sink, owner="scheduler")
    assert sink.ledger.last("shop")[ORDERS].position == source.position(3)


def test_under_fail_even_a_statement_that_could_be_followed_stops_the_run() -> None:
    truncated = TableEvent(ORDERS, "truncated", "TRUNCATE", "binlog.000003:4711")
    source, sink = FakeSource(SCHEMAS, [*_log("a"), [(ORDERS, truncated)]]), sink_of(TransactionalSink)
    sync = sync_of(WriteOptions(on_ddl="fail"), ORDERS)
    source.visible = 1
    run(sync, source, sink, owner="scheduler")
    source.visible = 2
    with pytest.raises(EventRefused, match="TRUNCATE"):
        run(sync, source, sink, owner="scheduler")
    assert len(sink.tables.models[TableName("ods", "orders")].rows) == 1


def test_a_start_that_is_no_snapshot_takes_what_comes_after_it_and_keeps_its_place() -> None:
    source, sink = FakeSource(SCHEMAS, _log("a", "b", "c", "d"), visible=1), sink_of(TransactionalSink)
    sync = Sync("shop", (TableMapping(ORDERS, TableName("ods", "orders"), start="latest"),))
    run(sync, source, sink, owner="scheduler")
    source.visible = 3
    run(sync, source, sink, owner="scheduler")
    assert sorted(sink.tables.models[TableName("ods", "orders")].rows) == [(1, "x"), (2, "x")]


def test_a_start_that_is_no_place_is_said_by_the_plan() -> None:
    source, sink = FakeSource(SCHEMAS, _log("a"), visible=1), sink_of(TransactionalSink)
    sync = Sync("shop", (TableMapping(ORDERS, TableName("ods", "orders"), start="yesterday"),))
    (problem,) = plan(sync, source, sink).problems
    assert "'yesterday' is no place" in str(problem)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "an UPDATE or DELETE at the source stops the sync"),
        ({"delete_mode": "ignore"}, "an UPDATE at the source stops the sync"),
        ({"op_column": "op"}, None),
    ],
)
def test_the_plan_says_that_a_log_without_op_column_takes_inserts_alone(options: dict[str, Any], said: str | None) -> None:
    source, sink = FakeSource(SCHEMAS, _log("a"), visible=1), sink_of(LabelledSink)
    (table,) = plan(sync_of(WriteOptions(write_mode="append", **options), ORDERS), source, sink).tables
    assert [said in warning for warning in table.warnings if said] == [True] * (said is not None)
    assert (said is None) == (table.warnings == ())


def _log(*texts: str) -> list[Transaction]:
    return [[(ORDERS, Change(None, {"id": n, "region": "x", "a": text, "b": 1, "v": 1}))] for n, text in enumerate(texts)]


def test_a_second_run_of_a_busy_sync_is_refused_before_it_reads_anything() -> None:
    source, sink = FakeSource(SCHEMAS, _log("a"), visible=1), sink_of(TransactionalSink)
    sink.memory.acquire("shop", "somebody else", 60)
    with pytest.raises(SyncBusy):
        run(sync_of(WriteOptions(), ORDERS), source, sink, owner="scheduler")
    assert sink.tables.models == {}


def test_a_lease_that_ran_out_is_taken_over_and_the_zombie_cannot_commit() -> None:
    sink = sink_of(TransactionalSink)
    zombie = sink.memory.acquire("shop", "zombie", 60)
    load = sink.begin([], zombie)
    sink.memory.clock = 61
    run(sync_of(WriteOptions(), ORDERS), FakeSource(SCHEMAS, _log("a"), visible=1), sink, owner="scheduler")
    with pytest.raises(LeaseLost):
        load.commit([])


def test_a_zombie_without_transactions_cannot_announce_another_chunk() -> None:
    sink = sink_of(LabelledSink)
    zombie = sink.ledger.acquire("shop", "zombie", 60)
    sink.store.pass_time(61)
    sink.ledger.acquire("shop", "scheduler", 60)
    with pytest.raises(LeaseLost, match="scheduler took over"):
        sink.ledger.record(zombie, [])


def test_a_live_lease_is_kept_and_named() -> None:
    sink = sink_of(LabelledSink)
    sink.ledger.acquire("shop", "first", 60)
    sink.store.pass_time(59)
    with pytest.raises(SyncBusy, match="first runs the sync shop"):
        sink.ledger.acquire("shop", "second", 60)


def _killed_between_send_and_record(write: WriteOptions) -> tuple[Sync, FakeSource, LabelledSink]:
    """A target that has the first chunk of a window whose end nobody recorded."""
    source, sink = FakeSource(SCHEMAS, _log("a", "b")), sink_of(LabelledSink)
    sync = sync_of(write, ORDERS)
    run(sync, source, sink, owner="scheduler")
    source.visible = 2
    for step in range(1, 30):
        sink.restart(Faults({step: "after"}))
        sends = sink.transport.sends
        with pytest.raises(Killed):
            run(sync, source, sink, owner="scheduler")
        if sink.transport.sends > sends:
            break
    sink.restart(Faults())
    return sync, source, sink


def test_an_append_whose_label_was_forgotten_stops_and_says_so() -> None:
    sync, source, sink = _killed_between_send_and_record(WriteOptions(write_mode="append", op_column="op", batch_rows=2))
    sink.transport.forget()
    sink.store.forgotten = True
    with pytest.raises(PermanentError, match="forgotten the label"):
        run(sync, source, sink, owner="scheduler")


def test_an_upsert_whose_label_was_forgotten_is_sent_again() -> None:
    sync, source, sink = _killed_between_send_and_record(WriteOptions(batch_rows=2))
    sink.transport.forget()
    run(sync, source, sink, owner="scheduler")
    assert sink.tables.models[TableName("ods", "orders")].rows == source.state(ORDERS)


APPEND = WriteOptions(write_mode="append", op_column="op", batch_rows=2)


def test_a_log_that_reads_differently_after_a_crash_stops_the_run() -> None:
    sync, source, sink = _killed_between_send_and_record(APPEND)
    source.log[1] = _log("a", "another history")[1]
    for _ in range(2):
        with pytest.raises(PermanentError, match="reads differently now"):
            run(sync, source, sink, owner="scheduler")


def test_rows_with_keys_that_read_differently_after_a_crash_are_read_anew() -> None:
    sync, source, sink = _killed_between_send_and_record(WriteOptions(batch_rows=2))
    source.log[1] = _log("a", "another history")[1]
    with pytest.raises(LoadUnresolved, match=r"reads differently now.*read anew"):
        run(sync, source, sink, owner="scheduler")
    run(sync, source, sink, owner="scheduler")
    assert sink.tables.models[TableName("ods", "orders")].rows == source.state(ORDERS)


def test_options_changed_while_the_intent_of_a_log_is_open_stop_the_run() -> None:
    _, source, sink = _killed_between_send_and_record(APPEND)
    for _ in range(2):
        with pytest.raises(PermanentError, match="written under other options"):
            run(sync_of(APPEND.override({"delete_mode": "ignore"}), ORDERS), source, sink, owner="scheduler")


def test_options_changed_while_an_intent_of_rows_with_keys_is_open_close_it() -> None:
    _, source, sink = _killed_between_send_and_record(WriteOptions(batch_rows=2))
    sync = sync_of(WriteOptions(ignore_nulls=True), ORDERS)
    with pytest.raises(LoadUnresolved, match="written under other options"):
        run(sync, source, sink, owner="scheduler")
    run(sync, source, sink, owner="scheduler")
    assert sink.ledger.last("shop")[ORDERS].position == source.position(2)


def test_a_table_that_leaves_the_sync_takes_its_open_intent_along() -> None:
    _, source, sink = _killed_between_send_and_record(WriteOptions(batch_rows=2))
    run(sync_of(WriteOptions(), CUSTOMERS), source, sink, owner="scheduler")
    run(sync_of(WriteOptions(batch_rows=2), ORDERS), source, sink, owner="scheduler")
    assert sink.tables.models[TableName("ods", "orders")].rows == source.state(ORDERS)


def test_a_log_that_leaves_the_sync_with_an_open_intent_has_to_be_finished() -> None:
    sync, source, sink = _killed_between_send_and_record(APPEND)
    with pytest.raises(ConfigError, match=r"shop\.orders.*run it once more with this table"):
        run(sync_of(APPEND, CUSTOMERS), source, sink, owner="scheduler")
    run(sync, source, sink, owner="scheduler")
    run(sync_of(APPEND, CUSTOMERS), source, sink, owner="scheduler")


@pytest.mark.parametrize(
    "position", [BinlogPosition("binlog.000001", 1, "another server"), BinlogPosition("binlog.000001", 99, "fake")]
)
def test_a_stored_position_of_another_history_stops_the_run(position: BinlogPosition) -> None:
    source, sink = FakeSource(SCHEMAS, _log("a", "b"), visible=1), sink_of(TransactionalSink)
    sync = sync_of(WriteOptions(), ORDERS)
    run(sync, source, sink, owner="scheduler")
    before = sink.tables.copy()
    entry = sink.memory.entries["shop", ORDERS]
    sink.memory.entries["shop", ORDERS] = replace(entry, position=position)
    source.visible = 2
    with pytest.raises(PositionLost, match=r"shop\.orders"):
        run(sync, source, sink, owner="scheduler")
    assert sink.tables.models == before.models


def test_an_idle_source_writes_nothing_and_a_quiet_table_still_advances() -> None:
    source, sink = FakeSource(SCHEMAS, _log("a", "b"), visible=1), sink_of(TransactionalSink)
    sync = sync_of(WriteOptions(), ORDERS, CUSTOMERS)
    run(sync, source, sink, owner="scheduler")
    lines = len(sink.memory.history)
    result = run(sync, source, sink, owner="scheduler")
    assert len(sink.memory.history) == lines
    assert {table.phase for table in result.tables} == {"idle"}
    source.visible = 2
    result = run(sync, source, sink, owner="scheduler")
    assert [table.write.rows for table in result.tables] == [1, 0]
    assert sink.memory.last("shop")[CUSTOMERS].position == source.position(2)
