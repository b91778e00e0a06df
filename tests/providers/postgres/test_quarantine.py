"""Refused rows: stored with all changes of their keys, or skipped; the rest is written."""

from __future__ import annotations

import logging
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.postgres.conftest import FAMILY, Box, changes, inserts, schema_of
from tests.providers.postgres.test_load import counts, people, rows
from tidegate.changes.batch import ChangeBatch, RowKind
from tidegate.errors import ConflictError, RowRefused
from tidegate.sync.results import WriteResult

__all__ = ["FAMILY"]
pytestmark = pytest.mark.postgres

SCHEMA = schema_of(people((1, "a")), "id")


@pytest.fixture
def strict_box(box: Box) -> Box:
    """A table that takes names of three characters, not 'bad', and ids below 100."""
    box.execute("CREATE SCHEMA ods")
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY CHECK (id < 100), name varchar(3) CHECK (name <> 'bad'))")
    box.sink.ledger.setup()
    return box


def write(box: Box, batch: ChangeBatch, **options: Any) -> WriteResult:
    lease = box.sink.ledger.acquire("s", "me", 60)
    target = box.target(SCHEMA, **options)
    load = box.sink.begin([target], lease)
    try:
        result = load.write(target, batch)
        load.commit([])
    except BaseException:
        load.abort()
        raise
    return result


def quarantined(box: Box) -> list[tuple[Any, ...]]:
    return box.query(
        "SELECT sync, target_table, keys::text, events, error, superseded_at IS NOT NULL "
        "FROM tidegate.tidegate_quarantine ORDER BY at"
    )


@pytest.mark.parametrize("method", ["copy", "insert", "upsert"])
@pytest.mark.parametrize("on_error", ["quarantine", "skip"])
def test_good_rows_are_written_and_refused_ones_counted(strict_box: Box, method: str, on_error: str) -> None:
    good = [(n, "ok") for n in range(50)]
    batch = inserts(people(*good[:20], (60, "toolong"), *good[20:], (61, "bad"), (62, "a\0b"), (200, "ok")), "id")
    result = write(strict_box, batch, on_error=on_error, method=method)
    assert rows(strict_box) == good
    assert (result.rows, counts(result)) == (54, {"inserted": 50})
    assert (result.quarantined, result.skipped) == ((4, 0) if on_error == "quarantine" else (0, 4))
    assert len(quarantined(strict_box)) == result.quarantined


def test_an_entry_has_the_key_all_its_changes_and_the_error_without_values(strict_box: Box) -> None:
    table = people((1, "a"), (1, "a"), (2, "toolong"), (3, "ok"))
    kinds = pa.array([0, 1, 2, 0], pa.uint8())
    offsets = pa.array([10, 20, 20, 30])
    batch = ChangeBatch.of(SCHEMA, table, kinds, file=pa.array(["b.1"] * 4), offset=offsets, row=pa.array([0, 0, 0, 0]))
    result = write(strict_box, batch, on_error="quarantine")
    assert (result.rows, result.quarantined, counts(result)) == (3, 2, {"inserted": 1})
    assert rows(strict_box) == [(3, "ok")]
    ((sync, table_name, keys, events, error, superseded),) = quarantined(strict_box)
    assert (sync, table_name, keys, superseded) == ("s", "t", '[["1"], ["2"]]', False)
    assert [event["kind"] for event in events] == ["INSERT", "UPDATE_BEFORE", "UPDATE_AFTER"]
    assert events[2] == {
        "kind": "UPDATE_AFTER",
        "file": "b.1",
        "offset": "20",
        "row": "0",
        "values": {"id": "2", "name": "toolong"},
    }
    assert "22001" in error
    assert "toolong" not in error


