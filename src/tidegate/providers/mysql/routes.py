"""The ways in which rows of a table reach Arrow. All give the same columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from tidegate.errors import SchemaError
from tidegate.providers.mysql.columns import from_text
from tidegate.providers.mysql.policy import refusal
from tidegate.providers.mysql.select import KeyRange, key_texts, page_query
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.types import MySqlColumn, MySqlTable
from tidegate.sync.protocols import Limits

_BLOCK_ROWS = 5000
_BLOCKS = 8
"""Into how many blocks, at least, a page of large rows is cut: so much may it exceed its limit of bytes."""


class Route(Protocol):
    """Reads rows of a table over a connection of its own, one range at a time."""

    def pages(self, table: MySqlTable, within: KeyRange, limits: Limits) -> Iterator[pa.Table]:
        """All rows of a range, in the order of the key, in tables of at most about ``limits``.

        However many rows there are by now, and however large they are, no more is held at once. Without a key: all rows.
        """


class PyMySqlRoute:
    """The text protocol over PyMySQL: slower, but takes everything, and any session (TLS, sockets, an open transaction)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pages(self, table: MySqlTable, within: KeyRange, limits: Limits) -> Iterator[pa.Table]:
        limit = limits.rows if table.schema.key else None
        done = False
        while not done:
            read = 0
            for page in self._query(page_query(table, within, limit), table, limits):
                read += page.num_rows
                if limit is not None and page.num_rows:
                    within = rest(within, table, page)
                yield page
            done = limit is None or read < limit

    def _query(self, sql: str, table: MySqlTable, limits: Limits) -> Iterator[pa.Table]:
        """The result of a query, in tables of about ``limits``."""
        blocks: list[pa.Table] = []
        rows = size = 0
        for block, done in self._blocks(sql, table, limits):
            blocks.append(block)
            rows += block.num_rows
            size += block.nbytes
            if done or rows >= limits.rows or size >= limits.bytes:
                yield pa.concat_tables(blocks)
                blocks, rows, size = [], 0, 0

    def _blocks(self, sql: str, table: MySqlTable, limits: Limits) -> Iterator[tuple[pa.Table, bool]]:
        """The result in Arrow, a block at a time, and whether it is the last block."""
        stream = self._session.stream(sql, table=table.name)
        done = False
        try:
            while not done:
                rows, done = stream.fetch(min(_BLOCK_ROWS, limits.rows), max(1, limits.bytes // _BLOCKS))
                yield _arrow(table, table.columns, rows, self._session.name), done
        finally:
            stream.close()


def rest(within: KeyRange, table: MySqlTable, page: pa.Table) -> KeyRange:
    """What is left of a range behind the last row of a page."""
    reached = key_texts(table, page)
    if reached == within.after:
        what = "two pages of the copy end at the same key, so it would never come to an end; copy it with another key"
        raise SchemaError(what, table=table.name, setting="key=[...]")
    return KeyRange(reached, within.upto)


def one_key(session: Session, table: MySqlTable, sql: str) -> tuple[str, ...] | None:
    """The key that a query finds, as :func:`~tidegate.providers.mysql.select.key_texts` gives it; None if it finds none."""
    stream = session.stream(sql, table=table.name)
    try:
        # To the end, so that the connection can go on.
        rows, _ = stream.fetch(2, 1 << 32)
    finally:
        stream.close()
    return key_texts(table, _arrow(table, table.key_columns(), rows, session.name)) if rows else None


def _arrow(
    table: MySqlTable, columns: Sequence[MySqlColumn], rows: Sequence[tuple[bytes | None, ...]], connection: str
) -> pa.Table:
    values: Any = zip(*rows, strict=True) if rows else [()] * len(columns)
    arrays = []
    for column, texts in zip(columns, values, strict=True):
        try:
            arrays.append(from_text(column, texts))
        except (pa.ArrowException, ValueError) as error:
            what, setting = refusal(column.name, column.column.type, error)
            raise SchemaError(what, connection=connection, table=table.name, setting=setting) from error
    return pa.Table.from_arrays(arrays, schema=pa.schema([column.column.arrow() for column in columns]))
