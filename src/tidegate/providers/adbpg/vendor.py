"""The vendor's Flink table (``CREATE TABLE … WITH (…)``) in tidegate's terms, for those who move a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from tidegate.changes.rules import ConflictMode
from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.providers.adbpg.pool import LEAST
from tidegate.sync.options import Method, OnError, WriteOptions, check_names

REQUIRED = ("connector", "url", "tablename", "username", "password")
_DEFAULTS = {
    "targetschema": "public",
    "maxretrytimes": "3",
    "retrywaittime": "100",
    "batchsize": "50000",
    "batchwritetimeoutms": "50000",
    "connectionmaxactive": "5",
    "casesensitive": "0",
    "writemode": "1",
    "conflictmode": "upsert",
    "exceptionmode": "ignore",
    "verbose": "0",
    "usecopy": "0",
}
OPTIONS = (*REQUIRED, *_DEFAULTS)
"""What the vendor documents, and usecopy, which only its example has."""

_METHODS: dict[str, Method] = {"0": "insert", "1": "copy", "2": "upsert"}
_ON_ERROR: dict[str, OnError] = {"ignore": "skip", "strict": "fail"}
_CONFLICTS: dict[str, ConflictMode] = {"ignore": "ignore", "strict": "strict", "update": "update", "upsert": "upsert"}
_URL = re.compile(r"jdbc:postgresql://(\[[^]]+\]|[^:/?,@\[\]]+)(?::(\d{1,5}))?/([^/?]+)(?:\?(.*))?")
_PARAMETERS = {"sslmode": "sslmode", "connectTimeout": "connect_timeout", "ApplicationName": "application_name"}
_LEAST_FLUSH = 1000


@dataclass(frozen=True, slots=True)
class FlinkTable:
    """A Flink table of the vendor's connector, translated."""

    values: Mapping[str, Any] = field(repr=False)
    """The fields of the connection, its password among them."""
    table: TableName
    options: WriteOptions
    notes: tuple[str, ...]
    """What has no effect here, or another one than there."""


def from_flink(properties: Mapping[str, Any]) -> FlinkTable:
    """The WITH clause as connection fields, target table and write options, with the vendor's defaults for what it leaves out.

    ConfigError for an unknown option, with the nearest that is, for a missing one, and for a value outside the document's range.
    """
    check_names(properties, OPTIONS)
    if missing := [name for name in REQUIRED if not str(properties.get(name) or "").strip()]:
        raise ConfigError(f"the Flink table lacks {', '.join(missing)}", setting=missing[0])
    return _Translation(properties).table()


