"""What the connection's settings make of values that few targets have: dates that no calendar has, and TINYINT(1) as a boolean."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tidegate.errors import ConfigError

_EPOCH = datetime.datetime(1970, 1, 1)


class ValueRefused(ValueError):
    """A value that the settings refuse. The message says what is wrong with it, never what it is.

    ``row`` is its place in the array, from 0; ``setting`` is what would change the outcome.
    """

    def __init__(self, what: str, row: int, setting: str) -> None:
        super().__init__(what)
        self.row = row
        self.setting = setting


@dataclass(frozen=True, slots=True)
class Zero:
    """What becomes of a date that no calendar has: ``0000-00-00``, a month or day of zero, 30 February.

    NULL; the value ``micros`` (since 1970, of which a DATE takes the day); or, with ``refuse``, an error that says so and names
    the ``setting``.
    """

    micros: int | None = None
    refuse: str = ""
    setting: str = "zero_dates"

    @property
    def null(self) -> bool:
        """Whether it becomes NULL."""
        return self.micros is None and not self.refuse


ZERO_IS_NULL = Zero()
_ZERO_REFUSED = Zero(refuse="a date that no calendar has")
# NULL is no key, and a given value may be the key of another row.
_ZERO_IN_KEY = Zero(
    refuse="a date that no calendar has, and is a column of the key", setting="correct the rows, or leave the table out of tables"
)


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of a connection, for one column. ``boolean``: TINYINT(1) is a boolean."""

    zero: Zero = ZERO_IS_NULL
    boolean: bool = False

    def in_key(self) -> Policies:
        """The same for a column of the key, where a date that no calendar has is refused whatever the settings say."""
        return replace(self, zero=_ZERO_IN_KEY)


DEFAULT = Policies()


def policies(values: Mapping[str, Any], connection: str) -> Policies:
    """The policies that a connection's fields ask for. ConfigError for a ``zero_dates`` that is none."""
    return Policies(_zero(str(values["zero_dates"]), connection), values["tinyint1"] == "boolean")


def _zero(text: str, connection: str) -> Zero:
    if text == "null":
        return ZERO_IS_NULL
    if text == "error":
        return _ZERO_REFUSED
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None or moment.microsecond:
        raise ConfigError(
            f"{text!r} is neither null nor error, nor a date (1970-01-01) or date and time (1970-01-01 00:00:00) to put there",
            connection=connection,
            setting="zero_dates",
        )
    return Zero((moment - _EPOCH) // datetime.timedelta(microseconds=1))


def refusal(column: str, kind: object, error: Exception) -> tuple[str, str | None]:
    """The message for a value of a column that has no canonical form, and the setting that would change that."""
    if isinstance(error, ValueRefused):
        return f"column {column} holds {error}", error.setting
    return f"column {column} holds a value that is no {kind} ({type(error).__name__})", None
