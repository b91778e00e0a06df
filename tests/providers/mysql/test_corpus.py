"""Tables that others thought up: the SQL of Flink CDC's own tests, read where it lies."""

from __future__ import annotations

import datetime
import os
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from tests.providers.mysql.reading import Database, batches, changes, copy_chunks, one_route, rows
from tidegate.changes.batch import RowKind
from tidegate.changes.position import SnapshotPosition
from tidegate.providers.mysql.fast import fast_route
from tidegate.providers.mysql.routes import PyMySqlRoute
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.snapshot import copy
from tidegate.providers.mysql.types import read_table
from tidegate.sync.protocols import Limits

FOLDER = Path(os.environ.get("TIDEGATE_CORPUS") or Path(__file__).parents[4] / "shared" / "corpus") / "apache-flink-cdc"
# What is in them: statements, tables, tables that hold rows.
FILES = {
    "column_type_test.sql": (3, 2, 1),
    "ancient_date_and_time.sql": (9, 1, 1),
    "charset_test.sql": (42, 21, 21),
    "customer.sql": (30, 15, 15),
    "inventory.sql": (26, 9, 8),
}
# What MySQL 5.6 doesn't take is put in other words; nothing is left out.
ADAPTED_TO_5_6 = {"column_type_test.sql": [("json_c               JSON,", "json_c               LONGTEXT,")]}


def statements(file: str, database: str, *, old: bool) -> list[str]:
    text = (FOLDER / file).read_text().replace("$DBNAME$", database)
    for theirs, ours in ADAPTED_TO_5_6.get(file, []) if old else []:
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours)
    text = re.sub(r"^--.*$", "", text, flags=re.MULTILINE)
    return [part.strip() for part in re.split(r";\s*(?:\n|$)", text) if part.strip()]


def load(db: Database, file: str) -> list[str]:
    """Run every statement of a file, and return them."""
    old = db.rows("SELECT VERSION()")[0][0].startswith("5.6")
    if old:
        # Four bytes a character would make the keys on VARCHAR(255) too long for it.
        db.execute(f"ALTER DATABASE {db.name} CHARACTER SET utf8")
    ran = statements(file, db.name, old=old)
    db.execute("SET SESSION sql_mode = ''", *ran)
    return ran


def multiset(table: pa.Table) -> Counter[str]:
    return Counter(repr(row) for row in table.to_pylist())


pytestmark = [
    pytest.mark.mysql,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the corpus of recorded input is not here; TIDEGATE_CORPUS says where it is"),
]


@pytest.mark.parametrize("file", FILES)
def test_every_statement_runs_and_copy_by_either_route_and_changes_agree(db: Database, file: str) -> None:
    source = db.source()
    begin = source.head()
    ran = load(db, file)
    tables = [db.table(name) for (name,) in db.rows("SHOW TABLES")]
    session = Session(source._values, "shop_mysql")
    chunks = changes(source, dict.fromkeys(tables, begin))
    filled = 0
    for name in tables:
        table = read_table(session, name)
        if not table.schema.key:
            parts = copy_chunks(source, name, Limits(5), consistent=True)
        else:
            parts = list(copy(one_route(session, PyMySqlRoute(session)), table, SnapshotPosition(begin), Limits(5)))
        copied = pa.concat_tables([table.schema.arrow().empty_table(), *(batch.rows for batch in batches(parts))]).combine_chunks()
        assert db.rows(f"SELECT COUNT(*) FROM `{name.name}`") == [(copied.num_rows,)]
        logged = list(batches(chunks, name))
        assert all((batch.kinds == RowKind.INSERT).all() for batch in logged)
        assert sum((multiset(batch.rows) for batch in logged), Counter()) == multiset(copied), name
        filled += copied.num_rows > 0
        fast = fast_route(session, table)
        if fast is not None and copied.num_rows:
            assert rows(list(copy(one_route(session, fast), table, SnapshotPosition(begin), Limits(30)))).equals(copied), name
    session.close()
    assert (len(ran), len(tables), filled) == FILES[file]


def test_texts_of_every_charset_are_those_of_the_file(db: Database) -> None:
    source = db.source()
    begin = source.head()
    ran = load(db, "charset_test.sql")
    inserts = [statement for statement in ran if statement.startswith("INSERT")]
    assert len(inserts) == 21
    logged = changes(source, {db.table(name): begin for (name,) in db.rows("SHOW TABLES")})
    session = Session(source._values, "shop_mysql")
    for statement in inserts:
        match = re.match(r"INSERT into `(\w+)`", statement)
        assert match
        written = [(int(number), text) for number, text in re.findall(r"\((\d+), '([^']*)'\)", statement)]
        assert len(written) == 3
        name = db.table(match[1])
        copied = list(copy(one_route(session, PyMySqlRoute(session)), read_table(session, name), SnapshotPosition(begin), Limits()))
        for found in (rows(copied), rows(logged, name)):
            assert [tuple(row.values()) for row in found.to_pylist()] == written
    session.close()


def test_ancient_dates_are_those_of_the_file_and_the_zeros_as_asked(db: Database) -> None:
    nulls, given = db.source(), db.source(zero_dates="0001-01-01")
    begin = nulls.head()
    load(db, "ancient_date_and_time.sql")
    table = db.table("ancient_times")
    for source, zero in ((nulls, [None] * 8), (given, [datetime.date(1, 1, 1), *[datetime.datetime(1, 1, 1)] * 7])):
        for found in (rows(copy_chunks(source, table)), rows(changes(source, {table: begin}))):
            values = [list(row.values())[1:] for row in found.to_pylist()]
            assert values[0][:3] == [
                datetime.date(17, 8, 12),
                datetime.datetime(16, 7, 13, 17, 17, 17),
                datetime.datetime(15, 6, 14, 17, 17, 17, 100_000),
            ]
            assert values[1] == zero
            assert values[2][-1] == datetime.datetime(1, 1, 1, 16, 16, 16, 123_456)
