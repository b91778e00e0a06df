"""StarRocks as a target."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, get_args

import pyarrow as pa

from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import ConfigError, SchemaError, TidegateError
from tidegate.providers.starrocks import health, sql
from tidegate.providers.starrocks.alone import Alone
from tidegate.providers.starrocks.backoff import Backoff
from tidegate.providers.starrocks.encoding import Encoder
from tidegate.providers.starrocks.guarded import GuardedLoad
from tidegate.providers.starrocks.headers import checked, connection_properties
from tidegate.providers.starrocks.http import Http
from tidegate.providers.starrocks.inspection import inspect
from tidegate.providers.starrocks.logstore import StarrocksLog
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.overwrite import OverwriteLoad
from tidegate.providers.starrocks.prepared import Prepared
from tidegate.providers.starrocks.quarantine import quarantine_of
from tidegate.providers.starrocks.reader import read_table
from tidegate.providers.starrocks.session import Session
from tidegate.providers.starrocks.shadow import ShadowTarget, inspect_shadow, shadow_target
from tidegate.providers.starrocks.streamload import StreamLoad
from tidegate.providers.starrocks.texts import is_zone
from tidegate.providers.starrocks.trial import trial
from tidegate.providers.starrocks.types import canonical
from tidegate.sync.held import Quarantine
from tidegate.sync.logledger import WriteAheadLedger
from tidegate.sync.mapping import Target
from tidegate.sync.options import Initial, OnError, WriteMode
from tidegate.sync.protocols import Capabilities, Intent, Lease, Load, Preparation, Window
from tidegate.sync.twophase import TwoPhaseLoad
from tidegate.sync.writeahead import WriteAheadLoad

V1_ONLY = ("enclose", "escape", "skip_header", "trim_space", "log_rejected_record_num", "envelope")
"""Headers that a load into a transaction over one table doesn't read (be, transaction_stream_load.cpp)."""
V1_BEFORE_3_4 = ("partial_update_mode", "compression")
"""These it has come to read; since 3.4 is an assumption."""
_ONE_WAY = "rows travel by Stream Load; the connection's sink_version says by which of its interfaces"

CAPABILITIES = Capabilities(
    transactional=False,
    options={
        "write_mode": get_args(WriteMode),
        "conflict_mode": ("upsert", "update", "ignore", "strict"),
        "delete_mode": ("apply", "ignore", "soft"),
        "on_error": get_args(OnError),
        "initial": get_args(Initial),
        "method": (),
        "parallelism": (1,),
    },
    refusals={
        "method": _ONE_WAY,
        "parallelism": "loads of one table that run at a time would be put in the order in which they end",
    },
    defaults={
        "batch_rows": 500_000,
        "batch_bytes": 94_371_840,
        "flush_interval": 300.0,
        "max_retries": 3,
        "retry_wait": 1.0,
        "parallelism": 1,
    },
    follows=frozenset({"truncated", "column_added"}),
    shadow=True,
    ignores_case=True,
)


def open_sink(values: Mapping[str, Any], name: str) -> StarrocksSink:
    """The sink over parsed connection fields; connects when it is first used. ``name`` is the connection's, for messages."""
    return StarrocksSink(values, name)


