"""MySQL's column types in canonical terms, and the tables that ``information_schema`` describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.changes.types import decimal
from tidegate.errors import SchemaError
from tidegate.providers.mysql.policy import DEFAULT, ZERO_IS_NULL, Policies, Zero, policies
from tidegate.providers.mysql.session import Session

_INTEGERS = {
    "tinyint": (pa.int8(), pa.uint8()),
    "smallint": (pa.int16(), pa.uint16()),
    "mediumint": (pa.int32(), pa.uint32()),
    "int": (pa.int32(), pa.uint32()),
    "bigint": (pa.int64(), pa.uint64()),
}
TEXTS = frozenset(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"))
BINARIES = frozenset(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"))
GEOMETRIES = frozenset(
    (
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    )
)


@dataclass(frozen=True, slots=True)
class MySqlColumn:
    """A canonical column with what reading it takes besides.

    ``data_type`` is MySQL's name of the type without its parameters. ``charset`` is empty where there is none. ``length`` counts
    characters or bytes of a text or binary column, the bits of a BIT; ``octets`` counts bytes. ``zero`` says what becomes of a date
    that no calendar has. ``required``: known to be NOT NULL on the server, ``auto_increment``: known to number its rows; False
    where that isn't known. ``generated``: computed from others.
    """

    column: Column
    data_type: str
    unsigned: bool = False
    charset: str = ""
    labels: tuple[str, ...] = ()
    length: int = 0
    octets: int = 0
    precision: int = 0
    scale: int = 0
    fsp: int = 0
    zero: Zero = ZERO_IS_NULL
    required: bool = False
    auto_increment: bool = False
    generated: bool = False

    @property
    def name(self) -> str:
        return self.column.name


@dataclass(frozen=True, slots=True)
class MySqlTable:
    """A table as it is now.

    ``schema.table`` is the name that it goes by in the sync, ``where`` the full name on the server. ``index`` is the unique index
    behind the schema's key; empty if there is none. ``policies`` are those of the connection. ``collation`` is that of new columns
    that name none; empty if it isn't known.
    """

    schema: TableSchema
    where: TableName
    columns: tuple[MySqlColumn, ...]
    index: str = ""
    policies: Policies = DEFAULT
    collation: str = ""

    @property
    def name(self) -> TableName:
        return self.schema.table

    def key_columns(self) -> tuple[MySqlColumn, ...]:
        by_name = {column.name: column for column in self.columns}
        return tuple(by_name[name] for name in self.schema.key)

    def policies_of(self, column: str) -> Policies:
        """The policies for a column of this name."""
        return self.policies.in_key() if column in self.schema.key else self.policies


def make_column(
    name: str,
    data_type: str,
    *,
    nullable: bool = True,
    unsigned: bool = False,
    charset: str = "",
    collation: str = "",
    labels: tuple[str, ...] = (),
    length: int = 0,
    octets: int = 0,
    precision: int = 0,
    scale: int = 0,
    fsp: int = 0,
    display_width: int | None = None,
    policies: Policies = DEFAULT,
) -> MySqlColumn | None:
    """The column in canonical terms; None for a type that has none."""
    attributes = {"mysql_type": data_type}
    kind: pa.DataType
    if data_type in _INTEGERS:
        kind = _INTEGERS[data_type][unsigned]
        if data_type == "tinyint" and display_width == 1:
            kind = pa.bool_() if policies.boolean else kind
            attributes["display_width"] = "1"
    elif data_type == "decimal":
        kind = decimal(precision, scale)
    elif data_type == "float":
        kind = pa.float32()
    elif data_type == "double":
        kind = pa.float64()
    elif data_type == "bit":
        kind = pa.uint64()
        attributes["bits"] = str(length)
    elif data_type == "date":
        kind = pa.date32()
    elif data_type in ("datetime", "timestamp", "time"):
        kind = {"datetime": pa.timestamp("us"), "timestamp": pa.timestamp("us", tz="UTC"), "time": pa.duration("us")}[data_type]
        attributes["fsp"] = str(fsp)
    elif data_type == "year":
        kind = pa.int16()
    elif data_type == "json":
        kind = pa.string()
        attributes["json"] = "true"
    elif data_type in TEXTS or data_type in ("enum", "set"):
        kind = pa.string()
        attributes |= {"charset": charset, "collation": collation}
        if labels:
            attributes["labels"] = json.dumps(labels, ensure_ascii=False)
        else:
            attributes["length"] = str(length)
    elif data_type in BINARIES:
        kind = pa.binary()
        attributes["length"] = str(length)
    elif data_type in GEOMETRIES:
        kind = pa.binary()
        attributes["geometry"] = data_type
    else:
        return None
    required = not nullable
    # A zero date that becomes NULL does so also in a column that takes none.
    nullable = nullable or (data_type in ("date", "datetime", "timestamp") and policies.zero.null)
    column = Column(name, kind, nullable, {key: value for key, value in attributes.items() if value})
    zero = policies.zero
    return MySqlColumn(column, data_type, unsigned, charset, labels, length, octets, precision, scale, fsp, zero, required)


def read_table(session: Session, table: TableName) -> MySqlTable:
    """The table as it is now; a name without schema means the connection's database.

    Raises SchemaError if it is missing, or has a column without canonical type; ConfigError if ``zero_dates`` means nothing.
    """
    where = TableName(table.schema or session.values["database"], table.name)
    if not where.schema:
        raise SchemaError("the table's database is not named", connection=session.name, table=table, setting="database")
    described = session.dicts(
        "SELECT * FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (where.schema, where.name),
        table=table,
    )
    if not described:
        raise SchemaError("the table does not exist, or the account may not read it", connection=session.name, table=table)
    spelled = TableName(described[0]["table_schema"] or "", described[0]["table_name"] or "")
    if spelled != where:
        # The log spells names as the server does: another spelling would find no changes.
        raise SchemaError(f"the server spells the table {spelled}", connection=session.name, table=table, setting="tables")
    json_columns = _json_columns(session, where)
    index, key = _key(session, where)
    chosen = policies(session.values, session.name)
    columns = tuple(
        _described_column(item, json_columns, session.name, table, chosen.in_key() if item["column_name"] in key else chosen)
        for item in described
    )
    sql = "SELECT TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    named = session.rows(sql, (where.schema, where.name))
    collation = (named[0][0] if named else None) or ""
    return MySqlTable(TableSchema(table, tuple(column.column for column in columns), key), where, columns, index, chosen, collation)


def table_kind(session: Session, where: TableName) -> tuple[str, bool]:
    """``BASE TABLE``, ``VIEW``, ``SYSTEM VERSIONED`` or ``SEQUENCE``; and whether its engine has transactions."""
    ((kind, transactions),) = session.rows(
        "SELECT t.TABLE_TYPE, e.TRANSACTIONS FROM information_schema.TABLES t "
        "LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE WHERE t.TABLE_SCHEMA = %s AND t.TABLE_NAME = %s",
        (where.schema, where.name),
    )
    return str(kind), transactions == "YES"


def _described_column(
    item: Mapping[str, str | None], json_columns: frozenset[str], connection: str, table: TableName, chosen: Policies
) -> MySqlColumn:
    name, data_type, full_type = item["column_name"] or "", item["data_type"] or "", (item["column_type"] or "")
    lowered = full_type.lower()
    width = re.match(r"\w+\((\d+)\)", lowered)
    labels = parse_labels(full_type) if data_type in ("enum", "set") else ()
    length = int(item["character_maximum_length"] or 0)
    if data_type == "bit":
        length = int(item["numeric_precision"] or 1)
    column = make_column(
        name,
        "json" if name in json_columns else data_type,
        nullable=item["is_nullable"] == "YES",
        unsigned="unsigned" in lowered and not labels,
        charset=item["character_set_name"] or "",
        collation=item["collation_name"] or "",
        labels=labels,
        length=length,
        octets=int(item["character_octet_length"] or 0),
        precision=int(item["numeric_precision"] or 0) if data_type == "decimal" else 0,
        scale=int(item["numeric_scale"] or 0) if data_type == "decimal" else 0,
        fsp=int(item["datetime_precision"] or 0),
        display_width=int(width[1]) if width else None,
        policies=chosen,
    )
    if column is None or "compressed*/" in lowered:
        # MariaDB's compressed columns stand compressed in the log too.
        raise SchemaError(
            f"column {name} has the type {full_type}, which has no canonical type",
            connection=connection,
            table=table,
            setting="leave the table out of tables",
        )
    extra = (item["extra"] or "").lower()
    # MySQL 8 says default_generated of a default that is an expression.
    computed = any(word in extra.split() for word in ("generated", "virtual", "persistent"))
    column = replace(column, auto_increment="auto_increment" in extra)
    return generated(column) if computed else column


def generated(column: MySqlColumn) -> MySqlColumn:
    """The column, known to be computed from others."""
    attributes = {**column.column.attributes, "generated": "true"}
    return replace(column, generated=True, column=replace(column.column, attributes=attributes))


_LABEL = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "b": "\b", "Z": "\x1a"}


def parse_labels(column_type: str) -> tuple[str, ...]:
    """The labels in ``enum('a','it''s')``, as ``information_schema`` writes it."""

    def plain(text: str) -> str:
        return re.sub(r"''|\\(.)", lambda found: _ESCAPES.get(found[1], found[1]) if found[1] else "'", text, flags=re.DOTALL)

    return tuple(plain(label) for label in _LABEL.findall(column_type))


def _json_columns(session: Session, table: TableName) -> frozenset[str]:
    """MariaDB's JSON is LONGTEXT with a check of its own making: the columns that have it."""
    if not session.rows("SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'information_schema' "
                        "AND TABLE_NAME = 'CHECK_CONSTRAINTS' AND VERSION() LIKE '%%MariaDB%%'"):  # fmt: skip
        return frozenset()
    found = session.rows(
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s",
        (table.schema, table.name),
    )
    names = []
    for (clause,) in found:
        match = re.fullmatch(r"json_valid\(`((?:[^`]|``)+)`\)", (clause or "").strip(), re.IGNORECASE)
        if match:
            names.append(match[1].replace("``", "`"))
    return frozenset(names)


def _key(session: Session, table: TableName) -> tuple[str, tuple[str, ...]]:
    """The primary key, else the first unique key over whole columns that are all NOT NULL; its index and its columns."""
    found = session.dicts(
        "SELECT * FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND NON_UNIQUE = 0",
        (table.schema, table.name),
        table=table,
    )
    indexes: dict[str, list[tuple[int, str, bool]]] = {}
    for item in found:
        usable = item["nullable"] != "YES" and item["column_name"] is not None
        whole = item["sub_part"] is None or item["index_name"] == "PRIMARY"
        indexes.setdefault(item["index_name"] or "", []).append(
            (int(item["seq_in_index"] or 0), item["column_name"] or "", usable and whole)
        )
    for index in sorted(indexes, key=lambda name: (name != "PRIMARY", name)):
        parts = sorted(indexes[index])
        if all(usable for _, _, usable in parts):
            return index, tuple(name for _, name, _ in parts)
    return "", ()
