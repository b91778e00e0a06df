"""The connection fields of a folder of change files."""

from __future__ import annotations

from tidegate.providers.system import Field, System

SYSTEM = System(
    name="changefiles",
    label="Change files (tidegate)",
    conn_type="changefiles",
    fields=(
        Field(
            "url",
            "Folder of the stream",
            str,
            required=True,
            help="A local path, or any URL that fsspec knows: s3://lake/changes/shop. Others than local ones need fsspec's driver.",
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
        Field(
            "segments_per_run",
            "Segments a run",
            int,
            minimum=1,
            help="As a source: a run reads this many segments at most. Empty: all there are.",
        ),
    ),
    source="tidegate.providers.changefiles.source:open_source",
    sink="tidegate.providers.changefiles.sink:open_sink",
)
