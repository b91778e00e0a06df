"""The vendor's Flink table (``CREATE TABLE … WITH (…)``) in tidegate's terms, for those who move a job.

Names, defaults and ranges are those of the vendor's page "Continuously load data from Apache Flink" (options table); options that
are only in its code are those of ``StarRocksSinkOptions.java``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.providers.starrocks.column_list import parse_columns
from tidegate.providers.starrocks.headers import misspelt
from tidegate.sync.options import WriteOptions, check_names

PREFIX = "sink.properties."
REQUIRED = ("connector", "jdbc-url", "load-url", "database-name", "table-name", "username", "password")
_DEFAULTS = {
    "sink.semantic": "at-least-once",
    "sink.version": "AUTO",
    "sink.buffer-flush.max-bytes": "94371840",
    "sink.buffer-flush.max-rows": "500000",
    "sink.buffer-flush.interval-ms": "300000",
    "sink.max-retries": "3",
    "sink.connect.timeout-ms": "1000",
    "sink.wait-for-continue.timeout-ms": "10000",
    "sink.ignore.update-before": "true",
    "sink.properties.max_filter_ratio": "0",
    "sink.properties.strict_mode": "false",
}
DOCUMENTED = (
    *REQUIRED,
    *(name for name in _DEFAULTS if not name.startswith(PREFIX)),
    "sink.label-prefix",
    "sink.parallelism",
)
"""The rows of the vendor's table, without ``sink.properties.*``, which is any header of Stream Load."""
_WITHOUT_EFFECT = {
    "sink.io.thread-count": "the loads of a table go one after another, in the source's order",
    "sink.chunk-limit": "a load is as large as batch_rows and batch_bytes let it be",
    "sink.scan-frequency.ms": "nothing is polled: a run loads when a chunk is full, and ends",
    "sink.buffer-flush.enqueue-timeout-ms": "there is no queue that could be full: reading waits for the load",
    "sink.transaction.multi-table.buffer-size": "batch_bytes bounds what is in memory at once",
    "sink.exactly-once.enable-label-gen": "every load has a label of its own, which is written down before it is sent",
    "sink.exactly-once.enable-abort-lingering-txn": "a run always settles the transactions that its predecessor left open",
    "sink.exactly-once.check-num-lingering-txn": "the labels that a predecessor left open are known by name, all of them",
    "sink.wrap-json-as-array": "the rows of a load are one JSON array",
    "sink.use.new-sink-api": "it chooses between two of Flink's own interfaces",
    "sink.metric.histogram-window-size": "the counts of each run are in its WriteResult",
}
CODE_ONLY = (
    *_WITHOUT_EFFECT,
    "sink.socket.timeout-ms",
    "sink.retry.interval-ms",
    "sink.publish-timeout.ms",
    "sink.sanitize-error-log",
    "sink.at-least-once.use-transaction-stream-load",
    "sink.transaction.multi-table.enabled",
    "sink.blackhole",
)
"""Options that only the vendor's code has."""
OPTIONS = (*DOCUMENTED, *CODE_ONLY)

_OURS = {
    "strip_outer_array": "set whenever rows are sent as JSON",
    "ignore_json_size": "set whenever rows are sent as JSON",
}
"""Headers that the encoder decides about."""
_REFUSED = {
    "label": "labels tell a load that arrived from one that didn't: give sink.label-prefix",
    "skip_header": "what is sent has no header line, so rows would be lost",
    "two_phase": "sink.version decides about it",
    "enable_merge_commit": "merged loads lose their labels, and one bad row fails those of others: no exactly once",
    "merge_commit_interval_ms": "goes with enable_merge_commit, which is refused",
    "merge_commit_async": "goes with enable_merge_commit, which is refused",
    "merge_commit_parallel": "goes with enable_merge_commit, which is refused",
    "jsonpaths": "rows are sent under their columns' names: map them in the sync",
    "json_root": "rows are sent under their columns' names: map them in the sync",
    "envelope": "rows are sent as they are to be, not in Debezium's envelope",
}
_HOST = r"(\[[0-9a-fA-F:.]+\]|[^:/?,;@\[\]\s]+)"
_JDBC = re.compile(r"jdbc:mysql://([^/?]+)(?:/([^?]*))?(?:\?(.*))?")
_FRONTEND = re.compile(rf"{_HOST}:(\d{{1,5}})")
_LOAD_URL = re.compile(rf"(?:https?://)?{_HOST}:(\d{{1,5}})/?|https?://{_HOST}/?")


