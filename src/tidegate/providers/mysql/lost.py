"""A position that can't be read from any more, as an answer rather than an error."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.changes.position import BinlogPosition
from tidegate.errors import PositionLost

WAY_OUT = "copy the tables again (tidegate resync)"


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a position can't be read from any more, the way out, and the setting that would have kept it."""

    message: str
    setting: str | None = None

    def error(self, connection: str, table: object | None, position: BinlogPosition) -> PositionLost:
        return PositionLost(self.message, connection=connection, table=table, position=position, setting=self.setting)
