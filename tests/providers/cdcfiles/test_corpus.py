"""The record files that others recorded give the tables that they speak of."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.cdcfiles.reading import CORPUS, open_source, tables

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the corpus of recorded input is not here; TIDEGATE_CORPUS says where it is"
)

DDL = """
CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(255) NOT NULL, description VARCHAR(512), weight FLOAT);
CREATE TABLE product (id INT PRIMARY KEY, name VARCHAR(255) NOT NULL, description VARCHAR(512), weight FLOAT);
"""

# By hand: the nine products of Debezium's example, and what was done to them.
START = {
    101: ("scooter", "Small 2-wheel scooter", 3.14),
    102: ("car battery", "12V car battery", 8.1),
    103: ("12-pack drill bits", "12-pack of drill bits with sizes ranging from #40 to #3", 0.8),
    104: ("hammer", "12oz carpenter's hammer", 0.75),
    105: ("hammer", "14oz carpenter's hammer", 0.875),
    106: ("hammer", "16oz carpenter's hammer", 1.0),
    107: ("rocks", "box of assorted rocks", 5.3),
    108: ("jacket", "water resistent black wind breaker", 0.1),
    109: ("spare tire", "24 inch spare tire", 22.2),
}
CHANGED = START | {
    106: ("hammer", "18oz carpenter hammer", 1.0),
    107: ("rocks", "box of assorted rocks", 5.1),
    110: ("jacket", "new water resistent white wind breaker", 0.5),
}
REDUCED = {number: row for number, row in CHANGED.items() if number not in (102, 103)} | {
    101: ("scooter", "Small 2-wheel scooter", 5.17),
}


def products(rows: list[dict[str, Any]]) -> dict[Any, tuple[Any, ...]]:
    return {row["id"]: (row["name"], row["description"], pytest.approx(row["weight"])) for row in rows}


@pytest.mark.parametrize("file", ["apache-flink/debezium-data-schema-include.txt", "apache-seatunnel/debezium-data.txt"])
@pytest.mark.parametrize("ddl", [DDL, None])
def test_debezium(file: str, ddl: str | None) -> None:
    if ddl is None and "schema-include" not in file:
        pytest.skip("without schema the types have to be declared")
    source = open_source(CORPUS / file, ddl=ddl)
    found = tables(source, "inventory.products", key=["id"])["inventory.products"]
    assert products(found) == CHANGED


@pytest.mark.parametrize("file", ["apache-flink/maxwell-data.txt", "apache-seatunnel/maxwell-data-filter-table.txt"])
def test_maxwell(file: str) -> None:
    found = tables(open_source(CORPUS / file, ddl=DDL), "test.product")["test.product"]
    assert products(found) == REDUCED


def test_canal_of_flink() -> None:
    found = tables(open_source(CORPUS / "apache-flink" / "canal-data.txt"), "inventory.products2")["inventory.products2"]
    assert products(found) == REDUCED


def test_canal_of_seatunnel() -> None:
    source = open_source(CORPUS / "apache-seatunnel" / "canal-data-filter-table.txt")
    found = tables(source, "mydb.product", "mydb.orders")
    assert products(found["mydb.product"]) == REDUCED
    orders = {row["order_number"]: (row["purchaser"], row["quantity"], row["product_id"]) for row in found["mydb.orders"]}
    assert orders == {10001: (1001, 3, 102), 10003: (1002, 2, 106), 10004: (1003, 1, 107)}
    assert [str(row["order_date"]) for row in found["mydb.orders"]] == ["2016-01-16", "2016-02-19", "2016-02-21"]


def test_canal_s_mysql_type_may_be_wrong_and_the_statement_in_the_file_says_better() -> None:
    source = open_source(CORPUS / "apache-seatunnel" / "canal-data-filter-table.txt")
    found = tables(source, "mydb.project", key=["id"])["mydb.project"]
    assert products(found) == {f"A{number}": row for number, row in START.items()}
