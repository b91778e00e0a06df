"""Dagster resources: the systems that tidegate reads and writes, each with the verbs.

Fields and defaults come from the system's own declaration, which also feeds the Airflow form and the docs. All of them take
:class:`dagster.EnvVar`; secrets are marked as such, so that Dagster's UI masks them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
from pydantic import Field

from tidegate.changes.schema import TableName
from tidegate.providers.adbpg import connection as adbpg
from tidegate.providers.binlogfiles import connection as binlogfiles
from tidegate.providers.cdcfiles import connection as cdcfiles
from tidegate.providers.changefiles import connection as changefiles
from tidegate.providers.gaussdb import connection as gaussdb
from tidegate.providers.mysql import connection as mysql
from tidegate.providers.postgres import connection as postgres
from tidegate.providers.probe import probe
from tidegate.providers.starrocks import connection as starrocks
from tidegate.providers.system import System
from tidegate.sync.protocols import Sink, Source
from tidegate.sync.verbs import Verbs

if TYPE_CHECKING:
    from tidegate.providers.starrocks.tools import Loaded


def _declared(system: System, name: str) -> Any:
    """The field of a resource as the system declares it: default, help, secret or not."""
    field = next(item for item in system.fields if item.name == name)
    return Field(
        default=... if field.required else field.default,
        description=f"{field.label}. {field.help}".strip(),
        json_schema_extra={"dagster__is_secret": True} if field.secret else None,
    )


class TidegateResource(dg.ConfigurableResource[Any], Verbs):
    """A connection to one system, and where that can be written the verbs of :class:`tidegate.sync.verbs.Verbs` on it: ``insert``,
    ``update``, ``upsert``, ``delete``, ``append``, ``overwrite``, ``apply`` and ``read``."""

    system: ClassVar[System]

    @property
    def connection(self) -> str:
        """How messages name it: never with a password."""
        values = self.values()
        if "host" in values:
            return f"{self.system.name} {values['login']}@{values['host']}:{values['port']}"
        return f"{self.system.name} {values['url'].rpartition('@')[2]}"

    def values(self) -> dict[str, Any]:
        """The fields of the connection."""
        return {field.name: getattr(self, field.name) for field in self.system.fields}

    def source(self, connection: str | None = None) -> Source:
        """The system as a source, under a name for messages. The caller closes it."""
        return self.system.open_source(self.values(), connection or self.connection)

    def sink(self, connection: str | None = None) -> Sink:
        """The system as a target, under a name for messages. The caller closes it."""
        return self.system.open_sink(self.values(), connection or self.connection)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the system answers and is set up for what it can be, and what it says."""
        return probe(self.system, self.values(), self.connection)

    def _open_sink(self) -> Sink:
        return self.sink()


class MysqlResource(TidegateResource):
    """MySQL or MariaDB, as the source of a sync."""

    system: ClassVar[System] = mysql.SYSTEM

    host: str = _declared(mysql.SYSTEM, "host")
    port: int = _declared(mysql.SYSTEM, "port")
    login: str = _declared(mysql.SYSTEM, "login")
    password: str = _declared(mysql.SYSTEM, "password")
    database: str = _declared(mysql.SYSTEM, "database")
    unix_socket: str | None = _declared(mysql.SYSTEM, "unix_socket")
    ssl_mode: str = _declared(mysql.SYSTEM, "ssl_mode")
    ssl_ca: str | None = _declared(mysql.SYSTEM, "ssl_ca")
    ssl_cert: str | None = _declared(mysql.SYSTEM, "ssl_cert")
    ssl_key: str | None = _declared(mysql.SYSTEM, "ssl_key")
    connect_timeout: float = _declared(mysql.SYSTEM, "connect_timeout")
    read_timeout: float = _declared(mysql.SYSTEM, "read_timeout")
    zero_dates: str = _declared(mysql.SYSTEM, "zero_dates")
    tinyint1: str = _declared(mysql.SYSTEM, "tinyint1")
    server_id: int | None = _declared(mysql.SYSTEM, "server_id")
    snapshot_connections: int = _declared(mysql.SYSTEM, "snapshot_connections")


