"""The formats: which one a record is of, how it is parsed, and whether its transaction ends with it."""

from __future__ import annotations

import re
from collections.abc import Callable

from tidegate.providers.cdcfiles.canal import Canal
from tidegate.providers.cdcfiles.debezium import Debezium
from tidegate.providers.cdcfiles.maxwell import Maxwell
from tidegate.providers.cdcfiles.records import Broken, Format, Tables, loads


def parser(name: str, tables: Tables, connection: str) -> Format:
    """The parser of a format."""
    known: dict[str, Callable[[Tables, str], Format]] = {"debezium": Debezium, "canal": Canal, "maxwell": Maxwell}
    return known[name](tables, connection)


def detect(line: bytes) -> str | None:
    """The format of a record; None for a line that could be of any, or is none."""
    try:
        value = loads(line)
    except Broken:
        return None
    if not isinstance(value, dict):
        return None
    if "payload" in value and "schema" in value:
        return "debezium"
    if ("op" in value and {"before", "after", "source"} & value.keys()) or {"__op", "__deleted"} & value.keys():
        return "debezium"
    if "databaseName" in value and "ddl" in value:
        return "debezium"
    kind = value.get("type")
    if not isinstance(kind, str) or "database" not in value:
        return None
    if kind.islower():
        return "maxwell"
    return "canal" if {"data", "isDdl", "pkNames", "mysqlType"} & value.keys() else None


def may_add(name: str) -> Callable[[bytes], bool]:
    """Whether a line may be a statement that adds a column, by its text: quick, and never No for one that does."""
    marker = {"debezium": rb'"ddl"', "canal": rb'"isDdl"\s*:\s*true', "maxwell": rb'"table-alter"'}[name]
    found, adds = re.compile(marker), re.compile(rb"(?i)add")
    return lambda line: found.search(line) is not None and adds.search(line) is not None


def any_line(line: bytes) -> bool:
    """Every line ends a transaction, as far as can be told."""
    return True


def ends_transaction(name: str) -> Callable[[bytes], bool]:
    """Whether a line ends its transaction: Maxwell marks it. Debezium's and Canal's end where the next begins, or the data ends."""
    return _maxwell_ends if name == "maxwell" else any_line


def _maxwell_ends(line: bytes) -> bool:
    try:
        value = loads(line)
    except Broken:
        return False
    return not isinstance(value, dict) or value.get("xid") is None or bool(value.get("commit"))
