"""Forms of DDL that other tools' tests and users collected, in terms of the table of :mod:`test_history`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.providers.mysql.ddl.test_history import COLLATIONS, ORDERS, TABLES, effects
from tests.providers.mysql.test_corpus import FILES, FOLDER
from tidegate.providers.mysql.ddl import statements as st
from tidegate.providers.mysql.ddl.altered import Altered, Dialect, ghost_written
from tidegate.providers.mysql.ddl.cursor import Cursor
from tidegate.providers.mysql.ddl.history import Broken

COLLECTED = {
    "zendesk/maxwell, DDLParserTest": (
        ("alter table orders add column `int` int(11) unsigned not null AFTER `a`", "altered"),
        ("alter table orders add column mocha varchar(255) character set latin1 not null", "altered"),
        ("alter table orders add column mocha TEXT character set 'utf8' collate 'utf8_general_ci'", "altered"),
        ("alter table orders add column m int(11) unsigned not null, add p varchar(255)", "altered"),
        ("alter table orders add column (m int(11) unsigned not null, p varchar(255))", "altered"),
        ("alter table orders add index `foo` using btree (`a`, `b`) key_block_size=123", "nothing"),
        ("alter table orders add constraint unique key (`a`)", "nothing"),
        ("alter table orders add constraint `foo` primary key using btree (id)", "broken"),
        ("alter table orders add index foo (a) COMMENT 'hello world'", "nothing"),
        ("alter table orders add index (whatever(20), `f,` (2))", "nothing"),
        ("alter table orders alter column `a` SET DEFAULT 1.2", "nothing"),
        ("alter table orders CHARACTER SET latin1 COLLATE = 'latin1_swedish_ci'", "altered"),
        ("alter table orders add column `c` int, auto_increment = 5 engine=innodb, modify column a bigint", "altered"),
        ("alter table orders add column `c` int, algorithm copy, lock shared", "altered"),
        ("alter table orders CHANGE column `a` bar int(20) default '5'", "altered"),
        ("alter table orders drop column `drop`", "broken"),
        ("alter table orders charset=utf8", "altered"),
        ("alter table orders rename to `foo`.`bar`", "broken"),
        ("CREATE DATABASE if not exists `shop` -- inline comment!\n default character # another one\nset='latin1'", "nothing"),
        ("CREATE TABLE /*! IF NOT EXISTS */ orders (id int primary key)", "nothing"),
        ("drop table if exists other.bar, `shop`.orders", "broken"),
    ),
    "zendesk/maxwell, DDLIntegrationTest": (
        ("rename table `orders` to shop.ducksoup, shop.ducksoup to shop.`nananana`", "broken"),
        ("alter table orders add c NATIONAL CHARACTER VARYING(10), add d NCHAR VARCHAR(10), add f CHARACTER", "altered"),
        ("alter table orders add c text(1), add d text(256), add f text(65536), add g blob(16777216)", "altered"),
        ("alter table orders add c varchar(255) ASCII, add d enum('a', 'b') ASCII", "altered"),
        ("create TABLE shop.20151214_orders ( r1 REAL, b2 REAL (2,2) )", "nothing"),
        ("alter table orders add c REAL (2,2), add d year(4), add f int8", "altered"),
    ),
    "zendesk/maxwell, issues 272, 1303, 1320, 1442, 1741, 1913, 1968, 2155, 976": (
        ("ALTER TABLE .`orders` ADD COLUMN `scheme` ENUM('md5','bcrypt') NULL DEFAULT 'md5' AFTER `a`", "altered"),
        ("ALTER TABLE orders MODIFY COLUMN orders.b VARCHAR(500)", "altered"),
        ("ALTER TABLE shop.orders add COLUMN shop.orders.remark VARCHAR(100) after `a`", "altered"),
        ("ALTER TABLE orders DROP orders.a", "altered"),
        ("ALTER TABLE shop.orders ADD PARTITION IF NOT EXISTS (partition p2 VALUES LESS THAN (738411))", "nothing"),
        ("ALTER IGNORE TABLE orders ADD CONSTRAINT pk PRIMARY KEY IF NOT EXISTS (a, b)", "broken"),
        ("ALTER TABLE orders ADD COLUMN IF NOT EXISTS deleted_at DATETIME NULL", "altered"),
        ("ALTER TABLE orders MODIFY COLUMN IF EXISTS b varchar(20) DEFAULT ''", "altered"),
        ("ALTER TABLE orders DROP PRIMARY KEY, DROP COLUMN IF EXISTS `id`", "broken"),
    ),
    "debezium/debezium, ddl_alter.sql and dbz#360, #1272, #690, #71": (
        ("alter table orders add column ship_spec varchar(150) first, add somecol int after a, algorithm=instant", "altered"),
        (
            "alter table orders add column (c2 decimal(10, 2) comment 'comment`' null, c3 enum('abc', 'cba')), add index i (c2)",
            "altered",
        ),
        ("alter table orders add column if not exists (a decimal(10, 2), c3 int)", "altered"),
        ("alter table orders drop index if exists t3_i2", "nothing"),
        ("alter table orders drop constraint if exists cons", "nothing"),
        ("alter table orders stats_auto_recalc=default, stats_sample_pages=50.0", "nothing"),
        ("alter table orders alter index i invisible", "nothing"),
        ("alter table orders change column if exists col8 col9 tinyint", "nothing"),
        ("alter table orders add column optional bool default 0 null", "altered"),
        ("alter table orders wait 100 add column col1 int not null", "altered"),
        ("alter table orders change `b` `b` varchar(10) character set utf8mb4 binary null default null", "altered"),
        ("alter table orders CHANGE a sum int(11) DEFAULT NULL", "altered"),
        ("alter table orders MODIFY b VARCHAR(512) UNICODE", "broken"),
        ("alter table orders add c set('ALL','CREDIT_CARD','PIX') NOT SECONDARY", "altered"),
        ("ALTER DATABASE shop /*!40100 DEFAULT CHARACTER SET utf8mb4 */ -- orders", "nothing"),
        ("alter table orders drop column `a`, drop index `FK69`, drop foreign key `FK69`", "altered"),
        ("alter definer = 'ivan'@'%' view orders as select 1", "nothing"),
    ),
    "github/gh-ost, localtests": (
        ("alter table orders modify column e enum('x', 'z', 'y') not null", "broken"),
        ("alter table orders modify column e enum('x', 'z', 'y', 'w')", "altered"),
        ("alter table orders convert to character set utf8mb4", "nothing"),
        ("alter table orders change e e varchar(32) null default 'x'", "altered"),
        ("alter table orders add column is_good bit null default 0", "altered"),
        ("alter table orders add column rnd double not null default 1.5, engine=innodb", "altered"),
    ),
    "apache/flink-cdc, MySqlOnLineSchemaMigrationITCase": (
        ("ALTER TABLE orders add column ext int", "altered"),
        ("ALTER TABLE orders modify column a double", "broken"),
        ("ALTER TABLE orders drop column a", "altered"),
    ),
}


@pytest.mark.parametrize(("text", "kind"), [case for cases in COLLECTED.values() for case in cases])
def test_collected_statements_are_understood(text: str, kind: str) -> None:
    found = effects(text)
    assert [type(effect) for effect in found] == {"nothing": [], "altered": [Altered], "broken": [Broken]}[kind], found


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the corpus of recorded input is not here; TIDEGATE_CORPUS says where it is")
def test_the_tables_of_the_corpus_are_understood() -> None:
    created = 0
    for file in FILES:
        text = Path(os.path.join(FOLDER, file)).read_text()
        text = re.sub(r"^--.*$", "", text, flags=re.MULTILINE)
        for part in re.split(r";\s*(?:\n|$)", text):
            if not re.match(r"\s*CREATE TABLE", part, re.IGNORECASE) or "CHARSET=" in part.upper():
                continue
            statement = st.parse(Cursor(part, "shop"))
            assert isinstance(statement, st.CreateTable)
            assert statement.columns, part
            if statement.primary:
                assert ghost_written(TABLES[ORDERS], statement, Dialect(COLLATIONS, False)) is not None, part
            created += 1
    assert created > 10
