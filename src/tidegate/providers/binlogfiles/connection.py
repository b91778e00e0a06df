"""The connection fields of binlog files on disk."""

from __future__ import annotations

from tidegate.providers.system import Field, System

SYSTEM = System(
    name="binlogfiles",
    label="MySQL binlog files (tidegate)",
    conn_type="binlogfiles",
    fields=(
        Field(
            "url",
            "Folder, glob or file",
            str,
            required=True,
            help="Where the files of one server's log are: /backup/binlog, s3://backup/binlog.*, one file. Others than local ones "
            "need fsspec's driver.",
        ),
        Field(
            "ddl",
            "CREATE TABLE statements",
            str,
            help="What SHOW CREATE TABLE writes, for tables whose rows don't name their columns (binlog_row_metadata other than "
            "FULL). USE shop; says the database of those that follow.",
        ),
        Field(
            "storage_options",
            "Storage options",
            str,
            help='fsspec\'s options for that URL, as JSON: {"endpoint_url": "http://minio:9000"}',
        ),
        Field(
            "storage_secrets",
            "Storage secrets",
            str,
            secret=True,
            help='More of them, masked: {"key": "…", "secret": "…"}',
        ),
    ),
    source="tidegate.providers.binlogfiles.source:open_source",
    extra="mysql",
)
"""A source only: nobody but the server writes its log."""
