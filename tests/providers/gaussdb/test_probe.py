"""The probe sees what a server can do, and leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.providers.postgres.conftest import Box
from tests.servers import PostgresServer
from tidegate.changes.schema import TableName
from tidegate.providers.gaussdb.catalog import GaussdbCatalog, GaussdbTable
from tidegate.providers.gaussdb.connection import SYSTEM
from tidegate.providers.gaussdb.probe import Server, probe, short_version
from tidegate.providers.gaussdb.sink import open_sink
from tidegate.providers.postgres.dialect import POSTGRES

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (
            "(openGauss 6.0.0 build aee4abd5) compiled at 2024-09-29 18:39:56 commit 0 last mr  on x86_64-unknown-linux-gnu, "
            "compiled by g++ (GCC) 10.3.1, 64-bit",
            "openGauss 6.0.0",
        ),
        ("(openGauss-lite 5.0.1 build 33b035fd) compiled at 2023-12-15 20:22:54", "openGauss-lite 5.0.1"),
        ("gaussdb (GaussDB Kernel 505.1.0 build b5fe7bce) compiled at 2024-06-20", "GaussDB Kernel 505.1.0"),
        ("gaussdb (GaussDB Kernel V500R002C10 build b5fe7bce) compiled at 2022-06-20", "GaussDB Kernel V500R002C10"),
        ("PostgreSQL 9.2.4 (GaussDB 8.1.3 build 39137c2d) compiled at 2022-04-01 15:43:11", "GaussDB 8.1.3"),
        ("PostgreSQL 15.8 (Debian 15.8-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc", "PostgreSQL 15.8"),
    ],
)
def test_each_form_of_version_is_told_in_short(text: str, short: str) -> None:
    assert short_version(text) == short


def test_a_postgresql_is_seen_by_what_it_can_do_and_spoken_to_as_one(pg_database: PostgresServer) -> None:
    sink = open_sink(SYSTEM.values(pg_database.values(), "warehouse"), "warehouse")
    session = sink.connect()
    try:
        found = probe(session)
        assert found.features == {"on_conflict"}  # its MERGE has no WHERE
        assert (found.compatibility, found.distributed, found.empty_is_null) == (None, False, False)
        assert found.is_postgres
        assert sink.dialect(session) is POSTGRES
        assert not sink.empty_is_null
    finally:
        session.close()
        sink.close()


def test_the_probe_is_made_once_a_sink(pg_database: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(session: object) -> Server:
        calls.append(session)
        return Server("openGauss 6.0.0", "A", empty_is_null=True)

    monkeypatch.setattr("tidegate.providers.gaussdb.sink.probe", counted)
    sink = open_sink(SYSTEM.values(pg_database.values(), "warehouse"), "warehouse")
    assert sink.empty_is_null
    assert sink.describe(TableName("public", "nothing")) is None
    assert len(calls) == 1
    sink.close()


def test_partition_and_distribution_keys_are_read_from_the_tables_that_opengauss_has(pg_database: PostgresServer) -> None:
    pg_database.execute(
        "CREATE TABLE t (id int, gone int, day date, hour int, city text, a text, PRIMARY KEY (id, city))",
        "ALTER TABLE t DROP COLUMN gone",
        'CREATE TABLE pg_partition (parentid oid, parttype "char", partkey int2vector)',
        "INSERT INTO pg_partition VALUES ('t'::regclass, 'r', '3'), ('t'::regclass, 'p', '4'), ('t'::regclass, 'x', '6')",
        "CREATE TABLE pgxc_class (pcrelid oid, pcattnum int2vector)",
        "INSERT INTO pgxc_class VALUES ('t'::regclass, '1 5')",
        'CREATE TABLE pgxc_node (node_type "char")',
        "INSERT INTO pgxc_node VALUES ('C'), ('D'), ('D')",
    )
    box = Box(pg_database)
    session = box.sink.connect()
    try:
        found = probe(session)
        assert found.distributed
        assert found.catalog >= {"pg_partition.partkey", "pgxc_class.pcattnum"}
        table = GaussdbCatalog(found.catalog).table(session, TableName("public", "t"))
        assert isinstance(table, GaussdbTable)
        assert set(table.partition_key) == {"day", "hour"}
        assert set(table.distribution_key) == {"id", "city"}
        assert table.primary_key == ("id", "city")
        assert not table.columnar
    finally:
        session.close()
        box.sink.close()


def test_the_catalog_of_the_oldest_server_asks_for_nothing_that_it_lacks(pg_database: PostgresServer) -> None:
    pg_database.execute("CREATE TABLE t (id int PRIMARY KEY, a varchar(9) NOT NULL DEFAULT 'x')")
    box = Box(pg_database)
    session = box.sink.connect()
    try:
        catalog = GaussdbCatalog()
        for query in (catalog.relation, catalog.columns, catalog.uniques, catalog.column_users):
            for newer in ("attidentity", "attgenerated", "indnkeyatts", "adgencol", "parttype", "pg_policy", "publication"):
                assert newer not in query
        table = catalog.table(session, TableName("public", "t"))
        assert table is not None
        assert [(column.name, column.default, column.generated) for column in table.columns] == [
            ("id", False, False),
            ("a", True, False),
        ]
        assert table.key_index(("id",)) is not None
        assert catalog.users(session, table.name, "a") == ()
    finally:
        session.close()
        box.sink.close()