class StarrocksSink:
    """A target whose loads are exactly once by labels: prepared and then committed (V2), or each by itself (V1)."""

    capabilities: Capabilities = CAPABILITIES

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values, self._name = values, name
        connection_properties(values)
        if not re.fullmatch(r"[-_A-Za-z0-9]{1,32}", values["label_prefix"]):
            raise ConfigError("is not 1 to 32 of the letters A to Z, digits, - and _", connection=name, setting="label_prefix")
        if not is_zone(values["time_zone"]):
            what = f"{values['time_zone']} is no zone: UTC, Europe/Berlin or +08:00"
            raise ConfigError(what, connection=name, setting="time_zone")
        self._http = Http(values, name)
        self._streamload = StreamLoad(self._http, values, name)
        self._session = Session(values, name)
        self.metadata = Metadata(self._session)
        self._backoff = Backoff(self.metadata, values["tablet_versions"])
        self._encoder = Encoder(self.metadata, values)

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def ledger(self) -> WriteAheadLedger:
        log = StarrocksLog(
            self._streamload,
            self.metadata,
            self._values["ledger_database"],
            self._values["label_prefix"],
            self._values["replication_num"],
        )
        return WriteAheadLedger(log, self._name, self._prepared, self.metadata.full)

    @cached_property
    def _prepared(self) -> Prepared:
        return Prepared(self._encoder, self._streamload, self._backoff, spans_tables=self._spans_tables)

    @cached_property
    def _alone(self) -> Alone:
        return Alone(self._encoder, self._streamload, self._backoff, by_transaction=self._values["sink_version"] == "V2")

    @cached_property
    def _spans_tables(self) -> bool:
        wanted, there = self._values["multi_table"], self.metadata.version() >= (4, 0)
        if wanted == "on" and not there:
            what = "one transaction for all tables needs StarRocks 4.0"
            raise ConfigError(what, connection=self._name, setting="multi_table='auto'")
        return bool(wanted != "off" and there)

    @cached_property
    def _has_transactions(self) -> bool:
        wanted = self._values["sink_version"]
        if wanted == "V1":
            return False
        there = self._streamload.transactions()
        if wanted == "V2" and not there:
            what = "the server has no transaction interface of Stream Load, which came with StarRocks 2.4"
            raise ConfigError(what, connection=self._name, setting="sink_version='AUTO'")
        return there

    def describe(self, table: TableName) -> TableSchema | None:
        there = self.metadata.table(table)
        if there is None:
            return None
        columns: list[Column] = []
        for column in there.columns:
            try:
                columns.append(canonical(column))
            except SchemaError:
                continue  # BITMAP, HLL, ARRAY: no row of ours holds such a value
        key = there.key if there.model == "PRIMARY_KEYS" else ()
        return TableSchema(table, tuple(columns), tuple(key))

    def inspect(self, target: Target) -> Preparation:
        self._encoder.forget(target.table)
        if isinstance(target, ShadowTarget):
            return inspect_shadow(target, self.metadata)
        if target.options.write_mode == "overwrite" and not target.key:
            target = replace(target, options=target.options.override({"write_mode": "append"}))
        found = inspect(target, self.metadata, connection_properties(self._values) | checked(target.options.properties or {}))
        problems = [*found.problems, *self._interface(target)]
        no_copy = ""
        if target.options.write_mode == "append" and not self._together([target]):
            no_copy = "a copy of rows that can't be merged by key takes one transaction, and these loads each stand alone"
        strategy = "; ".join(filter(None, (found.strategy, self._way(target))))
        return replace(found, problems=tuple(problems), strategy=strategy, no_copy=no_copy)

    def _interface(self, target: Target) -> Iterator[ConfigError]:
        def problem(what: str, setting: str) -> ConfigError:
            return ConfigError(what, connection=self._name, table=target.table, setting=setting)

        if self._values["sink_version"] == "V2":
            if self._condition(target) is not None:
                yield problem("a conditional update goes by Stream Load (V1) alone", "sink_version='AUTO'")
            if headers := self._only_v1(target):
                what = f"the transaction interface doesn't read {', '.join(headers)}, and would take the rows for others"
                yield problem(what, "sink_version='AUTO'")
        if target.options.delete_mode == "soft" and self._condition(target) is not None:
            what = "StarRocks would compare the version with that of a row that is marked as deleted, which is not there"
            yield problem(what, "delete_mode='apply', or no version_column")

    def _only_v1(self, target: Target) -> list[str]:
        """Headers of the target's loads that the transaction interface passes over."""
        compresses = {"compression": ""} if self._values["compression"] != "none" else {}
        given = {**self._properties(target), **compresses}
        newer = V1_BEFORE_3_4 if self.metadata.version() < (3, 4) else ()
        return [name for name in (*V1_ONLY, *newer) if name in given]

    def _way(self, target: Target) -> str:
        if not self._together([target]):
            return "each chunk a load of its own"
        return "one transaction for all tables" if self._spans_tables else "a transaction for each table, committed together"

    def prepare(self, target: Target, preparation: Preparation) -> None:
        for statement in preparation.ddl:
            self.metadata.apply(target.table, statement)
        self._encoder.forget(target.table)

    def shadow(self, target: Target) -> Target:
        return shadow_target(target)

    def drop_shadow(self, target: Target) -> None:
        shadow = shadow_target(target)
        if self.metadata.table(shadow.table) is not None:
            self.metadata.apply(shadow.table, sql.drop_table(self.metadata.full(shadow.table)))
        self._encoder.forget(shadow.table)
        self.metadata.forget(shadow.table)

    def begin(
        self, targets: Sequence[Target], lease: Lease | None, window: Window | None = None, intent: Intent | None = None
    ) -> Load:
        if any(target.options.write_mode == "overwrite" for target in targets):
            return OverwriteLoad(self, targets, lambda shadows: self._load(shadows, None, None, None), self._prepared)
        return self._load(targets, lease, window, intent)

    def _load(self, targets: Sequence[Target], lease: Lease | None, window: Window | None, intent: Intent | None) -> Load:
        ledger = self.ledger if lease is not None else None
        if intent is None and self._together(targets):
            return TwoPhaseLoad(self._prepared, targets, self._name, ledger, lease)
        prefix = self._values["label_prefix"]
        load = WriteAheadLoad(ledger, self._alone, lease, targets, window or Window({}, None), self._name, intent, prefix=prefix)
        if intent is None and all(target.options.on_error == "fail" for target in targets):
            return load
        sync = lease.sync if lease is not None else ""
        return GuardedLoad(load, lambda target, announced: self._quarantine(sync, target, announced))

    def _quarantine(self, sync: str, target: Target, intent: str) -> Quarantine:
        # What a shadow refuses is the table's own: the shadow's name is gone when it is complete.
        table = target.of.table if isinstance(target, ShadowTarget) else target.table
        database, replicas = self._values["ledger_database"], self._values["replication_num"]
        return quarantine_of(self.metadata, database, sync, table, intent, replicas)

    def _together(self, targets: Sequence[Target]) -> bool:
        """Whether the loads of a window are prepared, and committed at its end: unless each has to be seen by the next, may be
        refused by itself, or is counted by itself."""
        return self._has_transactions and all(
            target.options.on_error == "fail"
            and target.options.conflict_mode == "upsert"
            and not target.existing_only
            and target.options.delete_mode != "soft"
            and self._condition(target) is None
            and float(self._properties(target).get("max_filter_ratio", self._values["max_filter_ratio"])) == 0
            and not self._only_v1(target)
            for target in targets
        )

    def _properties(self, target: Target) -> Mapping[str, str]:
        return connection_properties(self._values) | checked(target.options.properties or {})

    def _condition(self, target: Target) -> str | None:
        return target.options.version_column or self._properties(target).get("merge_condition")

    def read(self, table: TableName, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        return read_table(self.metadata, table, columns)

    def health(self, targets: Sequence[TableName], interval: float | None) -> Sequence[str]:
        """Settings of the server that don't fit the schedule (:mod:`tidegate.providers.starrocks.health`), and a backend that can't
        be reached."""
        found = list(health.findings(self.metadata, targets, interval=interval))
        if there := [table for table in targets if self.metadata.table(table) is not None]:
            try:
                self._streamload.reach(self.metadata.full(there[0]))
            except TidegateError as error:
                found.append(str(error))
        return tuple(found)

    def check(self) -> str:
        """What the Test button tries besides: :func:`tidegate.providers.starrocks.trial.trial`."""
        return trial(self.metadata, self._streamload)

    def close(self) -> None:
        self._session.close()
