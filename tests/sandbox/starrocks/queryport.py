"""A query port of one's own for a test, and a client of it: PyMySQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from tidegate.sandbox.starrocks.config import FrontendConfig
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.faults import Clock
from tidegate.sandbox.starrocks.labels import LabelBook
from tidegate.sandbox.starrocks.mysql import QueryPort
from tidegate.sandbox.starrocks.users import Users

SCORE_BOARD = """
CREATE TABLE `test`.`score_board`
(
    `id` int(11) NOT NULL COMMENT "",
    `name` varchar(65533) NULL DEFAULT "" COMMENT "",
    `score` int(11) NOT NULL DEFAULT "0" COMMENT ""
)
ENGINE=OLAP
PRIMARY KEY(`id`)
COMMENT "OLAP"
DISTRIBUTED BY HASH(`id`);
"""
PAGE_UV = """
CREATE TABLE `test`.`page_uv` (
  `page_id` INT NOT NULL COMMENT '页面ID',
  `visit_date` datetime NOT NULL COMMENT '访问时间',
  `visit_users` BITMAP BITMAP_UNION NOT NULL COMMENT '用户ID'
) ENGINE=OLAP
AGGREGATE KEY(`page_id`, `visit_date`)
DISTRIBUTED BY HASH(`page_id`);
"""
HLL_UV = PAGE_UV.replace("page_uv", "hll_uv").replace("BITMAP BITMAP_UNION", "HLL HLL_UNION")


@dataclass
class Front:
    """A running query port, and a connection of root's to it, in the database ``test``."""

    engine: Engine
    users: Users
    labels: LabelBook
    clock: Clock
    port: int
    root: pymysql.Connection[Cursor]

    def connect(self, user: str = "root", password: str = "", **options: Any) -> pymysql.Connection[Cursor]:
        fields: dict[str, Any] = {"user": user, "password": password, "autocommit": True, "ssl_disabled": True}
        return pymysql.connect(host="127.0.0.1", port=self.port, **(fields | options))

    def rows(self, sql: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self.root.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def names(self, sql: str) -> list[str]:
        """The names of the answer's columns."""
        with self.root.cursor() as cursor:
            cursor.execute(sql)
            return [column[0] for column in cursor.description or ()]

    def count(self, sql: str) -> int:
        """How many rows a statement says that it changed."""
        with self.root.cursor() as cursor:
            return cursor.execute(sql)

    def value(self, sql: str, values: Sequence[Any] | None = None) -> Any:
        return self.rows(sql, values)[0][0]

    def refusal(self, sql: str, connection: pymysql.Connection[Cursor] | None = None) -> tuple[int, str]:
        """Number and text of the error that a statement ends with."""
        try:
            with (connection or self.root).cursor() as cursor:
                cursor.execute(sql)
        except pymysql.err.MySQLError as error:
            return int(error.args[0]), str(error.args[1])
        raise AssertionError(f"not refused: {sql}")


@contextlib.contextmanager
def query_port(version: str = "3.3.5", time_zone: str = "Asia/Shanghai") -> Iterator[Front]:
    """A server of this version with the database ``test``."""
    config, clock, users = FrontendConfig(), Clock(), Users()
    engine = Engine(version)
    labels = LabelBook(config, clock)
    users.add("root", "", root=True)
    engine.create_database("test")
    try:
        with QueryPort(engine, users, labels, config, time_zone=time_zone, now=clock.now) as port:
            root = pymysql.connect(
                host="127.0.0.1", port=port.port, user="root", password="", database="test", autocommit=True, ssl_disabled=True
            )
            with root:
                yield Front(engine, users, labels, clock, port.port, root)
    finally:
        labels.close()
        engine.close()
