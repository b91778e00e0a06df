"""Events that aren't what they should be are refused, with table and position; nothing else is ever made of them."""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.providers.mysql.reading import Database, events
from tests.scale import examples
from tidegate.changes.batch import Chunk
from tidegate.changes.position import BinlogPosition
from tidegate.errors import EventRefused, TidegateError, Unavailable
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.providers.mysql.source import MysqlSource
from tidegate.sync.protocols import Limits, Window

pytestmark = pytest.mark.mysql

Change = Callable[[bytes], bytes]
BODY = ev.HEADER_SIZE


def kinds_and_keys(chunks: list[Chunk]) -> list[tuple[str, int]]:
    return [event[:2] for event in events(chunks)]


def sealed(event: bytes) -> bytes:
    """The event with the size and the checksum that its bytes have."""
    event = event[:9] + len(event).to_bytes(4, "little") + event[13:-4]
    return event + zlib.crc32(event).to_bytes(4, "little")


class Log:
    """A piece of a log that is kept, to be read again with other bytes in it."""

    def __init__(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source: MysqlSource = db.source()
        self.table = db.table("t")
        db.execute("CREATE TABLE t (k INT PRIMARY KEY, a VARCHAR(20), b DECIMAL(12, 2), c TEXT, d DATETIME(3), e ENUM('x', 'y'))")
        self.begin: BinlogPosition = self.source.head()
        db.execute(
            "INSERT INTO t VALUES (1, 'one', 1.5, NULL, '2024-01-02 03:04:05.678', 'y'), (2, NULL, -2.5, 'text', NULL, 'x'), "
            "(4, '', 0, '', '2024-01-02', 'x')",
            "UPDATE t SET k = 3, a = 'three' WHERE k = 2",
            "DELETE FROM t",
        )
        self.until = self.source.head()
        self.events: list[bytes] = []
        self.changed = self.events
        honest = Dump.events

        def kept(dump: Dump, file: str, offset: int) -> Iterator[bytes]:
            for event in honest(dump, file, offset):
                self.events.append(event)
                yield event

        monkeypatch.setattr(Dump, "events", kept)
        self.rows = kinds_and_keys(self._read())
        monkeypatch.setattr(Dump, "events", lambda dump, file, offset: iter(self.changed))

    def _read(self) -> list[Chunk]:
        return list(self.source.read(Window({self.table: self.begin}, self.until), Limits()))

    def read(self, kinds: frozenset[int], change: Change) -> list[Chunk]:
        """With the events of these kinds changed."""
        self.changed = [sealed(change(event)) if event[4] in kinds else event for event in self.events]
        return self._read()


@pytest.fixture
def log(db: Database, monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(db, monkeypatch)


def shorter(size: int) -> Change:
    return lambda event: event[: -4 - size] + event[-4:]


def longer(more: bytes) -> Change:
    return lambda event: event[:-4] + more + event[-4:]


def test_a_log_that_is_left_alone_gives_its_rows(log: Log) -> None:
    assert log.rows == [("+I", 1), ("+I", 2), ("+I", 4), ("-U", 2), ("+U", 3), ("-D", 1), ("-D", 3), ("-D", 4)]
    assert kinds_and_keys(log.read(frozenset(), lambda event: event)) == log.rows


CHANGES = [*map(shorter, (1, 2, 7, 25)), *map(longer, (b"\0", b"\1", b"\1" * 9))]


def test_rows_that_do_not_fill_their_event_exactly_are_refused(log: Log) -> None:
    for kinds, change in itertools.product((ev.INSERTS, ev.UPDATES, ev.DELETES), CHANGES):
        with pytest.raises(EventRefused) as caught:
            log.read(kinds, change)
        assert caught.value.table == str(log.table)
        assert caught.value.position is not None
        assert caught.value.position.startswith(log.begin.file + ":")
        assert int(caught.value.position.partition(":")[2]) > log.begin.offset


def test_a_row_event_that_ends_before_its_rows_is_refused(log: Log) -> None:
    for size in (BODY + 5, BODY + 8, BODY + 9):
        with pytest.raises(EventRefused):
            log.read(ev.ROWS, lambda event, size=size: event[:size] + event[-4:])  # type: ignore[misc]


def test_an_update_with_a_row_before_and_none_after_is_refused(log: Log) -> None:
    def as_update(event: bytes) -> bytes:
        """The three rows of the insert; an update says twice which columns it has."""
        kind, bitmap = (ev.UPDATE_V2, BODY + 11) if event[4] == ev.WRITE_V2 else (ev.UPDATE_V1, BODY + 9)
        return event[:4] + bytes((kind,)) + event[5:bitmap] + b"\xff" + event[bitmap:]

    with pytest.raises(EventRefused, match="a row before and none after"):
        log.read(ev.INSERTS, as_update)


def test_an_event_without_a_whole_header_is_not_read(log: Log) -> None:
    for size in (0, 3, 18):
        log.changed = [event[:size] if event[4] in ev.UPDATES else event for event in log.events]
        with pytest.raises(Unavailable):
            log._read()


def test_an_event_of_another_size_than_it_says_is_not_read(log: Log) -> None:
    def grown(event: bytes) -> bytes:
        event = event[:-4] + b"\0"
        return event + zlib.crc32(event).to_bytes(4, "little")

    log.changed = [grown(event) if event[4] in ev.UPDATES else event for event in log.events]
    with pytest.raises(Unavailable, match="instead of"):
        log._read()


def test_a_value_that_its_column_can_not_have_names_the_column_and_no_value(log: Log) -> None:
    with pytest.raises(EventRefused, match="column a holds a value that is no string") as caught:
        log.read(ev.INSERTS, lambda event: event.replace(b"\x03one", b"\x03\xffne"))
    assert caught.value.table == str(log.table)
    assert caught.value.position is not None


def test_a_row_event_of_other_columns_than_its_table_map_is_refused(log: Log) -> None:
    columns = BODY + 8

    def fewer(event: bytes) -> bytes:
        at = columns + (2 if event[4] in ev.ROWS_V2 else 0)
        return event[:at] + b"\x05" + event[at + 1 :]

    with pytest.raises(EventRefused, match="5 columns under a table map of 6") as caught:
        log.read(ev.INSERTS, fewer)
    assert caught.value.table == str(log.table)


def test_a_row_event_without_table_map_is_refused(log: Log) -> None:
    with pytest.raises(EventRefused, match="without a table map"):
        log.read(ev.INSERTS, lambda event: event[:BODY] + b"\x99\x99\x99\x99\x99\0" + event[BODY + 6 :])


@settings(
    max_examples=examples(40),
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_events_with_any_bytes_changed_are_read_or_refused(log: Log, data: st.DataObject) -> None:
    """Checksums put right: what is left is what the decoder itself sees."""
    kinds = data.draw(
        st.sampled_from((ev.ROWS, ev.ROWS, frozenset((ev.TABLE_MAP,)), frozenset((ev.QUERY, ev.MARIADB_GTID, ev.XID))))
    )
    place = data.draw(st.integers(BODY, 400))
    bytes_ = data.draw(st.binary(min_size=1, max_size=4))
    cut = data.draw(st.sampled_from((0, 0, 0, 1, 10, 60)))

    def change(event: bytes) -> bytes:
        at = BODY + (place - BODY) % max(1, len(event) - 4 - BODY)
        changed = event[:at] + bytes_ + event[at + len(bytes_) : -4]
        return changed[: max(BODY, len(changed) - cut)] + event[-4:]

    with contextlib.suppress(TidegateError):
        log.read(kinds, change)
