"""What the cluster says about itself and its tables, and the statements that change tables, waited for.

A right that the account lacks makes an answer None ("unknown"), never a guess: ``ADMIN SHOW FRONTEND CONFIG``, ``SHOW PROC`` and
``be_tablets`` need OPERATE on the system (fe AuthorizerStmtVisitor.java, SystemTable.requireOperatePrivilege), which an account
that loads rows has no use for.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, PermanentError, SchemaError, TidegateError, Unavailable
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.catalog import CatalogColumn, CatalogTable
from tidegate.providers.starrocks.created import Created, parse_create, refers
from tidegate.providers.starrocks.privileges import Privileges
from tidegate.providers.starrocks.session import Denied, Session

log = logging.getLogger(__name__)

ALTER_SECONDS = 3600.0
"""For how long an ALTER, ours or another's, is waited for. A change that rewrites rows waits for the loads that were under way."""

_BUSY = ("is not normal", "schema change operation is in progress", "do not allow doing alter")
_ENDED = {"FINISHED", "CANCELLED"}

_COLUMNS = """
SELECT * FROM information_schema.columns WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""
_CONFIG = "SELECT * FROM information_schema.tables_config WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
_ROWS = "SELECT TABLE_ROWS FROM information_schema.tables WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
_VERSIONS = "SELECT MAX(NUM_VERSION) FROM information_schema.be_tablets WHERE TABLE_ID = %s"
_LOADS = """
SELECT LABEL FROM information_schema.loads
WHERE DB_NAME = %s AND STATE NOT IN ('FINISHED', 'CANCELLED', 'COMMITED', 'COMMITTED')
"""


class Metadata:
    """Questions and statements about tables, over a session. ``TableName``s without schema are in the connection's database."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.name = session.name
        self._version: tuple[int, ...] | None = None
        self._no_tablets = False
        self._ids: dict[TableName, int | None] = {}

    def full(self, table: TableName) -> TableName:
        """The table with its database. ConfigError if neither it nor the connection names one."""
        if table.schema:
            return table
        database = self.session.values["database"]
        if not database:
            raise ConfigError("no database is named", connection=self.name, table=table, setting="database")
        return TableName(database, table.name)

    def version(self) -> tuple[int, ...]:
        """The server's: ``(3, 3, 5)``. From CURRENT_VERSION(): version() is the MySQL that it passes for."""
        if self._version is None:
            text = str(self.session.value("SELECT CURRENT_VERSION()"))
            self._version = parse_version(text)
        return self._version

    # Tables

    def table(self, table: TableName) -> CatalogTable | None:
        """The table as the catalog has it; None if there is none, or if the account may do nothing with it."""
        table = self.full(table)
        columns = self.session.dicts(_COLUMNS, (table.schema, table.name), table=table)
        if not columns:
            return None
        shown = self.session.rows(f"SHOW CREATE TABLE {sql.table(table)}", table=table)
        created = parse_create(str(shown[0][1]) if shown else "", self.name, table)
        aggregations = self._aggregations(table) if created.model == "AGG_KEYS" else {}
        names = [str(row["column_name"]) for row in columns]
        found = tuple(_column(row, created, aggregations, names) for row in columns)
        state = "SCHEMA_CHANGE" if self.alter_under_way(table) else "NORMAL"
        return CatalogTable(table, created.model, found, created.key, state)

    def _aggregations(self, table: TableName) -> dict[str, str]:
        """SHOW FULL COLUMNS has the aggregation in Extra; information_schema.columns has it nowhere."""
        rows = self.session.dicts(f"SHOW FULL COLUMNS FROM {sql.table(table)}", table=table)
        return {str(row["field"]).lower(): str(row["extra"]).upper() for row in rows if row.get("extra")}

    def rows_estimate(self, table: TableName) -> int | None:
        """About how many rows the table has; None if the server doesn't tell. It lags behind by minutes."""
        table = self.full(table)
        value = self.session.value(_ROWS, (table.schema, table.name), table=table)
        return None if value is None else int(value)

    def empty(self, table: TableName) -> bool:
        """Whether the table has no row at all."""
        table = self.full(table)
        return not self.session.rows(sql.any_row(table), table=table)

    def database_exists(self, database: str) -> bool:
        """Whether there is such a database that the account may see."""
        found = self.session.rows("SELECT 1 FROM information_schema.schemata WHERE SCHEMA_NAME = %s", (database,))
        return bool(found)

    # Statements

    def apply(self, table: TableName, statement: str, *, seconds: float = ALTER_SECONDS) -> None:
        """Run a statement that changes the table, and wait until it has: an ALTER is a job of its own in StarRocks.

        One of somebody else's that is under way is waited for first. Unavailable after ``seconds``.
        """
        table, deadline = self.full(table), time.monotonic() + seconds
        if not statement.lstrip().upper().startswith("ALTER TABLE"):
            self.session.run(statement, table=table)
            return
        pause = 0.05
        while True:
            before = self._settle(table, deadline)
            try:
                self.session.run(statement, table=table)
                break
            except TidegateError as error:
                if not _busy(error):
                    raise
                if time.monotonic() > deadline:
                    what = f"another ALTER of the table is still under way after {seconds:g} s"
                    raise Unavailable(what, connection=self.name, table=table, setting="retries") from error
                log.info("%s: another ALTER is under way; waiting for it", table)
            pause = _sleep(pause)
        job = self._settle(table, deadline)
        ours = job is not None and (before is None or before.get("jobid") != job.get("jobid"))
        if job is not None and ours and str(job.get("state")).upper() == "CANCELLED":
            what = f"the ALTER was cancelled by the server: {job.get('msg') or 'no reason given'}"
            raise PermanentError(what, connection=self.name, table=table)

    def add_columns(self, table: TableName, columns: Sequence[sql.NewColumn], *, seconds: float = ALTER_SECONDS) -> None:
        """Add columns and wait until loads can name them. With fast schema evolution (StarRocks 3.3) that is at once."""
        self.apply(table, sql.add_columns(self.full(table), columns), seconds=seconds)

    def alter_under_way(self, table: TableName) -> bool:
        """Whether a change of the table's columns is running, ours or another's."""
        job = self._job(self.full(table))
        return job is not None and _running(job)

    def _settle(self, table: TableName, deadline: float) -> dict[str, Any] | None:
        """Wait until no change of the table's columns is running; the latest one."""
        pause = 0.05
        while (job := self._job(table)) is not None and _running(job):
            if time.monotonic() > deadline:
                what = f"an ALTER of the table is still {job.get('state')} ({job.get('progress') or 'no progress told'})"
                raise Unavailable(what, connection=self.name, table=table, setting="loads that it waits for")
            pause = _sleep(pause)
        return job

    def _job(self, table: TableName) -> dict[str, Any] | None:
        try:
            jobs = self.session.dicts(sql.show_alter(table), table=table)
        except Denied:
            return None
        running = [job for job in jobs if _running(job)]
        return max(running or jobs, key=lambda job: int(job["jobid"]), default=None)

    # The cluster

    def config(self, setting: str) -> str | None:
        """A setting of the frontend that answers; None if the account may not see it, or there is none of the name."""
        try:
            rows = self.session.dicts(sql.frontend_config(setting))
        except Denied:
            return None
        return next((str(row["value"]) for row in rows if str(row.get("key")) == setting), None)

    def number(self, setting: str) -> int | None:
        """The setting as a number."""
        value = self.config(setting)
        return int(value) if value is not None and re.fullmatch(r"-?\d+", value) else None

    def tablet_versions(self, table: TableName) -> int | None:
        """The most versions that a tablet of the table has; None if the account may not see it.

        ``be_tablets`` asks the backends; SHOW TABLET, for which some versions want no OPERATE, tells what they last reported.
        """
        table = self.full(table)
        found = None if self._no_tablets else self._be_tablets(table)
        return found if found is not None else self._show_tablet(table)

    def _be_tablets(self, table: TableName) -> int | None:
        try:
            if table not in self._ids:
                rows = self.session.dicts(_CONFIG, (table.schema, table.name), table=table)
                self._ids[table] = int(rows[0]["table_id"]) if rows and rows[0].get("table_id") else None
            if self._ids[table] is None:
                return None
            value = self.session.value(_VERSIONS, (self._ids[table],), table=table)
        except (Denied, SchemaError):
            self._no_tablets = True
            return None
        return None if value is None else int(value)

    def _show_tablet(self, table: TableName) -> int | None:
        try:
            rows = self.session.dicts(f"SHOW TABLET FROM {sql.table(table)}", table=table)
        except (Denied, SchemaError):
            return None
        counts = [int(row["versioncount"]) for row in rows if str(row.get("versioncount") or "").lstrip("-").isdigit()]
        return max(counts, default=None)

    def identity(self, table: TableName) -> str | None:
        """What the table keeps when it changes its name with another (SWAP WITH); None if there is none of the name.

        SchemaError for a server that doesn't tell (before StarRocks 3.0).
        """
        full = self.full(table)
        rows = self.session.dicts(_CONFIG, (full.schema, full.name), table=full)
        if not rows:
            return None
        if not rows[0].get("table_id"):
            raise SchemaError("the server tells no table's id, which taking its place needs", connection=self.name, table=full)
        return str(rows[0]["table_id"])

    def forget(self, table: TableName) -> None:
        """The table was replaced: what is kept of it is another's."""
        self._ids.pop(self.full(table), None)

    def running_labels(self, database: str, prefix: str) -> list[str] | None:
        """Labels that begin with ``prefix`` of transactions that nobody ended yet; None if the account may not see them.

        ``SHOW PROC`` shows all of them; ``information_schema.loads`` those that recent versions list there.
        """
        rows = self.transactions(database, "running")
        if rows is None:
            try:
                rows = self.session.dicts(_LOADS, (database,))
            except (Denied, SchemaError):
                return None
        return sorted({str(row["label"]) for row in rows if str(row["label"]).startswith(prefix)})

    def transactions(self, database: str, state: Literal["running", "finished"]) -> list[dict[str, Any]] | None:
        """The transactions of a database that are under way or that the server remembers; None if the account may not see them."""
        try:
            # Before StarRocks 2.4 a database was named with its cluster: default_cluster:shop.
            ids = [int(row["dbid"]) for row in self.session.dicts(sql.TRANSACTIONS) if row["dbname"].split(":")[-1] == database]
            return self.session.dicts(sql.transactions(ids[0], state)) if ids else []
        except Denied:
            return None

    def privileges(self) -> Privileges:
        """What the account was granted by name or as everybody is, and whether it has other roles."""
        rows: list[dict[str, Any]] = []
        for question in ("SHOW GRANTS", "SHOW GRANTS FOR ROLE public"):
            try:
                rows += self.session.dicts(question)
            except PermanentError as error:  # StarRocks before 3.0 has no such role
                log.debug("%s: %s", question, error)
        return Privileges.of([str(row["grants"]) for row in rows if row.get("grants") and _own_catalog(row)])

    def may_select(self, table: TableName) -> bool:
        """By trying: a query of no rows."""
        table = self.full(table)
        try:
            self.session.rows(f"SELECT 1 FROM {sql.table(table)} LIMIT 0", table=table)
        except Denied:
            return False
        return True

    def may_insert(self, there: CatalogTable) -> bool | None:
        """By trying: the server checks the right to INSERT before it explains one. None if it can't be told.

        All columns that an INSERT may name: it is refused before its rights are looked at if one that is NOT NULL isn't among them
        (fe InsertAnalyzer.java).
        """
        table = sql.table(there.name)
        columns = sql.names([column.name for column in there.columns if not column.generated])
        try:
            self.session.rows(
                f"EXPLAIN INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE 1 = 0", table=there.name
            )
        except Denied:
            return False
        except PermanentError as error:
            log.debug("%s: whether INSERT is granted can't be tried: %s", table, error)
            return None
        return True


