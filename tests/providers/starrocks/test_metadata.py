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
from tidegate.providers.starrocks.created import parse_create, parse_key, refers
from tidegate.providers.starrocks.metadata import Metadata, normal_type, parse_version
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


def created(script: Script, *columns: str, key: str) -> None:
    """SHOW CREATE TABLE, as the frontend writes it."""
    declared = ",\n".join(f'  {each} COMMENT ""' for each in columns)
    text = f"CREATE TABLE `orders` (\n{declared}\n) ENGINE=OLAP \n{key}\nDISTRIBUTED BY RANDOM"
    script.on("SHOW CREATE TABLE", [{"Table": "orders", "Create Table": text}])


class TestTable:
    def test_a_primary_key_table(self, metadata: Metadata, script: Script) -> None:
        columns = [column("id", "bigint(20) unsigned", "PRI", IS_NULLABLE="NO"), column("v", "varchar(9)", COLUMN_DEFAULT="x")]
        script.on("information_schema.columns", columns)
        created(script, "`id` largeint(40) NOT NULL", '`v` varchar(9) NULL DEFAULT "x"', key="PRIMARY KEY(`id`)")
        table = metadata.table(TableName("", "orders"))
        assert table is not None
        assert (table.name, table.model, table.key, table.state) == (T, "PRIMARY_KEYS", ("id",), "NORMAL")
        first, second = table.columns
        assert (first.type, first.nullable, first.key) == ("largeint", False, True)
        assert (second.type, second.nullable, second.key, second.default) == ("varchar(9)", True, False, "x")

    def test_an_aggregate_table_tells_how_its_columns_are_aggregated(self, metadata: Metadata, script: Script) -> None:
        script.on("information_schema.columns", [column("page", "int(11)", "AGG"), column("users", "bitmap")])
        created(script, "`page` int(11) NULL", "`users` bitmap BITMAP_UNION NOT NULL", key="AGGREGATE KEY(`page`)")
        script.on("SHOW FULL COLUMNS", [{"Field": "page", "Extra": ""}, {"Field": "users", "Extra": "bitmap_union"}])
        table = metadata.table(T)
        assert table is not None
        assert table.key == ("page",)
        assert [item.aggregation for item in table.columns] == [None, "BITMAP_UNION"]

    def test_columns_that_the_server_fills_are_told_by_show_create_table_alone(self, metadata: Metadata, script: Script) -> None:
        kinds = {"id": "bigint(20)", "n": "bigint(20)", "a": "int(11)", "as": "varchar(99)", "sum": "int(11)"}
        script.on("information_schema.columns", [column(name, kind) for name, kind in kinds.items()])
        created(
            script,
            "`id` bigint(20) NOT NULL",
            "`n` bigint(20) NOT NULL AUTO_INCREMENT",
            """`a` int(11) NULL DEFAULT "7 NOT NULL AUTO_INCREMENT \"" """.strip(),
            """`as` varchar(99) NULL DEFAULT "NULL AS a" """.strip(),
            "`sum` int(11) NULL AS a + `ID`",
            key="PRIMARY KEY(`id`)",
        )
        table = metadata.table(T)
        assert table is not None
        assert [item.name for item in table.columns if item.numbered] == ["n"]
        assert {item.name: item.refers for item in table.columns if item.generated} == {"sum": ("id", "a")}

    def test_a_table_that_is_not_there(self, metadata: Metadata) -> None:
        assert metadata.table(T) is None

    def test_a_view_is_no_target(self, metadata: Metadata, script: Script) -> None:
        script.on("information_schema.columns", [column("id", "int(11)")])
        script.on("SHOW CREATE", [{"View": "orders", "Create View": "CREATE VIEW `orders` (id) AS SELECT 1"}])
        with pytest.raises(SchemaError, match=r"shop\.orders"):
            metadata.table(T)

    def test_an_alter_under_way_shows(self, metadata: Metadata, script: Script) -> None:
        script.on("information_schema.columns", [column("id", "int(11)", "PRI")])
        created(script, "`id` int(11) NOT NULL", key="PRIMARY KEY(`id`)")
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

    def test_grants_are_those_on_the_servers_own_tables(self, metadata: Metadata, script: Script) -> None:
        grants = {None: "'loaders', 'public'", "default": "SELECT ON TABLE shop.orders", "hive": "ALTER ON TABLE shop.orders"}
        script.on("SHOW GRANTS$", [{"Catalog": name, "Grants": f"GRANT {what} TO USER 'app'@'%'"} for name, what in grants.items()])
        found = metadata.privileges()
        assert found.roles == ("loaders", "public")
        assert found.on_table(T, "SELECT")
        assert not found.on_table(T, "ALTER")
        script.on("SHOW GRANTS FOR ROLE public", pymysql.err.ProgrammingError(1064, "Unknown role"))
        assert metadata.privileges() == found

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
    created = parse_create(text, "sr", T)
    assert (created.model, created.key) == (model, ("a", "b"))
    assert (created.numbered, created.generated) == (frozenset(), {})


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("a + 1", ["a"]),
        ("(`a` + `B c`)", ["a", "b c"]),
        ("array_avg(list)", ["list"]),
        ("json_string(json_query(`doc`, '$.a'))", ["doc"]),
        ("concat('a', \"list\", 'it''s a', 'x\\' a') ", []),
        ("list(a)", ["a"]),
        ("CAST(A AS DECIMAL(10, 2))", ["a"]),
    ],
)
def test_what_an_expression_refers_to(expression: str, names: list[str]) -> None:
    assert list(refers(expression, ["a", "b c", "list", "doc"])) == names


def test_a_generated_column_as_it_is_shown() -> None:
    lines = ["`a` int(11) NULL", '`b``c` int(11) NULL AS (`a` + 1) COMMENT "it\'s NULL AS x"', "`d` array<int(11)> NULL AS [`a`]"]
    shown = "CREATE TABLE `t` (\n  " + ",\n  ".join(lines) + "\n) ENGINE=OLAP \nDUPLICATE KEY(`a`)\n"
    assert parse_create(shown, "sr", T).generated == {"b`c": "(`a` + 1)", "d": "[`a`]"}
