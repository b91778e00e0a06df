"""Query events as the servers write them."""

from __future__ import annotations

import contextlib

import pytest

from tests.providers.mysql.reading import NAME, Database
from tidegate.providers.mysql.binlog import events as ev
from tidegate.providers.mysql.binlog.query import read_query
from tidegate.providers.mysql.binlog.stream import Dump
from tidegate.providers.mysql.ddl.lexer import ANSI_QUOTES

pytestmark = pytest.mark.mysql


@pytest.mark.parametrize(("mode", "bit"), [("ANSI_QUOTES", ANSI_QUOTES), ("", 0)])
def test_the_sql_mode_of_the_session_comes_with_the_statement(db: Database, mode: str, bit: int) -> None:
    source = db.source()
    begin = source.head()
    db.execute(f"SET SESSION sql_mode = '{mode}'", "CREATE TABLE q (k INT) COMMENT 'ä'")
    with contextlib.closing(Dump(source._values, NAME, 4711)) as dump:
        for event in dump.events(begin.file, begin.offset):
            if event[4] == ev.QUERY:
                query = read_query(event, len(event) - 4 * dump.checksums)
                break
    assert (query.schema, query.sql_mode & ANSI_QUOTES) == (db.name, bit)
    assert query.text == "CREATE TABLE q (k INT) COMMENT 'ä'"
