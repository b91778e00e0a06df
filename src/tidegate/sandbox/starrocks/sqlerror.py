"""What the frontend says of a statement that it refuses: number, SQL state and text.

Numbers and texts: fe-core ``common/ErrorCode.java`` and ``analyzer/SemanticException``; most errors go out as 1064 (HY000), since
``QueryState.setError`` without a number becomes ``MysqlErrPacket``'s default.
"""

from __future__ import annotations

from collections.abc import Sequence


class SqlError(Exception):
    """An error packet: ``number``, ``state`` of five characters, ``message`` as the client reads it."""

    def __init__(self, message: str, number: int = 1064, state: str = "HY000") -> None:
        super().__init__(message)
        self.message = message
        self.number = number
        self.state = state


def analyzing(detail: str, number: int = 1064, state: str = "HY000") -> SqlError:
    """What analysis refuses. Since 3.0 the text names the stage; 2.5 sends the detail alone."""
    return SqlError(f"Getting analyzing error. Detail message: {detail.rstrip('.')}.", number, state)


def syntax(detail: str, line: int = 1, column: int = 0) -> SqlError:
    """What the parser refuses."""
    return SqlError(f"Getting syntax error at line {line}, column {column}. Detail message: {detail.rstrip('.')}.")


def no_database() -> SqlError:
    return analyzing("No database selected", 1046, "3D000")


def unknown_database(name: str, version: Sequence[int]) -> SqlError:
    """5501 since 3.1, before MySQL's 1049."""
    number, state = (5501, "3F000") if tuple(version) >= (3, 1) else (1049, "42000")
    return analyzing(f"Unknown database '{name}'", number, state)


def unknown_table(database: str, name: str, version: Sequence[int]) -> SqlError:
    """5502 since 3.1, before MySQL's 1051."""
    number, state = (5502, "42602") if tuple(version) >= (3, 1) else (1051, "42S02")
    return analyzing(f"Unknown table '{database}.{name}'", number, state)


def table_exists(name: str) -> SqlError:
    return analyzing(f"Table '{name}' already exists", 1050, "42S01")


def unknown_column(name: str, table: str) -> SqlError:
    return analyzing(f"Column '{name}' cannot be resolved" if not table else f"Column '`{table}`.`{name}`' cannot be resolved")


def denied(privilege: str, kind: str, name: str, user: str, version: Sequence[int]) -> SqlError:
    """5203 with the roles since 3.1; before, MySQL's 1142."""
    if tuple(version) < (3, 1):
        return SqlError(f"{privilege} command denied to user '{user}'@'127.0.0.1' for table '{name}'", 1142, "42000")
    where = f"{kind} {name}" if name else kind
    return SqlError(
        f"Access denied; you need (at least one of) the {privilege} privilege(s) on {where} for this operation. Please ask the "
        "admin to grant permission(s) or try activating existing roles using <set [default] role>. Current role(s): NONE. "
        "Inactivated role(s): NONE.",
        5203,
        "42000",
    )


def altering(table: str, version: Sequence[int]) -> SqlError:
    """A second ALTER while one runs: fe-core ``common/InvalidOlapTableStateException.java``; before 3.1 ``OlapTable``'s words.

    From which version on the newer words are said is unverified.
    """
    if tuple(version) < (3, 1):
        return SqlError(f"Table[{table}]'s state is not NORMAL. Do not allow doing ALTER ops")
    return SqlError(
        f'A schema change operation is in progress on the table "{table}". Please wait until the current operation completes.\n'
        "To check the status of the operation, see "
        "https://docs.starrocks.io/docs/sql-reference/sql-statements/data-manipulation/SHOW_ALTER"
    )
