"""What the plan says of a target table before anything is loaded into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.starrocks.scripted_sql import Script, denied, fields
from tests.providers.starrocks.scripted_sql import script as script
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, PreflightError, SchemaError
from tidegate.providers.starrocks.inspection import inspect
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.session import Session
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.protocols import Preparation

T = TableName("shop", "orders")
ID = Column("id", pa.int64(), nullable=False)
NAME = Column("name", pa.string(), attributes={"length": "20"})
AMOUNT = Column("amount", pa.int32())


@pytest.fixture
def metadata(script: Script) -> Iterator[Metadata]:
    script.on("CURRENT_VERSION", [{"v": "3.3.5-6d81f75"}])
    script.on("schemata", [{"1": 1}])
    script.on("SHOW GRANTS", [{"Grants": "GRANT 'root' TO 'app'@'%'"}])
    script.on("information_schema.tables ", [{"TABLE_ROWS": 5}])
    script.on("SELECT 1 FROM `shop`.`orders` LIMIT 1", [{"1": 1}])
    session = Session(fields(), "sr")
    yield Metadata(session)
    session.close()


CLAUSES = {"PRIMARY_KEYS": "PRIMARY", "UNIQUE_KEYS": "UNIQUE", "DUP_KEYS": "DUPLICATE", "AGG_KEYS": "AGGREGATE"}


def there(script: Script, model: str, key: str, **columns: str) -> None:
    """The table in the catalog. A column is its type, with ``not null``, ``default x``, ``numbered``, ``as (…)`` or ``agg X`` after
    it."""
    rows, declared, aggregations = [], [], []
    keys = [name.strip("` ") for name in key.split(",")]
    for name, text in columns.items():
        kind, _, rest = text.partition(" ")
        rows.append(
            {
                "COLUMN_NAME": name,
                "COLUMN_TYPE": kind,
                "COLUMN_KEY": "KEY" if name in keys else "",
                "IS_NULLABLE": "NO" if "not null" in rest else "YES",
                "COLUMN_DEFAULT": rest.split("default ")[1] if "default " in rest else None,
            }
        )
        if "agg " in rest:
            aggregations.append({"Field": name, "Extra": rest.split("agg ")[1]})
        null = "NOT NULL" if "not null" in rest else "NULL"
        filled = " AUTO_INCREMENT" if "numbered" in rest else f" AS {rest.split('as ')[1]}" if "as " in rest else ""
        declared.append(f'  `{name}` {kind} {null}{filled} COMMENT ""')
    created = "CREATE TABLE `orders` (\n" + ",\n".join(declared) + f"\n) ENGINE=OLAP \n{CLAUSES[model]} KEY({key})\nDISTRIBUTED"
    script.on("information_schema.columns", rows)
    script.on("SHOW CREATE TABLE", [{"Table": "orders", "Create Table": created}])
    script.on("SHOW FULL COLUMNS", aggregations)


def target(*columns: Column, key: tuple[str, ...] = ("id",), existing_only: bool = False, **options: Any) -> Target:
    return Target(T, TableSchema(TableName("src", "orders"), columns or (ID, NAME), key), WriteOptions(**options), existing_only)


def said(preparation: Preparation) -> str:
    return "\n".join(str(problem) for problem in preparation.problems)


def look(metadata: Metadata, wanted: Target, properties: Mapping[str, str] | None = None) -> Preparation:
    return inspect(wanted, metadata, properties)


class TestMissingTable:
    def test_is_created_as_a_primary_key_table(self, metadata: Metadata) -> None:
        found = look(metadata, target())
        assert (found.exists, found.empty, found.rows, found.problems) == (False, True, None, ())
        assert found.ddl == (
            "CREATE TABLE `shop`.`orders` (`id` BIGINT NOT NULL, `name` VARCHAR(80)) PRIMARY KEY (`id`) DISTRIBUTED BY HASH(`id`)",
        )

    def test_replicas_are_those_of_the_connection(self, script: Script) -> None:
        script.on("CURRENT_VERSION", [{"v": "3.3.5"}]).on("schemata", [{"1": 1}])
        session = Session(fields(replication_num=1), "sr")
        assert look(Metadata(session), target()).ddl[0].endswith('PROPERTIES("replication_num"="1")')
        session.close()

    def test_a_log_of_changes_has_the_columns_of_its_events(self, metadata: Metadata) -> None:
        found = look(metadata, target(write_mode="append", op_column="op"))
        assert found.ddl == (
            "CREATE TABLE `shop`.`orders` (`id` BIGINT, `name` VARCHAR(80), `op` VARCHAR(13), `tidegate_file` VARCHAR(512), "
            "`tidegate_offset` BIGINT, `tidegate_row` INT) DUPLICATE KEY (`id`) DISTRIBUTED BY HASH(`id`)",
        )
        without_key = look(metadata, target(ID, NAME, key=(), write_mode="append"))
        assert "DUPLICATE KEY (`tidegate_file`, `tidegate_offset`, `tidegate_row`)" in without_key.ddl[0]
        assert without_key.ddl[0].startswith("CREATE TABLE `shop`.`orders` (`tidegate_file` VARCHAR(512), `tidegate_offset`")

    def test_soft_deletes_and_versions_get_their_columns(self, metadata: Metadata) -> None:
        found = look(metadata, target(ID, AMOUNT, delete_mode="soft", soft_delete_column="gone", version_column="amount"))
        assert "`amount` INT NOT NULL, `gone` BOOLEAN DEFAULT '0'" in found.ddl[0]

    def test_with_its_database_if_that_is_missing_too(self, metadata: Metadata, script: Script) -> None:
        script.on("schemata", [])
        assert look(metadata, target()).ddl[0] == "CREATE DATABASE IF NOT EXISTS `shop`"

    def test_an_account_that_may_not_create_it_is_told_the_grant(self, metadata: Metadata, script: Script) -> None:
        script.on("SHOW GRANTS", [{"Grants": "GRANT SELECT, INSERT ON TABLE shop.* TO USER 'app'@'%'"}])
        assert "GRANT CREATE TABLE ON DATABASE `shop` TO USER 'app'" in said(look(metadata, target()))

    def test_what_everybody_may_do_the_account_may(self, metadata: Metadata, script: Script) -> None:
        script.on("SHOW GRANTS", [{"Grants": "GRANT SELECT, INSERT ON TABLE shop.* TO USER 'app'@'%'"}])
        script.on("SHOW GRANTS FOR ROLE public", [{"Grants": "GRANT CREATE TABLE ON ALL DATABASES TO ROLE 'public'"}])
        assert look(metadata, target()).problems == ()

    def test_a_table_that_the_account_may_not_see_is_not_created_again(self, metadata: Metadata, script: Script) -> None:
        script.on("FROM `shop`.`orders` LIMIT 0", denied())
        found = look(metadata, target())
        assert "may do nothing with the table, which is there: GRANT SELECT, INSERT ON TABLE `shop`.`orders` TO USER" in said(found)
        assert found.ddl == ()

    def test_a_key_that_starrocks_cannot_have(self, metadata: Metadata) -> None:
        found = look(metadata, target(Column("id", pa.float64()), NAME))
        assert isinstance(found.problems[0], SchemaError)
        assert found.ddl == ()

    def test_a_key_that_may_be_too_long_is_worth_a_warning(self, metadata: Metadata) -> None:
        found = look(metadata, target(Column("id", pa.string(), False, {"length": "40"}), AMOUNT))
        assert "up to 160 bytes" in found.warnings[0]
        assert found.problems == ()

    @pytest.mark.parametrize(("zone", "warned"), [("Europe/Berlin", 1), ("Asia/Shanghai", 0), ("UTC", 0), ("+02:00", 0)])
    @pytest.mark.usefixtures("metadata")
    def test_an_instant_as_a_key_is_worth_one_where_clocks_are_put_back(self, zone: str, warned: int) -> None:
        at = Column("at", pa.timestamp("us", tz="UTC"), False)
        with closing(Session(fields(time_zone=zone), "sr")) as session:
            keyed = look(Metadata(session), target(ID, at, key=("id", "at")))
            plain = look(Metadata(session), target(ID, at))
        assert [f"clocks of {zone} show twice" in text for text in keyed.warnings] == [True] * warned
        assert plain.warnings == ()

    def test_is_not_made_for_an_update_of_what_is_there(self, metadata: Metadata) -> None:
        found = look(metadata, target(existing_only=True))
        assert "no such table" in said(found)
        assert found.ddl == ()

    def test_is_not_guessed_from_expressions(self, metadata: Metadata) -> None:
        assert "create it" in said(look(metadata, target(properties={"columns": "id,b=to_bitmap(name)"})))


class TestModels:
    def test_a_primary_key_table_of_the_same_key(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`ID`", ID="bigint(20) not null", name="varchar(80)")
        found = look(metadata, target())
        assert (found.exists, found.empty, found.rows, found.ddl, found.problems) == (True, False, 5, (), ())
        assert found.strategy == "Stream Load by PRIMARY KEY (id), the row's last change wins; deletes by __op"

    @pytest.mark.parametrize("model", ["UNIQUE_KEYS", "DUP_KEYS", "AGG_KEYS"])
    def test_deletes_on_other_models_are_refused_and_never_dropped(self, metadata: Metadata, script: Script, model: str) -> None:
        there(script, model, "`id`", id="bigint not null", name="varchar(80) agg replace")
        found = look(metadata, target())
        assert isinstance(found.problems[0], ConfigError)
        assert "takes no deletes" in said(found)
        assert "write_mode='append'" in said(found)

    def test_another_key_is_refused(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`, `name`", id="bigint not null", name="varchar(80) not null")
        assert "primary key is (id, name), and rows are to be merged by (id)" in said(look(metadata, target()))

    def test_the_order_of_the_key_s_columns_doesn_t_matter(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`name`, `id`", id="bigint not null", name="varchar(80) not null")
        assert look(metadata, target(key=("id", "name"))).problems == ()

    def test_an_append_into_an_aggregate_table_names_every_aggregation(self, metadata: Metadata, script: Script) -> None:
        there(script, "AGG_KEYS", "id", id="bigint", name="varchar(80) agg replace", amount="bigint agg sum")
        found = look(metadata, target(ID, NAME, AMOUNT, write_mode="append"))
        assert found.problems == ()
        assert found.strategy == "Stream Load, a row for each insert, aggregated by (id): name by REPLACE, amount by SUM"

    def test_a_unique_key_table_is_no_log(self, metadata: Metadata, script: Script) -> None:
        there(script, "UNIQUE_KEYS", "`id`", id="bigint", name="varchar(80)")
        found = look(metadata, target(write_mode="append"))
        assert found.problems == ()
        assert any("no log of the changes" in text for text in found.warnings)

    def test_conditional_and_partial_updates_are_in_the_strategy(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)", amount="int not null default 0")
        found = look(metadata, target(ID, NAME, AMOUNT, version_column="amount", properties={"partial_update": "true"}))
        assert "whose amount is lower or the same" in found.strategy
        assert "keep their values" in found.strategy


class TestColumns:
    def test_missing_ones_are_added_in_one_alter(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null")
        (statement,) = look(metadata, target(ID, NAME, AMOUNT, delete_mode="soft", soft_delete_column="gone")).ddl
        assert statement == (
            "ALTER TABLE `shop`.`orders` ADD COLUMN `name` VARCHAR(80) NULL, ADD COLUMN `amount` INT NULL, "
            "ADD COLUMN `gone` BOOLEAN NULL DEFAULT '0'"
        )

    def test_are_left_out_when_ddl_is_ignored(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null")
        found = look(metadata, target(on_ddl="ignore"))
        assert found.ddl == ()
        assert "name: left out" in found.warnings[0]

    def test_to_an_aggregate_table_none_is_added(self, metadata: Metadata, script: Script) -> None:
        there(script, "AGG_KEYS", "id", id="bigint")
        found = look(metadata, target(write_mode="append"))
        assert "how a column is aggregated has to be said" in said(found)
        assert found.ddl == ()

    def test_of_the_wrong_type_are_refused(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="int(11)")
        assert "column name:" in said(look(metadata, target()))

    def test_a_text_that_grew_at_the_source_grows_here(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(10) default x")
        found = look(metadata, target())
        assert found.ddl == ("ALTER TABLE `shop`.`orders` MODIFY COLUMN `name` VARCHAR(80) NULL DEFAULT 'x'",)
        assert found.problems == ()
        assert "becomes VARCHAR(80)" in found.warnings[0]
        assert look(metadata, target(on_ddl="fail")).ddl == ()

    def test_a_text_of_as_many_bytes_as_characters_is_left_as_it_is(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(20)")
        found = look(metadata, target())
        assert found.ddl == ()
        assert found.problems == ()
        assert "counts bytes" in found.warnings[0]

    def test_the_longest_text_is_long_enough(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(1048576)")
        long = Column("name", pa.string(), attributes={"length": "4294967295"})
        found = look(metadata, target(ID, long))
        assert found.ddl == ()
        assert found.problems == ()

    def test_that_nothing_fills_and_that_must_be_filled_are_refused(self, metadata: Metadata, script: Script) -> None:
        more = {
            "a": "int not null",
            "b": "int not null default 1",
            "c": "int",
            "d": "bigint not null numbered",
            "e": "int as `b` + 1",
        }
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)", **more)
        found = look(metadata, target())
        assert "column a is NOT NULL without a default" in said(found)
        assert "column e is computed from b, and no load brings it" in said(found)
        assert len(found.problems) == 2
        more.pop("e")
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)", **more)
        partial = look(metadata, target(properties={"partial_update": "true"}))
        assert partial.problems == ()
        assert any("column a" in text for text in partial.warnings)

    def test_that_the_server_computes_may_not_be_brought(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80) as (concat(id, 'x'))")
        assert "name is generated by the server" in said(look(metadata, target()))
        assert "name is generated by the server" in said(look(metadata, target(properties={"columns": "id,name"})))
        assert "name is generated by the server" in said(look(metadata, target(properties={"columns": "id,n,name=upper(n)"})))

    def test_that_the_server_computes_need_what_they_are_computed_from_in_every_load(
        self, metadata: Metadata, script: Script
    ) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)", amount="int", total="int as (amount * id)")
        wanted = (ID, NAME, AMOUNT)
        for fine in ({}, {"conflict_mode": "ignore"}, {"conflict_mode": "update"}, {"properties": {"partial_update": "true"}}):
            assert look(metadata, target(*wanted, **fine)).problems == ()
        assert look(metadata, target(*wanted, conflict_mode="update", columns=["amount"])).problems == ()
        lacking = {
            "no load brings it": target(),
            "a load of its key alone": target(*wanted, delete_mode="soft", soft_delete_column="gone"),
            "not among the columns": target(*wanted, conflict_mode="update", columns=["name"]),
            "a NULL in it": target(*wanted, ignore_nulls=True),
            "no load brings": target(*wanted, properties={"columns": "id,name", "partial_update": "true"}),
        }
        for why, unfit in lacking.items():
            (problem,) = look(metadata, unfit).problems
            assert "column total is computed from amount, and " in str(problem)
            assert why in str(problem)

    def test_that_the_server_computes_of_whole_rows_need_nothing(self, metadata: Metadata, script: Script) -> None:
        there(script, "DUP_KEYS", "`id`", id="bigint", name="varchar(80)", amount="int", total="int as (amount * id)")
        assert look(metadata, target(write_mode="append")).problems == ()

    def test_a_key_column_that_is_missing_is_not_added(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`other`", other="bigint not null", name="varchar(80)")
        found = look(metadata, target())
        assert "lacks the key column id" in said(found)
        assert found.ddl == ()


class TestExpressions:
    def test_a_bitmap_needs_one(self, metadata: Metadata, script: Script) -> None:
        there(script, "AGG_KEYS", "id", id="bigint", users="bitmap agg bitmap_union")
        wanted = target(ID, Column("user", pa.int64()), write_mode="append")
        refused = said(look(metadata, wanted, {}))
        assert "users=to_bitmap(…)" in refused
        assert "properties" in refused

    def test_the_reference_s_page_uv_is_taken_as_it_is(self, metadata: Metadata, script: Script) -> None:
        there(script, "AGG_KEYS", "page_id,visit_date", page_id="int", visit_date="datetime", visit_users="bitmap agg bitmap_union")
        columns = [Column("page_id", pa.int32()), Column("visit_date", pa.timestamp("us")), Column("visit_user_id", pa.int32())]
        header = "page_id,visit_date,visit_user_id,visit_users=to_bitmap(visit_user_id)"
        found = look(metadata, target(*columns, key=(), write_mode="append", properties={"columns": header}))
        assert found.problems == ()
        assert found.ddl == ()
        assert found.strategy.endswith("aggregated by (page_id, visit_date): visit_users by BITMAP_UNION")

    def test_an_hll_needs_its_own(self, metadata: Metadata, script: Script) -> None:
        there(script, "AGG_KEYS", "id", id="bigint", users="hll agg hll_union")
        assert "users=hll_hash(…)" in said(look(metadata, target(ID, write_mode="append")))

    def test_what_the_header_leaves_out_is_said(self, metadata: Metadata, script: Script) -> None:
        there(script, "DUP_KEYS", "id", id="bigint", name="varchar(80)")
        found = look(metadata, target(write_mode="append", properties={"Columns": "id"}))
        assert "doesn't name name" in found.warnings[0]

    def test_a_header_that_is_not_closed(self, metadata: Metadata) -> None:
        assert "not closed" in said(look(metadata, target(properties={"columns": "a,b=f("})))


class TestOwnColumns:
    def test_a_version_column_is_looked_at(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)", amount="int")
        assert "may be NULL" in look(metadata, target(ID, NAME, AMOUNT, version_column="amount")).warnings[-1]
        assert "part of the key" in said(look(metadata, target(version_column="id")))
        assert "no column other" in said(look(metadata, target(version_column="other")))

    def test_a_soft_delete_column_is_boolean(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)", gone="datetime")
        assert "has to be BOOLEAN" in said(look(metadata, target(delete_mode="soft", soft_delete_column="gone")))

    def test_an_op_column_holds_the_longest_kind(self, metadata: Metadata, script: Script) -> None:
        there(script, "DUP_KEYS", "id", id="bigint", name="varchar(80)", op="varchar(6)")
        assert "VARCHAR(13)" in said(look(metadata, target(write_mode="append", op_column="op")))

    def test_a_log_without_the_columns_of_events_is_said_to_be_undecidable(self, metadata: Metadata, script: Script) -> None:
        there(script, "DUP_KEYS", "id", id="bigint", name="varchar(80)")
        found = look(metadata, target(write_mode="append"))
        assert found.ddl == ()
        assert "tidegate_file, tidegate_offset, tidegate_row" in found.warnings[-1]


class TestRights:
    def test_select_and_insert_are_tried(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)")
        script.on("EXPLAIN INSERT", denied())
        found = look(metadata, target())
        assert isinstance(found.problems[0], PreflightError)
        assert "lacks INSERT: GRANT INSERT ON TABLE `shop`.`orders` TO USER 'app'" in said(found)
        script.on("FROM `shop`.`orders` LIMIT", denied())
        found = look(metadata, target())
        assert "lacks SELECT: GRANT SELECT, INSERT ON TABLE" in said(found)
        assert found.empty is False

    def test_alter_is_asked_for_only_where_it_is_needed(self, metadata: Metadata, script: Script) -> None:
        there(script, "PRIMARY_KEYS", "`id`", id="bigint not null", name="varchar(80)")
        script.on("SHOW GRANTS", [{"Grants": "GRANT SELECT, INSERT ON TABLE shop.orders TO USER 'app'@'%'"}])
        assert look(metadata, target()).problems == ()
        assert "GRANT ALTER ON TABLE `shop`.`orders` TO USER 'app'" in said(look(metadata, target(ID, NAME, AMOUNT)))