class PostgresResource(TidegateResource):
    """PostgreSQL, as a target."""

    system: ClassVar[System] = postgres.SYSTEM

    host: str = _declared(postgres.SYSTEM, "host")
    port: int = _declared(postgres.SYSTEM, "port")
    login: str = _declared(postgres.SYSTEM, "login")
    password: str = _declared(postgres.SYSTEM, "password")
    database: str = _declared(postgres.SYSTEM, "database")
    ledger_schema: str = _declared(postgres.SYSTEM, "ledger_schema")
    sslmode: str = _declared(postgres.SYSTEM, "sslmode")
    sslrootcert: str = _declared(postgres.SYSTEM, "sslrootcert")
    sslcert: str = _declared(postgres.SYSTEM, "sslcert")
    sslkey: str = _declared(postgres.SYSTEM, "sslkey")
    connect_timeout: int = _declared(postgres.SYSTEM, "connect_timeout")
    statement_timeout: int = _declared(postgres.SYSTEM, "statement_timeout")
    lock_timeout: int = _declared(postgres.SYSTEM, "lock_timeout")
    application_name: str = _declared(postgres.SYSTEM, "application_name")
    options: str = _declared(postgres.SYSTEM, "options")


class GaussdbResource(TidegateResource):
    """GaussDB or openGauss, as a target."""

    system: ClassVar[System] = gaussdb.SYSTEM

    host: str = _declared(gaussdb.SYSTEM, "host")
    port: int = _declared(gaussdb.SYSTEM, "port")
    login: str = _declared(gaussdb.SYSTEM, "login")
    password: str = _declared(gaussdb.SYSTEM, "password")
    database: str = _declared(gaussdb.SYSTEM, "database")
    ledger_schema: str = _declared(gaussdb.SYSTEM, "ledger_schema")
    sslmode: str = _declared(gaussdb.SYSTEM, "sslmode")
    sslrootcert: str = _declared(gaussdb.SYSTEM, "sslrootcert")
    sslcert: str = _declared(gaussdb.SYSTEM, "sslcert")
    sslkey: str = _declared(gaussdb.SYSTEM, "sslkey")
    connect_timeout: int = _declared(gaussdb.SYSTEM, "connect_timeout")
    statement_timeout: int = _declared(gaussdb.SYSTEM, "statement_timeout")
    lock_timeout: int = _declared(gaussdb.SYSTEM, "lock_timeout")
    application_name: str = _declared(gaussdb.SYSTEM, "application_name")
    options: str = _declared(gaussdb.SYSTEM, "options")
    driver: str = _declared(gaussdb.SYSTEM, "driver")
    empty_string: str = _declared(gaussdb.SYSTEM, "empty_string")


class AdbpgResource(TidegateResource):
    """AnalyticDB PostgreSQL, as a target."""

    system: ClassVar[System] = adbpg.SYSTEM

    host: str = _declared(adbpg.SYSTEM, "host")
    port: int = _declared(adbpg.SYSTEM, "port")
    login: str = _declared(adbpg.SYSTEM, "login")
    password: str = _declared(adbpg.SYSTEM, "password")
    database: str = _declared(adbpg.SYSTEM, "database")
    ledger_schema: str = _declared(adbpg.SYSTEM, "ledger_schema")
    sslmode: str = _declared(adbpg.SYSTEM, "sslmode")
    sslrootcert: str = _declared(adbpg.SYSTEM, "sslrootcert")
    sslcert: str = _declared(adbpg.SYSTEM, "sslcert")
    sslkey: str = _declared(adbpg.SYSTEM, "sslkey")
    connect_timeout: int = _declared(adbpg.SYSTEM, "connect_timeout")
    statement_timeout: int = _declared(adbpg.SYSTEM, "statement_timeout")
    lock_timeout: int = _declared(adbpg.SYSTEM, "lock_timeout")
    application_name: str = _declared(adbpg.SYSTEM, "application_name")
    options: str = _declared(adbpg.SYSTEM, "options")
    default_schema: str = _declared(adbpg.SYSTEM, "default_schema")
    case_sensitive: bool = _declared(adbpg.SYSTEM, "case_sensitive")
    connection_max_active: int = _declared(adbpg.SYSTEM, "connection_max_active")