def test_skipped_rows_are_logged_by_number_and_not_by_value(strict_box: Box, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tidegate"):
        write(strict_box, inserts(people((1, "ok"), (2, "toolong")), "id"), on_error="skip")
    assert "1 changes of 1 keys were refused and are skipped" in caplog.text
    assert "toolong" not in caplog.text


def test_nothing_is_quarantined_if_the_load_is_not_committed(strict_box: Box) -> None:
    lease = strict_box.sink.ledger.acquire("s", "me", 60)
    target = strict_box.target(SCHEMA, on_error="quarantine")
    load = strict_box.sink.begin([target], lease)
    assert load.write(target, inserts(people((1, "toolong")), "id")).quarantined == 1
    load.abort()
    assert quarantined(strict_box) == []


@pytest.mark.parametrize("kind", ["+I", "-D"])
def test_a_later_full_row_or_delete_supersedes_the_entry(strict_box: Box, kind: str) -> None:
    write(strict_box, inserts(people((1, "toolong"), (2, "toolong")), "id"), on_error="quarantine")
    write(strict_box, changes(people((1, "ok")), kind, "id"), on_error="quarantine")
    assert sorted((keys, superseded) for _, _, keys, _, _, superseded in quarantined(strict_box)) == [
        ('[["1"]]', True),
        ('[["2"]]', False),
    ]


def test_an_entry_of_two_keys_is_superseded_when_both_are_settled(strict_box: Box) -> None:
    write(strict_box, changes(people((1, "a"), (2, "toolong")), "-U +U", "id"), on_error="quarantine")
    write(strict_box, inserts(people((2, "ok")), "id"), on_error="quarantine")
    assert [entry[2::3] for entry in quarantined(strict_box)] == [('[["1"]]', False)]
    write(strict_box, changes(people((1, "a")), "-D", "id"), on_error="quarantine")
    assert [entry[5] for entry in quarantined(strict_box)] == [True]


def test_a_later_partial_row_of_a_quarantined_key_joins_it(strict_box: Box) -> None:
    write(strict_box, inserts(people((1, "toolong")), "id"), on_error="quarantine")
    partial = ChangeBatch.of(SCHEMA, people((1, None), (2, None)), RowKind.UPDATE_AFTER, present={"name": pa.array([False, False])})
    result = write(strict_box, partial, on_error="quarantine")
    assert (result.rows, result.quarantined, result.inserted) == (2, 1, 1)
    assert [entry[4] for entry in quarantined(strict_box)][1] == "waits for the quarantined changes of its key"
    assert quarantined(strict_box)[1][3][0]["values"] == {"id": "1"}
    assert [row[0] for row in rows(strict_box)] == [2]


def test_a_later_row_of_a_log_joins_its_key(strict_box: Box) -> None:
    options = {"write_mode": "append", "on_error": "quarantine"}
    write(strict_box, inserts(people((1, "toolong"), (2, "ok")), "id"), **options)
    write(strict_box, inserts(people((1, "ok"), (3, "ok")), "id"), **options)
    assert [row[0] for row in rows(strict_box)] == [2, 3]
    assert len(quarantined(strict_box)) == 2


def test_a_log_without_a_key_holds_single_rows(strict_box: Box) -> None:
    strict_box.execute("ALTER TABLE ods.t DROP CONSTRAINT t_pkey")
    lease = strict_box.sink.ledger.acquire("s", "me", 60)
    target = strict_box.target(schema_of(people((1, "a"))), write_mode="append", on_error="quarantine")
    load = strict_box.sink.begin([target], lease)
    result = load.write(target, inserts(people((1, "ok"), (1, "toolong"), (1, "ok"))))
    load.commit([])
    assert (result.inserted, result.quarantined) == (2, 1)
    assert [entry[2] for entry in quarantined(strict_box)] == ["[]"]


def test_strict_still_raises_for_a_key_that_exists(strict_box: Box) -> None:
    write(strict_box, inserts(people((1, "ok")), "id"))
    with pytest.raises(ConflictError):
        write(strict_box, inserts(people((1, "ok"), (2, "bad")), "id"), on_error="skip", conflict_mode="strict")


def test_a_table_that_refuses_nearly_everything_stops_the_load(strict_box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    many = people(*((n, "toolong") for n in range(50)))
    monkeypatch.setattr("tidegate.sync.quarantine.MOST_REFUSED", 20)
    with pytest.raises(RowRefused):
        write(strict_box, inserts(many, "id"), on_error="skip")


def test_a_write_outside_any_sync_has_a_quarantine_too(box: Box) -> None:
    box.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name varchar(3))")
    target = box.target(SCHEMA, on_error="quarantine")
    assert box.write(target, inserts(people((1, "toolong"), (2, "ok")), "id")).quarantined == 1
    assert [entry[0].strip() for entry in quarantined(box)] == [""]
