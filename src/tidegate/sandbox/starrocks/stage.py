"""From the bytes of a load to rows that fit the table, with everything that was filtered on the way counted and explained.

The order is the backend's: split and parse, convert (strict mode), compute, ``where``, then what ``OlapTableSink::_validate_data``
looks at (NULL in a NOT NULL column, too long text), the size of the primary key, and ``max_filter_ratio`` last.
A value that can't be converted is NULL without strict mode; a text with too many bytes is such a value in CSV, and in JSON from 3.0
on (``string_converter.cpp``, ``nullable_converter.cpp``, ``formats/json/nullable_column.cpp``).
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tidegate.sandbox.starrocks.convert import conversion, key_bytes, shown
from tidegate.sandbox.starrocks.expressions import Mapping, generated
from tidegate.sandbox.starrocks.headers import LoadHeaders, Version
from tidegate.sandbox.starrocks.model import ColumnDef, LoadFailed, Staged, TableDef
from tidegate.sandbox.starrocks.parse_csv import parse_csv
from tidegate.sandbox.starrocks.parse_json import Number, as_text, columns_of, dumps, parse_json
from tidegate.sandbox.starrocks.plan import OP, LoadPlan, plan_load
from tidegate.sandbox.starrocks.sqltypes import INTEGERS, Type, parse_type, quoted, text_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAX_ERROR_LINES = 50
KEY_LIMIT = 128
POSITION = "__position"
_GIVING = {"varbinary": ("to_binary",), "json": ("parse_json", "json_query")}
"""Functions whose values need no conversion."""


def stage_load(
    connection: DuckDBPyConnection, table: TableDef, headers: LoadHeaders, body: bytes, version: Version, json_limit: int
) -> Staged:
    """``connection`` is the caller's own: tables made here are temporary and are gone with it. Raises LoadFailed."""
    plan = plan_load(table, headers, version)
    if headers.format == "json" and len(body) > json_limit and not headers.ignore_json_size:
        raise LoadFailed(
            f"The size of this batch exceed the max size [{json_limit}]  of json type data  data [ {len(body)} ]. "
            "Set ignore_json_size to skip the check, although it may lead huge memory consuming."
        )
    data = _decompressed(body, headers.compression)
    run = _Run(connection, table, headers, plan, version)
    if headers.format == "csv":
        parsed = parse_csv(data, headers, len(plan.fields), old_words=version < (3, 2))
        run.split_errors = parsed.errors
        run.read([list(column) for column in parsed.columns], parsed.raw)
    else:
        rows = parse_json(data, headers)
        columns = columns_of(rows, plan.fields, plan.paths)
        texts = [_texts(column, _reader(table, plan, name)) for column, name in zip(columns, plan.fields, strict=True)]
        run.read(texts, rows)
    return run.staged(len(body))


def stage_insert(
    connection: DuckDBPyConnection, table: TableDef, columns: Sequence[str], texts: list[list[str | None]], version: Version
) -> Staged:
    """The same for INSERT: ``texts`` by column, every faulty row fails the statement. Raises LoadFailed."""
    named = {name.lower(): name for name in columns}
    sources: list[str | Mapping | None] = []
    for column in table.columns:
        name = named.get(column.name.lower())
        if name is not None and parse_type(column.type).kind in ("bitmap", "hll"):
            members = f"list_sort(list_distinct(CAST(from_json({quoted(name)}, '[\"UBIGINT\"]') AS UBIGINT[])))"
            sources.append(Mapping(column.name, members, "to_bitmap", (name,)))
        else:
            sources.append(name)
    plan = LoadPlan(tuple(columns), table.columns, tuple(sources), None, frozenset(named))
    run = _Run(connection, table, LoadHeaders(format="json"), plan, version)
    run.read(texts, [list(row) for row in zip(*texts, strict=True)])
    try:
        return run.staged(sum(len(text or "") for column in texts for text in column))
    except LoadFailed as failure:
        if failure.error_lines:
            raise LoadFailed(f"Insert has filtered data in strict mode, {failure.error_lines[0]}", failure.error_lines) from failure
        raise


def _reader(table: TableDef, plan: LoadPlan, name: str) -> str:
    """How the values of a JSON field are read: ``json``, ``number`` or ``text`` (``JsonScanner::_construct_json_types``)."""
    column = table.column(name)
    if column is None or name.lower() in plan.computed_from:
        return "text"
    type_ = parse_type(column.type)
    if type_.kind == "json" or type_.nested:
        return "json"
    return "number" if type_.kind in (*INTEGERS[:4], "float", "double") else "text"


