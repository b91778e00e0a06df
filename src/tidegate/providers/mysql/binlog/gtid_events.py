"""The events that carry GTIDs, and the GTID position of a log while it is being read.

Layouts: MySQL's ``Gtid_event`` and ``Previous_gtids_event`` in ``libs/mysql/binlog/event/control_events.h``, ``Gtid_set::encode``
in ``sql/rpl_gtid_set.cc``, and ``libs/mysql/serialization/readme.md`` for the tagged form; MariaDB's ``Gtid_log_event`` and
``Gtid_list_log_event`` in ``sql/log_event.h``.
"""

from __future__ import annotations

import struct
from typing import Protocol

from tidegate.providers.mysql.binlog.events import (
    ANONYMOUS_GTID,
    GTID,
    GTID_LIST,
    GTID_TAGGED,
    HEADER_SIZE,
    MARIADB_GTID,
    PREVIOUS_GTIDS,
)
from tidegate.providers.mysql.binlog.gtid import MariadbGtids, MysqlGtids

_SID = HEADER_SIZE + 1
"""Where a GTID event has its source, after a byte of flags."""
_NUMBER = _SID + 16
_DOMAIN = HEADER_SIZE + 8
_PAIR = struct.Struct("<QQ")
_LISTED = struct.Struct("<IIQ")
_LISTED_COUNT = (1 << 28) - 1
"""The bits of a GTID list's count; the others are flags."""
_VERSION = 1
"""Of MySQL's serialization library."""
_FLAGS_FIELD, _UUID_FIELD, _NUMBER_FIELD, _TAG_FIELD = range(4)


def uuid_text(raw: bytes) -> str:
    """16 bytes as MySQL writes a UUID."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def varint(data: bytes, pos: int) -> tuple[int, int]:
    """An unsigned integer of MySQL's serialization library: as many low one bits as bytes follow. Its value, and where it ends."""
    more = (~data[pos] & (data[pos] + 1)).bit_length() - 1
    value = int.from_bytes(data[pos : pos + 1 + more], "little")
    # With eight more bytes none of the first one's bits are left for the value.
    return value >> (8 if more == 8 else more + 1), pos + 1 + more


def gtid_of(kind: int, event: bytes) -> tuple[str, int]:
    """Source and number of a MySQL GTID event, plain or tagged. ValueError for a tagged one that can't be read."""
    if kind == GTID:
        return uuid_text(event[_SID:_NUMBER]), int.from_bytes(event[_NUMBER : _NUMBER + 8], "little")
    return _tagged(event)


def _tagged(event: bytes) -> tuple[str, int]:
    pos = HEADER_SIZE
    version, pos = varint(event, pos)
    if version != _VERSION:
        raise ValueError(f"version {version} of the serialization format")
    _, pos = varint(event, pos)
    _, pos = varint(event, pos)
    uuid, number, tag = b"", 0, ""
    # Fields come in ascending order; those wanted are the first.
    while not tag:
        name, pos = varint(event, pos)
        if name == _FLAGS_FIELD:
            _, pos = varint(event, pos)
        elif name == _UUID_FIELD:
            parts = bytearray()
            for _ in range(16):
                part, pos = varint(event, pos)
                parts.append(part)
            uuid = bytes(parts)
        elif name == _NUMBER_FIELD:
            # Signed integers have their sign in the lowest bit; numbers of transactions are positive.
            number, pos = varint(event, pos)
            number >>= 1
        elif name == _TAG_FIELD:
            size, pos = varint(event, pos)
            if not size:
                break
            tag = event[pos : pos + size].decode("ascii")
        else:
            raise ValueError(f"the field {name} stands where the tag should")
    if len(uuid) != 16 or number < 1:
        raise ValueError("no source or no number")
    return f"{uuid_text(uuid)}:{tag}" if tag else uuid_text(uuid), number


