"""The loads that a batch becomes, done by StarRocks' rules on paper: the table equals the model that applies changes one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model import Change, Model
from tests.scale import examples
from tests.strategies import KEY, SCHEMA, batch_of, changes, cut, rules
from tidegate.changes.rules import Rules
from tidegate.changes.schema import TableName
from tidegate.errors import ConflictError
from tidegate.providers.starrocks import alone
from tidegate.providers.starrocks.alone import Alone
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.encoding import StepPayload
from tidegate.providers.starrocks.steps import StepRows, merged
from tidegate.sync.mapping import Target
from tidegate.sync.options import WriteOptions
from tidegate.sync.results import WriteResult

MARK = "gone"
DEFAULTS: dict[str, Any] = {"a": "def", "b": 7, "v": 2, "kept": "kept", MARK: False}
COLUMNS = (
    CatalogColumn("id", "bigint", nullable=False, key=True),
    CatalogColumn("region", "varchar(4)", nullable=False, key=True),
    CatalogColumn("a", "varchar(10)", default="def"),
    CatalogColumn("b", "int", default="7"),
    CatalogColumn("v", "bigint", default="2"),
)
MARKED = CatalogColumn(MARK, "boolean", nullable=False, default="0")
MORE = CatalogColumn("kept", "varchar(10)", default="kept")
"""A column that the source doesn't have."""


class Paper:
    """A primary key table as the documentation of Stream Load has it."""

    def __init__(self, table: CatalogTable) -> None:
        self.table, self.rows = table, {}  # type: ignore[var-annotated]
        self.loads = 0

    def load(self, step: StepRows) -> None:
        self.loads += 1
        assert step.ops is not None
        assert step.rows.num_rows
        for row, op in zip(step.rows.to_pylist(), step.ops, strict=True):
            key = tuple(row[name] for name in KEY)
            old = self.rows.get(key)
            if op == 1:
                self.rows.pop(key, None)
                continue
            if old is not None and step.version is not None and _rank(row[step.version]) < _rank(old[step.version]):
                continue
            rest = {column.name: DEFAULTS[column.name] for column in self.table.columns if not column.key}
            self.rows[key] = rest | (old or {} if step.partial else {}) | row


def _rank(version: int | None) -> int:
    return -1 if version is None else version


class _Told:
    """What Alone asks of its encoder."""

    metadata = type("Metadata", (), {"name": "warehouse", "full": staticmethod(lambda table: table)})
    values: Mapping[str, Any] = {"time_zone": "UTC"}

    def __init__(self, table: CatalogTable) -> None:
        self._table = table

    def table(self, _name: TableName) -> CatalogTable:
        return self._table

    def payload(self, _target: Target, _table: CatalogTable, step: StepRows) -> StepPayload:
        return StepPayload([], step.rows.num_rows, step=step)


class _OnPaper(Alone):
    def __init__(self, paper: Paper) -> None:
        told: Any = _Told(paper.table)
        super().__init__(told, None, None)  # type: ignore[arg-type]
        self.paper = paper

    def _load(self, label: str, target: Target, payload: StepPayload) -> WriteResult:
        self.paper.load(payload.step)
        return WriteResult(rows=payload.rows)


def _write(paper: Paper, target: Target, pieces: Sequence[list[Change]], monkeypatch: pytest.MonkeyPatch) -> None:
    def present(_metadata: object, _table: object, rows: Any, key: Any, mark: str | None, _zone: str) -> Any:
        found = [paper.rows.get(tuple(row[name] for name in key)) for row in rows.to_pylist()]
        marked = [bool(row is not None and mark is not None and row[mark]) for row in found]
        return np.array([row is not None for row in found]), np.array(marked)

    monkeypatch.setattr(alone, "present", present)
    loads = _OnPaper(paper)
    for number, piece in enumerate(pieces):
        if not piece:
            continue
        for part, step in enumerate(merged(target, paper.table, batch_of(piece))):
            loads.send(f"{number}-{part}", target, StepPayload([], step.rows.num_rows, step=step))


