"""Writers of change records, by the tools' documentation: a log of transactions as Debezium, Canal and Maxwell would write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.model import Change, Row
from tests.providers.cdcfiles.reading import line_of

TABLE = "shop.orders"
DDL = """
CREATE TABLE shop.orders (
  id BIGINT NOT NULL, region VARCHAR(10) NOT NULL, a VARCHAR(10), b INT, v BIGINT, PRIMARY KEY (id, region)
)"""
TYPES = {"id": "bigint(20)", "region": "varchar(10)", "a": "varchar(10)", "b": "int(11)", "v": "bigint(20)"}
KEY = ("id", "region")
FIELDS = [
    {"type": kind, "optional": name not in KEY, "field": name}
    for name, kind in (("id", "int64"), ("region", "string"), ("a", "string"), ("b", "int32"), ("v", "int64"))
]

Transaction = Sequence[Change]


def debezium(log: Sequence[Transaction], *, schema: bool = False, gtid: bool = False) -> Iterator[bytes]:
    """A line a change, two for a change of the key, with a tombstone after each delete."""
    for number, transaction in enumerate(log):
        for row, change in enumerate(transaction):
            source = {
                "connector": "mysql", "db": "shop", "table": "orders", "snapshot": "false", "ts_ms": 1_700_000_000_000 + number,
                "server_id": 1, "file": f"mysql-bin.{number // 5 + 1:06d}", "pos": 100 + number * 10, "row": row,
                "gtid": f"3e11fa47-71ca-11e1-9e33-c80aa9429562:{number + 1}" if gtid else None,
            }  # fmt: skip
            for operation, before, after in _halves(change):
                payload = {"before": before, "after": after, "source": source, "op": operation, "ts_ms": 1_800_000_000_000}
                yield line_of({"schema": _envelope(), "payload": payload} if schema else payload)
                if operation == "d":
                    yield b"null\n"


def _halves(change: Change) -> Iterator[tuple[str, Row | None, Row | None]]:
    before, after = change.before, change.after
    if before is not None and after is not None and any(before[name] != after[name] for name in KEY):
        yield "d", before, None
        yield "c", None, after
    else:
        yield "c" if before is None else "d" if after is None else "u", before, after


def _envelope() -> dict[str, Any]:
    image = {"type": "struct", "fields": FIELDS, "optional": True, "name": "s.shop.orders.Value"}
    fields = [{**image, "field": "before"}, {**image, "field": "after"}, {"type": "string", "optional": False, "field": "op"}]
    return {"type": "struct", "fields": fields, "optional": False, "name": "s.shop.orders.Envelope"}


def canal(log: Sequence[Transaction], *, gtid: bool = False) -> Iterator[bytes]:
    """Neighbouring changes of a kind in one message, as one statement's rows are; messages of a batch share id and ts."""
    for number, transaction in enumerate(log):
        for changes in _statements(transaction):
            kind = _kind(changes[0])
            message: dict[str, Any] = {
                "database": "shop", "table": "orders", "type": kind, "isDdl": False, "id": number // 3 + 1,
                "es": 1_700_000_000_000 + number * 1000, "ts": 1_700_000_000_500 + number // 3, "sql": "",
                "mysqlType": TYPES, "sqlType": {"id": -5}, "pkNames": list(KEY),
                "gtid": f"3e11fa47-71ca-11e1-9e33-c80aa9429562:{number + 1}" if gtid else "",
            }  # fmt: skip
            message["data"] = [_texts(change.after if change.after is not None else change.before) for change in changes]
            message["old"] = [_texts(_changed(change)) for change in changes] if kind == "UPDATE" else None
            yield line_of(message)


def _statements(transaction: Transaction) -> Iterator[list[Change]]:
    group: list[Change] = []
    for change in transaction:
        if group and _kind(group[0]) != _kind(change):
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _kind(change: Change) -> str:
    return "INSERT" if change.before is None else "DELETE" if change.after is None else "UPDATE"


def _changed(change: Change) -> Row:
    assert change.before is not None
    assert change.after is not None
    return {name: value for name, value in change.before.items() if change.after.get(name) != value}


def _texts(row: Row | None) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in (row or {}).items()}


def maxwell(log: Sequence[Transaction], *, position: bool = False, gtid: bool = False, xoffset: bool = True) -> Iterator[bytes]:
    """A line a row; the last of a transaction carries commit, the others xoffset where Maxwell is told to write it."""
    for number, transaction in enumerate(log):
        for row, change in enumerate(transaction):
            last = row == len(transaction) - 1
            message: dict[str, Any] = {
                "database": "shop", "table": "orders", "type": _kind(change).lower(), "ts": 1_700_000_000 + number,
                "xid": 1000 + number, **({"commit": True} if last else {"xoffset": row} if xoffset else {}),
                "data": change.after if change.after is not None else change.before,
            }  # fmt: skip
            if position:
                message["position"] = f"mysql-bin.000001:{100 + number * 10}"
            if gtid:
                message["gtid"] = f"3e11fa47-71ca-11e1-9e33-c80aa9429562:{number + 1}"
            if _kind(change) == "UPDATE":
                message["old"] = _changed(change)
            yield line_of(message)