@dataclass(frozen=True, slots=True)
class FlinkTable:
    """A Flink table of the vendor's connector, translated."""

    values: Mapping[str, Any] = field(repr=False)
    """The fields of the connection, its password among them."""
    table: TableName
    options: WriteOptions
    columns: tuple[str, ...] | None
    """The names that ``sink.properties.columns`` gives to what the rows bring, if it is given: no expressions, and no ``__op``."""
    notes: tuple[str, ...]
    """What has no effect here, or another one than there."""


def from_flink(properties: Mapping[str, Any]) -> FlinkTable:
    """The WITH clause as connection fields, target table and write options, with the vendor's documented defaults for what it
    leaves out; one differs: rows are sent as JSON unless ``sink.properties.format`` says csv.

    ConfigError for an unknown option, with the nearest that is, for a missing one, for a value outside the document's range, and
    for an option that the others make unavailable. A header of Stream Load that isn't known here is passed on.
    """
    check_names({name: value for name, value in properties.items() if not name.startswith(PREFIX)}, OPTIONS)
    given = {name: str(value) for name, value in properties.items() if value is not None}
    missing = [name for name in REQUIRED if name not in given or (name != "password" and not given[name].strip())]
    if missing:
        raise ConfigError(f"the Flink table lacks {', '.join(missing)}", setting=missing[0])
    return _Translation(given).table()