def _texts(column: list[Any], reader: str) -> list[str | None]:
    if reader == "json":
        return [None if value is None else dumps(value) for value in column]
    if reader == "number":
        return [_number(value) for value in column]
    return [as_text(value) for value in column]


def _number(value: Any) -> str | None:
    """true is no number, though it is 1 in a text; -0 is an integer, which has no sign (``formats/json/numeric_column.cpp``)."""
    if isinstance(value, bool):
        return dumps(value)
    return "0" if isinstance(value, Number) and value == "-0" else as_text(value)


def _decompressed(body: bytes, how: str) -> bytes:
    try:
        if how == "gzip":
            return gzip.decompress(body)
        if how in ("bzip2", "bz2"):
            return bz2.decompress(body)
        if how == "deflate":
            return zlib.decompress(body)
        if how in ("lz4", "lz4_frame", "zstd"):
            with pa.CompressedInputStream(io.BytesIO(body), "zstd" if how == "zstd" else "lz4") as stream:
                return bytes(stream.read())
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException):
        raise LoadFailed(f"Internal error: failed to decompress {how} data") from None
    return body


class _Run:
    """One load on its way: ``source`` is its text as a table, ``target`` the values and what is wrong with them."""

    def __init__(
        self, connection: DuckDBPyConnection, table: TableDef, headers: LoadHeaders, plan: LoadPlan, version: Version
    ) -> None:
        self.connection = connection
        self.table = table
        self.headers = headers
        self.plan = plan
        self.version = version
        self.split_errors: list[tuple[str, str]] = []
        self.types = [parse_type(column.type) for column in plan.targets]
        self.texts: list[list[str | None]] = []
        self.rows: Sequence[Any] = ()
        self.lines: list[str] = []
        self.rejected: list[str] = []

    def read(self, texts: list[list[str | None]], rows: Sequence[Any]) -> None:
        self.texts, self.rows = texts, rows
        arrays = [pa.array(range(len(rows)), pa.int64()), *(pa.array(column, pa.string()) for column in texts)]
        self.connection.register("source", pa.table(arrays, names=[POSITION, *self.plan.fields]))

    def staged(self, size: int) -> Staged:
        strict = self.headers.strict
        values, faults = [], []
        for at, (column, type_, source) in enumerate(zip(self.plan.targets, self.types, self.plan.sources, strict=True)):
            if column.generated is not None:
                continue
            value = self._value(column, type_, source)
            filled = f"COALESCE({value}, {default_value(column)})" if column.auto_increment and source is not None else value
            values.append(f"{filled} AS {quoted(column.name)}")
            if strict and isinstance(source, str):
                faults.append(f"WHEN {quoted(source)} IS NOT NULL AND ({value}) IS NULL THEN {at}")
        if self.plan.op is not None:
            text = self._text(self.plan.op)
            values.append(f"{conversion(text, Type('tinyint'), lenient=True)} AS {quoted(OP)}")
        fault = f"CASE {' '.join(faults)} END" if faults else "NULL::INTEGER"
        inner = f"SELECT {POSITION}, {', '.join(values)}, {fault} AS __fault FROM source"
        computed = [f", {generated_value(column)} AS {quoted(column.name)}" for column in self.plan.targets if column.generated]
        if computed:
            inner = f"SELECT *{''.join(computed)} FROM ({inner})"
        self._execute(
            f"CREATE TEMP TABLE target AS SELECT *, COALESCE({self.plan.where or 'true'}, false) AS __selected, "
            f"{self._invalid()} AS __invalid FROM ({inner})"
        )
        found = self.connection.execute(
            "SELECT count(*) FILTER (__fault IS NOT NULL), count(*) FILTER (__fault IS NULL AND NOT __selected), "
            "count(*) FILTER (__fault IS NULL AND __selected AND __invalid IS NOT NULL), count(*) FROM target"
        ).fetchall()[0]
        unfit, unselected, invalid, read = (int(number) for number in found)
        filtered = len(self.split_errors) + unfit + invalid
        total = len(self.split_errors) + read
        if filtered:
            self._explain(unfit, invalid)
        self._check_keys()
        rejected = tuple(self.rejected if self.headers.log_rejected < 0 else self.rejected[: self.headers.log_rejected])
        if total - unselected > 0 and filtered / (total - unselected) > self.headers.max_filter_ratio:
            raise LoadFailed(
                "too many filtered rows",
                self.lines,
                total=total,
                filtered=filtered,
                unselected=unselected,
                loaded=total - filtered - unselected,
                rejected_rows=rejected,
            )
        names = ", ".join(quoted(column.name) for column in self.plan.targets)
        op = f", {quoted(OP)}" if self.plan.op is not None else ""
        rows = self.connection.sql(
            f"SELECT {names}{op} FROM target WHERE __fault IS NULL AND __selected AND __invalid IS NULL ORDER BY {POSITION}"
        ).to_arrow_table()
        ops = None
        if self.plan.op is not None:
            ops = rows.column(OP).combine_chunks()
            rows = rows.drop_columns([OP])
        return Staged(
            db=self.table.db,
            table=self.table.name,
            rows=rows,
            ops=ops,
            total=total,
            filtered=filtered,
            unselected=unselected,
            bytes=size,
            error_lines=tuple(self.lines),
            rejected_rows=rejected,
            partial=self.headers.partial,
            merge_condition=self.headers.merge_condition,
        )

    def _execute(self, sql: str) -> None:
        import duckdb

        try:
            self.connection.execute(sql)
        except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException, duckdb.ConversionException) as error:
            # What an expression asks for that isn't there: the frontend says so while it plans.
            raise LoadFailed(f"No matching function with signature: {str(error).splitlines()[0]}") from error

    def _text(self, source: str | Mapping) -> str:
        return quoted(source) if isinstance(source, str) else f"CAST(({source.sql}) AS VARCHAR)"

    def _value(self, column: ColumnDef, type_: Type, source: str | Mapping | None) -> str:
        if source is None:
            return default_value(column)
        if isinstance(source, Mapping) and (type_.kind in ("bitmap", "hll") or source.function in _GIVING.get(type_.kind, ())):
            return f"({source.sql})"
        computed = isinstance(source, Mapping) or source.lower() in self.plan.computed_from
        text = self._text(source)
        if type_.kind == "json" and (computed or self.headers.format == "csv"):
            return f"json_or_string({text})"
        if type_.kind in ("char", "varchar") and not computed and (self.headers.format == "csv" or self.version >= (3, 0)):
            return f"CASE WHEN strlen({text}) <= {type_.length} THEN {text} END"
        return conversion(text, type_, lenient=computed or self.headers.format == "json")

    def _invalid(self) -> str:
        """The number of the first column that the sink doesn't take, -1 for ``__op``. Rows to delete are no exception."""
        whens = []
        for at, (column, type_) in enumerate(zip(self.plan.targets, self.types, strict=True)):
            name = quoted(column.name)
            if not column.nullable:
                whens.append(f"WHEN {name} IS NULL THEN {at}")
            if type_.kind in ("char", "varchar"):
                whens.append(f"WHEN strlen({name}) > {type_.length} THEN {at}")
        if self.plan.op is not None:
            whens.append(f"WHEN {quoted(OP)} IS NULL THEN -1")
        return f"CASE {' '.join(whens)} END" if whens else "NULL::INTEGER"

    def _explain(self, unfit: int, invalid: int) -> None:
        """Fills ``lines`` as ``RuntimeState::append_error_msg_to_file`` writes them: ``Error: … . Row: …``."""
        limit = MAX_ERROR_LINES if self.headers.log_rejected >= 0 else 1 << 30
        limit = max(limit, self.headers.log_rejected)
        for why, row in self.split_errors[:limit]:
            self._error(why, row, row)
        if unfit:
            rows = self.connection.execute(
                f"SELECT {POSITION}, __fault FROM target WHERE __fault IS NOT NULL ORDER BY 1 LIMIT {limit}"
            ).fetchall()
            for position, fault in rows:
                self._unfit(position, fault)
        if invalid:
            values = (shown(column.name, type_) for column, type_ in zip(self.plan.targets, self.types, strict=True))
            shown_row = ", ', ', ".join(values)
            rows = self.connection.execute(
                f"SELECT {POSITION}, __invalid, concat('[', {shown_row}, ']') FROM target "
                f"WHERE __fault IS NULL AND __selected AND __invalid IS NOT NULL ORDER BY 1 LIMIT {limit}"
            ).fetchall()
            for position, at, row in rows:
                self._not_taken(position, at, row)

    def _error(self, why: str, row: str, raw: str) -> None:
        if len(self.lines) < MAX_ERROR_LINES:
            self.lines.append(f"Error: {why}. Row: {row}" if row else f"Error: {why}")
        self.rejected.append(raw)

    def _raw(self, position: int) -> str:
        row = self.rows[position]
        return row if isinstance(row, str) else dumps(row)

    def _unfit(self, position: int, at: int) -> None:
        column, type_ = self.plan.targets[at], self.types[at]
        field = self.plan.sources[at]
        assert isinstance(field, str)
        place = self.plan.fields.index(field)
        text = self.texts[place][position] or ""
        raw = self._raw(position)
        if self.headers.format == "csv":
            why = (
                f"The field (name = {column.name}, pos = {place}) is out of range. "
                f"Type: {type_}, Value length: {len(text.encode())}, Value: {text}"
            )
            self._error(why, raw, raw)
        elif type_.kind in ("char", "varchar"):
            why = f"Invalid argument: Value length is beyond the capacity. column={column.name}, capacity={type_.length}"
            self._error(why, raw, raw)
        elif type_.kind in (*INTEGERS[:4], "float", "double"):
            number = text.lstrip("+-").replace(".", "", 1).isdigit()
            why = f"Value is overflow. column={column.name}, value={text}"
            if not number:
                why = f"Unable to cast string value to BIGINT. value={text}, column={column.name}"
            self._error(f"Invalid argument: {why}", raw, raw)
        else:
            values = ("NULL" if column[position] is None else f"'{column[position]}'" for column in self.texts)
            why = f"Value ''{text}'' is out of range. The type of '{column.name}' is {type_}"
            self._error(why, f"[{', '.join(values)}]", raw)

    def _not_taken(self, position: int, at: int, row: str) -> None:
        raw = self._raw(position)
        if at < 0:
            self._error(f"NULL value in non-nullable column '{OP}'", row, raw)
            return
        column, type_ = self.plan.targets[at], self.types[at]
        found = self.connection.execute(
            f"SELECT CAST({quoted(column.name)} AS VARCHAR) FROM target WHERE {POSITION} = ?", [position]
        ).fetchall()
        value = found[0][0]
        if value is None:
            self._error(f"NULL value in non-nullable column '{column.name}'", row, raw)
            return
        cut = value.encode()
        text = value if len(cut) <= 100 else cut[:100].decode("utf-8", "ignore") + "..."
        self._error(f"String '{text}'(length={len(cut)}) is too long. The max length of '{column.name}' is {type_.length}", "", raw)

    def _check_keys(self) -> None:
        if self.table.model != "PRIMARY_KEYS":
            return
        keys = [(name, parse_type(column.type)) for name in self.table.key if (column := self.table.column(name))]
        if sum(type_.width for _, type_ in keys) == 0 or any(type_.kind in ("char", "varchar") for _, type_ in keys):
            found = self.connection.execute(
                f"SELECT max({key_bytes(keys)}) FROM target WHERE __fault IS NULL AND __selected AND __invalid IS NULL"
            ).fetchall()
            if found[0][0] is not None and found[0][0] > KEY_LIMIT:
                raise LoadFailed("primary key size exceed the limit.")


def generated_value(column: ColumnDef) -> str:
    """SQL for the value of a generated column, beside the columns that it names."""
    assert column.generated is not None
    return f"TRY_CAST(({generated(column.generated)[0]}) AS {parse_type(column.type).duckdb})"


def default_value(column: ColumnDef) -> str:
    """SQL for a column's default: NULL where it has none, the next number of AUTO_INCREMENT."""
    type_ = parse_type(column.type)
    if column.auto_increment:
        return "nextval('__sandbox.increments')"
    if column.default is None:
        return f"NULL::{type_.duckdb}"
    if column.default.upper().startswith(("CURRENT_TIMESTAMP", "NOW")):
        return "date_trunc('second', CAST(now() AS TIMESTAMP))"
    if column.default.lower() in ("uuid()", "uuid_numeric()"):
        return "CAST(uuid() AS VARCHAR)" if type_.kind == "varchar" else "CAST(hash(uuid()) AS HUGEINT)"
    if type_.kind in ("bitmap", "hll"):
        return "[]::UBIGINT[]"
    return conversion(text_literal(column.default), type_, lenient=True)