def _own_catalog(grant: Mapping[str, Any]) -> bool:
    """External catalogs have databases and tables of the same names. NULL for a role (documentation of SHOW GRANTS)."""
    return str(grant.get("catalog") or "default").lower() in ("default", "default_catalog", "null")


def _sleep(pause: float) -> float:
    """Between two looks at a job; gives the next pause."""
    time.sleep(pause)
    return min(pause * 1.5, 2.0)


def _running(job: Mapping[str, Any]) -> bool:
    return str(job.get("state")).upper() not in _ENDED


def _busy(error: TidegateError) -> bool:
    lower = str(error).lower()
    return any(words in lower for words in _BUSY)


def _column(row: Mapping[str, Any], created: Created, aggregations: Mapping[str, str], names: Sequence[str]) -> CatalogColumn:
    name, default = str(row["column_name"]), row.get("column_default")
    expression = created.generated.get(name)
    return CatalogColumn(
        name=name,
        type=normal_type(str(row["column_type"])),
        nullable=str(row.get("is_nullable")).upper() != "NO",
        default=None if default is None else str(default),
        key=name in created.key,
        aggregation=aggregations.get(name.lower()),
        numbered=name in created.numbered,
        generated=expression is not None,
        refers=() if expression is None else refers(expression, names),
    )


