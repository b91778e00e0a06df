"""When the log of a stored position is purged: calculated from evidence, and asked of real servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.mysql.reading import Database
from tests.servers import MySqlServer, running, start_mariadb, start_mysql56
from tidegate.changes.position import BinlogPosition, Position, SegmentPosition, SnapshotPosition
from tidegate.changes.schema import TableName
from tidegate.providers.mysql.log import LogFile
from tidegate.providers.mysql.retention import LogView, early_purge, keeping, seconds_left

NOW = 1_800_000_000.0
HOUR = 3600.0
T = TableName("shop", "t")


def view(
    begun_ago: Sequence[float],
    sizes: Sequence[int] | None = None,
    *,
    first: int = 1,
    expire: float | None = None,
    total: int | None = None,
) -> LogView:
    """Files begun so many seconds ago, oldest first."""
    names = [f"binlog.{first + index:06}" for index in range(len(begun_ago))]
    files = tuple(LogFile(name, size) for name, size in zip(names, sizes or [1000] * len(names), strict=True))
    begun = {name: NOW - ago for name, ago in zip(names, begun_ago, strict=True)}
    return LogView(NOW, files, begun, expire, total)


class TestCalculation:
    def test_a_closed_file_goes_when_its_last_change_is_too_old(self) -> None:
        left, reason = seconds_left(view([30 * HOUR, 16 * HOUR, HOUR], expire=24 * HOUR), "binlog.000001")
        assert left == 8 * HOUR, "closed when the second file was begun, 16 h ago"
        assert "keeps a file for 24 h" in reason

    def test_one_that_is_due_may_go_at_any_moment(self) -> None:
        assert seconds_left(view([50 * HOUR, 40 * HOUR], expire=24 * HOUR), "binlog.000001")[0] == 0

    def test_the_newest_is_kept_for_the_whole_time_from_now(self) -> None:
        found = view([50 * HOUR, 40 * HOUR], expire=24 * HOUR)
        assert seconds_left(found, "binlog.000002") == seconds_left(found, None)
        assert seconds_left(found, None)[0] == 24 * HOUR

    def test_without_a_rule_nothing_goes(self) -> None:
        left, reason = seconds_left(view([HOUR]), None)
        assert left is None
        assert "no rule" in reason

    def test_a_size_is_reached_at_the_present_rate(self) -> None:
        """4000 bytes in 4 h, and 2000 may come."""
        found = view([4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR], total=5000)
        left, reason = seconds_left(found, "binlog.000002")
        assert left == pytest.approx(2 * HOUR)
        assert "1,000 bytes an hour" in reason
        assert seconds_left(view([2 * HOUR, HOUR], total=1500), "binlog.000001")[0] == 0

    def test_the_rule_that_acts_first_counts(self) -> None:
        times = [4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR]
        assert "max_binlog_total_size" in seconds_left(view(times, total=5000, expire=24 * HOUR), "binlog.000002")[1]
        assert "expire_logs" in seconds_left(view(times, total=5000, expire=2.5 * HOUR), "binlog.000002")[1]

    def test_what_is_not_known_is_said(self) -> None:
        found = replace(view([4 * HOUR, 3 * HOUR], expire=HOUR), begun={})
        assert seconds_left(found, "binlog.000001") == (None, "when binlog.000001 was closed isn't known")
        assert "how fast it fills isn't known" in seconds_left(replace(view([HOUR], total=10**9), begun={}), None)[1]

    def test_files_that_went_too_early_are_evidence_of_another_rule(self) -> None:
        (text,) = early_purge(view([6 * HOUR, HOUR], first=7, expire=240 * HOUR))
        assert "the file before binlog.000007 was purged within 6 h of its end" in text
        assert "no rule" in next(early_purge(view([6 * HOUR], first=7)))
        assert not [*early_purge(view([6 * HOUR, HOUR], first=7, expire=5 * HOUR))]
        assert not [*early_purge(view([6 * HOUR, HOUR], first=1, expire=240 * HOUR))]

    def test_tables_get_bytes_and_time_behind(self) -> None:
        low = BinlogPosition("binlog.000002", 400, "s")
        stored: dict[TableName, Position | None] = {
            T: low,
            TableName("shop", "copying"): SnapshotPosition(low),
            TableName("shop", "new"): None,
            TableName("shop", "gone"): BinlogPosition("binlog.000000", 4, "s"),
            TableName("shop", "other"): SegmentPosition("s"),
        }
        found = {item.table.name: item for item in keeping(view([3, 2, 1], expire=60), stored, {low: 5.0})}
        assert [*found] == ["t", "copying", "new"], "positions that are lost are another finding"
        assert (found["t"].bytes_behind, found["t"].seconds_behind, found["t"].seconds_left) == (1600, 5.0, 59.0)
        assert (found["copying"].bytes_behind, found["copying"].seconds_left) == (1600, 59.0)
        assert (found["new"].bytes_behind, found["new"].seconds_left) == (None, 60.0)

    @given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8), st.floats(1, 10**6), st.integers(0, 10**7))
    def test_an_older_file_never_outlives_a_newer_one(self, ages: list[int], expire: float, total: int) -> None:
        found = view(sorted(ages, reverse=True), expire=expire, total=total)
        left = [seconds_left(found, file.name)[0] or 0.0 for file in found.files]
        assert left == sorted(left)
        assert max(left) <= expire + 1e-3, "but for rounding"


@pytest.fixture(params=[start_mariadb, start_mysql56], ids=["mariadb", "mysql56"])
def own(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A server whose log may be purged."""
    request.getfixturevalue("mariadb" if request.param is start_mariadb else "mysql56")
    with running(request.param, "--expire-logs-days=2") as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (k INT PRIMARY KEY)")
        database = Database(server, "shop")
        yield database
        database.close()


