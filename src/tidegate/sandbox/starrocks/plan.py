"""What a load is to do, decided from its headers and the table before a row is read, as ``StreamLoadPlanner`` and ``Load`` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.sandbox.starrocks.expressions import RETURNS, ColumnList, Mapping, condition, generated, parse_columns
from tidegate.sandbox.starrocks.headers import LoadHeaders, Version
from tidegate.sandbox.starrocks.model import ColumnDef, LoadFailed, TableDef
from tidegate.sandbox.starrocks.parse_json import Path, parse_paths
from tidegate.sandbox.starrocks.sqltypes import parse_type

OP = "__op"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """``fields`` are the source's columns in order, ``targets`` the table's columns that are written.

    ``sources`` says where a target's value comes from: a field's name, a :class:`Mapping`, or None for its default, or for a
    generated column. ``op`` likewise for ``__op``, None where every row is an upsert.
    """

    fields: tuple[str, ...]
    targets: tuple[ColumnDef, ...]
    sources: tuple[str | Mapping | None, ...]
    op: str | Mapping | None
    computed_from: frozenset[str]
    """Fields that an expression reads, in lower case: they are text, whatever the table's column is."""
    paths: tuple[Path, ...] | None = None
    where: str = ""


def plan_load(table: TableDef, headers: LoadHeaders, version: Version) -> LoadPlan:
    """Raises LoadFailed with the frontend's words."""
    primary = table.model == "PRIMARY_KEYS"
    if headers.partial and not primary:
        raise LoadFailed("Only primary key table support partial update")
    listed = parse_columns(headers.columns)
    _check_generated(table, listed)
    mappings = {mapping.name.lower(): mapping for mapping in listed.mappings}
    for mapping in listed.mappings:
        if table.column(mapping.name) is None and mapping.name != OP:
            raise LoadFailed(f"Mapping column is not in table. column: {mapping.name}")
    fields = list(listed.fields) or [
        column.name for column in table.columns if column.generated is None and not column.auto_increment
    ]
    targets = _partial_targets(table, listed.fields, mappings) if headers.partial else list(table.columns)
    op: str | Mapping | None = None
    if primary:
        if OP in mappings:
            op = mappings[OP]
        elif OP in fields:
            op = OP
        elif headers.format == "json":
            fields.append(OP)
            op = OP
    known = {name.lower(): name for name in fields}
    for mapping in listed.mappings:
        for name in mapping.refers:
            if name.lower() not in known:
                raise LoadFailed(f"unknown reference column, column={mapping.name}, reference={name}")
    sources: list[str | Mapping | None] = []
    for column in targets:
        source = mappings.get(column.name.lower()) or known.get(column.name.lower())
        if source is None and not column.optional and not headers.partial:
            raise LoadFailed(f"Column has no default value. column: {column.name}")
        _check_metric(column, source)
        sources.append(source)
    _check_merge_condition(headers, table, targets, version)
    where = ""
    if headers.where.strip():
        where, names = condition(headers.where)
        for name in names:
            if not any(column.name.lower() == name.lower() for column in targets):
                raise LoadFailed(f"unknown column reference in where statement, reference={name}")
    return LoadPlan(
        fields=tuple(fields),
        targets=tuple(targets),
        sources=tuple(sources),
        op=op,
        computed_from=frozenset(name.lower() for mapping in listed.mappings for name in mapping.refers),
        paths=tuple(parse_paths(headers.jsonpaths)) if headers.jsonpaths and headers.format == "json" else None,
        where=where,
    )


def _partial_targets(table: TableDef, fields: Sequence[str], mappings: dict[str, Mapping]) -> list[ColumnDef]:
    said = {name.lower() for name in fields} | set(mappings)
    for name in table.key:
        if name.lower() not in said:
            raise LoadFailed(f"key column {name} not in partial update columns")
    for column in table.columns:
        for name in generated(column.generated)[1] if column.generated is not None else ():
            if name.lower() not in said:
                words = f"column {name} needs to be used for expression evaluation for materialized column {column.name}"
                raise LoadFailed(words)
    return [column for column in table.columns if column.name.lower() in said or column.generated is not None]


def _check_generated(table: TableDef, listed: ColumnList) -> None:
    """Generated columns are nobody else's: fe-core ``load/Load.java``, initColumns."""
    names = {column.name.lower() for column in table.columns if column.generated is not None}
    for name in (*listed.fields, *(mapping.name for mapping in listed.mappings)):
        if name.lower() in names:
            raise LoadFailed(f"generated column: {name} can not be specified")
    for mapping in listed.mappings:
        for name in mapping.refers:
            if name.lower() in names:
                raise LoadFailed(f"Mapping column can not ref generated column: {name}")


def _check_metric(column: ColumnDef, source: str | Mapping | None) -> None:
    """BITMAP and HLL columns take what their functions give and nothing else."""
    kind = parse_type(column.type).kind
    if kind not in RETURNS or source is None:
        return
    if isinstance(source, Mapping) and source.function in RETURNS[kind]:
        return
    if kind == "hll":
        raise LoadFailed(f"HLL column must use hll_hash function, like {column.name}=hll_hash(xxx) or {column.name}=hll_empty()")
    raise LoadFailed("bitmap column require the function return type is BITMAP")


def _check_merge_condition(headers: LoadHeaders, table: TableDef, targets: Sequence[ColumnDef], version: Version) -> None:
    """``Load.checkMergeCondition``. With a partial update only from 3.1.3 on (documented; the refusal's words are not known)."""
    name = headers.merge_condition
    if not name:
        return
    if table.model != "PRIMARY_KEYS":
        raise LoadFailed(f"Conditional update only support primary key table {table.name}")
    if headers.partial and version < (3, 1, 3):
        raise LoadFailed("Conditional update does not support partial update")
    column = next((column for column in targets if column.name.lower() == name.lower()), None)
    if column is None:
        raise LoadFailed(
            f"Merge condition column {name} does not exist. If you are doing partial update with condition update, please check "
            f"condition column is in the given update columns. Otherwise please check condition column is in table {table.name}"
        )
    if column.name in table.key:
        raise LoadFailed(f"Merge condition column {name} should not be primary key!")
    if parse_type(column.type).kind in ("char", "varchar", "bitmap", "varbinary", "json", "hll"):
        raise LoadFailed("Merge condition column has invalid type maybe bitmap/hll/percentile/json/varchar!")
