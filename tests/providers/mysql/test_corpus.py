"""Tables that others thought up: the SQL of Flink CDC's own tests, read where it lies."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.providers.mysql.reading import Database, apply, changes, one_route, rows
from tidegate.changes.position import SnapshotPosition
from tidegate.providers.mysql.fast import fast_route
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits

pytestmark = pytest.mark.mysql

FOLDER = Path(os.environ.get("TIDEGATE_CORPUS") or Path(__file__).parents[4] / "shared" / "corpus") / "apache-flink-cdc"
FILES = ("column_type_test.sql", "ancient_date_and_time.sql", "charset_test.sql", "customer.sql", "inventory.sql")


def statements(file: str, database: str) -> list[str]:
    text = (FOLDER / file).read_text().replace("$DBNAME$", database)
    text = re.sub(r"^--.*$", "", text, flags=re.MULTILINE)
    return [part.strip() for part in re.split(r";\s*(?:\n|$)", text) if part.strip()]


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the corpus of recorded input is not here; TIDEGATE_CORPUS says where it is")
@pytest.mark.parametrize("file", FILES)
def test_copy_by_either_route_and_changes_agree(db: Database, file: str) -> None:
    source = db.source()
    begin = source.head()
    connection = db.server.connect(database=db.name)
    ran, refused = 0, []
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        for statement in statements(file, db.name):
            try:
                cursor.execute(statement)
                ran += 1
            except pymysql.err.Error as error:
                refused.append((error.args[0], statement[:60]))
    connection.close()
    print(f"{file} on {source._flavour()}: {ran} statements, refused by the server: {refused}")

    tables = [db.table(name) for (name,) in db.rows("SHOW TABLES")]
    assert tables or refused
    session = Session(source._values, "shop_mysql")
    for name in tables:
        table = read_table(session, name)
        if not table.schema.key:
            continue
        position = SnapshotPosition(begin)
        chunks = list(copy(one_route(session, PyMySqlRoute(session)), table, position, Limits(2)))
        if not any(chunk.num_rows for chunk in chunks):
            continue
        slow = rows(chunks)
        fast = fast_route(session, table)
        if fast is not None:
            assert rows(list(copy(one_route(session, fast), table, position, Limits(3)))).equals(slow), name
        state: dict[tuple[Any, ...], dict[str, Any]] = {}
        apply(state, changes(source, {name: begin}))
        expected: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in slow.to_pylist():
            expected[tuple(row[key] for key in table.schema.key)] = row
        assert state == expected, name
    session.close()
