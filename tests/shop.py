"""A small shop on MariaDB with a seeded stream of changes, and an independent comparison of source and target."""

from __future__ import annotations

import datetime as dt
import decimal
import random
from typing import Any

from tests.servers import MySqlServer, PostgresServer

TABLES = ("customers", "orders", "order_items")
KEYS = {"customers": ("id",), "orders": ("id",), "order_items": ("order_id", "line")}

_DDL = """
CREATE TABLE {db}.customers (id INT UNSIGNED PRIMARY KEY, name VARCHAR(40), note TEXT, vip TINYINT(1) NOT NULL);
CREATE TABLE {db}.orders (id BIGINT UNSIGNED PRIMARY KEY, customer INT, total DECIMAL(12,2), at DATETIME(6), memo VARCHAR(60));
CREATE TABLE {db}.order_items (order_id BIGINT UNSIGNED, line INT, sku VARCHAR(20), price DECIMAL(10,4),
    PRIMARY KEY (order_id, line));
"""

_TEXTS = (
    None,
    "",
    "plain",
    "tab\there",
    "line\nfeed",
    "back\\slash",
    "\\N",
    "\\.",
    "quote \" and '",
    "héllo wörld ☕ 🚀",
    "NULL",
    ",",
)


class Shop:
    """The tables in a database of their own. ``step`` runs one random transaction; the same seed gives the same stream."""

    def __init__(self, server: MySqlServer, database: str, seed: int = 1) -> None:
        self.server, self.database = server, database
        self.random = random.Random(seed)
        self.ids: dict[str, list[Any]] = {table: [] for table in TABLES}
        self.next_id = 1

    def create(self) -> None:
        self.server.execute(*[text for text in _DDL.format(db=self.database).split(";\n") if text.strip()])

    def fill(self, rows: int) -> None:
        """``rows`` rows in each table."""
        connection = self.server.connect(database=self.database)
        with connection.cursor() as cursor:
            for table in TABLES:
                made = [self._row(table, self._new_key(table)) for _ in range(rows)]
                cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(made[0]))})", made)
        connection.close()

    def run(self, transactions: int, connection: Any = None) -> None:
        """That many random transactions, over all tables: inserts, updates, deletes, key changes, deletes and re-inserts."""
        own = connection or self.server.connect(database=self.database)
        for _ in range(transactions):
            own.begin()
            with own.cursor() as cursor:
                for _ in range(self.random.randint(1, 6)):
                    self._change(cursor)
            own.commit()
        if connection is None:
            own.close()

    def _new_key(self, table: str) -> tuple[Any, ...]:
        number, self.next_id = self.next_id, self.next_id + 1
        key = (number, self.random.randint(1, 3)) if table == "order_items" else (number,)
        self.ids[table].append(key)
        return key

    def _row(self, table: str, key: tuple[Any, ...]) -> tuple[Any, ...]:
        pick = self.random
        if table == "customers":
            return (*key, pick.choice(_TEXTS), pick.choice(_TEXTS), pick.choice([0, 1, 2, -128]))
        price = decimal.Decimal(pick.randint(-(10**6), 10**6)) / 100
        if table == "orders":
            at = dt.datetime(2026, 1, 1) + dt.timedelta(microseconds=pick.randint(0, 10**15))
            return (*key, pick.choice([None, 1, -5]), price, pick.choice([None, at]), pick.choice(_TEXTS))
        return (*key, pick.choice(["a", "b", None]), price)

    def _change(self, cursor: Any) -> None:
        table = self.random.choice(TABLES)
        keys, where = self.ids[table], " AND ".join(f"{name} = %s" for name in KEYS[table])
        kind = self.random.choice(["insert", "update", "update", "delete", "move", "again"])
        if kind == "insert" or not keys:
            self._insert(cursor, table, self._new_key(table))
            return
        key = self.random.choice(keys)
        if kind == "update":
            column = {"customers": "note", "orders": "memo", "order_items": "sku"}[table]
            value = self.random.choice(_TEXTS) if table != "order_items" else self.random.choice(["x", "y"])
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE {where}", (value, *key))
        elif kind == "move":
            keys.remove(key)
            new = self._new_key(table)
            names = ", ".join(f"{name} = %s" for name in KEYS[table])
            cursor.execute(f"UPDATE {table} SET {names} WHERE {where}", (*new, *key))
        else:
            cursor.execute(f"DELETE FROM {table} WHERE {where}", key)
            keys.remove(key)
            if kind == "again":
                keys.append(key)
                self._insert(cursor, table, key)

    def _insert(self, cursor: Any, table: str, key: tuple[Any, ...]) -> None:
        row = self._row(table, key)
        cursor.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """The source's rows by key, read by PyMySQL alone."""
        connection = self.server.connect(database=self.database)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} ORDER BY {', '.join(KEYS[table])}")
            found = list(cursor.fetchall())
        connection.close()
        return found


def target_rows(server: PostgresServer, schema: str, table: str) -> list[tuple[Any, ...]]:
    """The target's rows by key, read by psycopg2 alone."""
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT * FROM "{schema}"."{table}" ORDER BY {", ".join(KEYS[table])}')
        found = list(cursor.fetchall())
    connection.close()
    return found


def assert_equal(shop: Shop, server: PostgresServer, schema: str = "ods", *, empty_is_null: bool = False) -> None:
    for table in TABLES:
        expected = shop.rows(table)
        if empty_is_null:
            expected = [tuple(None if value == "" else value for value in row) for row in expected]
        assert target_rows(server, schema, table) == expected, table
