"""``information_schema``: databases, tables, columns, their settings, partitions, tablets and loads, as queries of DuckDB.

Columns: fe-core ``catalog/system/information/*SystemTable.java`` and docs ``sql-reference/information_schema``. What is always
empty in a cluster of one backend without views has its columns alone.

GENERATION_EXPRESSION is filled since 3.3.3 (pull request 49734; the version is inferred from its date). AUTO_INCREMENT is nowhere
(issue 63730) but in SHOW CREATE TABLE.
"""

from __future__ import annotations

import datetime as dt
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from tidegate.sandbox.starrocks import virtual
from tidegate.sandbox.starrocks.coltypes import facts
from tidegate.sandbox.starrocks.createtable import ORDER_BY, PARTITION_BY, TABLE_ID
from tidegate.sandbox.starrocks.engine import Engine
from tidegate.sandbox.starrocks.labels import LabelBook, Transaction
from tidegate.sandbox.starrocks.model import TableDef
from tidegate.sandbox.starrocks.sqlerror import unknown_table
from tidegate.sandbox.starrocks.tokens import listed

BACKEND_ID = 10001
KEY_WORDS = {"PRIMARY_KEYS": "PRI", "UNIQUE_KEYS": "UNI", "DUP_KEYS": "DUP", "AGG_KEYS": "AGG"}
LOAD_STATES = {"PREPARE": "LOADING", "PREPARED": "PREPARED", "COMMITTED": "COMMITED", "VISIBLE": "FINISHED", "ABORTED": "CANCELLED"}
_STREAM_STATES = {
    "PREPARE": "LOADING",
    "PREPARED": "PREPARED",
    "COMMITTED": "COMMITED",
    "VISIBLE": "FINISHED",
    "ABORTED": "CANCELLED",
}
Rows = Iterable[tuple[Any, ...]]

