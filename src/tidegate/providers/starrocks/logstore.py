"""The ledger's log in StarRocks: a record is a row, loaded under a label that can exist once."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from tidegate.changes.schema import TableName
from tidegate.errors import LoadUnresolved, PreflightError, SchemaError, TransientError
from tidegate.providers.starrocks import sql
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.session import Denied
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.sync.log import Record

TABLE = "tidegate_ledger"
_LONGEST = 1_000_000
"""Bytes of a record as text; StarRocks' VARCHAR takes 1,048,576."""
_PACKED = "zlib:"
_ATTEMPTS = 5
_COLUMNS = "`id`, `number`, `name`, `token`, `state`, `record`, `at`"


class StarrocksLog:
    """A :class:`tidegate.sync.log.LogStore`. ``database`` holds the table; rows are never changed."""

    def __init__(
        self,
        loader: StreamLoad,
        metadata: Metadata,
        database: str,
        prefix: str,
        replication_num: int | None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._loader, self._metadata, self._prefix = loader, metadata, prefix
        self._table = TableName(database, TABLE)
        self._replication_num = replication_num
        self._pause = pause

    @property
    def table(self) -> TableName:
        return self._metadata.full(self._table)

    def setup(self) -> None:
        if self._metadata.table(self._table) is not None:
            return
        try:
            create_database, create_table = self.ddl()[:2]
            if not self._metadata.database_exists(self.table.schema):
                self._metadata.session.run(create_database, table=self.table)
            self._metadata.session.run(create_table, table=self.table)
        except Denied as error:
            what = "the account may not create the ledger; have these run:\n" + ";\n".join(self.ddl())
            raise PreflightError(what, connection=self._metadata.name, table=self.table, setting="ledger_database") from error

    def ddl(self) -> Sequence[str]:
        replicas = "" if self._replication_num is None else f' PROPERTIES ("replication_num" = "{self._replication_num}")'
        return (
            sql.create_database(self.table.schema),
            f"CREATE TABLE IF NOT EXISTS {sql.table(self.table)} (`id` VARCHAR(32) NOT NULL, `number` BIGINT NOT NULL, "
            "`name` VARCHAR(1024) NOT NULL, `token` VARCHAR(32) NOT NULL, `state` BOOLEAN NOT NULL, "
            "`record` VARCHAR(1048576) NOT NULL, `at` DATETIME NOT NULL) "
            f"PRIMARY KEY (`id`, `number`) DISTRIBUTED BY HASH (`id`) BUCKETS 1{replicas}",
            sql.grant(("SELECT", "INSERT"), f"TABLE {sql.table(self.table)}", self._metadata.session.values["login"]),
        )

    def now(self) -> datetime:
        value = self._metadata.session.value("SELECT UTC_TIMESTAMP()")
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return found.replace(tzinfo=UTC)

    def append(self, name: str, number: int, record: Record) -> bool:
        if self._token(name, number) is not None:
            return False  # the number's label may be forgotten by now, the row is there
        token = uuid.uuid4().hex
        row = self._row(name, number, record, token)
        headers = {"format": "json", "columns": _COLUMNS.replace(" ", ""), "strict_mode": "true"}
        label = self._label(name, number)
        for attempt in range(_ATTEMPTS):
            try:
                reply = self._loader.load(label, self.table, headers, [json.dumps(row).encode()])
            except TransientError:
                if attempt == _ATTEMPTS - 1:
                    raise
                self._pause(min(0.2 * 2**attempt, 5.0))
                continue
            if not reply.settled and reply.status.lower() == "success":
                return True  # and visible
            # Loaded before, by us or by another; or not visible yet.
            return self._owner(name, number, label) == token
        raise AssertionError("unreachable")

    def _owner(self, name: str, number: int, label: str) -> str:
        """Who took the number, once that can be seen."""
        self._loader.settled(self.table.schema, label, running=("PREPARE", "COMMITTED"))
        for attempt in range(20):
            if (token := self._token(name, number)) is not None:
                return token
            self._pause(min(0.05 * 2**attempt, 2.0))  # a frontend that follows lags behind
        what = f"record {number} of {name} was loaded and can't be read yet"
        raise LoadUnresolved(what, connection=self._metadata.name, table=self.table)

    def _token(self, name: str, number: int) -> str | None:
        question = f"SELECT `token` FROM {sql.table(self.table)} WHERE `id` = %s AND `number` = %s"
        rows = self._metadata.session.rows(question, (_id(name), number), table=self.table)
        return str(rows[0][0]) if rows else None

    def records(self, name: str, since: int | None = None) -> Sequence[tuple[int, Record]]:
        try:
            if since is None:
                question = f"SELECT MAX(`number`) FROM {sql.table(self.table)} WHERE `id` = %s AND `state` = 1"
                since = int(self._metadata.session.value(question, (_id(name),), table=self.table) or 0)
            question = (
                f"SELECT `number`, `record` FROM {sql.table(self.table)} WHERE `id` = %s AND `number` >= %s ORDER BY `number`"
            )
            rows = self._metadata.session.rows(question, (_id(name), since), table=self.table)
        except SchemaError:
            return []  # there is no ledger yet
        found: list[tuple[int, Record]] = []
        for number, text in rows:
            if int(number) != since + len(found):
                break  # what comes after a gap is a frontend's that follows: it will be there next time
            found.append((int(number), _unpacked(str(text))))
        return found

    def remembers(self, name: str, number: int, table: TableName) -> bool:
        """StarRocks forgets labels of a database in the order in which their loads ended (fe DatabaseTransactionMgr.java): while it
        knows this record's, it knows those of later loads."""
        if self._metadata.full(table).schema != self.table.schema:
            return False
        return self._loader.state(self.table.schema, self._label(name, number)) in ("COMMITTED", "VISIBLE")

    def _label(self, name: str, number: int) -> str:
        return f"{self._prefix}-log-{_id(name)}-{number}"

    def _row(self, name: str, number: int, record: Record, token: str) -> dict[str, Any]:
        text = json.dumps(record, ensure_ascii=False)
        if len(text.encode()) > _LONGEST:
            text = _PACKED + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
        if len(text.encode()) > _LONGEST:
            what = f"a record of {name} has {len(text)} bytes, more than a column takes: the sync has too many tables"
            raise PreflightError(what, connection=self._metadata.name, table=self.table, setting="tables")
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        row = {"id": _id(name), "number": number, "name": name, "token": token, "state": int("state" in record)}
        return row | {"record": text, "at": at}


def _id(name: str) -> str:
    """Of a log: a primary key has 128 bytes at most, a name may have more."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _unpacked(text: str) -> Record:
    if text.startswith(_PACKED):
        text = zlib.decompress(base64.b64decode(text.removeprefix(_PACKED))).decode()
    record: Record = json.loads(text)
    return record