_ALIASES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bbigint(?:\(\d+\))? unsigned"), "largeint"),
    (re.compile(r"\btinyint\(1\)"), "boolean"),
    (re.compile(r"\b(tinyint|smallint|int|bigint|largeint)\(\d+\)"), r"\1"),
    (re.compile(r"\bdecimal(?:v2|32|64|128|256)\b"), "decimal"),
    (re.compile(r"\b(hll|bitmap|percentile|json|varbinary|binary)\(\d+\)"), r"\1"),
    (re.compile(r"\bstring\b"), "varchar(65533)"),
    (re.compile(r"\s*,\s*"), ","),
)


def normal_type(text: str) -> str:
    """A type as information_schema.columns writes it, as it is declared.

    ``bigint(20) unsigned`` is LARGEINT, ``tinyint(1)`` BOOLEAN, ``decimal64(18, 4)`` DECIMAL (fe ScalarType.java,
    toMysqlColumnTypeString); display widths go.
    """
    normal = text.strip().lower()
    for pattern, replacement in _ALIASES:
        normal = pattern.sub(replacement, normal)
    return normal


def parse_version(text: str) -> tuple[int, ...]:
    """``3.3.5-6d81f75`` as ``(3, 3, 5)``; a build from a branch (``main-…``) counts as newer than all."""
    digits = re.match(r"\d+(?:\.\d+)*", text.strip())
    return tuple(int(part) for part in digits.group().split(".")) if digits else (99,)
