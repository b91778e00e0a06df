"""From the bodies of a transaction to rows: what the pipe between the HTTP server and the scanner does.

be ``http/action/transaction_stream_load.cpp``: the bodies of CSV run together, each body of JSON is a document of its own.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.headers import read_headers
from tidegate.sandbox.starrocks.labels import Transaction
from tidegate.sandbox.starrocks.model import LoadFailed, Staged
from tidegate.sandbox.starrocks.plan import plan_load

_HONOURED = frozenset(
    {
        *("format", "columns", "where", "column_separator", "row_delimiter", "partitions", "temporary_partitions", "negative"),
        *("strict_mode", "timezone", "jsonpaths", "json_root", "strip_outer_array", "ignore_json_size", "partial_update"),
        "max_filter_ratio",
    }
)
"""What ``load`` of a transaction passes on to the plan (``_parse_request``). enclose, escape, skip_header and trim_space, which
stream_load.cpp knows, are not among them: they are ignored without a word."""

_HONOURED_SINCE_34 = frozenset({"partial_update_mode", "merge_condition", "compression", "content-encoding"})
"""These came to ``_parse_request`` later. In which version isn't verified: of the sources read, an old one lacks them."""

PARAMETERS = (_HONOURED | _HONOURED_SINCE_34 | {"enclose", "escape", "skip_header", "trim_space"}) - {
    "max_filter_ratio",
    "ignore_json_size",
}
"""What has to be the same for every ``load`` of a transaction into one table."""


@dataclass
class Piece:
    """A body, in a spool that whoever holds the piece closes. ``cut``: the client went before its end."""

    table: str
    headers: Mapping[str, str]
    body: BinaryIO
    size: int
    cut: bool = False


class _Joined(io.RawIOBase):
    """Several bodies one after the other, as one."""

    def __init__(self, bodies: Sequence[BinaryIO]) -> None:
        super().__init__()
        self._bodies = list(bodies)
        for body in self._bodies:
            body.seek(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while self._bodies:
            got = self._bodies[0].read(len(buffer))
            if got:
                buffer[: len(got)] = got
                return len(got)
            self._bodies.pop(0)
        return 0


def honoured(headers: Mapping[str, str], version: tuple[int, ...], *, multi: bool) -> dict[str, str]:
    """The headers of a transaction's ``load`` that mean something. With several tables the frontend plans it, from all of them."""
    if multi:
        return dict(headers)
    known = _HONOURED | _HONOURED_SINCE_34 if version >= (3, 4) else _HONOURED
    return {name: value for name, value in headers.items() if name in known}


def is_json(headers: Mapping[str, str]) -> bool:
    return headers.get("format", "csv").lower() == "json"


def check_plan(engine: Engine, database: str, table: str, headers: Mapping[str, str]) -> None:
    """What the frontend refuses when it plans a load, before a byte of it is read. Raises LoadFailed."""
    there = engine.table(database, table)
    if there is not None:
        plan_load(there, read_headers(headers, engine.version), engine.version)


def stage(engine: Engine, database: str, pieces: Sequence[Piece]) -> list[Staged]:
    """All bodies of a transaction, in order. Raises LoadFailed, for the whole of it."""
    made: list[Staged] = []
    for table in dict.fromkeys(piece.table for piece in pieces):
        of_table = [piece for piece in pieces if piece.table == table]
        headers = of_table[0].headers
        if not is_json(headers) or len(of_table) == 1:
            made.append(_stage(engine, database, table, headers, of_table))
            continue
        made += _documents(engine, database, table, headers, of_table)
    return made


def _stage(engine: Engine, database: str, table: str, headers: Mapping[str, str], pieces: Sequence[Piece]) -> Staged:
    joined: Any = _Joined([piece.body for piece in pieces])
    with io.BufferedReader(joined, 1 << 20) as body:
        return engine.stage(database, table, headers, body)


def _documents(engine: Engine, database: str, table: str, headers: Mapping[str, str], pieces: Sequence[Piece]) -> list[Staged]:
    """The share of filtered rows is that of all documents together."""
    ratio = float(headers.get("max_filter_ratio", "0") or "0")
    lenient = {**headers, "max_filter_ratio": "1"}
    staged: list[Staged] = []
    waiting: list[Piece] = []
    for position, piece in enumerate(pieces):
        waiting.append(piece)
        # What a client left behind that went away stays in the buffer, and the next body is appended to it.
        if piece.cut and position + 1 < len(pieces):
            continue
        staged.append(_stage(engine, database, table, lenient, waiting))
        waiting = []
    total = sum(each.total - each.unselected for each in staged)
    filtered = sum(each.filtered for each in staged)
    if filtered and filtered / total > ratio:
        raise LoadFailed(
            "too many filtered rows",
            [line for each in staged for line in each.error_lines],
            total=sum(each.total for each in staged),
            filtered=filtered,
            unselected=sum(each.unselected for each in staged),
        )
    return staged


def count(transaction: Transaction, staged: Sequence[Staged]) -> None:
    """Write down what became of the rows."""
    transaction.total_rows = sum(each.total for each in staged)
    transaction.filtered_rows = sum(each.filtered for each in staged)
    transaction.unselected_rows = sum(each.unselected for each in staged)
    transaction.loaded_rows = sum(each.loaded for each in staged)


class Shelf:
    """The bodies of prepared transactions, in files: they are there after a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, transaction: Transaction, pieces: Sequence[Piece]) -> list[tuple[str, dict[str, str], str]]:
        """Written, and named as :attr:`Transaction.pieces` has them."""
        made = []
        for number, piece in enumerate(pieces):
            name = f"{transaction.id}-{number}"
            piece.body.seek(0)
            with (self._folder / name).open("wb") as out:
                shutil.copyfileobj(piece.body, out)
            made.append((piece.table, dict(piece.headers), name))
        return made

    def restage(self, engine: Engine) -> Callable[[Transaction], list[Staged]]:
        """How rows are made of them again."""

        def again(transaction: Transaction) -> list[Staged]:
            pieces = []
            for table, headers, name in transaction.pieces:
                path = self._folder / name
                pieces.append(Piece(table, headers, path.open("rb"), path.stat().st_size))
            try:
                return stage(engine, transaction.database, pieces)
            finally:
                for piece in pieces:
                    piece.body.close()

        return again

    def sweep(self, wanted: set[str]) -> None:
        """Remove the files that no transaction names."""
        for path in self._folder.iterdir():
            if path.name not in wanted:
                path.unlink()


def lost(transaction: Transaction) -> list[Staged]:
    """Without a folder nothing is there again."""
    raise LookupError(f"transaction {transaction.id} was kept without its rows")
