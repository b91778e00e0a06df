"""What the table models do with loaded rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.starrocks.tables import SCORE_BOARD, engine_with, load, load_csv, rows_of, stage, table
from tests.scale import examples
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.model import ColumnDef, LoadFailed, Model

_ops = st.tuples(st.integers(0, 4), st.integers(-3, 3), st.sampled_from([0, 0, 1]))
_loads = st.lists(st.lists(_ops, min_size=1, max_size=8), min_size=1, max_size=4)
START = [{"id": 1, "name": "starrocks", "score": 100}, {"id": 2, "name": "flink", "score": 100}]


@pytest.fixture
def board() -> Iterator[Engine]:
    engine = engine_with(table(*SCORE_BOARD))
    load(engine, START)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = engine_with(
        table(ColumnDef("id", "int", nullable=False), ColumnDef("v", "int")),
        table(ColumnDef("id", "int", nullable=False), ColumnDef("v", "int"), ColumnDef("n", "int"), name="c"),
        table(ColumnDef("id", "int"), ColumnDef("v", "int"), model="UNIQUE_KEYS", name="u"),
        table(
            ColumnDef("id", "int"),
            ColumnDef("total", "bigint", aggregation="SUM"),
            ColumnDef("low", "int", aggregation="MIN"),
            ColumnDef("high", "int", aggregation="MAX"),
            ColumnDef("last", "int", aggregation="REPLACE"),
            ColumnDef("known", "int", aggregation="REPLACE_IF_NOT_NULL"),
            model="AGG_KEYS",
            name="a",
        ),
    )
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("model", "headers"),
    [
        ("PRIMARY_KEYS", {}),
        ("PRIMARY_KEYS", {"partial_update": "true"}),
        ("PRIMARY_KEYS", {"merge_condition": "n"}),
        ("UNIQUE_KEYS", {}),
        ("DUP_KEYS", {}),
        ("AGG_KEYS", {}),
    ],
)
def test_a_negative_zero_keeps_its_sign_in_every_model(model: Model, headers: dict[str, str]) -> None:
    kind = "REPLACE" if model == "AGG_KEYS" else None
    columns = (ColumnDef("d", "double", aggregation=kind), ColumnDef("n", "int", aggregation=kind))
    engine = engine_with(table(ColumnDef("id", "int", nullable=False), *columns, model=model))
    for n in (1, 2):
        load_csv(engine, f"1\t0.0\t0\n1\t-0.0\t{n}\n", {"columns": "id,d,n", **headers})
    assert str(rows_of(engine, "id, n, d")[-1][2]) == "-0.0"
    engine.close()


@settings(max_examples=examples(15), deadline=None)
@given(loads=_loads, together=st.booleans())
def test_a_primary_key_table_is_a_dict(engine: Engine, loads: list[list[tuple[int, int, int]]], together: bool) -> None:
    engine.truncate("test", "t")
    want: dict[int, int] = {}
    staged = []
    for rows in loads:
        staged.append(stage(engine, [{"id": key, "v": value, "__op": op} for key, value, op in rows]))
        for key, value, op in rows:
            want.pop(key, None)
            if not op:
                want[key] = value
        if not together:
            engine.publish([staged.pop()])
    engine.publish(staged)
    assert dict(rows_of(engine)) == want


@settings(max_examples=examples(15), deadline=None)
@given(loads=_loads)
def test_a_merge_condition_keeps_the_greater_value_and_deletes_are_unconditional(
    engine: Engine, loads: list[list[tuple[int, int, int]]]
) -> None:
    engine.truncate("test", "c")
    want: dict[int, tuple[int, int]] = {}
    number = itertools.count()
    for rows in loads:
        numbered = [(*row, next(number)) for row in rows]
        load(engine, [{"id": i, "v": v, "n": n, "__op": op} for i, v, op, n in numbered], {"merge_condition": "v"}, name="c")
        for key, value, op, n in numbered:
            if op:
                want.pop(key, None)
            elif key not in want or value >= want[key][0]:
                want[key] = (value, n)
    assert rows_of(engine, name="c") == [(key, *row) for key, row in sorted(want.items())]


@settings(max_examples=examples(12), deadline=None)
@given(loads=_loads)
def test_a_unique_key_table_keeps_the_last_row_and_ignores_operations(
    engine: Engine, loads: list[list[tuple[int, int, int]]]
) -> None:
    engine.truncate("test", "u")
    want: dict[int | None, int] = {}
    for rows in loads:
        load(engine, [{"id": key or None, "v": value, "__op": op} for key, value, op in rows], name="u")
        want |= {key or None: value for key, value, _ in rows}
    assert dict(rows_of(engine, name="u")) == want


@settings(max_examples=examples(12), deadline=None)
@given(
    loads=st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(-3, 3)), min_size=1, max_size=6), min_size=1, max_size=4
    )
)
def test_an_aggregate_table_folds_within_a_load_and_between_loads(
    engine: Engine, loads: list[list[tuple[int, int | None]]]
) -> None:
    engine.truncate("test", "a")
    seen: dict[int, list[int | None]] = {}
    for rows in loads:
        load(
            engine,
            [{"id": key, **dict.fromkeys(("total", "low", "high", "last", "known"), value)} for key, value in rows],
            name="a",
        )
        for key, value in rows:
            seen.setdefault(key, []).append(value)
    want: list[tuple[Any, ...]] = []
    for key, values in sorted(seen.items()):
        known = [value for value in values if value is not None]
        folded = (sum(known), min(known), max(known)) if known else (None, None, None)
        want.append((key, *folded, values[-1], known[-1] if known else None))
    assert rows_of(engine, name="a") == want


def test_a_partial_update_leaves_the_other_columns_and_gives_new_keys_their_defaults(board: Engine) -> None:
    rows = [{"id": 1, "name": "starrocks-update"}, {"id": 2, "name": "flink-update"}, {"id": 3, "name": "new"}]
    load(board, rows, {"partial_update": "true", "columns": "id,name,__op"})
    assert rows_of(board) == [(1, "starrocks-update", 100), (2, "flink-update", 100), (3, "new", 0)]


@pytest.mark.parametrize("mode", ["row", "column"])
def test_a_partial_update_deletes_by_key_alone(board: Engine, mode: str) -> None:
    load_csv(board, "1\t1\n2\t0\n", {"partial_update": "true", "partial_update_mode": mode, "columns": "id,__op"})
    assert rows_of(board) == [(2, "flink", 100)]


def test_a_partial_update_without_the_key_is_refused(board: Engine) -> None:
    with pytest.raises(LoadFailed, match="key column id not in partial update columns"):
        stage(board, [{"name": "x"}], {"partial_update": "true", "columns": "name"})
    with pytest.raises(LoadFailed, match="key column id not in partial update columns"):
        stage(board, [{"id": 1, "name": "x"}], {"partial_update": "true"})


def test_a_conditional_update_is_the_walkthroughs(board: Engine) -> None:
    rows = [{"id": 1, "name": "starrocks-update", "score": 99}, {"id": 2, "name": "flink-update", "score": 101}]
    load(board, rows, {"merge_condition": "score"})
    assert rows_of(board) == [(1, "starrocks", 100), (2, "flink-update", 101)]


def test_a_condition_with_a_partial_update_needs_the_column_among_those_that_are_loaded(board: Engine) -> None:
    headers = {"partial_update": "true", "merge_condition": "score"}
    load(board, [{"id": 1, "score": 1}, {"id": 2, "score": 200}], {**headers, "columns": "id,score"})
    assert rows_of(board) == [(1, "starrocks", 100), (2, "flink", 200)]
    with pytest.raises(LoadFailed, match="Merge condition column score does not exist"):
        stage(board, [{"id": 1, "name": "x"}], {**headers, "columns": "id,name"})


@pytest.mark.parametrize(
    ("column", "why"),
    [("id", "should not be primary key!"), ("name", "invalid type"), ("nothing", "does not exist")],
)
def test_a_condition_on_a_key_or_a_text_is_refused(board: Engine, column: str, why: str) -> None:
    with pytest.raises(LoadFailed, match=why):
        stage(board, START, {"merge_condition": column})


def test_what_only_primary_keys_can_do_is_refused_elsewhere(engine: Engine) -> None:
    with pytest.raises(LoadFailed, match=r"^Only primary key table support partial update$"):
        stage(engine, [{"id": 1}], {"partial_update": "true", "columns": "id"}, name="u")
    with pytest.raises(LoadFailed, match="Conditional update only support primary key table u"):
        stage(engine, [{"id": 1}], {"merge_condition": "v"}, name="u")


def test_a_duplicate_key_table_keeps_every_row_and_takes_no_notice_of_operations() -> None:
    engine = engine_with(table(ColumnDef("id", "int"), ColumnDef("v", "int"), model="DUP_KEYS"))
    load(engine, [{"id": 1, "v": 1}, {"id": 1, "v": 1}, {"id": 1, "v": 2, "__op": 1}])
    load_csv(engine, "1\t3\t1\n", {"columns": "id,v,tmp,__op=tmp"})
    load_csv(engine, "1\t4\t1\n", {"columns": "id,v,__op"})
    assert rows_of(engine) == [(1, 1), (1, 1), (1, 2), (1, 3), (1, 4)]
    engine.close()


def test_bitmap_and_hll_count_distinct_users_as_in_the_walkthroughs() -> None:
    def pages(kind: str, fold: str) -> tuple[ColumnDef, ...]:
        users = ColumnDef("visit_users", kind, nullable=False, aggregation=fold)
        return ColumnDef("page_id", "int", nullable=False), ColumnDef("visit_date", "datetime", nullable=False), users

    key = ("page_id", "visit_date")
    engine = engine_with(
        table(*pages("bitmap", "BITMAP_UNION"), model="AGG_KEYS", key=key, name="page_uv"),
        table(*pages("hll", "HLL_UNION"), model="AGG_KEYS", key=key, name="hll_uv"),
    )
    visits = [(1, "2020-06-23 01:30:30", user) for user in (13, 23, 33)] + [
        (1, "2020-06-23 02:30:30", 13),
        (2, "2020-06-23 01:30:30", 23),
    ]
    rows = [{"page_id": page, "visit_date": day, "visit_user_id": user} for page, day, user in visits]
    for name, function, count in (("page_uv", "to_bitmap", "bitmap_union_count"), ("hll_uv", "hll_hash", "hll_union_agg")):
        columns = f"page_id,visit_date,visit_user_id,visit_users={function}(visit_user_id)"
        for row in rows:
            load(engine, [row], {"columns": columns}, name=name)
        found = engine.query(f"SELECT page_id, {count}(visit_users) FROM test.{name} GROUP BY page_id ORDER BY 1")[1]
        assert found == [(1, 3), (2, 1)]
        assert engine.row_count("test", name) == 3
    engine.close()


def test_a_load_that_fails_in_the_middle_of_a_transaction_leaves_nothing(board: Engine) -> None:
    board.create_table(table(ColumnDef("id", "int", nullable=False), ColumnDef("v", "int"), name="other"))
    staged = [stage(board, [{"id": 3, "name": "x", "score": 1}]), stage(board, [{"id": 1, "v": 1}], name="other")]
    board.drop_table("test", "other")
    with pytest.raises(LoadFailed, match="unknown table"):
        board.publish(staged)
    assert len(rows_of(board)) == 2
