"""The closed list of binlog events, and their header.

Every event type is applied, ignored on purpose, or refused; one that isn't listed is refused. The numbers are those of MySQL's
``binlog_event.h`` and MariaDB's ``log_event.h``.
"""

from __future__ import annotations

import enum
import hashlib
import struct
import zlib
from dataclasses import dataclass

from tidegate.errors import EventRefused, Unavailable

HEADER = struct.Struct("<IBIIIH")
"""Seconds, type, server id, size, end position (low 32 bits), flags."""
HEADER_SIZE = HEADER.size


class Fate(enum.Enum):
    """What becomes of an event."""

    APPLIED = "applied"
    IGNORED = "ignored"
    REFUSED = "refused"


QUERY, ROTATE, FORMAT, XID = 2, 4, 15, 16
EXECUTE_LOAD, TABLE_MAP = 18, 19
WRITE_V1, UPDATE_V1, DELETE_V1 = 23, 24, 25
WRITE_V2, UPDATE_V2, DELETE_V2 = 30, 31, 32
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, GTID_TAGGED = 33, 34, 35, 42
XA_PREPARE = 38
PARTIAL_UPDATE, TRANSACTION_PAYLOAD = 39, 40
MARIADB_GTID, GTID_LIST, QUERY_COMPRESSED = 162, 163, 165

_APPLIED, _IGNORED, _REFUSED = Fate.APPLIED, Fate.IGNORED, Fate.REFUSED
_OLD = "it is of a server older than MySQL 5.1"
_OF_STATEMENT = "part of a statement that stands in the log as text; the query event that ends it is what counts"

EVENTS: dict[int, tuple[str, Fate, str]] = {
    0: ("UNKNOWN_EVENT", _REFUSED, "the server itself doesn't know it"),
    1: ("START_EVENT_V3", _REFUSED, _OLD),
    QUERY: ("QUERY_EVENT", _APPLIED, "transaction bounds, DDL, statements in text"),
    3: ("STOP_EVENT", _IGNORED, "the server was stopped"),
    ROTATE: ("ROTATE_EVENT", _APPLIED, "the next file"),
    5: ("INTVAR_EVENT", _IGNORED, _OF_STATEMENT),
    6: ("LOAD_EVENT", _REFUSED, _OLD),
    7: ("SLAVE_EVENT", _IGNORED, "never written"),
    8: ("CREATE_FILE_EVENT", _REFUSED, _OLD),
    9: ("APPEND_BLOCK_EVENT", _IGNORED, _OF_STATEMENT),
    10: ("EXEC_LOAD_EVENT", _REFUSED, _OLD),
    11: ("DELETE_FILE_EVENT", _IGNORED, _OF_STATEMENT),
    12: ("NEW_LOAD_EVENT", _REFUSED, _OLD),
    13: ("RAND_EVENT", _IGNORED, _OF_STATEMENT),
    14: ("USER_VAR_EVENT", _IGNORED, _OF_STATEMENT),
    FORMAT: ("FORMAT_DESCRIPTION_EVENT", _APPLIED, "begins a file: version, checksums, fingerprint"),
    XID: ("XID_EVENT", _APPLIED, "commit"),
    17: ("BEGIN_LOAD_QUERY_EVENT", _IGNORED, _OF_STATEMENT),
    EXECUTE_LOAD: ("EXECUTE_LOAD_QUERY_EVENT", _APPLIED, "LOAD DATA in text"),
    TABLE_MAP: ("TABLE_MAP_EVENT", _APPLIED, "the columns of the row events that follow"),
    20: ("PRE_GA_WRITE_ROWS_EVENT", _REFUSED, _OLD),
    21: ("PRE_GA_UPDATE_ROWS_EVENT", _REFUSED, _OLD),
    22: ("PRE_GA_DELETE_ROWS_EVENT", _REFUSED, _OLD),
    WRITE_V1: ("WRITE_ROWS_EVENT_V1", _APPLIED, "rows inserted"),
    UPDATE_V1: ("UPDATE_ROWS_EVENT_V1", _APPLIED, "rows updated"),
    DELETE_V1: ("DELETE_ROWS_EVENT_V1", _APPLIED, "rows deleted"),
    26: ("INCIDENT_EVENT", _REFUSED, "the server says that changes are missing from its log; copy the tables again"),
    27: ("HEARTBEAT_EVENT", _IGNORED, "made up by the server while idle"),
    28: ("IGNORABLE_EVENT", _IGNORED, "by definition"),
    29: ("ROWS_QUERY_EVENT", _IGNORED, "the text of the statement behind the row events"),
    WRITE_V2: ("WRITE_ROWS_EVENT", _APPLIED, "rows inserted"),
    UPDATE_V2: ("UPDATE_ROWS_EVENT", _APPLIED, "rows updated"),
    DELETE_V2: ("DELETE_ROWS_EVENT", _APPLIED, "rows deleted"),
    GTID: ("GTID_EVENT", _APPLIED, "the number of the transaction; its bounds are told by QUERY and XID events"),
    ANONYMOUS_GTID: ("ANONYMOUS_GTID_EVENT", _APPLIED, "a transaction without number"),
    PREVIOUS_GTIDS: ("PREVIOUS_GTIDS_EVENT", _APPLIED, "the numbers in earlier files"),
    36: ("TRANSACTION_CONTEXT_EVENT", _IGNORED, "for group replication's certification"),
    37: ("VIEW_CHANGE_EVENT", _IGNORED, "for group replication's membership"),
    XA_PREPARE: ("XA_PREPARE_LOG_EVENT", _APPLIED, "a prepared transaction: refused if it changes a table of the sync"),
    PARTIAL_UPDATE: ("PARTIAL_UPDATE_ROWS_EVENT", _REFUSED, "it holds parts of JSON values; set binlog_row_value_options=''"),
    TRANSACTION_PAYLOAD: ("TRANSACTION_PAYLOAD_EVENT", _APPLIED, "a compressed transaction: the events in it, one by one"),
    41: ("HEARTBEAT_EVENT_V2", _IGNORED, "made up by the server while idle"),
    GTID_TAGGED: ("GTID_TAGGED_EVENT", _APPLIED, "as GTID_EVENT, of a source with a tag"),
    160: ("ANNOTATE_ROWS_EVENT", _IGNORED, "the text of the statement behind the row events"),
    161: ("BINLOG_CHECKPOINT_EVENT", _IGNORED, "for the server's own recovery"),
    MARIADB_GTID: ("GTID_EVENT", _APPLIED, "the number of the transaction, and whether it is one"),
    GTID_LIST: ("GTID_LIST_EVENT", _APPLIED, "the last numbers in earlier files"),
    164: ("START_ENCRYPTION_EVENT", _IGNORED, "of the file on disk; the stream is plain"),
    QUERY_COMPRESSED: ("QUERY_COMPRESSED_EVENT", _APPLIED, "as QUERY_EVENT"),
    166: ("WRITE_ROWS_COMPRESSED_EVENT_V1", _APPLIED, "rows inserted"),
    167: ("UPDATE_ROWS_COMPRESSED_EVENT_V1", _APPLIED, "rows updated"),
    168: ("DELETE_ROWS_COMPRESSED_EVENT_V1", _APPLIED, "rows deleted"),
    169: ("WRITE_ROWS_COMPRESSED_EVENT", _APPLIED, "rows inserted"),
    170: ("UPDATE_ROWS_COMPRESSED_EVENT", _APPLIED, "rows updated"),
    171: ("DELETE_ROWS_COMPRESSED_EVENT", _APPLIED, "rows deleted"),
}

