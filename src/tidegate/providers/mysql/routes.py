"""The ways in which rows of a table reach Arrow. All give the same columns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from tidegate.errors import SchemaError
from tidegate.providers.mysql.columns import from_text
from tidegate.providers.mysql.policy import refusal
from tidegate.providers.mysql.select import page_query
from tidegate.providers.mysql.session import Session
from tidegate.providers.mysql.types import MySqlTable
from tidegate.sync.protocols import Limits

logger = logging.getLogger(__name__)

_FIRST_BLOCK, _LARGEST_BLOCK = 16, 5000


class Route(Protocol):
    """Reads the next rows of a table in the order of its key."""

    def page(self, table: MySqlTable, after: Sequence[str] | None, limits: Limits) -> Iterator[tuple[pa.Table, bool]]:
        """Tables of at most about ``limits``, each with whether it is the last of the whole copy.

        The copy goes on where the key of the last row leaves off: call again until the last. Without a key one call reads all.
        """


class PyMySqlRoute:
    """The text protocol over PyMySQL: slower, but takes everything, and any session (TLS, sockets, an open transaction)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(self, table: MySqlTable, after: Sequence[str] | None, limits: Limits) -> Iterator[tuple[pa.Table, bool]]:
        limit = limits.rows if table.schema.key else None
        blocks: list[pa.Table] = []
        rows = in_page = size = 0
        for block, done in self._blocks(page_query(table, after, limit), table, limits):
            blocks.append(block)
            rows += block.num_rows
            size += block.nbytes
            in_page += block.num_rows
            last = done and (limit is None or in_page < limit)
            if done or rows >= limits.rows or size >= limits.bytes:
                yield pa.concat_tables(blocks), last
                blocks, rows, size = [], 0, 0

    def _blocks(self, sql: str, table: MySqlTable, limits: Limits) -> Iterator[tuple[pa.Table, bool]]:
        """The result in Arrow, a block at a time, and whether it is the last block; blocks grow as rows prove small."""
        stream = self._session.stream(sql, table=table.name)
        size = min(_FIRST_BLOCK, limits.rows)
        rows, done = stream.fetch(size)
        try:
            while True:
                block = _arrow(table, rows, self._session.name)
                yield block, done
                if done:
                    return
                row_bytes = max(1, block.nbytes // max(1, block.num_rows))
                size = max(1, min(_LARGEST_BLOCK, limits.rows, limits.bytes // 8 // row_bytes))
                rows, done = stream.fetch(size)
        finally:
            stream.close()


def _arrow(table: MySqlTable, rows: Sequence[tuple[bytes | None, ...]], connection: str) -> pa.Table:
    values: Any = zip(*rows, strict=True) if rows else [()] * len(table.columns)
    arrays = []
    for column, texts in zip(table.columns, values, strict=True):
        try:
            arrays.append(from_text(column, texts))
        except (pa.ArrowException, ValueError) as error:
            what, setting = refusal(column.name, column.column.type, error)
            raise SchemaError(what, connection=connection, table=table.name, setting=setting) from error
    return pa.Table.from_arrays(arrays, schema=table.schema.arrow())