class StarRocksResource(TidegateResource):
    """StarRocks, as a target."""

    system: ClassVar[System] = starrocks.SYSTEM

    host: str = _declared(starrocks.SYSTEM, "host")
    port: int = _declared(starrocks.SYSTEM, "port")
    login: str = _declared(starrocks.SYSTEM, "login")
    password: str = _declared(starrocks.SYSTEM, "password")
    database: str = _declared(starrocks.SYSTEM, "database")
    http_port: int = _declared(starrocks.SYSTEM, "http_port")
    load_url: str | None = _declared(starrocks.SYSTEM, "load_url")
    be_addresses: str | None = _declared(starrocks.SYSTEM, "be_addresses")
    ssl_mode: str = _declared(starrocks.SYSTEM, "ssl_mode")
    ssl_ca: str | None = _declared(starrocks.SYSTEM, "ssl_ca")
    sink_version: str = _declared(starrocks.SYSTEM, "sink_version")
    multi_table: str = _declared(starrocks.SYSTEM, "multi_table")
    label_prefix: str = _declared(starrocks.SYSTEM, "label_prefix")
    format: str = _declared(starrocks.SYSTEM, "format")
    column_separator: str = _declared(starrocks.SYSTEM, "column_separator")
    row_delimiter: str = _declared(starrocks.SYSTEM, "row_delimiter")
    compression: str = _declared(starrocks.SYSTEM, "compression")
    max_filter_ratio: float = _declared(starrocks.SYSTEM, "max_filter_ratio")
    strict_mode: bool = _declared(starrocks.SYSTEM, "strict_mode")
    time_zone: str = _declared(starrocks.SYSTEM, "time_zone")
    ignore_update_before: bool = _declared(starrocks.SYSTEM, "ignore_update_before")
    connect_timeout_ms: int = _declared(starrocks.SYSTEM, "connect_timeout_ms")
    socket_timeout_ms: int = _declared(starrocks.SYSTEM, "socket_timeout_ms")
    wait_for_continue_timeout_ms: int = _declared(starrocks.SYSTEM, "wait_for_continue_timeout_ms")
    load_timeout: int = _declared(starrocks.SYSTEM, "load_timeout")
    publish_timeout_ms: int = _declared(starrocks.SYSTEM, "publish_timeout_ms")
    tablet_versions: int = _declared(starrocks.SYSTEM, "tablet_versions")
    replication_num: int | None = _declared(starrocks.SYSTEM, "replication_num")
    ledger_database: str = _declared(starrocks.SYSTEM, "ledger_database")
    properties: str | None = _declared(starrocks.SYSTEM, "properties")
    show_rows: bool = _declared(starrocks.SYSTEM, "show_rows")

    def stream_load(
        self,
        table: str | TableName,
        data: Any,
        *,
        format: str | None = None,
        label: str | None = None,
        columns: str | Sequence[str] | None = None,
        **properties: Any,
    ) -> "Loaded":
        """One Stream Load, as it is: :func:`tidegate.providers.starrocks.tools.stream_load`."""
        from tidegate.providers.starrocks.tools import stream_load

        values, name = self.system.values(self.values(), self.connection), self.connection
        return stream_load(values, name, table, data, format=format, label=label, columns=columns, properties=properties)


class ChangeFilesResource(TidegateResource):
    """A folder of change files, as a source or as a target."""

    system: ClassVar[System] = changefiles.SYSTEM

    url: str = _declared(changefiles.SYSTEM, "url")
    storage_options: str | None = _declared(changefiles.SYSTEM, "storage_options")
    storage_secrets: str | None = _declared(changefiles.SYSTEM, "storage_secrets")
    segments_per_run: int | None = _declared(changefiles.SYSTEM, "segments_per_run")


class BinlogFilesResource(TidegateResource):
    """Binlog files on disk, as the source of a sync."""

    system: ClassVar[System] = binlogfiles.SYSTEM

    url: str = _declared(binlogfiles.SYSTEM, "url")
    ddl: str | None = _declared(binlogfiles.SYSTEM, "ddl")
    storage_options: str | None = _declared(binlogfiles.SYSTEM, "storage_options")
    storage_secrets: str | None = _declared(binlogfiles.SYSTEM, "storage_secrets")


class CdcFilesResource(TidegateResource):
    """Files of change records that Debezium, Canal or Maxwell wrote, as the source of a sync."""

    system: ClassVar[System] = cdcfiles.SYSTEM

    url: str = _declared(cdcfiles.SYSTEM, "url")
    storage_options: str | None = _declared(cdcfiles.SYSTEM, "storage_options")
    storage_secrets: str | None = _declared(cdcfiles.SYSTEM, "storage_secrets")
    format: str = _declared(cdcfiles.SYSTEM, "format")
    order: str = _declared(cdcfiles.SYSTEM, "order")
    ddl: str | None = _declared(cdcfiles.SYSTEM, "ddl")
    table: str | None = _declared(cdcfiles.SYSTEM, "table")
    time_zone: str | None = _declared(cdcfiles.SYSTEM, "time_zone")
    decimal_mode: str | None = _declared(cdcfiles.SYSTEM, "decimal_mode")
    time_mode: str | None = _declared(cdcfiles.SYSTEM, "time_mode")
    binary_mode: str = _declared(cdcfiles.SYSTEM, "binary_mode")
    broken_lines: str = _declared(cdcfiles.SYSTEM, "broken_lines")
