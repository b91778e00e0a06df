"""The connection fields of files of change records."""

from __future__ import annotations

from tidegate.providers.system import Field, System

SYSTEM = System(
    name="cdcfiles",
    label="CDC JSON files: Debezium, Canal, Maxwell (tidegate)",
    conn_type="cdcfiles",
    fields=(
        Field(
            "url",
            "File, glob or folder",
            str,
            required=True,
            help="JSON lines, plain, gzip or Zstandard: /lake/shop, s3://lake/*.gz. Others than local ones need fsspec's driver.",
        ),
        Field("storage_options", "Storage options", str, help='fsspec\'s options for that URL, as JSON: {"endpoint_url": "…"}'),
        Field("storage_secrets", "Storage secrets", str, secret=True, help='More of them, masked: {"key": "…", "secret": "…"}'),
        Field(
            "format",
            "Format",
            str,
            "auto",
            choices=("auto", "debezium", "canal", "maxwell"),
            help="auto: by the first record, and the same from then on.",
        ),
        Field(
            "order",
            "Order",
            str,
            "name",
            choices=("name", "position"),
            help="name: file by file, numbers in names by value. position: files merged by the records' places in the log.",
        ),
        Field("ddl", "Table definitions", str, help="CREATE TABLE statements, or the path of a file with them: types and keys."),
        Field("table", "Table of nameless records", str, help="Whose records these are if they don't say: shop.orders."),
        Field("time_zone", "Time zone", str, help="Of TIMESTAMP values without one (Canal, Maxwell): UTC, Asia/Shanghai."),
        Field(
            "decimal_mode",
            "Debezium decimal mode",
            str,
            choices=("precise", "double", "string"),
            help="decimal.handling.mode of records without schema.",
        ),
        Field(
            "time_mode",
            "Debezium time mode",
            str,
            choices=("adaptive", "adaptive_time_microseconds", "connect", "microseconds", "nanoseconds", "isostring"),
            help="time.precision.mode of records without schema.",
        ),
        Field(
            "binary_mode",
            "Debezium binary mode",
            str,
            "base64",
            choices=("base64", "base64-url-safe", "hex"),
            help="binary.handling.mode; bytes are base64.",
        ),
        Field(
            "broken_lines",
            "Broken lines",
            str,
            "fail",
            choices=("fail", "skip"),
            help="A line that is no record: stop there, or count it, log its file and number, and go on.",
        ),
    ),
    source="tidegate.providers.cdcfiles.source:open_source",
    extra="mysql",
)
"""The extra brings sqlglot, whose tokenizer reads types and statements."""
