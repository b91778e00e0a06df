"""Dagster: resources, the assets of a sync and their checks, an IO manager."""

from tidegate.assets.doctor import build_doctor_checks
from tidegate.assets.io_manager import TidegateIOManager
from tidegate.assets.resources import (
    AdbpgResource,
    BinlogFilesResource,
    CdcFilesResource,
    ChangeFilesResource,
    GaussdbResource,
    MysqlResource,
    PostgresResource,
    StarRocksResource,
    TidegateResource,
)
from tidegate.assets.sync import TableTranslator, tidegate_assets

__all__ = [
    "AdbpgResource",
    "BinlogFilesResource",
    "CdcFilesResource",
    "ChangeFilesResource",
    "GaussdbResource",
    "MysqlResource",
    "PostgresResource",
    "StarRocksResource",
    "TableTranslator",
    "TidegateIOManager",
    "TidegateResource",
    "build_doctor_checks",
    "tidegate_assets",
]
