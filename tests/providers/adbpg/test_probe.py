"""What a server is, and what it takes, is asked and tried, never concluded from a name."""

from __future__ import annotations

import pytest

from tests.providers.adbpg.conftest import KERNEL, AdbpgBox, GreenplumBox
from tidegate.errors import PermanentError
from tidegate.providers.adbpg.probe import Features, Server, look, probe
from tidegate.providers.adbpg.sql import AdbpgSql
from tidegate.sandbox.adbpg import Adbpg
from tidegate.sandbox.dialect import Lookup, Refused, Rewritten

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


class NoCopy(Adbpg):
    """A kernel whose COPY takes no ON CONFLICT."""

    def rewrite(self, sql: str, catalog: Lookup) -> Rewritten:
        if "DO ON CONFLICT" in sql:
            raise Refused("42601", 'syntax error at or near "DO"')
        return super().rewrite(sql, catalog)


class KeepingCopy(Adbpg):
    """A kernel whose COPY knows UPDATE alone, and overwrites nothing by it."""

    def rewrite(self, sql: str, catalog: Lookup) -> Rewritten:
        if "DO ON CONFLICT DO NOTHING" in sql:
            raise Refused("42601", 'syntax error at or near "NOTHING"')
        return super().rewrite(sql.replace("DO ON CONFLICT DO UPDATE", "DO ON CONFLICT DO NOTHING"), catalog)


class Unnamed(Adbpg):
    """A kernel from before adbpg_version."""

    def rewrite(self, sql: str, catalog: Lookup) -> Rewritten:
        if "adbpg_version" in sql:
            raise Refused("42704", 'unrecognized configuration parameter "adbpg_version"')
        return super().rewrite(sql, catalog)


def test_a_server_that_refuses_the_copy_is_believed_whatever_its_version(box: GreenplumBox) -> None:
    box.becomes(NoCopy(KERNEL))
    assert features(box) == Features(insert_conflict=True, copy_conflict=False)


def test_a_copy_that_overwrites_nothing_counts_as_none(box: GreenplumBox) -> None:
    box.becomes(KeepingCopy(KERNEL))
    assert not features(box).copy_conflict


def test_a_server_from_before_adbpg_version_has_no_kernel_and_no_partitions_on_conflict(box: GreenplumBox) -> None:
    box.becomes(Unnamed(KERNEL))
    server = box.sink.server()
    assert server.kernel == ()
    assert server.greenplum
    assert not server.partitions_conflict
    assert server.excluded is None


@pytest.mark.parametrize(("kernel", "takes"), [("6.3.6.0", False), ("6.3.6.1", True), ("6.3.10.2", True), ("6.6.0", True)])
def test_partitioned_tables_meet_on_conflict_from_6_3_6_1_on(box: GreenplumBox, kernel: str, takes: bool) -> None:
    box.becomes(Adbpg(kernel))
    assert box.sink.server().partitions_conflict is takes


@pytest.mark.parametrize(
    ("dialect", "why"),
    [(Adbpg("7.0.5.1"), "7.0.5.1"), (Unnamed("7.0.5.1"), "PostgreSQL 12"), (Adbpg("1.0.6.3"), "Serverless")],
    ids=["7", "7, unnamed", "serverless"],
)
def test_what_the_vendor_excludes_is_named_and_gets_no_native_copy(box: GreenplumBox, dialect: Adbpg, why: str) -> None:
    box.becomes(dialect)
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
    assert look(session) == box.sink.server()
    assert session.value("SHOW timezone") == "UTC"
    with pytest.raises(PermanentError, match="idle_in_transaction_session_timeout"):
        session.value("SHOW idle_in_transaction_session_timeout")
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