_SHAPES: dict[str, tuple[virtual.Column, ...]] = {
    "schemata": virtual.columns("CATALOG_NAME SCHEMA_NAME DEFAULT_CHARACTER_SET_NAME DEFAULT_COLLATION_NAME SQL_PATH"),
    "tables": virtual.columns(
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE ENGINE VERSION ROW_FORMAT TABLE_ROWS AVG_ROW_LENGTH DATA_LENGTH "
        "MAX_DATA_LENGTH INDEX_LENGTH DATA_FREE AUTO_INCREMENT CREATE_TIME UPDATE_TIME CHECK_TIME TABLE_COLLATION CHECKSUM "
        "CREATE_OPTIONS TABLE_COMMENT",
        "VERSION TABLE_ROWS AVG_ROW_LENGTH DATA_LENGTH MAX_DATA_LENGTH INDEX_LENGTH DATA_FREE AUTO_INCREMENT CHECKSUM",
        "CREATE_TIME UPDATE_TIME CHECK_TIME",
    ),
    "columns": virtual.columns(
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION COLUMN_DEFAULT IS_NULLABLE DATA_TYPE "
        "CHARACTER_MAXIMUM_LENGTH CHARACTER_OCTET_LENGTH NUMERIC_PRECISION NUMERIC_SCALE DATETIME_PRECISION CHARACTER_SET_NAME "
        "COLLATION_NAME COLUMN_TYPE COLUMN_KEY EXTRA PRIVILEGES COLUMN_COMMENT COLUMN_SIZE DECIMAL_DIGITS "
        "GENERATION_EXPRESSION SRS_ID",
        "ORDINAL_POSITION CHARACTER_MAXIMUM_LENGTH CHARACTER_OCTET_LENGTH NUMERIC_PRECISION NUMERIC_SCALE DATETIME_PRECISION "
        "COLUMN_SIZE DECIMAL_DIGITS SRS_ID",
    ),
    "tables_config": virtual.columns(
        "TABLE_SCHEMA TABLE_NAME TABLE_ENGINE TABLE_MODEL PRIMARY_KEY PARTITION_KEY DISTRIBUTE_KEY DISTRIBUTE_TYPE "
        "DISTRIBUTE_BUCKET SORT_KEY PROPERTIES TABLE_ID",
        "DISTRIBUTE_BUCKET TABLE_ID",
    ),
    "partitions_meta": virtual.columns(
        "DB_NAME TABLE_NAME PARTITION_NAME PARTITION_ID COMPACT_VERSION VISIBLE_VERSION VISIBLE_VERSION_TIME NEXT_VERSION "
        "PARTITION_KEY PARTITION_VALUE DISTRIBUTION_KEY BUCKETS REPLICATION_NUM STORAGE_MEDIUM COOLDOWN_TIME "
        "LAST_CONSISTENCY_CHECK_TIME IS_IN_MEMORY IS_TEMP DATA_SIZE ROW_COUNT ENABLE_DATACACHE AVG_CS P50_CS MAX_CS STORAGE_PATH",
        "PARTITION_ID COMPACT_VERSION VISIBLE_VERSION NEXT_VERSION BUCKETS REPLICATION_NUM ROW_COUNT",
        "VISIBLE_VERSION_TIME COOLDOWN_TIME LAST_CONSISTENCY_CHECK_TIME",
    ),
    "be_tablets": virtual.columns(
        "BE_ID TABLE_ID PARTITION_ID TABLET_ID NUM_VERSION MAX_VERSION MIN_VERSION NUM_ROWSET NUM_ROW DATA_SIZE INDEX_MEM "
        "CREATE_TIME STATE TYPE DATA_DIR SHARD_ID SCHEMA_HASH INDEX_DISK MEDIUM_TYPE NUM_SEGMENT",
        "BE_ID TABLE_ID PARTITION_ID TABLET_ID NUM_VERSION MAX_VERSION MIN_VERSION NUM_ROWSET NUM_ROW DATA_SIZE INDEX_MEM "
        "CREATE_TIME SHARD_ID SCHEMA_HASH INDEX_DISK NUM_SEGMENT",
    ),
    "loads": virtual.columns(
        "ID LABEL PROFILE_ID DB_NAME TABLE_NAME USER WAREHOUSE STATE PROGRESS TYPE PRIORITY SCAN_ROWS SCAN_BYTES FILTERED_ROWS "
        "UNSELECTED_ROWS SINK_ROWS RUNTIME_DETAILS CREATE_TIME LOAD_START_TIME LOAD_COMMIT_TIME LOAD_FINISH_TIME PROPERTIES "
        "ERROR_MSG TRACKING_SQL REJECTED_RECORD_PATH",
        "ID SCAN_ROWS SCAN_BYTES FILTERED_ROWS UNSELECTED_ROWS SINK_ROWS",
        "CREATE_TIME LOAD_START_TIME LOAD_COMMIT_TIME LOAD_FINISH_TIME",
    ),
    "stream_loads": virtual.columns(
        "LABEL ID LOAD_ID TXN_ID DB_NAME TABLE_NAME STATE ERROR_MSG TRACKING_URL CHANNEL_NUM PREPARED_CHANNEL_NUM NUM_ROWS_NORMAL "
        "NUM_ROWS_AB_NORMAL NUM_ROWS_UNSELECTED NUM_LOAD_BYTES TIMEOUT_SECOND CREATE_TIME_MS BEFORE_LOAD_TIME_MS "
        "START_LOADING_TIME_MS START_PREPARING_TIME_MS FINISH_PREPARING_TIME_MS END_TIME_MS CHANNEL_STATE TYPE TRACKING_SQL",
        "ID TXN_ID CHANNEL_NUM PREPARED_CHANNEL_NUM NUM_ROWS_NORMAL NUM_ROWS_AB_NORMAL NUM_ROWS_UNSELECTED NUM_LOAD_BYTES "
        "TIMEOUT_SECOND",
        "CREATE_TIME_MS BEFORE_LOAD_TIME_MS START_LOADING_TIME_MS START_PREPARING_TIME_MS FINISH_PREPARING_TIME_MS END_TIME_MS",
    ),
    "views": virtual.columns(
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME VIEW_DEFINITION CHECK_OPTION IS_UPDATABLE DEFINER SECURITY_TYPE "
        "CHARACTER_SET_CLIENT COLLATION_CONNECTION"
    ),
    "materialized_views": virtual.columns(
        "MATERIALIZED_VIEW_ID TABLE_SCHEMA TABLE_NAME REFRESH_TYPE IS_ACTIVE TABLE_ROWS MATERIALIZED_VIEW_DEFINITION"
    ),
    "table_constraints": virtual.columns(
        "CONSTRAINT_CATALOG CONSTRAINT_SCHEMA CONSTRAINT_NAME TABLE_SCHEMA TABLE_NAME CONSTRAINT_TYPE"
    ),
    "key_column_usage": virtual.columns(
        "CONSTRAINT_CATALOG CONSTRAINT_SCHEMA CONSTRAINT_NAME TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION "
        "POSITION_IN_UNIQUE_CONSTRAINT REFERENCED_TABLE_SCHEMA REFERENCED_TABLE_NAME REFERENCED_COLUMN_NAME",
        "ORDINAL_POSITION POSITION_IN_UNIQUE_CONSTRAINT",
    ),
    "statistics": virtual.columns(
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME NON_UNIQUE INDEX_SCHEMA INDEX_NAME SEQ_IN_INDEX COLUMN_NAME COLLATION CARDINALITY "
        "SUB_PART PACKED NULLABLE INDEX_TYPE COMMENT",
        "NON_UNIQUE SEQ_IN_INDEX CARDINALITY SUB_PART",
    ),
    "routines": virtual.columns("SPECIFIC_NAME ROUTINE_CATALOG ROUTINE_SCHEMA ROUTINE_NAME ROUTINE_TYPE"),
    "engines": virtual.columns("ENGINE SUPPORT COMMENT TRANSACTIONS XA SAVEPOINTS"),
    "character_sets": virtual.columns("CHARACTER_SET_NAME DEFAULT_COLLATE_NAME DESCRIPTION MAXLEN", "MAXLEN"),
}


