"""What a server is, and what it takes, is asked and tried, never concluded from a name."""

from __future__ import annotations

import pytest

from tests.providers.adbpg.conftest import AdbpgBox, GreenplumBox
from tidegate.errors import PermanentError
from tidegate.providers.adbpg.probe import Features, Server, look, probe
from tidegate.providers.adbpg.sql import AdbpgSql

pytestmark = pytest.mark.postgres


def features(box: AdbpgBox) -> Features:
    session = box.sink.connect()
    try:
        session.run("CREATE TEMPORARY TABLE mine (n integer) ON COMMIT DROP" + box.sink.plain.sql.distributed(()))  # type: ignore[attr-defined]
        found = probe(session, AdbpgSql(box.sink.server), box.sink.server())
        assert session.value("SELECT count(*) FROM mine") == 0, "the transaction goes on"
        assert session.value("SELECT to_regclass('tidegate_probe')") is None
        return found
    finally:
        session.close()


def test_plain_postgresql_distributes_nothing_and_takes_no_copy_on_conflict(plain: AdbpgBox) -> None:
    server = plain.sink.server()
    assert not server.greenplum
    assert not server.serverless
    assert server.kernel == ()
    assert server.warnings == ()
    assert features(plain) == Features(insert_conflict=True, copy_conflict=False)


def test_kernel_and_ancestor_are_read_and_copy_on_conflict_is_tried(box: GreenplumBox) -> None:
    server = box.sink.server()
    assert (server.postgres, server.greenplum, server.kernel) == ((9, 4), True, (6, 6, 1, 0))
    assert server.warnings == ()
    assert features(box) == Features(insert_conflict=True, copy_conflict=True)


def test_a_server_that_refuses_the_copy_is_believed_whatever_its_version(box: GreenplumBox) -> None:
    box.says(copies=False)
    assert features(box) == Features(insert_conflict=True, copy_conflict=False)


def test_a_copy_that_overwrites_nothing_counts_as_none(box: GreenplumBox) -> None:
    from tests.providers.adbpg.conftest import GreenplumSession

    def keeps(self: GreenplumSession, statement: str, source: object, *, table: object | None = None) -> int:
        if "DO ON CONFLICT DO UPDATE" not in statement:
            raise PermanentError("syntax error")
        statement = statement.replace("UPDATE", "NOTHING")
        return GreenplumSession.copy_in(self, statement, source, table=table)  # type: ignore[arg-type]

    box.says(copy_in=keeps)
    assert not features(box).copy_conflict


def test_a_server_from_before_adbpg_version_has_no_kernel_and_no_partitions_on_conflict(box: GreenplumBox) -> None:
    box.says(kernel="")
    server = box.sink.server()
    assert server.kernel == ()
    assert server.greenplum
    assert not server.partitions_conflict
    assert server.excluded is None


@pytest.mark.parametrize(("kernel", "takes"), [("6.3.6.0", False), ("6.3.6.1", True), ("6.3.10.2", True), ("6.6.0", True)])
def test_partitioned_tables_meet_on_conflict_from_6_3_6_1_on(box: GreenplumBox, kernel: str, takes: bool) -> None:
    box.says(kernel=kernel)
    assert box.sink.server().partitions_conflict is takes


@pytest.mark.parametrize(
    ("kernel", "version", "why"),
    [
        ("7.0.5.1", "PostgreSQL 12.12 (Greenplum Database 7.0.0-beta.0)", "7.0.5.1"),
        ("", "PostgreSQL 12.12 (Greenplum Database 7.0.0)", "PostgreSQL 12"),
        ("1.0.6.3", "PostgreSQL 9.4.26 (Greenplum Database 6.6.0)", "Serverless"),
    ],
)
def test_what_the_vendor_excludes_is_named_and_gets_no_native_copy(box: GreenplumBox, kernel: str, version: str, why: str) -> None:
    box.says(kernel=kernel, version=version)
    assert features(box) == Features(insert_conflict=True, copy_conflict=False)
    (warning,) = box.sink.server().warnings
    assert why in warning


def test_without_the_right_to_temporary_tables_the_documents_are_believed_and_nothing_is_native(plain: AdbpgBox) -> None:
    plain.execute(
        f"REVOKE TEMPORARY ON DATABASE {plain.server.database} FROM PUBLIC", "DROP ROLE IF EXISTS poor", "CREATE ROLE poor LOGIN"
    )
    sink = plain.open(login="poor")
    try:
        session = sink.connect()
        assert probe(session, AdbpgSql(sink.server), sink.server()) == Features(insert_conflict=True, copy_conflict=False)
    finally:
        sink.close()
        plain.execute("DROP ROLE poor")


def test_a_session_gets_only_the_settings_that_its_server_knows(plain: AdbpgBox, box: GreenplumBox) -> None:
    session = plain.sink.connect()
    assert session.value("SHOW idle_in_transaction_session_timeout") == "1h"
    session.close()
    session = box.sink.connect()
    assert session.value("SHOW idle_in_transaction_session_timeout") == "0", "9.4 has no such setting"
    assert look(session) == box.sink.server()
    assert session.value("SHOW timezone") == "UTC"
    session.close()


def test_a_sink_asks_once(box: GreenplumBox) -> None:
    for _ in range(3):
        session = box.sink.connect()
        box.sink.dialect(session)
        session.close()
    assert sum("tidegate_probe" in statement and statement.startswith("CREATE") for statement in box.sent) == 2


def test_a_default_server_is_postgresql_of_its_version() -> None:
    assert Server((15, 0)).excluded is None
    assert Server((15, 0)).partitions_conflict
