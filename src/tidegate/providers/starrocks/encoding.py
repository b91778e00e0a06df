"""From a batch to the bodies and headers of loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

import pyarrow as pa

from tidegate.changes.batch import ChangeBatch
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, SchemaError
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.check import require
from tidegate.providers.starrocks.column_list import as_fields, parse_columns
from tidegate.providers.starrocks.encode import encode
from tidegate.providers.starrocks.format import Format
from tidegate.providers.starrocks.headers import OP, checked, connection_properties, load_headers
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.steps import EVENT_COLUMNS, StepRows, appended, merged
from tidegate.sync.mapping import Target
from tidegate.sync.payload import Payload

Compression = Literal["gzip", "zstd", "lz4_frame"]
COMPRESSES = (3, 2, 7)
"""From this version on StarRocks takes compressed JSON."""
ENCODER = 2
"""Counts up when the same rows come out as other bytes: an open intent of an older tidegate is not gone on with then."""


@dataclass(frozen=True)
class StepPayload(Payload):
    """A payload that remembers its rows: for steps that are only known once the table has been asked."""

    step: StepRows = field(kw_only=True)
    ignored: int = 0


class Encoder:
    """Encodes for the tables of one connection (its parsed fields in ``values``)."""

    def __init__(self, metadata: Metadata, values: Mapping[str, Any]) -> None:
        self.metadata, self.values = metadata, values
        self._kind = cast(Literal["json", "csv"], values["format"])
        self._tables: dict[TableName, CatalogTable] = {}

    def digest(self, targets: Sequence[Target]) -> str:
        parts: list[Any] = [ENCODER, load_headers(self.values, self._kind, None, array=True), self.values["ignore_update_before"]]
        for target in targets:
            options = target.options
            listed = {
                "rules": str(options.rules),
                "mode": options.write_mode,
                "op": options.op_column,
                "mark": options.soft_delete_column,
            }
            # Not the table's columns: one that is added changes no row of a log, and if it changes others their checksum tells.
            parts.append([str(target.table), target.key, listed, dict(options.properties or {})])
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()

    def encode(self, target: Target, batch: ChangeBatch, piece_bytes: int | None = None) -> Iterator[Payload]:
        """The batch's net effect, or with append its rows, to be loaded in this order.

        ``piece_bytes``: in payloads of about so many bytes of Arrow, each made when it is asked for; None: a payload for each step.
        """
        table = self.table(target.table)
        if target.options.write_mode == "append":
            step, ignored = appended(target, table, batch)
            steps = [step] if step.rows.num_rows else []
        else:
            steps, ignored = merged(target, table, batch, before_images=not self.values["ignore_update_before"]), 0
        for step in steps:
            for piece in _pieces(step, piece_bytes):
                yield self.payload(target, table, piece, ignored)
                ignored = 0

    def payload(self, target: Target, table: CatalogTable, step: StepRows, ignored: int = 0) -> StepPayload:
        properties = connection_properties(self.values) | checked(target.options.properties or {})
        format = self._format(properties)
        require(step.rows, table, format, self.metadata.name, self.values["time_zone"])
        derived = parse_columns(properties["columns"]) if "columns" in properties else None
        rows = step.rows
        if derived is not None:
            rows = rows.select([name for name in rows.column_names if derived.field(name)])
        there: Sequence[CatalogColumn | None] = [table.column(name) for name in rows.column_names]
        if derived is None and None in there:
            # StarRocks would take it for a field that no column is made of, and drop it.
            missing = rows.column_names[there.index(None)]
            raise SchemaError(f"the table lacks {missing}", connection=self.metadata.name, table=table.name, setting="on_ddl")
        made: Sequence[str] = ()
        if derived is None:
            fields = as_fields(rows, there, format.kind)
            rows, there, made = fields.rows, fields.there, fields.made
        body = encode(rows, there, format, ops=step.ops, time_zone=self.values["time_zone"])
        settings = self._settings(properties, rows.column_names, made, step)
        if (method := self._compression(properties)) is not None:
            body = [compressed(body, method)]
            settings = {**settings, "compression": method}
        keyed = target.options.write_mode != "append"
        proof = None if keyed else _proof(step.rows)
        asks = step.ask is not None
        return StepPayload(body, step.rows.num_rows, settings, keyed, proof, asks, step=step, ignored=ignored)

    def _compression(self, properties: Mapping[str, str]) -> Compression | None:
        """What the body is packed with, whether the connection or the table's own headers say so."""
        wanted = properties.get("compression", self.values["compression"]).lower()
        if wanted == "auto":
            return "zstd" if self.metadata.version() >= COMPRESSES else None
        if wanted in ("", "none"):
            return None
        if wanted not in get_args(Compression):
            what = f"compression {wanted!r} is none of {', '.join(get_args(Compression))}"
            raise ConfigError(what, connection=self.metadata.name, setting="compression")
        return cast(Compression, wanted)

    def _format(self, properties: Mapping[str, str]) -> Format:
        def given(name: str) -> str:
            return properties.get(name, str(self.values.get(name) or ""))

        return Format.of(
            given("format"),
            given("column_separator"),
            given("row_delimiter"),
            properties.get("enclose", ""),
            properties.get("escape", ""),
        )

    def _settings(
        self, properties: Mapping[str, str], names: Sequence[str], made: Sequence[str], step: StepRows
    ) -> Mapping[str, str]:
        kind = cast(Literal["json", "csv"], properties.get("format", self._kind))
        headers = {**load_headers(self.values, kind, None, array=True), **properties}
        listed = [properties["columns"]] if "columns" in properties else [f"`{name}`" for name in names]
        if step.ops is not None and OP not in properties.get("columns", ""):
            listed.append(OP)
        headers["columns"] = ",".join([*listed, *made])
        if step.partial:
            headers["partial_update"] = "true"
        if step.version is not None:
            headers["merge_condition"] = step.version
        return headers

    def table(self, name: TableName) -> CatalogTable:
        """As it was when it was first asked for. SchemaError if it is gone."""
        full = self.metadata.full(name)
        if full not in self._tables:
            table = self.metadata.table(full)
            if table is None:
                raise SchemaError("there is no such table", connection=self.metadata.name, table=full)
            self._tables[full] = table
        return self._tables[full]

    def holds(self, table: TableName, proof: Mapping[str, Any]) -> bool:
        """Whether a load is in, by the identity of its last event."""
        full = self.metadata.full(table)
        where = " AND ".join(f"{sql.name(name)} = %s" for name in proof)
        question = f"SELECT 1 FROM {sql.table(full)} WHERE {where} LIMIT 1"
        return bool(self.metadata.session.rows(question, tuple(proof.values()), table=full))

    def forget(self, table: TableName) -> None:
        """Its columns may be others now."""
        self._tables.pop(self.metadata.full(table), None)


def _pieces(step: StepRows, size: int | None) -> Iterator[StepRows]:
    total = step.rows.num_rows
    rows = total if size is None else max(1, min(total, total * size // max(1, step.rows.nbytes)))
    for start in range(0, total, rows):
        ops = None if step.ops is None else step.ops[start : start + rows]
        yield replace(step, rows=step.rows.slice(start, rows), ops=ops)


def compressed(body: Sequence[bytes], method: Compression) -> bytes:
    """The pieces as one compressed stream."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4" if method == "lz4_frame" else method) as packed:
        for piece in body:
            packed.write(piece)
    return bytes(sink.getvalue())


def _proof(rows: pa.Table) -> Mapping[str, Any] | None:
    """The identity of the last event, if the rows have it."""
    if not rows.num_rows or not all(name in rows.column_names for name in EVENT_COLUMNS):
        return None
    last = rows.select(list(EVENT_COLUMNS)).slice(rows.num_rows - 1).to_pylist()[0]
    return None if None in last.values() else last