def previous_gtids(event: bytes) -> MysqlGtids:
    """The set that a PREVIOUS_GTIDS event holds: the transactions in all files before."""
    found = MysqlGtids()
    head = int.from_bytes(event[HEADER_SIZE : HEADER_SIZE + 8], "little")
    tagged = head >> 56 == 1
    pos = HEADER_SIZE + 8
    for _ in range((head >> 8) & ((1 << 48) - 1) if tagged else head):
        source = uuid_text(event[pos : pos + 16])
        pos += 16
        if tagged:
            size, pos = varint(event, pos)
            source = f"{source}:{event[pos : pos + size].decode('ascii')}" if size else source
            pos += size
        count = int.from_bytes(event[pos : pos + 8], "little")
        pos += 8
        for _ in range(count):
            first, beyond = _PAIR.unpack_from(event, pos)
            found.add(source, first, beyond - 1)
            pos += _PAIR.size
    return found


def gtid_list(event: bytes) -> MariadbGtids:
    """The position that a GTID_LIST event holds. It has an entry for every server of a domain; the last one counts."""
    count = int.from_bytes(event[HEADER_SIZE : HEADER_SIZE + 4], "little") & _LISTED_COUNT
    listed = (_LISTED.unpack_from(event, HEADER_SIZE + 4 + index * _LISTED.size) for index in range(count))
    return MariadbGtids({domain: (server, sequence) for domain, server, sequence in listed})


def mariadb_gtid_of(event: bytes) -> tuple[int, int, int]:
    """Domain, server id and sequence number of a MariaDB GTID event."""
    return (
        int.from_bytes(event[_DOMAIN : _DOMAIN + 4], "little"),
        int.from_bytes(event[5:9], "little"),
        int.from_bytes(event[HEADER_SIZE:_DOMAIN], "little"),
    )


class Trail(Protocol):
    """The GTID position of a log at the point that was read to."""

    def event(self, kind: int, event: bytes) -> None:
        """Take an event of one of :data:`tidegate.providers.mysql.binlog.events.GTIDS`. Called for every transaction: cheap."""

    def text(self) -> str:
        """The position, counting the last transaction whose event was taken; empty if it isn't known."""


def trail(mariadb: bool, start: str) -> Trail:
    """The trail from a point whose position is ``start``. If that is empty, it is known from the next file of the log on."""
    return MariadbTrail(start) if mariadb else MysqlTrail(start)


class MysqlTrail:
    """A set that grows by one transaction after the other. What extends the last interval costs a comparison."""

    def __init__(self, start: str) -> None:
        self._set = MysqlGtids.parse(start) if start else None
        self._sid = b""
        self._first = self._next = 0

    def event(self, kind: int, event: bytes) -> None:
        if kind == GTID:
            number = int.from_bytes(event[_NUMBER : _NUMBER + 8], "little")
            sid = event[_SID:_NUMBER]
            if number != self._next or sid != self._sid:
                self._settle()
                self._sid, self._first = sid, number
            self._next = number + 1
        elif kind == GTID_TAGGED:
            source, number = gtid_of(kind, event)
            if self._set is not None:
                self._set.add(source, number, number)
        elif kind == PREVIOUS_GTIDS:
            self._sid = b""
            self._set = previous_gtids(event)
        elif kind != ANONYMOUS_GTID:
            raise ValueError(f"event type {kind}")

    def _settle(self) -> None:
        if self._sid and self._set is not None:
            self._set.add(uuid_text(self._sid), self._first, self._next - 1)
        self._sid = b""

    def text(self) -> str:
        self._settle()
        self._next = 0
        return "" if self._set is None else str(self._set)


class MariadbTrail:
    """The last transaction of each domain. As long as the domain stays the same, only its last event is kept."""

    def __init__(self, start: str) -> None:
        self._known = bool(start)
        self._last = dict(MariadbGtids.parse(start).last)
        self._domain = b""
        self._event = b""

    def event(self, kind: int, event: bytes) -> None:
        if kind == MARIADB_GTID:
            domain = event[_DOMAIN : _DOMAIN + 4]
            if domain != self._domain:
                self._settle()
                self._domain = domain
            self._event = event
        elif kind == GTID_LIST:
            self._domain = self._event = b""
            self._last = dict(gtid_list(event).last)
            self._known = True
        else:
            raise ValueError(f"event type {kind}")

    def _settle(self) -> None:
        if self._event:
            domain, server, sequence = mariadb_gtid_of(self._event)
            self._last[domain] = (server, sequence)
        self._event = b""

    def text(self) -> str:
        self._settle()
        return str(MariadbGtids(self._last)) if self._known else ""
