"""SHOW PARTITIONS, TABLET, ALTER TABLE, TRANSACTION, LOAD, STREAM LOAD and PROC: versions, jobs and loads.

Columns: fe-core ``common/proc`` and ``sql/ast/Show*Stmt.java``.
"""

from __future__ import annotations

from tidegate.sandbox.starrocks import virtual
from tidegate.sandbox.starrocks.answers import answer, database
from tidegate.sandbox.starrocks.createtable import split
from tidegate.sandbox.starrocks.information_schema import LOAD_STATES, identity, table_id, tablet_rows, transaction_rows
from tidegate.sandbox.starrocks.result import Result
from tidegate.sandbox.starrocks.result import table as texts
from tidegate.sandbox.starrocks.sqlerror import SqlError, analyzing
from tidegate.sandbox.starrocks.sqlfront import SqlSession
from tidegate.sandbox.starrocks.tokens import Cursor


def partitions(session: SqlSession, cursor: Cursor) -> Result:
    """After SHOW PARTITIONS."""
    cursor.expect("FROM")
    table = session.table(*split(cursor.qualified()))
    session.check("SELECT", table)
    versions = session.engine.versions(table.db, table.name)
    names = virtual.words(
        "PartitionId PartitionName VisibleVersion VisibleVersionTime VisibleVersionHash State PartitionKey Range DistributionKey "
        "Buckets ReplicationNum StorageMedium CooldownTime LastConsistencyCheckTime DataSize IsInMemory RowCount"
    )
    row = (
        *(identity(table.db, table.name, "p"), table.name, versions, None, 0, "NORMAL", "", "", ", ".join(table.distribution)),
        *(table.buckets, 1, "HDD", None, None, "0B", "false", session.engine.row_count(table.db, table.name)),
    )
    return answer(session, cursor, names, [row])


def tablet(session: SqlSession, cursor: Cursor) -> Result:
    """After SHOW TABLET."""
    cursor.expect("FROM")
    table = session.table(*split(cursor.qualified()))
    session.check_system()
    session.check("SELECT", table)
    if cursor.accept("PARTITION"):
        cursor.parenthesis()
    return answer(session, cursor, *tablet_rows(session.system(), table))


def alter_table(session: SqlSession, cursor: Cursor) -> Result:
    """SHOW ALTER TABLE COLUMN: fe-core ``common/proc/SchemaChangeProcDir.java``."""
    kind = cursor.take().upper
    db = database(session, cursor)
    names = virtual.words(
        "JobId TableName CreateTime FinishTime IndexName IndexId OriginIndexId SchemaVersion TransactionId State Msg Progress "
        "Timeout"
    )
    if kind != "COLUMN":
        return answer(session, cursor, names, [])
    system = session.system()
    rows = []
    for job in session.engine.alter_jobs(db):
        finished = system.moment(job.finished) if job.finished else None
        index = (job.table, job.id + 1, identity(db, job.table), "1:0", -1)
        timeout = session.front.config.number("alter_table_timeout_second")
        rows.append((job.id, job.table, system.moment(job.created), finished, *index, job.state, "", None, timeout))
    return answer(session, cursor, names, rows)


def transaction(session: SqlSession, cursor: Cursor) -> Result:
    """SHOW TRANSACTION [FROM db] WHERE id = … or label = '…' (fe-core ``sql/ast/ShowTransactionStmt.java``)."""
    db = database(session, cursor)
    cursor.expect("WHERE")
    what = cursor.name().lower()
    cursor.expect("=")
    wanted = cursor.take().text
    found = [load for load in session.front.labels.all(db) if wanted in ((str(load.id),) if what == "id" else (load.label,))]
    if not found and what == "id":
        raise SqlError(f"transaction with id {wanted} does not exist")
    return texts(*transaction_rows(session.system(), found))


def load(session: SqlSession, cursor: Cursor) -> Result:
    """SHOW LOAD: INSERT jobs (Stream Load's are SHOW STREAM LOAD's)."""
    db = database(session, cursor)
    names = virtual.words(
        "JobId Label State Progress Type Priority ScanRows FilteredRows UnselectedRows SinkRows ErrorMsg CreateTime LoadFinishTime"
    )
    system = session.system()
    rows = [
        (
            *(load.id, load.label, LOAD_STATES[load.state], "ETL:100%; LOAD:100%", "INSERT", "NORMAL", load.total_rows),
            *(load.filtered_rows, load.unselected_rows, load.loaded_rows, load.reason or None),
            *(system.moment(load.began), system.moment(load.finished)),
        )
        for load in session.front.labels.all(db)
        if load.kind == "insert"
    ]
    return answer(session, cursor, names, rows)


def stream_load(session: SqlSession, cursor: Cursor) -> Result:
    db = database(session, cursor)
    names = virtual.words(
        "Label Id LoadId TxnId DbName TableName State ErrorMsg TrackingURL NumRowsNormal NumRowsAbNormal CreateTimeMs EndTimeMs"
    )
    system = session.system()
    rows = [
        (
            *(load.label, load.id, str(load.id), load.id, db, table, LOAD_STATES[load.state], load.reason, load.error_url),
            *(load.loaded_rows, load.filtered_rows, system.moment(load.began), system.moment(load.finished)),
        )
        for load in session.front.labels.all(db)
        if load.kind != "insert"
        for table in load.tables
    ]
    return answer(session, cursor, names, rows)


def proc(session: SqlSession, cursor: Cursor) -> Result:
    """SHOW PROC '/dbs', '/dbs/<id>', '/transactions', '/transactions/<db_id>/running' and '…/finished'."""
    session.check_system()
    path = [part for part in cursor.string().split("/") if part]
    dbs = {str(identity(name)): name for name in session.engine.databases()}
    if len(path) > 1 and path[1] in dbs.values():  # a name does as well as an id
        path[1] = str(identity(path[1]))
    if path == ["dbs"]:
        rows = [(number, name, len(session.engine.tables(name))) for number, name in sorted(dbs.items())]
        return answer(session, cursor, ("DbId", "DbName", "TableNum"), rows)
    if path == ["transactions"]:
        return answer(session, cursor, ("DbId", "DbName"), sorted(dbs.items()))
    if len(path) >= 2 and path[0] in ("dbs", "transactions") and path[1] not in dbs:
        raise analyzing(f"Unknown database id: {path[1]}")
    if path[:1] == ["dbs"] and len(path) == 2:
        there = session.engine.tables(dbs[path[1]])
        rows_ = [(table_id(table), table.name, table.state) for table in there]
        return answer(session, cursor, ("TableId", "TableName", "State"), rows_)
    if path[:1] == ["transactions"] and len(path) == 3 and path[2] in ("running", "finished"):
        loads = session.front.labels.all(dbs[path[1]])
        wanted = [load for load in loads if (load.state in ("VISIBLE", "ABORTED")) == (path[2] == "finished")]
        return answer(session, cursor, *transaction_rows(session.system(), wanted))
    raise SqlError(f"Proc path '{'/'.join(['', *path])}' doesn't exist", 5001)