def _target(rule: Rules, *, existing_only: bool = False) -> Target:
    options = WriteOptions(
        conflict_mode=rule.conflict_mode,
        delete_mode=rule.delete_mode,
        columns=rule.columns,
        version_column=rule.version_column,
        ignore_nulls=rule.ignore_nulls,
        soft_delete_column=MARK if rule.delete_mode == "soft" else None,
    )
    return Target(TableName("ods", "t"), SCHEMA, options, existing_only)


def _table(rule: Rules, *, more: bool) -> CatalogTable:
    own = (MARKED,) if rule.delete_mode == "soft" else ()
    return CatalogTable(TableName("ods", "t"), "PRIMARY_KEYS", (*COLUMNS, *own, *((MORE,) if more else ())), KEY)


@settings(max_examples=examples(600), deadline=None)
@given(data=st.data(), rule=rules(), partial=st.booleans(), more=st.booleans())
def test_loads_cut_anywhere_leave_what_the_changes_one_by_one_leave(
    data: st.DataObject, rule: Rules, partial: bool, more: bool
) -> None:
    if rule.delete_mode == "soft" and rule.version_column is not None:
        return  # refused: a marked row's version would count
    log = data.draw(st.lists(changes(partial=partial), max_size=14))
    if rule.version_column is not None:
        log = [_versioned(change) for change in log]  # how StarRocks compares NULLs isn't documented
    pieces = cut(log, data.draw(st.lists(st.integers(0, 14), max_size=3)))
    table = _table(rule, more=more)
    paper = Paper(table)
    with pytest.MonkeyPatch.context() as monkeypatch:
        _write(paper, _target(rule), pieces, monkeypatch)
    names = tuple(column.name for column in table.columns if column.name != MARK)
    defaults = {name: value for name, value in DEFAULTS.items() if name in names}
    model = Model(names, KEY, rule, defaults).apply(log)
    assert {key: {name: row[name] for name in names} for key, row in paper.rows.items()} == model.rows
    if rule.delete_mode == "soft":
        assert {key for key, row in paper.rows.items() if row[MARK]} == model.marked


def _versioned(change: Change) -> Change:
    def solid(row: Any) -> Any:
        return row and {name: 0 if name == "v" and value is None else value for name, value in row.items()}

    return Change(solid(change.before), solid(change.after))


@settings(max_examples=examples(200), deadline=None)
@given(log=st.lists(changes(partial=False), max_size=14))
def test_a_batch_of_whole_rows_is_one_load(log: list[Change]) -> None:
    paper = Paper(_table(Rules(), more=False))
    with pytest.MonkeyPatch.context() as monkeypatch:
        _write(paper, _target(Rules()), [log], monkeypatch)
    assert paper.loads <= 1


def test_strict_names_the_keys_that_exist_and_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rules("strict")
    paper = Paper(_table(rule, more=False))
    row = {"id": 1, "region": "x", "a": "old", "b": 1, "v": 1}
    _write(paper, _target(rule), [[Change(None, row)]], monkeypatch)
    with pytest.raises(ConflictError, match="1 keys exist") as raised:
        _write(paper, _target(rule), [[Change(None, row | {"id": 2}), Change(None, row)]], monkeypatch)
    assert raised.value.keys == [(1, "x")]
    assert list(paper.rows) == [(1, "x")]


def test_an_update_before_that_counts_as_a_delete_resets_what_the_source_does_not_have() -> None:
    row = {"id": 1, "region": "x", "a": "old", "b": 1, "v": 1}
    batch = batch_of([Change(row, row | {"a": "new"})])
    table = _table(Rules(), more=True)
    assert [step.ops.tolist() for step in merged(_target(Rules()), table, batch) if step.ops is not None] == [[0]]
    deleted, put = merged(_target(Rules()), table, batch, before_images=True)
    assert (deleted.ops is not None and deleted.ops.tolist(), deleted.partial) == ([1], False)
    assert (put.rows.to_pylist()[0]["a"], put.partial) == ("new", True)