def identity(*names: str) -> int:
    """An id of a database (one name), table (two), partition or tablet: the same as long as the names are."""
    return 10_100 + zlib.crc32("\0".join(names).encode()) % 1_000_000_000


def table_id(table: TableDef) -> int:
    """The id that a CREATE TABLE gave it, or else one made of its name."""
    return int(table.properties.get(TABLE_ID, identity(table.db, table.name)))


@dataclass(frozen=True, slots=True)
class SystemTables:
    """The system tables as one user sees them: ``visible`` says which tables that are."""

    engine: Engine
    labels: LabelBook
    zone: ZoneInfo
    visible: Callable[[TableDef], bool]

    def query(self, schema: str, name: str) -> str:
        """A system table as a query of DuckDB. SqlError for one that this version doesn't have."""
        rows: dict[str, Callable[[], Rows]] = {
            "schemata": self._schemata,
            "tables": self._tables,
            "columns": self._columns,
            "tables_config": self._tables_config,
            "partitions_meta": self._partitions,
            "be_tablets": self._tablets,
            "loads": self._loads,
            "stream_loads": self._stream_loads,
            "engines": lambda: [("OLAP", "YES", "Default storage engine of StarRocks", "NO", "NO", "NO")],
            "character_sets": lambda: [("utf8", "utf8_general_ci", "UTF-8 Unicode", 3)],
        }
        since = {"loads": (3, 1), "partitions_meta": (3, 1), "be_tablets": (3, 0), "tables_config": (2, 5)}
        if schema != "information_schema" or name not in _SHAPES or self.engine.version < since.get(name, (0,)):
            raise unknown_table(schema, name, self.engine.version)
        return virtual.query(_SHAPES[name], list(rows[name]() if name in rows else ()))

    def tables(self) -> Iterable[TableDef]:
        """All tables that the user sees."""
        for db in self.engine.databases():
            yield from (table for table in self.engine.tables(db) if self.visible(table))

    def moment(self, seconds: float) -> dt.datetime | None:
        """A time of the system's zone, without fraction; None for what hasn't happened."""
        return dt.datetime.fromtimestamp(int(seconds), self.zone).replace(tzinfo=None) if seconds else None

    def _schemata(self) -> Rows:
        for db in sorted({*self.engine.databases(), "information_schema"}):
            yield ("def", db, "utf8", "utf8_general_ci", None)

    def _tables(self) -> Rows:
        for table in self.tables():
            count = self.engine.row_count(table.db, table.name)
            kind = ("def", table.db, table.name, "BASE TABLE", "StarRocks", None, "NULL", count, 0, 0, None, None, None, None)
            yield (*kind, None, None, None, "utf8_general_ci", None, "NULL", table.comment)

    def _columns(self) -> Rows:
        for table in self.tables():
            for place, column in enumerate(table.columns, 1):
                fact = facts(column.type)
                octets = None if fact.characters is None else fact.characters * 4
                size = fact.characters if fact.characters is not None else fact.precision
                yield (
                    *("def", table.db, table.name, column.name, place, column.default, "YES" if column.nullable else "NO"),
                    *(fact.data_type, fact.characters, octets, fact.precision, fact.scale, fact.fraction, None, None),
                    *(fact.column_type, KEY_WORDS[table.model] if column.key else "", column.aggregation or "", "", column.comment),
                    *(size, fact.scale, column.generated if self.engine.version >= (3, 3, 3) else None, None),
                )

    def _tables_config(self) -> Rows:
        for table in self.tables():
            key = listed(table.key)
            shown = {name: value for name, value in table.properties.items() if not name.startswith("tidegate.")}
            yield (
                *(table.db, table.name, "OLAP", table.model, key if table.model in ("PRIMARY_KEYS", "UNIQUE_KEYS") else ""),
                *(partition_columns(table), listed(table.distribution), "HASH" if table.distribution else "RANDOM"),
                *(
                    table.buckets,
                    listed(sort_key(table)),
                    json.dumps({"replication_num": "1", **shown}),
                    table_id(table),
                ),
            )

    def _partitions(self) -> Rows:
        for table in self.tables():
            version = self.engine.versions(table.db, table.name)
            yield (
                *(table.db, table.name, table.name, identity(table.db, table.name, "p"), 0, version, None, version + 1),
                *("", "", listed(table.distribution), table.buckets, 1, "HDD", None, None, "false", "false", "0B"),
                *(self.engine.row_count(table.db, table.name), "false", "0.0", "0.0", "0.0", ""),
            )

    def _tablets(self) -> Rows:
        for table in self.tables():
            versions = self.engine.versions(table.db, table.name)
            rows = self.engine.row_count(table.db, table.name)
            kind = {"PRIMARY_KEYS": "PRIMARY", "UNIQUE_KEYS": "UNIQUE", "DUP_KEYS": "DUP", "AGG_KEYS": "AGG"}[table.model]
            for bucket in range(table.buckets):
                yield (
                    *(BACKEND_ID, table_id(table), identity(table.db, table.name, "p")),
                    *(identity(table.db, table.name, "p", str(bucket)), versions, versions, 1, versions, rows // table.buckets),
                    *(0, 0, 0, "NORMAL", kind, "/sandbox", 0, 0, 0, "HDD", versions),
                )

    def _loads(self) -> Rows:
        for load in self.labels.all():
            details = json.dumps({"txn_id": load.id, "load_id": str(load.id)})
            for table in load.tables or [""]:
                yield (
                    *(load.id, load.label, "", load.database, table, load.user or "root", "", LOAD_STATES[load.state], "100%"),
                    *("INSERT" if load.kind == "insert" else "STREAM", "NORMAL", load.total_rows, load.load_bytes),
                    *(load.filtered_rows, load.unselected_rows, load.loaded_rows, details, self.moment(load.began)),
                    *(self.moment(load.began), self.moment(load.committed), self.moment(load.finished)),
                    *(json.dumps({"timeout": load.timeout}), load.reason or None, None, None),
                )

    def _stream_loads(self) -> Rows:
        for load in self.labels.all():
            if load.kind == "insert":
                continue
            kind = "TRANSACTION_STREAM_LOAD" if load.kind == "transaction" else "STREAM_LOAD"
            for table in load.tables or [""]:
                yield (
                    *(load.label, load.id, str(load.id), load.id, load.database, table, _STREAM_STATES[load.state], load.reason),
                    *(load.error_url, 1, 1, load.loaded_rows, load.filtered_rows, load.unselected_rows, load.load_bytes),
                    *(load.timeout, self.moment(load.began), self.moment(load.began), self.moment(load.began)),
                    *(self.moment(load.prepared), self.moment(load.prepared), self.moment(load.finished), "", kind, None),
                )


def sort_key(table: TableDef) -> tuple[str, ...]:
    """ORDER BY's columns, else the key."""
    order = table.properties.get(ORDER_BY, "")
    return tuple(order.split(",")) if order else table.key


def partition_columns(table: TableDef) -> str:
    """What PARTITION_KEY shows: the columns of the clause."""
    clause = table.properties.get(PARTITION_BY, "")
    named = [
        column.name
        for column in table.columns
        if column.name in clause.replace("`", " ").replace("(", " ").replace(")", " ").split()
    ]
    return listed(named)


def tablet_rows(tables: SystemTables, table: TableDef) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """SHOW TABLET FROM, SHOW PROC's tablets: names and rows."""
    names = virtual.words(
        "TabletId ReplicaId BackendId SchemaHash Version VersionHash LstSuccessVersion LstSuccessVersionHash LstFailedVersion "
        "LstFailedVersionHash LstFailedTime DataSize RowCount State LstConsistencyCheckTime CheckVersion CheckVersionHash "
        "VersionCount PathHash MetaUrl CompactionStatus"
    )
    versions = tables.engine.versions(table.db, table.name)
    rows = tables.engine.row_count(table.db, table.name)
    found: list[tuple[Any, ...]] = []
    for bucket in range(table.buckets):
        tablet = identity(table.db, table.name, "p", str(bucket))
        found.append(
            (
                *(tablet, tablet + 1, BACKEND_ID, 0, versions, 0, versions, 0, -1, 0, None, "0B", rows // table.buckets),
                *("NORMAL", None, -1, 0, versions, 0, "", ""),
            )
        )
    return names, found


def transaction_rows(tables: SystemTables, loads: Iterable[Transaction]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """SHOW TRANSACTION and SHOW PROC '/transactions/<db_id>/running' and '…/finished': names and rows.

    fe-core ``common/proc/TransProcDir.java``; PreparedTime and PreparedTimeoutMs came with 3.5.4.
    """
    newer = tables.engine.version >= (3, 5, 4)
    names = ["TransactionId", "Label", "Coordinator", "TransactionStatus", "LoadJobSourceType", "PrepareTime"]
    names += ["PreparedTime"] * newer + ["CommitTime", "PublishTime", "FinishTime", "Reason", "ErrorReplicasCount", "ListenerId"]
    names += ["TimeoutMs"] + ["PreparedTimeoutMs"] * newer + ["ErrMsg"]
    kinds = {"insert": "INSERT_STREAMING", "stream_load": "BACKEND_STREAMING", "transaction": "BACKEND_STREAMING"}
    found: list[tuple[Any, ...]] = []
    for load in loads:
        row: list[Any] = [load.id, load.label, "BE: 127.0.0.2", load.state, kinds[load.kind], tables.moment(load.began)]
        row += [tables.moment(load.prepared)] * newer
        row += [tables.moment(load.committed), tables.moment(load.committed), tables.moment(load.finished), load.reason, 0, -1]
        row += [load.timeout * 1000] + [max(load.prepared_timeout, 0) * 1000] * newer + [load.reason]
        found.append(tuple(row))
    return tuple(names), found
