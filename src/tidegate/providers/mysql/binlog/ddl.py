"""What a statement in the binlog means for the tables of a sync.

The rule is conservative: a statement that names none of the tables is ignored; one that is known to leave rows and columns alone,
or only to add a column of NULLs, is let through; any other stops the run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any

import sqlglot
import sqlglot.errors
from sqlglot import exp

from tidegate.changes.schema import TableName
from tidegate.errors import EventRefused
from tidegate.providers.mysql.binlog.query import Query

_CHOICES = "copy the table again (tidegate resync), or leave it out of tables"
_GAP = r"(?:\s|/\*(?!!|M!).*?\*/|--[^\n]*\n|#[^\n]*\n)*"
_VERB = re.compile(_GAP + r"(\w+)", re.DOTALL)
_EXECUTABLE_COMMENT = re.compile(r"/\*M?!\d*(.*?)\*/", re.DOTALL)
_DML = frozenset(("INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD"))
_HARMLESS = frozenset(("ANALYZE", "CHECK", "OPTIMIZE", "REPAIR", "GRANT", "REVOKE", "FLUSH", "SET", "USE", "RELEASE", "CHANGE"))
_PREFIX = re.compile(
    _GAP + r"(?:set\s+statement\s(?:'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"|[^'\"])*?\bfor\b"
    r"|analyze\s+(?:format\s*=\s*\w+\s+)?(?=(?:insert|update|delete|replace|with)\b))",
    re.IGNORECASE | re.DOTALL,
)
"""What MariaDB lets stand before a statement that is run all the same: SET STATEMENT … FOR, ANALYZE."""
_OTHER_OBJECT = re.compile(
    r"\s*(?:create|drop|alter)\s+(?:or\s+replace\s+)?(?:algorithm\s*=\s*\w+\s+)?(?:definer\s*=\s*\S+\s+)?(?:sql\s+security\s+\w+\s+)?"
    r"(?:aggregate\s+)?(?:unique\s+|fulltext\s+|spatial\s+)?(?:online\s+|offline\s+)?"
    r"(?:index|view|trigger|procedure|function|event|user|role|server|sequence|package|tablespace)\b",
    re.IGNORECASE,
)
_TABLE_OPTION = (
    r"(?:comment\s*=?\s*(?:'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\")|engine\s*=?\s*(?!blackhole\b)\w+|auto_increment\s*=?\s*\d+|row_format\s*=?\s*\w+"
    r"|stats_\w+\s*=?\s*\w+|(?:en|dis)able\s+keys|force|algorithm\s*=?\s*\w+|lock\s*=?\s*\w+)"
)
_TABLE_OPTIONS = re.compile(
    rf"\s*alter\s+table\s+(?:`[^`]+`|[\w$]+)(?:\s*\.\s*(?:`[^`]+`|[\w$]+))?\s+{_TABLE_OPTION}(?:\s*,?\s*{_TABLE_OPTION})*\s*;?\s*",
    re.IGNORECASE | re.DOTALL,
)
"""ALTER TABLE with nothing in it but what leaves rows and columns alone."""
_CREATE_TABLE = re.compile(r"\s*create\s+(?:temporary\s+)?table\b(?!.*\bselect\b)", re.IGNORECASE | re.DOTALL)
"""A new, empty table: its rows follow, and say what its columns are. With SELECT in it, it might be filled without row events."""
_DROP_SCHEMA = re.compile(r"\s*drop\s+(?:database|schema)\b", re.IGNORECASE)


def check_statement(query: Query, tables: Collection[TableName], connection: str, position: object) -> None:
    """Raise EventRefused for a statement after which the tables can't be followed; it names the choices there are."""
    text = _EXECUTABLE_COMMENT.sub(r" \1 ", query.text)
    named = [table for table in tables if _may_concern(text, query.schema, table)]
    if not named:
        return
    while prefix := _PREFIX.match(text):
        text = text[prefix.end() :]
    found = _VERB.match(text)
    verb = found[1].upper() if found else "statement"
    if verb in _HARMLESS or _OTHER_OBJECT.match(text) or _TABLE_OPTIONS.fullmatch(text) or _CREATE_TABLE.match(text):
        return
    statement = _parsed(text)
    understood = statement is not None
    touched = [table for table in named if not understood or _touches(statement, query.schema, table)]
    if not touched:
        return
    if verb in _DML:
        raise EventRefused(
            f"{verb} stands in the log as a statement, not as rows",
            connection=connection,
            table=touched[0],
            position=position,
            setting="binlog_format=ROW, in every session",
        )
    if not understood:
        raise _refused(verb, "may change the table in a way that tidegate can't tell", touched[0], connection, position)
    if not _harmless(statement, touched):
        raise _refused(verb, "changes the table's rows or columns in a way that isn't in the log", touched[0], connection, position)


