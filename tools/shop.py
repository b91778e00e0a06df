"""A small shop with odd values, and scripted changes to it: what the demo's recording holds.

Everything is drawn from one seed and each transaction sets the server's clock, so the same seed gives the same rows and the same
commit times on every server.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

T = TypeVar("T")
DATABASE = "shop"

TABLES = {
    "customers": """
        CREATE TABLE customers (
            id INT UNSIGNED NOT NULL PRIMARY KEY,
            name VARCHAR(80) NOT NULL,
            email VARCHAR(120) NULL,
            nick VARCHAR(20) CHARACTER SET latin1 NULL,
            note TEXT NULL,
            referred_by INT UNSIGNED NULL,
            vip TINYINT(1) NOT NULL,
            points SMALLINT NOT NULL,
            credit DECIMAL(38, 10) NULL,
            rating DOUBLE NULL,
            born DATE NULL,
            created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
            changed_at DATETIME NULL
        )""",
    # A key of text that compares without case and trailing blanks: 'red-fish ' is 'RED-FISH' to MySQL, and not to its targets.
    "products": """
        CREATE TABLE products (
            sku VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY,
            title VARCHAR(100) NOT NULL,
            price DECIMAL(10, 4) NOT NULL,
            weight FLOAT NULL,
            active BIT(1) NOT NULL,
            stock MEDIUMINT NOT NULL,
            released YEAR NULL,
            attributes JSON NULL,
            photo BLOB NULL
        )""",
    "orders": """
        CREATE TABLE orders (
            id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
            customer_id INT UNSIGNED NOT NULL,
            status ENUM('new', 'paid', 'shipped', 'zurückgeschickt', '') NOT NULL,
            tags SET('gift', 'express', 'fragile', 'naïve') NULL,
            total DECIMAL(12, 2) NOT NULL,
            fee DECIMAL(50, 20) NULL,
            is_gift TINYINT(1) NULL,
            flags BIT(10) NOT NULL,
            placed_at DATETIME(6) NOT NULL,
            paid_at TIMESTAMP(3) NULL DEFAULT NULL,
            shipped_on DATE NULL,
            handling TIME(3) NULL,
            note TEXT NULL,
            payload VARBINARY(64) NULL,
            details JSON NULL
        )""",
    "order_items": """
        CREATE TABLE order_items (
            order_id BIGINT UNSIGNED NOT NULL,
            line SMALLINT UNSIGNED NOT NULL,
            sku VARCHAR(24) NOT NULL,
            quantity INT NOT NULL,
            price DECIMAL(10, 4) NOT NULL,
            discount FLOAT NULL,
            PRIMARY KEY (order_id, line)
        )""",
}

NAMES = [
    "Ærø Sørensen",
    "李雷",
    "Ольга",
    "O'Neil",
    "🐟 & Søn",
    "e\u0301lan",
    "👩‍👩‍👧‍👦 GmbH",
    'Jane "JJ" Doe',
    "ﬁn",
    "NULL",
    " blank ",
]
NOTES: list[str | None] = [
    None,
    "",
    "\\N",
    "tab\there",
    "two\nlines\r\n",
    "back\\slash \\t \\",
    "'single' \"double\" `tick`",
    "null",
    "a,b;c|d",
    "{braces} $1 %s :name",
    "\u2028 separators \u00a0",
    "\x01\x1f controls \x7f",
    "x" * 400,
]
DETAILS = [
    '{"a": 1, "b": [true, null, 1.50]}',
    "[]",
    '"text"',
    "null",
    '{"ü": "🐟", "a":   "kept as written"}',
    '{"big": 12345678901234567890}',
]
SKUS = ["red-fish", "blue-fish", "ÅL", "cod\\2", "o'hara", "tab\tsku", "🐟", "naïve", "eel", "ray"]
ODD_DATES = ["0000-00-00", "1000-01-01", "9999-12-31", "2024-02-29", "1970-01-01", "2021-00-00"]
TIMES = ["-838:59:59.000", "838:59:59.000", "00:00:00.000", "-00:00:00.001", "12:34:56.789"]
HUGE = 2**64 - 1


class Shop:
    """The shop on one server: ``connect(**options)`` gives a PyMySQL connection to it."""

    def __init__(self, connect: Callable[..., Any], seed: int = 20) -> None:
        self._random = random.Random(seed)
        self._clock = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
        setup = connect()
        with setup.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
        setup.close()
        # Without a mode the server takes zero dates, as many an old application relies on.
        self._connection = connect(database=DATABASE, autocommit=False, init_command="SET sql_mode = '', time_zone = '+00:00'")
        self._customers: list[int] = []
        self._products: list[str] = []
        self._orders: list[int] = []
        with self._connection.cursor() as cursor:
            for statement in TABLES.values():
                cursor.execute(statement)

    def close(self) -> None:
        self._connection.close()

    # The script: fill() comes first, then each of ACTS.

    def fill(self) -> None:
        """The rows that the first copy finds."""
        with self._transaction() as run:
            for number in range(1, 261):
                self._add_customer(run, number)
            for number in range(60):
                self._add_product(run, f"{SKUS[number % len(SKUS)]}-{number}")
        for _ in range(8):
            with self._transaction() as run:
                for _ in range(90):
                    self._add_order(run)

    def ordinary_day(self) -> None:
        """Orders come, are paid, shipped, some are removed."""
        for _ in range(12):
            with self._transaction() as run:
                for _ in range(self._random.randint(1, 6)):
                    self._add_order(run)
                for order in self._pick(self._orders, 5):
                    self._progress(run, order)
            with self._transaction() as run:
                for order in self._pick(self._orders, 2):
                    self._drop_order(run, order)
                for sku in self._pick(self._products, 3):
                    run("UPDATE products SET stock = stock - 1, photo = %s WHERE sku = %s", self._bytes(), sku)

    def keys_move(self) -> None:
        """Keys change, swap places and shift along."""
        for old in self._pick(self._orders, 10):
            new = self._new_order_id()
            with self._transaction() as run:
                run("UPDATE orders SET id = %s WHERE id = %s", new, old)
                run("UPDATE order_items SET order_id = %s WHERE order_id = %s", new, old)
            self._orders[self._orders.index(old)] = new
        for _ in range(6):
            first, second = self._pick(self._orders, 2)
            with self._transaction() as run:
                # 0 is free: order numbers begin above it.
                for old, new in ((first, 0), (second, first), (0, second)):
                    run("UPDATE orders SET id = %s WHERE id = %s", new, old)
        for order in self._pick(self._orders, 15):
            with self._transaction() as run:
                run("UPDATE order_items SET line = line + 1 WHERE order_id = %s ORDER BY line DESC", order)
        for sku in self._pick(self._products, 8):
            # To MySQL the same key, to the byte another one.
            renamed = sku.swapcase() if sku.swapcase() != sku else f"{sku} "
            with self._transaction() as run:
                run("UPDATE products SET sku = %s WHERE sku = %s", renamed, sku)
            self._products[self._products.index(sku)] = renamed

    def lives_end_and_begin(self) -> None:
        """Rows are deleted and inserted again, in one transaction and over several; rows come and go between two runs."""
        for customer in self._pick(self._customers, 20):
            with self._transaction() as run:
                run("DELETE FROM customers WHERE id = %s", customer)
                if self._random.random() < 0.5:
                    self._insert_customer(run, customer)
                    continue
            if self._random.random() < 0.5:
                with self._transaction() as run:
                    self._insert_customer(run, customer)
            else:
                self._customers.remove(customer)
        for _ in range(10):
            order = self._new_order_id()
            with self._transaction() as run:
                self._insert_order(run, order)
            with self._transaction() as run:
                self._progress(run, order)
            with self._transaction() as run:
                run("DELETE FROM orders WHERE id = %s", order)
        for customer in self._pick(self._customers, 10):
            with self._transaction() as run:
                run("REPLACE INTO customers (id, name, vip, points) VALUES (%s, %s, %s, 0)", customer, self._name(), -128)

    def odd_values(self) -> None:
        """Every value that a target might get wrong, written over another."""
        for value in NOTES:
            with self._transaction() as run:
                for order in self._pick(self._orders, 2):
                    run("UPDATE orders SET note = %s, details = %s WHERE id = %s", value, self._choose(DETAILS), order)
        for day in ODD_DATES:
            with self._transaction() as run:
                for order in self._pick(self._orders, 2):
                    run("UPDATE orders SET shipped_on = %s, placed_at = %s WHERE id = %s", day, f"{day} 00:00:00", order)
                for customer in self._pick(self._customers, 2):
                    run("UPDATE customers SET born = %s, changed_at = %s WHERE id = %s", day, f"{day} 00:00:00", customer)
        for duration in TIMES:
            with self._transaction() as run:
                for order in self._pick(self._orders, 2):
                    run("UPDATE orders SET handling = %s, paid_at = '0000-00-00 00:00:00' WHERE id = %s", duration, order)
        for vip, points in ((-128, -32768), (127, 32767), (2, 0)):
            with self._transaction() as run:
                for customer in self._pick(self._customers, 2):
                    run("UPDATE customers SET vip = %s, points = %s WHERE id = %s", vip, points, customer)
        for number in ("9" * 28 + "." + "9" * 10, "-" + "9" * 28 + "." + "9" * 10, "0.0000000001", None):
            with self._transaction() as run:
                for customer in self._pick(self._customers, 2):
                    run("UPDATE customers SET credit = %s, rating = -0.0, email = '' WHERE id = %s", number, customer)
        for fee in ("9" * 30 + "." + "9" * 20, "-0.00000000000000000001"):
            with self._transaction() as run:
                for order in self._pick(self._orders, 2):
                    run("UPDATE orders SET fee = %s, flags = b'1111111111', status = '' WHERE id = %s", fee, order)

    def one_large_transaction(self) -> None:
        """One statement that touches every line of every order, and a long transaction over all tables."""
        with self._transaction() as run:
            run("UPDATE order_items SET price = price * 1.1, quantity = quantity + 1 WHERE quantity < 3")
            run("UPDATE products SET stock = stock + 100")
            for customer in self._pick(self._customers, 40):
                run("UPDATE customers SET points = points + 1, changed_at = NOW() WHERE id = %s", customer)
            for _ in range(30):
                self._add_order(run)

    def half_measures(self) -> None:
        """Transactions that are rolled back whole or to a savepoint, and statements that insert or update."""
        for _ in range(6):
            order = self._new_order_id()
            with self._transaction() as run:
                run("SAVEPOINT before_it")
                self._insert_order(run, order)
                run("ROLLBACK TO SAVEPOINT before_it")
                self._progress(run, self._choose(self._orders))
        with self._connection.cursor() as cursor:
            cursor.execute("UPDATE orders SET note = 'never committed'")
        self._connection.rollback()
        for customer in [*self._pick(self._customers, 10), max(self._customers) + 1]:
            statement = (
                "INSERT INTO customers (id, name, vip, points) VALUES (%s, %s, 1, 1) ON DUPLICATE KEY UPDATE points = points + 1"
            )
            with self._transaction() as run:
                run(statement, customer, self._name())

    def clearing_out(self) -> None:
        """Whole ranges are deleted, then an ordinary day follows."""
        gone = sorted(self._orders)[:60]
        with self._transaction() as run:
            run("DELETE FROM order_items WHERE order_id BETWEEN %s AND %s", gone[0], gone[-1])
            run("DELETE FROM orders WHERE id BETWEEN %s AND %s", gone[0], gone[-1])
        self._orders = [order for order in self._orders if order not in set(gone)]
        self.ordinary_day()

    # Single changes

    def _add_customer(self, run: Run, number: int) -> None:
        self._insert_customer(run, number)
        self._customers.append(number)

    def _insert_customer(self, run: Run, number: int) -> None:
        columns = ["id", "name", "email", "nick", "note", "referred_by", "vip", "points", "credit", "rating", "born"]
        values = [
            number,
            self._name(),
            self._choose([None, "", f"user{number}@example.com"]),
            self._choose([None, "", "zoë", "Strauß"]),
            self._choose(NOTES),
            self._choose([None, *self._customers[:50]]),
            self._choose([0, 1, 1, 2, -128, 127]),
            self._random.randint(-300, 30_000),
            self._choose([None, Decimal(self._random.randint(-(10**12), 10**12)).scaleb(-10)]),
            self._choose([None, self._random.random() * 5, 1e-300, 1.7976931348623157e308]),
            self._choose([None, *ODD_DATES, (date(1950, 1, 1) + timedelta(days=self._random.randint(0, 20_000))).isoformat()]),
        ]
        run(_insert("customers", columns), *values)

    def _add_product(self, run: Run, sku: str) -> None:
        columns = ["sku", "title", "price", "weight", "active", "stock", "released", "attributes", "photo"]
        attributes = json.dumps({"sku": sku, "size": self._random.choice("SML")}, ensure_ascii=False)
        values = [
            sku,
            f"The {sku}",
            Decimal(self._random.randint(0, 10**8)).scaleb(-4),
            self._choose([None, 0.1, 3.4028234e38, 1e-30, 16777217]),
            self._random.randint(0, 1),
            self._random.randint(-8_000_000, 8_000_000),
            self._choose([None, 0, 1901, 2155, 2026]),
            self._choose([None, attributes]),
            self._bytes(),
        ]
        run(_insert("products", columns), *values)
        self._products.append(sku)

    def _add_order(self, run: Run) -> None:
        order = self._new_order_id()
        self._insert_order(run, order)
        self._orders.append(order)
        columns = ["order_id", "line", "sku", "quantity", "price", "discount"]
        for line in range(1, self._random.randint(1, 3) + 1):
            price = Decimal(self._random.randint(1, 10**6)).scaleb(-4)
            discount = self._choose([None, None, 0.0, 0.15, 0.333333])
            run(
                _insert("order_items", columns),
                order,
                line,
                self._choose(self._products),
                self._random.randint(1, 9),
                price,
                discount,
            )

    def _insert_order(self, run: Run, order: int) -> None:
        columns = ["id", "customer_id", "status", "tags", "total", "fee", "is_gift", "flags", "placed_at", "handling", "note"]
        values = [
            order,
            self._choose(self._customers),
            "new",
            self._choose([None, "", "gift", "gift,express", "naïve,fragile"]),
            Decimal(self._random.randint(-1000, 10**8)).scaleb(-2),
            self._choose([None, Decimal("0.00000000000000000001"), Decimal("1.5")]),
            self._choose([None, 0, 1, 2, -1]),
            self._random.randint(0, 1023),
            self._clock.strftime("%Y-%m-%d %H:%M:%S") + f".{self._random.randint(0, 999_999):06d}",
            self._choose([None, *TIMES]),
            self._choose(NOTES[:8]),
        ]
        run(_insert("orders", [*columns, "payload", "details"]), *values, self._bytes(), self._choose([None, *DETAILS]))

    def _progress(self, run: Run, order: int) -> None:
        """The next thing that happens to an order."""
        status = self._choose(["paid", "shipped", "zurückgeschickt"])
        paid = self._choose([None, self._clock.strftime("%Y-%m-%d %H:%M:%S.125")])
        run("UPDATE orders SET status = %s, paid_at = %s, total = total + 0.01 WHERE id = %s", status, paid, order)

    def _drop_order(self, run: Run, order: int) -> None:
        run("DELETE FROM order_items WHERE order_id = %s", order)
        run("DELETE FROM orders WHERE id = %s", order)
        self._orders.remove(order)

    def _new_order_id(self) -> int:
        """Small numbers, and some of the upper half of BIGINT UNSIGNED, which no signed type holds."""
        order = self._random.randint(1, 10**6)
        order = HUGE - order if self._random.random() < 0.1 else order
        return order if order not in self._orders else self._new_order_id()

    # Chance and time

    def _name(self) -> str:
        return f"{self._random.choice(NAMES)} {self._random.randint(1, 999)}"

    def _bytes(self) -> bytes | None:
        value: bytes | None = self._choose([None, b"", b"\x00\xff\\N\t\n", self._random.randbytes(12)])
        return value

    def _choose(self, values: Sequence[Any]) -> Any:
        return self._random.choice(values)

    def _pick(self, values: Sequence[T], count: int) -> list[T]:
        return self._random.sample(values, count)

    @contextmanager
    def _transaction(self) -> Iterator[Run]:
        """A transaction of its own second; the block gets a function that runs one statement."""
        self._clock += timedelta(seconds=self._random.randint(1, 40))
        with self._connection.cursor() as cursor:

            def run(statement: str, *values: Any) -> None:
                cursor.execute(statement, values)

            run("SET timestamp = %s", self._clock.timestamp())
            yield run
        self._connection.commit()


Run = Callable[..., None]
"""Runs one statement with its values."""


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"


ACTS: tuple[Callable[[Shop], None], ...] = (
    Shop.ordinary_day,
    Shop.keys_move,
    Shop.lives_end_and_begin,
    Shop.odd_values,
    Shop.one_large_transaction,
    Shop.half_measures,
    Shop.ordinary_day,
    Shop.clearing_out,
)
"""What happens between two captures, in order."""
