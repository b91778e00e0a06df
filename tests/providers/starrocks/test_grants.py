"""The GRANTs that a plan prints: what a run needs, and what the account isn't known to have."""

from __future__ import annotations

import pyarrow as pa
import pymysql
import pytest

from tests.fakes import FakeSource
from tests.model import Change
from tests.providers.starrocks.conftest import Box, rows
from tests.providers.starrocks.scripted_sql import Script, denied
from tests.providers.starrocks.scripted_sql import script as script
from tests.providers.starrocks.test_inspection import AMOUNT, ID, NAME, look, target, there
from tests.providers.starrocks.test_inspection import metadata as metadata
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import PreflightError
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.sink import StarrocksSink
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import plan
from tidegate.sync.run import run

ON_TABLE = "ON TABLE `shop`.`orders` TO USER 'app'"
KEYED, LOG = "PRIMARY KEY(id) DISTRIBUTED BY HASH(id)", "DUPLICATE KEY(id) DISTRIBUTED BY HASH(id)"
SOURCE = TableName("shop", "t")
SCHEMA = TableSchema(SOURCE, (Column("id", pa.int64(), nullable=False), Column("name", pa.string())), ("id",))


def granted(script: Script, *what: str) -> None:
    script.on("SHOW GRANTS", [{"Grants": f"GRANT {each} TO USER 'app'@'%'"} for each in what])


class TestWhatIsPrinted:
    def test_all_for_a_new_table_if_it_cant_be_told_what_there_is(self, metadata: Metadata) -> None:
        assert look(metadata, target()).grants == (f"GRANT SELECT, INSERT {ON_TABLE}",)

    def test_nothing_that_show_grants_names(self, metadata: Metadata, script: Script) -> None:
        granted(script, "CREATE TABLE ON DATABASE shop", "SELECT ON ALL TABLES IN DATABASE shop")
        assert look(metadata, target()).grants == (f"GRANT INSERT {ON_TABLE}",)

    def test_nothing_that_the_account_was_seen_to_have(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)")
        assert look(metadata, target()).grants == ()
        assert "SHOW GRANTS" not in script.statements
        script.on("EXPLAIN INSERT", denied())
        assert look(metadata, target()).grants == (f"GRANT INSERT {ON_TABLE}",)
        script.on("FROM `shop`.`orders` LIMIT", denied())
        assert look(metadata, target()).grants == (f"GRANT SELECT, INSERT {ON_TABLE}",)

    def test_what_cant_be_tried(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)")
        script.on("EXPLAIN INSERT", pymysql.err.ProgrammingError(1064, "something else"))
        found = look(metadata, target())
        assert (found.grants, found.problems) == ((f"GRANT INSERT {ON_TABLE}",), ())

    def test_for_a_table_that_the_account_may_not_see(self, metadata: Metadata, script: Script) -> None:
        script.on("FROM `shop`.`orders` LIMIT 0", denied())
        found = look(metadata, target())
        assert (found.ddl, found.grants) == ((), (f"GRANT SELECT, INSERT {ON_TABLE}",))

    def test_alter_only_for_a_column_that_is_added_now(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)")
        assert look(metadata, target(ID, NAME, AMOUNT)).grants == (f"GRANT ALTER {ON_TABLE}",)
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(8)")
        assert len((found := look(metadata, target(ID, NAME, AMOUNT))).ddl) == 2
        assert found.grants == (f"GRANT ALTER {ON_TABLE}",)
        granted(script, "ALTER ON TABLE shop.orders")
        assert look(metadata, target(ID, NAME, AMOUNT)).grants == ()

    def test_the_quarantine_only_where_refused_changes_go_there(self, metadata: Metadata) -> None:
        _, create, grant = look(metadata, target(on_error="quarantine")).grants
        assert create.startswith("CREATE TABLE IF NOT EXISTS `shop`.`tidegate_quarantine` (")
        assert grant == "GRANT SELECT, INSERT ON TABLE `shop`.`tidegate_quarantine` TO USER 'app'"

    def test_of_a_quarantine_that_is_there_what_the_account_lacks(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)")
        assert look(metadata, target(on_error="quarantine")).grants == ()
        script.on("EXPLAIN INSERT INTO `shop`.`tidegate_quarantine`", denied())
        (grant,) = look(metadata, target(on_error="quarantine")).grants
        assert grant == "GRANT INSERT ON TABLE `shop`.`tidegate_quarantine` TO USER 'app'"


def weak(box: Box) -> StarrocksSink:
    """The box's database as an account has it that may do nothing yet."""
    user = f"u_{box.server.database}"
    box.execute(f"CREATE USER '{user}' IDENTIFIED BY 'pw'")
    return box.open(login=user, password="pw")


@pytest.mark.parametrize(
    "options",
    [{}, {"write_mode": "append"}, {"on_error": "quarantine"}, {"initial": "replace"}],
    ids=["mirror", "append", "quarantine", "replace"],
)
@pytest.mark.parametrize("columns", [None, "id BIGINT, name VARCHAR(1048576)", "id BIGINT"], ids=["new", "there", "narrower"])
def test_who_may_nothing_runs_once_another_has_run_what_the_plan_prints(
    box: Box, columns: str | None, options: dict[str, str]
) -> None:
    sink = weak(box)
    if columns is not None:
        box.table(columns, LOG if "write_mode" in options else KEYED)
        box.execute("INSERT INTO t (id) VALUES (9)", f"GRANT SELECT ON TABLE t TO USER 'u_{box.server.database}'")
    source = FakeSource({SOURCE: SCHEMA}, [[(SOURCE, Change(None, {"id": 1, "name": "ann"}))]], visible=1)
    sync = Sync.of("shop", ["shop.t"], schema=box.server.database, options=WriteOptions.of({"initial": "merge"} | options))
    found = plan(sync, source, sink)
    if columns is not None:
        with pytest.raises(PreflightError):
            run(sync, source, sink, owner="test")
    box.execute(*found.ddl)
    run(sync, source, sink, owner="test")
    stays = [(9, None)] if columns is not None and options.get("initial") != "replace" else []
    assert [row[:2] for row in rows(box)] == [(1, "ann"), *stays]
    assert plan(sync, source, sink).tables[0].preparation.grants == ()
