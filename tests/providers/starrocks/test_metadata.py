"""What the cluster says, read from whatever the versions answer; ALTERs waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymysql
import pytest

from tests.providers.starrocks.scripted_sql import Script, denied, fields
from tests.providers.starrocks.scripted_sql import script as script
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, PermanentError, SchemaError, Unavailable
from tidegate.providers.starrocks import metadata as module
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.metadata import Metadata, normal_type, parse_create, parse_key, parse_version
from tidegate.providers.starrocks.session import Session
from tidegate.providers.starrocks.sql import NewColumn

T = TableName("shop", "orders")


@pytest.fixture
def metadata(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    monkeypatch.setattr(module, "_sleep", lambda pause: pause)
    session = Session(fields(), "sr")
    yield Metadata(session)
    session.close()


def column(name: str, kind: str, key: str = "", **more: Any) -> dict[str, Any]:
    return {"COLUMN_NAME": name, "COLUMN_TYPE": kind, "COLUMN_KEY": key, "IS_NULLABLE": "YES", "COLUMN_DEFAULT": None, **more}


class TestTable:
    def test_a_primary_key_table(self, metadata: Metadata, script: Script) -> None:
        columns = [column("id", "bigint(20) unsigned", "PRI", IS_NULLABLE="NO"), column("v", "varchar(9)", COLUMN_DEFAULT="x")]
        script.on("information_schema.columns", columns)
        script.on("tables_config", [{"TABLE_MODEL": "PRIMARY_KEYS", "PRIMARY_KEY": "`id`", "TABLE_ID": 10001}])
        table = metadata.table(TableName("", "orders"))
        assert table is not None
        assert (table.name, table.model, table.key, table.state) == (T, "PRIMARY_KEYS", ("id",), "NORMAL")
        first, second = table.columns
        assert (first.type, first.nullable, first.key) == ("largeint", False, True)
        assert (second.type, second.nullable, second.key, second.default) == ("varchar(9)", True, False, "x")

    def test_an_aggregate_table_tells_how_its_columns_are_aggregated(self, metadata: Metadata, script: Script) -> None:
        script.on("information_schema.columns", [column("page", "int(11)", "AGG"), column("users", "bitmap")])
        script.on("tables_config", [{"TABLE_MODEL": "AGG_KEYS", "PRIMARY_KEY": "", "TABLE_ID": 1}])
        script.on("SHOW FULL COLUMNS", [{"Field": "page", "Extra": ""}, {"Field": "users", "Extra": "bitmap_union"}])
        table = metadata.table(T)
        assert table is not None
        assert table.key == ("page",)
        assert [item.aggregation for item in table.columns] == [None, "BITMAP_UNION"]

    def test_a_server_without_tables_config_is_asked_for_its_create_table(self, metadata: Metadata, script: Script) -> None:
        script.on("information_schema.columns", [column("id", "int(11)", "PRI"), column("v", "int(11)")])
        script.on("tables_config", pymysql.err.ProgrammingError(1064, "Unknown table 'information_schema.tables_config'"))
        created = (
            "CREATE TABLE `orders` (\n  `id` int(11) NOT NULL,\n  `v` int(11) NULL\n) ENGINE=OLAP \nPRIMARY KEY(`id`)\nDISTRIBUTED"
        )
        script.on("SHOW CREATE TABLE", [{"Table": "orders", "Create Table": created}])
        table = metadata.table(T)
        assert table is not None
        assert (table.model, table.key) == ("PRIMARY_KEYS", ("id",))

    def test_a_table_that_is_not_there(self, metadata: Metadata) -> None:
        assert metadata.table(T) is None

    def test_a_view_is_no_target(self, metadata: Metadata, script: Script) -> None:
        script.on("information_schema.columns", [column("id", "int(11)")])
        script.on("tables_config", [{"TABLE_MODEL": None, "PRIMARY_KEY": None, "TABLE_ID": None}])
        script.on("SHOW CREATE", [{"View": "orders", "Create View": "CREATE VIEW `orders` (id) AS SELECT 1"}])
        with pytest.raises(SchemaError, match=r"shop\.orders"):
            metadata.table(T)

    def test_an_alter_under_way_shows(self, metadata: Metadata, script: Script) -> None:
        script.on("information_schema.columns", [column("id", "int(11)", "PRI")])
        script.on("tables_config", [{"TABLE_MODEL": "PRIMARY_KEYS", "PRIMARY_KEY": "`id`", "TABLE_ID": 1}])
        script.on("SHOW ALTER", [{"JobId": 1, "State": "WAITING_TXN"}])
        table = metadata.table(T)
        assert table is not None
        assert table.state == "SCHEMA_CHANGE"

    def test_without_any_database_the_table_is_refused(self, script: Script) -> None:
        session = Session(fields(database=""), "sr")
        with pytest.raises(ConfigError, match="database"):
            Metadata(session).table(TableName("", "orders"))


class TestAlter:
    def test_is_waited_for_until_its_job_has_ended(self, metadata: Metadata, script: Script) -> None:
        states = ["FINISHED", "FINISHED", "RUNNING", "PENDING", "FINISHED"]
        script.on("SHOW ALTER", lambda _: [{"JobId": 1, "State": states.pop()}])
        metadata.add_columns(T, [NewColumn("a", "int")])
        shown = [statement.split()[0:2] for statement in script.statements]
        assert shown.index(["ALTER", "TABLE"]) == 1
        assert states == ["FINISHED"]

    def test_anothers_is_waited_for_first(self, metadata: Metadata, script: Script) -> None:
        busy = pymysql.err.ProgrammingError(1064, "Table[orders]'s state is not NORMAL. Do not allow doing ALTER ops")
        refusals = [busy, busy]

        def alter(_: Any) -> list[dict[str, Any]]:
            if refusals:
                raise refusals.pop()
            return []

        script.on("ALTER TABLE `shop`", alter)
        metadata.add_columns(T, [NewColumn("a", "int")])
        assert sum(statement.startswith("ALTER TABLE") for statement in script.statements) == 3

    def test_one_that_never_ends_is_unavailable(self, metadata: Metadata, script: Script) -> None:
        script.on("SHOW ALTER", [{"JobId": 1, "State": "RUNNING", "Progress": "3/9"}])
        with pytest.raises(Unavailable, match=r"RUNNING.*3/9"):
            metadata.add_columns(T, [NewColumn("a", "int")], seconds=0)
        assert not [statement for statement in script.statements if statement.startswith("ALTER")]

    def test_one_that_the_server_cancels_is_an_error(self, metadata: Metadata, script: Script) -> None:
        jobs = [{"JobId": 2, "State": "CANCELLED", "Msg": "no space"}, {"JobId": 1, "State": "FINISHED", "Msg": ""}]
        script.on("SHOW ALTER", lambda _: [jobs.pop()])
        with pytest.raises(PermanentError, match="no space"):
            metadata.add_columns(T, [NewColumn("a", "int")])

    def test_the_latest_job_is_the_one_of_the_highest_number(self, metadata: Metadata, script: Script) -> None:
        script.on("SHOW ALTER", [{"JobId": "9", "State": "RUNNING"}, {"JobId": "10", "State": "FINISHED"}])
        assert metadata.alter_under_way(T)
        script.on("SHOW ALTER", [{"JobId": "9", "State": "CANCELLED"}, {"JobId": "10", "State": "FINISHED"}])
        assert not metadata.alter_under_way(T)

    def test_an_old_job_that_was_cancelled_is_not_ours(self, metadata: Metadata, script: Script) -> None:
        script.on("SHOW ALTER", [{"JobId": 1, "State": "CANCELLED", "Msg": "long ago"}])
        metadata.add_columns(T, [NewColumn("a", "int")])

    def test_other_statements_are_not_waited_for(self, metadata: Metadata, script: Script) -> None:
        metadata.apply(T, "TRUNCATE TABLE `shop`.`orders`")
        assert script.statements == ["TRUNCATE TABLE `shop`.`orders`"]


class TestCluster:
    def test_version_is_that_of_starrocks(self, metadata: Metadata, script: Script) -> None:
        script.on("CURRENT_VERSION", [{"v": "3.3.5-6d81f75"}])
        assert metadata.version() == metadata.version() == (3, 3, 5)
        assert script.statements == ["SELECT CURRENT_VERSION()"]

    def test_a_setting_that_may_not_be_seen_is_unknown(self, metadata: Metadata, script: Script) -> None:
        assert metadata.config("label_keep_max_num") is None
        rows = [{"Key": "label_keep_max_number_of_them", "Value": "1"}, {"Key": "label_keep_max_num", "Value": "9"}]
        script.on("ADMIN SHOW", rows)
        assert metadata.number("label_keep_max_num") == 9
        script.on("ADMIN SHOW", denied())
        assert metadata.number("label_keep_max_num") is None

    def test_tablet_versions_come_from_the_backends_or_from_show_tablet(self, metadata: Metadata, script: Script) -> None:
        script.on("tables_config", [{"TABLE_MODEL": "DUP_KEYS", "TABLE_ID": 7}])
        script.on("be_tablets", [{"max": 12}])
        assert metadata.tablet_versions(T) == 12
        script.on("be_tablets", denied())
        script.on("SHOW TABLET", [{"TabletId": "1", "VersionCount": "3"}, {"TabletId": "2", "VersionCount": "41"}])
        assert metadata.tablet_versions(T) == metadata.tablet_versions(T) == 41
        assert sum("be_tablets" in statement for statement in script.statements) == 2
        script.on("SHOW TABLET", denied())
        assert metadata.tablet_versions(T) is None

    def test_running_labels_of_a_prefix(self, metadata: Metadata, script: Script) -> None:
        script.on("'/transactions'", [{"DbId": "7", "DbName": "crm"}, {"DbId": "8", "DbName": "shop"}])
        script.on("'/transactions/8/running'", [{"Label": "tide_gate-1"}, {"Label": "tideXgate-2"}, {"Label": "tide_gate-0"}])
        assert metadata.running_labels("shop", "tide_gate-") == ["tide_gate-0", "tide_gate-1"]
        script.on("SHOW PROC", denied())
        script.on("information_schema.loads", [{"LABEL": "tide_gate-9"}])
        assert metadata.running_labels("shop", "tide_gate-") == ["tide_gate-9"]
        script.on("information_schema.loads", denied())
        assert metadata.running_labels("shop", "tide_gate-") is None

    def test_insert_is_tried_without_inserting(self, metadata: Metadata, script: Script) -> None:
        columns = [CatalogColumn(name, "int", False, None, generated=name == "sum") for name in ("id", "a", "sum")]
        there = CatalogTable(T, "DUP_KEYS", tuple(columns), ("id",))
        assert metadata.may_insert(there) is True
        (said,) = script.statements
        assert said == "EXPLAIN INSERT INTO `shop`.`orders` (`id`, `a`) SELECT `id`, `a` FROM `shop`.`orders` WHERE 1 = 0"
        script.on("EXPLAIN", denied())
        assert metadata.may_insert(there) is False
        script.on("EXPLAIN", pymysql.err.ProgrammingError(1064, "something else"))
        assert metadata.may_insert(there) is None


@pytest.mark.parametrize(
    ("written", "declared"),
    [
        ("bigint(20) unsigned", "largeint"),
        ("bigint unsigned", "largeint"),
        ("largeint(40)", "largeint"),
        ("tinyint(1)", "boolean"),
        ("tinyint(4)", "tinyint"),
        ("int(11)", "int"),
        ("decimal64(18, 4)", "decimal(18,4)"),
        ("DECIMAL(38,9)", "decimal(38,9)"),
        ("varchar(65533)", "varchar(65533)"),
        ("array<int(11)>", "array<int>"),
        ("map<varchar(9),decimal128(38, 2)>", "map<varchar(9),decimal(38,2)>"),
        ("struct<a int(11), b tinyint(4)>", "struct<a int,b tinyint>"),
        ("json", "json"),
        ("bitmap", "bitmap"),
    ],
)
def test_types_as_they_are_declared(written: str, declared: str) -> None:
    assert normal_type(written) == declared == normal_type(declared)


def test_versions() -> None:
    assert parse_version("2.5.18-1111") == (2, 5, 18)
    assert parse_version("4.0.0") == (4, 0, 0)
    assert parse_version("main-abc") > (4, 0)


def test_keys_without_backticks() -> None:
    assert parse_key("a, b") == ("a", "b")
    assert parse_key("") == ()


@pytest.mark.parametrize(
    ("clause", "model"),
    [
        ("PRIMARY KEY(`a`, `b`)", "PRIMARY_KEYS"),
        ("UNIQUE KEY(`a`, `b`)", "UNIQUE_KEYS"),
        ("DUPLICATE KEY(`a`, `b`)", "DUP_KEYS"),
        ("AGGREGATE KEY(`a`, `b`)", "AGG_KEYS"),
    ],
)
def test_show_create_table(clause: str, model: str) -> None:
    comment = '`c` int(11) NULL COMMENT "no PRIMARY KEY(`x`) here"'
    columns = f"  `a` int(11) NOT NULL,\n  {comment}\n"
    text = f'CREATE TABLE `t` (\n{columns}) ENGINE=OLAP \n{clause}\nCOMMENT "OLAP"\nDISTRIBUTED BY HASH(`a`)'
    assert parse_create(text, "sr", T) == (model, ("a", "b"))