class _Translation:
    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name: value for name, value in given.items() if not name.startswith(PREFIX)}
        # The vendor's connector reads these names whatever their case.
        self._headers = {name[len(PREFIX) :].lower(): value for name, value in given.items() if name.startswith(PREFIX)}
        self._notes: list[str] = []

    def table(self) -> FlinkTable:
        """In the order of the vendor's document."""
        if self._given["connector"] != "starrocks":
            raise ConfigError("is not starrocks: another connector's table", setting="connector")
        database, name = self._given["database-name"], self._given["table-name"]
        values = self._query_address() | {
            "load_url": self._load_url(),
            "database": database,
            "login": self._given["username"],
            "password": self._given["password"],
            "sink_version": self._version(),
            "connect_timeout_ms": self._documented("sink.connect.timeout-ms", 100, 60_000, "30000"),
            "wait_for_continue_timeout_ms": self._documented("sink.wait-for-continue.timeout-ms", 3000, 60_000, "30000"),
            "ignore_update_before": self._flag("sink.ignore.update-before"),
        }
        if "sink.label-prefix" in self._given:
            values["label_prefix"] = self._label_prefix()
        semantic = self._semantic()
        options: dict[str, Any] = {
            "batch_bytes": self._number("sink.buffer-flush.max-bytes", 64 * 1024**2, 10 * 1024**3),
            "batch_rows": self._max_rows(semantic, values["sink_version"]),
            "max_retries": self._retries(values["sink_version"]),
            "flush_interval": self._flush(semantic),
        }
        if "sink.parallelism" in self._given:
            self._number("sink.parallelism", 1, 2**31 - 1)
            self._notes.append("sink.parallelism has no effect: the loads of a table go one after another, in the source's order")
        self._code_only(values, options, semantic)
        columns = self._properties(values, options)
        return FlinkTable(values, TableName(database, name), WriteOptions(**options), columns, tuple(self._notes))

    # Values

    def _text(self, name: str) -> str:
        return self._given.get(name) or _DEFAULTS[name]

    def _choice(self, name: str, choices: tuple[str, ...], text: str | None = None) -> str:
        value = self._text(name) if text is None else text
        if value not in choices:
            raise ConfigError(f"{value!r} is not one of {', '.join(choices)}", setting=name)
        return value

    def _flag(self, name: str, text: str | None = None) -> bool:
        return self._choice(name, ("true", "false"), (self._text(name) if text is None else text).lower()) == "true"

    def _number(self, name: str, low: int, high: int, text: str | None = None) -> int:
        text = self._text(name) if text is None else text
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ConfigError(f"{text!r} is not a whole number", setting=name)
        if not low <= int(text) <= high:
            raise ConfigError(f"{text} is outside {low} to {high}", setting=name)
        return int(text)

    def _documented(self, name: str, low: int, high: int, code: str) -> int:
        """A number whose default in the vendor's document is not the one in its code."""
        if name not in self._given:
            self._notes.append(f"{name}: {_DEFAULTS[name]}, as the vendor's document says; its code has {code}")
        return self._number(name, low, high)

    # The address

    def _query_address(self) -> dict[str, Any]:
        match = _JDBC.fullmatch(self._given["jdbc-url"])
        hosts = [] if match is None else [_FRONTEND.fullmatch(part.strip()) for part in match[1].split(",")]
        found = [(host[1], int(host[2])) for host in hosts if host is not None]
        if match is None or len(found) < len(hosts) or not all(1 <= port <= 65535 for _, port in found):
            # The text may hold a password.
            raise ConfigError("is not jdbc:mysql://<host>:<port>,<host>:<port>", setting="jdbc-url")
        if match[3]:
            names = sorted({item.partition("=")[0] for item in match[3].split("&") if item})
            self._notes.append(f"jdbc-url: {', '.join(names)} is for the JDBC driver and has no effect; ssl_mode encrypts")
        port = found[0][1]
        return {"host": ",".join(host if own == port else f"{host}:{own}" for host, own in found), "port": port}

    def _load_url(self) -> str:
        urls = [part.strip() for part in self._given["load-url"].split(";") if part.strip()]
        for url in urls:
            match = _LOAD_URL.fullmatch(url)
            if match is None or (match[2] is not None and not 1 <= int(match[2]) <= 65535):
                raise ConfigError("is not <host>:<port>;<host>:<port>, with or without http://", setting="load-url")
        return ";".join(urls)

    # Options of the document

    def _version(self) -> str:
        version = self._choice("sink.version", ("AUTO", "V1", "V2"), self._text("sink.version").upper())
        if "merge_condition" in self._headers:
            if version == "V2":
                what = "V2 can't carry sink.properties.merge_condition: only Stream Load itself takes it; use V1 or AUTO"
                raise ConfigError(what, setting="sink.version")
            if version == "AUTO":
                self._notes.append("sink.version: V1, since merge_condition is for Stream Load itself")
            return "V1"
        return version

    def _label_prefix(self) -> str:
        prefix = self._given["sink.label-prefix"]
        if not re.fullmatch(r"[-_A-Za-z0-9]{1,32}", prefix):
            raise ConfigError("is not 1 to 32 of the letters A to Z, digits, - and _", setting="sink.label-prefix")
        return prefix

    def _semantic(self) -> str:
        semantic = self._choice("sink.semantic", ("at-least-once", "exactly-once"))
        if semantic == "at-least-once":
            self._notes.append("sink.semantic: at-least-once is exceeded: every load is sent under a label that counts once")
        else:
            self._notes.append("sink.semantic: exactly-once, where the end of a window takes the place of Flink's checkpoint")
        return semantic

    def _max_rows(self, semantic: str, version: str) -> int:
        name = "sink.buffer-flush.max-rows"
        if name in self._given:
            if version == "V2" or semantic == "exactly-once":
                raise ConfigError("is for sink.version V1 (or AUTO) and at-least-once alone: leave it out", setting=name)
            if version == "AUTO":
                self._notes.append(f"{name} counts whichever interface is used; the vendor's V2 doesn't look at it")
        return self._number(name, 64_000, 5_000_000)

    def _retries(self, version: str) -> int:
        name = "sink.max-retries"
        if name in self._given:
            if version == "V2":
                raise ConfigError("is for sink.version V1 (or AUTO) alone: leave it out", setting=name)
            if version == "AUTO":
                self._notes.append(f"{name} counts whichever interface is used; the vendor's V2 tries a load once")
        return self._number(name, 0, 10)

    def _flush(self, semantic: str) -> float | None:
        name = "sink.buffer-flush.interval-ms"
        if semantic == "exactly-once":
            if name in self._given:
                what = (
                    "is for at-least-once alone: with exactly-once the checkpoint flushes, here the end of a window; leave it out"
                )
                raise ConfigError(what, setting=name)
            return None
        return self._number(name, 1000, 3_600_000) / 1000

    # Options of the code

    def _code_only(self, values: dict[str, Any], options: dict[str, Any], semantic: str) -> None:
        given = self._given
        for name, why in _WITHOUT_EFFECT.items():
            if name in given:
                self._notes.append(f"{name} has no effect: {why}")
        if (text := given.get("sink.socket.timeout-ms")) is not None:
            values["socket_timeout_ms"] = self._number("sink.socket.timeout-ms", -1, 86_400_000, text)
        if (text := given.get("sink.publish-timeout.ms")) is not None:
            values["publish_timeout_ms"] = self._number("sink.publish-timeout.ms", -1, 3_600_000, text)
        if (text := given.get("sink.retry.interval-ms")) is not None:
            options["retry_wait"] = self._number("sink.retry.interval-ms", 0, 3_600_000, text) / 1000
        if (text := given.get("sink.transaction.multi-table.enabled")) is not None:
            values["multi_table"] = "on" if self._flag("sink.transaction.multi-table.enabled", text) else "off"
        if (text := given.get("sink.blackhole")) is not None and self._flag("sink.blackhole", text):
            raise ConfigError("true throws every row away", setting="sink.blackhole")
        name = "sink.sanitize-error-log"
        if not self._flag(name, given.get(name, "false")):
            how = "false" if name in given else "false (the vendor's default)"
            self._notes.append(f"{name}: {how} would show refused rows in the log; here they are shown only if show_rows is on")
        name = "sink.at-least-once.use-transaction-stream-load"
        no_transactions = not self._flag(name, given.get(name, "true")) and semantic == "at-least-once"
        if no_transactions and values["sink_version"] == "AUTO":
            values["sink_version"] = "V1"
            self._notes.append(f"{name}: false makes sink_version V1")

    # sink.properties.*

    def _properties(self, values: dict[str, Any], options: dict[str, Any]) -> tuple[str, ...] | None:
        """Where there is a field or an option for a header it is set, else the header is passed on."""
        left = dict(self._headers)
        for name, why in _REFUSED.items():
            if name in left and not (name == "enable_merge_commit" and left[name].lower() == "false"):
                raise ConfigError(why, setting=PREFIX + name)
        for name, why in _OURS.items():
            if left.pop(name, None) is not None:
                self._notes.append(f"{PREFIX}{name} has no effect: {why}")
        left.pop("enable_merge_commit", None)
        self._format(values, left)
        ratio = left.pop("max_filter_ratio", _DEFAULTS["sink.properties.max_filter_ratio"])
        values["max_filter_ratio"] = _ratio(ratio)
        strict = left.pop("strict_mode", _DEFAULTS["sink.properties.strict_mode"])
        values["strict_mode"] = self._flag(PREFIX + "strict_mode", strict)
        if (zone := left.pop("timezone", None)) is not None:
            values["time_zone"] = zone
        else:
            self._notes.append(f"{PREFIX}timezone: UTC, where StarRocks' own default is Asia/Shanghai; it is sent with each load")
        if (seconds := left.pop("timeout", None)) is not None:
            values["load_timeout"] = self._number(PREFIX + "timeout", 1, 259_200, seconds)
        if (packed := left.pop("compression", None)) is not None:
            values["compression"] = self._choice(PREFIX + "compression", ("gzip", "zstd", "lz4_frame"), packed.lower())
        if (partial := left.pop("partial_update", None)) is not None and self._flag(PREFIX + "partial_update", partial):
            options["conflict_mode"] = "update"
        if (condition := left.pop("merge_condition", None)) is not None:
            options["version_column"] = condition.strip().strip("`")
        columns = self._columns(left)
        self._notes += [PREFIX + note for note in misspelt(left)]
        if left:
            options["properties"] = left
        return columns

    def _format(self, values: dict[str, Any], left: dict[str, str]) -> None:
        text = left.pop("format", None)
        if text is None:
            self._notes.append(f"{PREFIX}format: json, where the vendor's default is csv; set it to csv if CSV it has to be")
        values["format"] = "json" if text is None else self._choice(PREFIX + "format", ("json", "csv"), text.lower())
        for name in ("column_separator", "row_delimiter"):
            if (delimiter := left.pop(name, None)) is not None:
                values[name] = delimiter
                if values["format"] == "json":
                    self._notes.append(f"{PREFIX}{name} has no effect on JSON")

    def _columns(self, left: dict[str, str]) -> tuple[str, ...] | None:
        """A list with expressions is passed on; a plain one says what the rows bring, which they do themselves here."""
        text = left.pop("columns", None)
        if text is None:
            return None
        listed = parse_columns(text)
        plain = tuple(name for name in listed.fields if name.lower() != "__op")
        if not plain:
            raise ConfigError("names no column", setting=PREFIX + "columns")
        if listed.derived:
            items = [*map(_name, plain), *(f"{_name(name)}={value}" for name, value in listed.derived.items())]
            left["columns"] = ",".join(items)
        else:
            self._notes.append(f"{PREFIX}columns: rows bring their names with them; let the sync bring {', '.join(plain)} alone")
        return plain


def _name(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) else f"`{name.replace('`', '``')}`"


def _ratio(text: str) -> float:
    name = PREFIX + "max_filter_ratio"
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,18})?", text.strip()):
        raise ConfigError(f"{text!r} is not a number", setting=name)
    if not 0 <= float(text) <= 1:
        raise ConfigError(f"{text} is outside 0 to 1", setting=name)
    return float(text)