@pytest.mark.mysql
def test_a_server_is_asked_for_its_files_and_rules(own: Database) -> None:
    source = own.source()
    begin = source.head()
    own.execute("REPLACE INTO t VALUES (1)", "FLUSH BINARY LOGS", "REPLACE INTO t VALUES (2)", "FLUSH BINARY LOGS")
    head = source.head()
    other = TableName("shop", "level")
    new = TableName("shop", "new")

    def behind() -> int:
        sizes = [int(size) for _, size, *_ in own.rows("SHOW BINARY LOGS")]
        return sum(sizes[begin.sequence - 1 :]) - begin.offset

    # MariaDB writes a checkpoint event a moment after a file was begun.
    at_first = behind()
    found = source.retention({T: begin, other: head, new: None})
    at_last = behind()
    old, level, fresh = found.tables
    assert found.warnings == ()
    assert old.bytes_behind is not None
    assert at_first <= old.bytes_behind <= at_last
    assert old.seconds_behind is not None
    assert 0 <= old.seconds_behind < 60
    assert level.bytes_behind is not None
    assert level.bytes_behind <= at_last - at_first + 100
    assert level.seconds_behind is not None
    assert level.seconds_behind < 60
    for item in (old, level, fresh):
        assert item.seconds_left is not None
        assert 2 * 86_400 - 60 < item.seconds_left <= 2 * 86_400
    assert old.verdict(interval=3600) == "ok"
    assert old.verdict(interval=3 * 86_400) == "critical"
    assert own.server.purge() == head.file
    after = source.retention({T: begin, other: head})
    assert [item.table for item in after.tables] == [other]
    assert f"the file before {head.file} was purged within" in after.warnings[0]


@pytest.mark.mysql
def test_a_server_that_purges_nothing_says_so(mariadb: MySqlServer, maria: Database) -> None:
    maria.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = maria.source()
    (found,) = source.retention({maria.table("t"): source.head()}).tables
    assert found.seconds_left is None
    assert "no rule" in found.reason
