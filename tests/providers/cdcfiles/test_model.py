"""Any log, written by any of the tools, in any files, with repeats and cuts, gives the tables that its changes give one by one."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model import Change, Model
from tests.providers.cdcfiles import writers
from tests.providers.cdcfiles.reading import apply, open_source, packed, read, zstandard
from tests.providers.cdcfiles.writers import DDL, KEY, TABLE
from tests.scale import examples
from tests.strategies import SCHEMA, changes
from tidegate.changes.position import Position
from tidegate.sync.protocols import Limits

Log = Sequence[Sequence[Change]]
WRITERS: dict[str, tuple[Callable[[Log], Iterator[bytes]], dict[str, Any], bool]] = {
    "debezium": (writers.debezium, {"ddl": DDL}, False),
    "debezium with schema": (lambda log: writers.debezium(log, schema=True), {"ddl": DDL}, False),
    "debezium with GTIDs": (lambda log: writers.debezium(log, gtid=True), {"ddl": DDL}, True),
    "canal": (writers.canal, {}, False),
    "canal with GTIDs": (lambda log: writers.canal(log, gtid=True), {}, False),
    "maxwell": (writers.maxwell, {"ddl": DDL}, True),
    "maxwell with positions": (lambda log: writers.maxwell(log, position=True), {"ddl": DDL}, True),
    "maxwell with GTIDs": (lambda log: writers.maxwell(log, gtid=True), {"ddl": DDL}, True),
    "maxwell without xoffset": (lambda log: writers.maxwell(log, position=True, xoffset=False), {"ddl": DDL}, False),
}
"""By name: the writer, the fields that the connection needs, and whether transactions can be told."""

logs = st.lists(st.lists(changes(partial=False), min_size=1, max_size=4), min_size=1, max_size=10)


def states(log: Log) -> list[dict[Any, Any]]:
    """The table after each transaction, and before the first."""
    model = Model(SCHEMA.names, SCHEMA.key)
    found: list[dict[Any, Any]] = [{}]
    for transaction in log:
        found.append(dict(model.apply(transaction).rows))
    return found


class Follower:
    """Runs, each with a source of its own, from where the last one ended."""

    def __init__(self, url: Path, log: Log, whole_transactions: bool, last_is_whole: bool, **fields: Any) -> None:
        self.url, self.fields = url, fields
        self.position: Position | None = None
        self.models: dict[str, Model] = {}
        self.states = states(log)
        self.whole_transactions = whole_transactions
        self.last_is_whole = last_is_whole

    @property
    def rows(self) -> dict[Any, Any]:
        return self.models[TABLE].rows if self.models else {}

    def run(self, limits: Limits) -> None:
        chunks, positions = read(open_source(self.url, **self.fields), {TABLE: self.position}, limits)
        self.position = positions[TABLE]
        for chunk in chunks:
            apply(self.models, [chunk], KEY)
            # Where the data ends a transaction may go on: Maxwell alone lets that be known, where files don't overlap.
            if self.whole_transactions and chunk.end is not None and (chunk is not chunks[-1] or self.last_is_whole):
                assert self.rows in self.states


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=examples(25), deadline=None)
@given(
    log=logs,
    cuts=st.lists(st.integers(0, 40), max_size=3),
    overlaps=st.lists(st.integers(0, 6), min_size=4, max_size=4),
    kinds=st.lists(st.sampled_from(["plain", "gzip", "zstd"]), min_size=4, max_size=4),
    broken_off=st.lists(st.integers(0, 400), min_size=4, max_size=4),
    runs=st.lists(st.booleans(), min_size=4, max_size=4),
    limit=st.sampled_from([1, 2, 5, 1000]),
)
def test_any_log_in_any_files_gives_the_model_s_table(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    log: Log,
    cuts: list[int],
    overlaps: list[int],
    kinds: list[str],
    broken_off: list[int],
    runs: list[bool],
    limit: int,
) -> None:
    writer, fields, whole = WRITERS[name]
    if name == "maxwell":
        overlaps = [0] * len(overlaps)  # nothing tells repeats
    lines = list(writer(log))
    url = tmp_path_factory.mktemp("records")
    follower = Follower(url, log, whole, name.startswith("maxwell") and not any(overlaps), **fields)
    bounds = sorted({0, len(lines), *(cut % (len(lines) + 1) for cut in cuts)})
    limits = Limits(rows=limit)
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        # Later files begin with lines that the ones before end with.
        content = lines[max(start - overlaps[number], 0) : end]
        data = b"".join(content)
        path = url / f"records-{number + 8}.json"
        if runs[number]:
            # A part of the file, cut anywhere, and a run over it.
            part = min(broken_off[number], len(data))
            if part >= len(content[0]):
                _put(path, data, kinds[number], part)
                follower.run(limits)
        _put(path, data, kinds[number], len(data))
        if runs[number - 1]:
            follower.run(limits)
    follower.run(limits)
    assert follower.rows == follower.states[-1]


def _put(path: Path, data: bytes, kind: str, size: int) -> None:
    """The file with the first ``size`` bytes; packed ones are cut after packing, in about that place."""
    if kind == "plain":
        path.write_bytes(data[:size])
    elif kind == "gzip":
        middle = len(data) // 2
        packed(path, data[:middle], data[middle:])
        if size < len(data):
            path.write_bytes(gzip.compress(data[:size], 0))
    else:
        zstandard(path, data[:size])


@pytest.mark.parametrize("name", ["debezium", "debezium with GTIDs", "maxwell with GTIDs", "maxwell with positions"])
@settings(max_examples=examples(20), deadline=None)
@given(log=logs, parts=st.lists(st.integers(0, 2), min_size=60, max_size=60), limit=st.sampled_from([1, 3, 1000]))
def test_files_that_share_a_log_among_them_are_merged_by_position(
    tmp_path_factory: pytest.TempPathFactory, name: str, log: Log, parts: list[int], limit: int
) -> None:
    writer, fields, _ = WRITERS[name]
    url = tmp_path_factory.mktemp("records")
    files: dict[int, list[bytes]] = {}
    for index, line in enumerate(line for line in writer(log) if line != b"null\n"):
        files.setdefault(parts[index % len(parts)], []).append(line)
    for part, lines in files.items():
        (url / f"partition-{part}.json").write_bytes(b"".join(lines))
    follower = Follower(url, log, False, False, order="position", **fields)
    follower.run(Limits(rows=limit))
    assert follower.rows == states(log)[-1]