INSERTS = frozenset((WRITE_V1, WRITE_V2, 166, 169))
UPDATES = frozenset((UPDATE_V1, UPDATE_V2, 167, 170))
DELETES = frozenset((DELETE_V1, DELETE_V2, 168, 171))
ROWS = INSERTS | UPDATES | DELETES
ROWS_V2 = frozenset((WRITE_V2, UPDATE_V2, DELETE_V2, 169, 170, 171))
COMPRESSED_ROWS = frozenset(range(166, 172))
GTIDS = frozenset((GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, GTID_TAGGED, MARIADB_GTID, GTID_LIST))
HEARTBEATS = frozenset((27, 41))

CHECKED = 0x2144DF1C
"""The CRC32 of any bytes that end with their own CRC32, little-endian."""


def fate(kind: int, connection: str, position: object) -> Fate:
    """What becomes of an event of this type; EventRefused with the reason for one that is refused."""
    name, found, reason = EVENTS.get(kind, (f"event type {kind}", _REFUSED, "tidegate doesn't know it"))
    if found is _REFUSED:
        raise EventRefused(f"{name} can't be applied: {reason}", connection=connection, position=position)
    return found


@dataclass(frozen=True, slots=True)
class Format:
    """What a format description event says. ``fingerprint`` tells this file from another of the same name."""

    version: str
    checksums: bool
    fingerprint: str


def read_format(event: bytes) -> Format:
    """A format description event, as it stands in the file or as the server makes it up when a dump begins mid-file.

    The fingerprint is over what both have alike: when the file was begun, by which server id and version.
    """
    seconds, _, server_id, _, _, _ = HEADER.unpack_from(event)
    version = event[HEADER_SIZE + 2 : HEADER_SIZE + 52].rstrip(b"\0")
    digest = hashlib.blake2b(struct.pack("<II", seconds, server_id) + version, digest_size=8)
    # The algorithm and a checksum that is always there are the last five bytes.
    return Format(version.decode("ascii", "replace"), event[-5] == 1, digest.hexdigest())


def check(event: bytes, connection: str, position: object) -> None:
    """Unavailable if the event's CRC32 isn't that of its bytes."""
    if zlib.crc32(event) != CHECKED:
        raise Unavailable("an event arrived with a wrong checksum", connection=connection, position=position)


def inflate(data: bytes, start: int) -> bytes:
    """MariaDB's compressed tail of an event: a byte of algorithm and width, the length, a zlib stream."""
    lead = data[start]
    width = lead & 0x07
    if (lead >> 4) & 0x07:
        raise ValueError(f"compression algorithm {(lead >> 4) & 0x07}")
    return zlib.decompress(memoryview(data)[start + 1 + width :])