class _Translation:
    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._given = {name: str(value) for name, value in properties.items() if value is not None}
        self._notes: list[str] = []

    def table(self) -> FlinkTable:
        """In the order of the vendor's document."""
        if not re.fullmatch(r"adbpg(-[\w.-]+)?", self._given["connector"]):
            raise ConfigError("is not adbpg-nightly-<version>: another connector's table", setting="connector")
        values = self._address()
        values |= {
            "login": self._given["username"],
            "password": self._given["password"],
            "default_schema": self._text("targetschema"),
            "case_sensitive": self._choice("casesensitive", ("0", "1")) == "1",
            "connection_max_active": self._connections(),
        }
        options = WriteOptions(
            method=_METHODS[self._write_mode()],
            conflict_mode=self._conflict_mode(),
            on_error=_ON_ERROR[self._exception_mode()],
            batch_rows=self._number("batchsize", 1, 5_000_000),
            flush_interval=self._flush(),
            max_retries=self._number("maxretrytimes", 1, 1000),
            retry_wait=self._number("retrywaittime", 0, 3_600_000) / 1000,
        )
        self._without_effect()
        if "." in self._given["tablename"]:
            self._notes.append("tablename: the dot is a part of the name; targetschema names the schema")
        return FlinkTable(values, TableName(self._text("targetschema"), self._given["tablename"]), options, tuple(self._notes))

    # Values

    def _text(self, name: str) -> str:
        return self._given.get(name) or _DEFAULTS[name]

    def _choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self._text(name)
        if value not in choices:
            raise ConfigError(f"{value!r} is not one of {', '.join(choices)}", setting=name)
        return value

    def _number(self, name: str, low: int, high: int) -> int:
        text = self._text(name)
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise ConfigError(f"{text!r} is not a whole number", setting=name)
        if not low <= int(text) <= high:
            raise ConfigError(f"{text} is outside {low} to {high}", setting=name)
        return int(text)

    # Options that take a word

    def _address(self) -> dict[str, Any]:
        match = _URL.fullmatch(self._given["url"])
        if match is None or (match[2] is not None and not 1 <= int(match[2]) <= 65535):
            # The text may hold a password.
            raise ConfigError("is not jdbc:postgresql://<host>:<port>/<database>, with one host", setting="url")
        values: dict[str, Any] = {"host": match[1].strip("[]"), "port": int(match[2] or 5432), "database": unquote(match[3])}
        asked = False
        for name, value in parse_qsl(match[4] or "", keep_blank_values=True):
            if not value and name != "ssl":
                continue
            if name == "connectTimeout":
                values["connect_timeout"] = self._connect_timeout(value)
            elif name == "sslmode":
                values["sslmode"] = value.lower()
            elif name in _PARAMETERS:
                values[_PARAMETERS[name]] = value
            elif name in ("user", "password"):
                raise ConfigError(f"carries {name}: give it as username and password", setting="url")
            elif name == "ssl":
                asked |= value.lower() in ("", "true")
            else:
                self._notes.append(f"url: {name} is for the JDBC driver and has no effect")
        if asked and values.get("sslmode", "prefer") in ("disable", "allow", "prefer"):
            values["sslmode"] = "require"
        return values

    def _connect_timeout(self, text: str) -> int:
        """JDBC's 0 is no limit, which a connection here doesn't have."""
        low, high = 2, 600
        try:
            seconds = float(text)
        except ValueError:
            raise ConfigError(f"connectTimeout {text!r} is not a number", setting="url") from None
        kept = high if seconds == 0 else int(min(max(seconds, low), high))
        if kept != seconds:
            self._notes.append(f"url: connectTimeout is {kept} s instead of {text}: it goes from {low} to {high} here")
        return kept

    def _connections(self) -> int:
        number = self._number("connectionmaxactive", 1, 1000)
        if number < LEAST:
            self._notes.append(f"connectionmaxactive: {LEAST} instead of {number}, since the ledger needs one of its own")
        return max(number, LEAST)

    def _write_mode(self) -> str:
        if self._text("writemode") == "3":
            raise ConfigError("3 (undocumented) sends rows to a server of the vendor's own: use 0, 1 or 2", setting="writemode")
        return self._choice("writemode", tuple(_METHODS))

    def _conflict_mode(self) -> ConflictMode:
        mode = _CONFLICTS[self._choice("conflictmode", tuple(_CONFLICTS))]
        if self._text("writemode") == "2" and mode != "upsert":
            self._notes.append(
                f"conflictmode: {mode} counts under writemode 2, too, where the vendor's code overwrites whatever it is"
            )
        return mode

    def _exception_mode(self) -> str:
        mode = self._choice("exceptionmode", tuple(_ON_ERROR))
        if mode == "ignore":
            how = "given" if "exceptionmode" in self._given else "the vendor's default"
            self._notes.append(
                f"exceptionmode: ignore ({how}) is on_error='skip': the refused rows are left out, counted and logged, where the "
                "vendor's connector loses their whole batch; tidegate's own default is fail"
            )
        return mode

    def _flush(self) -> float:
        millis = self._number("batchwritetimeoutms", 1, 86_400_000)
        if "batchwritetimeoutms" not in self._given:
            self._notes.append("batchwritetimeoutms: 50000, as the vendor's document says; its code has 10000")
        if millis < _LEAST_FLUSH:
            self._notes.append(f"batchwritetimeoutms: {_LEAST_FLUSH} instead of {millis}, the least there is")
        return max(millis, _LEAST_FLUSH) / 1000

    def _without_effect(self) -> None:
        if self._choice("verbose", ("0", "1")) == "1":
            self._notes.append("verbose has no effect: what a run does is in its log, as the logger's level says")
        if self._choice("usecopy", ("0", "1")) != _DEFAULTS["usecopy"] or "usecopy" in self._given:
            self._notes.append("usecopy has no effect, as in the vendor's connector: writemode decides")