_quiet: ContextVar[bool] = ContextVar("_quiet", default=False)
# sqlglot logs the text of what it can't parse, and a statement holds rows' values.
logging.getLogger("sqlglot").addFilter(lambda record: not _quiet.get())


def _parsed(text: str) -> Any:
    """sqlglot's tree of a statement; None if it doesn't understand it."""
    token = _quiet.set(True)
    try:
        statement = sqlglot.parse_one(text, dialect="mysql")
    except sqlglot.errors.SqlglotError:
        return None
    finally:
        _quiet.reset(token)
    return None if isinstance(statement, exp.Command) else statement


def _refused(verb: str, why: str, table: TableName, connection: str, position: object) -> EventRefused:
    return EventRefused(f"{verb} {why}; {_CHOICES}", connection=connection, table=table, position=position)


def _may_concern(text: str, schema: str, table: TableName) -> bool:
    """Whether the words of the statement leave it possible that it means the table."""
    in_schema = schema.lower() == table.schema.lower() or _has_word(text, table.schema)
    if _DROP_SCHEMA.match(text):
        return _has_word(text, table.schema)
    return in_schema and _has_word(text, table.name)


def _has_word(text: str, word: str) -> bool:
    # In backticks, a backtick of the name is doubled.
    spelled = re.escape(word).replace("`", "``?")
    return re.search(rf"(?<![\w$]){spelled}(?![\w$])", text, re.IGNORECASE) is not None


def _touches(statement: Any, schema: str, table: TableName) -> bool:
    """Whether the parsed statement names the table, other than to read from it."""
    if isinstance(statement, exp.Drop) and statement.kind in ("DATABASE", "SCHEMA"):
        return any(_same(part.name, table.schema) for part in statement.find_all(exp.Table, exp.Identifier))
    where = statement.this if isinstance(statement, exp.Insert) else statement
    return any(_same(found.name, table.name) and _same(found.db or schema, table.schema) for found in where.find_all(exp.Table))


def _same(left: str, right: str) -> bool:
    # Servers may fold the case of table names; taking two for one only stops a run too many.
    return left.lower() == right.lower()


def _harmless(statement: Any, touched: Collection[TableName]) -> bool:
    """Whether the parsed statement leaves the table's rows and columns alone, or adds a column that is NULL in every row."""
    if isinstance(statement, exp.Drop):
        return bool(statement.args.get("temporary")) or statement.kind == "INDEX"
    if isinstance(statement, exp.Create) and statement.kind == "TABLE":
        target = statement.this.this if isinstance(statement.this, exp.Schema) else statement.this
        creates_other = all(not _same(target.name, table.name) for table in touched)
        properties = statement.args.get("properties")
        temporary = bool(properties and properties.find(exp.TemporaryProperty))
        return creates_other or temporary
    if isinstance(statement, exp.Create):
        return str(statement.kind) == "INDEX"
    if isinstance(statement, exp.Alter) and statement.kind == "TABLE":
        actions = statement.args.get("actions") or []
        return bool(actions) and all(_harmless_action(action) for action in actions)
    return False


def _harmless_action(action: Any) -> bool:
    """The same of one clause of ALTER TABLE."""
    if isinstance(action, exp.ColumnDef):
        return _null_in_old_rows(action)
    if isinstance(action, exp.AddConstraint):
        return not action.find(exp.PrimaryKey, exp.PrimaryKeyColumnConstraint)
    if isinstance(action, exp.Drop):
        return str(action.kind) in ("INDEX", "KEY", "CONSTRAINT", "FOREIGN KEY", "CHECK")
    if isinstance(action, exp.AlterColumn):
        return action.args.get("dtype") is None
    return isinstance(action, exp.AlterIndex | exp.RenameIndex)


def _null_in_old_rows(column: Any) -> bool:
    """Whether an added column is NULL in the rows that are there: no row event says what else they hold."""
    kinds = [constraint.kind for constraint in column.args.get("constraints") or []]
    declared = column.kind.this.name if column.kind is not None else "SERIAL"
    if declared == "SERIAL":
        return False  # NOT NULL AUTO_INCREMENT by another name
    if declared.startswith("TIMESTAMP") and not any(
        isinstance(kind, exp.NotNullColumnConstraint) and kind.args.get("allow_null") for kind in kinds
    ):
        return False  # NOT NULL with a default of its own, unless explicit_defaults_for_timestamp is on
    for kind in kinds:
        if isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null"):
            return False
        if isinstance(kind, exp.DefaultColumnConstraint) and not isinstance(kind.this, exp.Null):
            return False
        if not isinstance(kind, exp.NotNullColumnConstraint | exp.DefaultColumnConstraint | exp.CommentColumnConstraint
                          | exp.CharacterSetColumnConstraint | exp.CollateColumnConstraint):  # fmt: skip
            return False
    return True
