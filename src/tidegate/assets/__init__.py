"""Dagster: resources, the assets of a sync, an IO manager."""

from tidegate.assets.io_manager import TidegateIOManager
from tidegate.assets.resources import CdcFilesResource, ChangeFilesResource, MysqlResource, PostgresResource, TidegateResource
from tidegate.assets.sync import TableTranslator, tidegate_assets

__all__ = [
    "CdcFilesResource",
    "ChangeFilesResource",
    "MysqlResource",
    "PostgresResource",
    "TableTranslator",
    "TidegateIOManager",
    "TidegateResource",
    "tidegate_assets",
]
