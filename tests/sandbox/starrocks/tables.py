"""Tables and loads for the engine's tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.model import ColumnDef, Model, Staged, TableDef

JSON = {"format": "json", "strip_outer_array": "true"}

SCORE_BOARD = (
    ColumnDef("id", "int(11)", nullable=False),
    ColumnDef("name", "varchar(65533)", default=""),
    ColumnDef("score", "int(11)", nullable=False, default="0"),
)


def table(*columns: ColumnDef, model: Model = "PRIMARY_KEYS", key: tuple[str, ...] = ("id",), name: str = "t") -> TableDef:
    return TableDef("test", name, model, columns, key, key)


def engine_with(*tables: TableDef, version: str = "3.3.5") -> Engine:
    engine = Engine(version)
    engine.create_database("test")
    for one in tables:
        engine.create_table(one)
    return engine


def stage(engine: Engine, rows: Iterable[dict[str, Any]], headers: dict[str, str] | None = None, *, name: str = "t") -> Staged:
    return engine.stage("test", name, {**JSON, **(headers or {})}, json.dumps(list(rows)).encode())


def load(engine: Engine, rows: Iterable[dict[str, Any]], headers: dict[str, str] | None = None, *, name: str = "t") -> Staged:
    staged = stage(engine, rows, headers, name=name)
    engine.publish([staged])
    return staged


def load_csv(engine: Engine, body: str, headers: dict[str, str] | None = None, *, name: str = "t") -> Staged:
    staged = engine.stage("test", name, headers or {}, body.encode())
    engine.publish([staged])
    return staged


def rows_of(engine: Engine, what: str = "*", *, name: str = "t") -> list[tuple[Any, ...]]:
    return engine.query(f"SELECT {what} FROM test.{name} ORDER BY 1, 2")[1]
