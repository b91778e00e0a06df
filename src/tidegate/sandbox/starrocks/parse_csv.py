"""CSV as the backend reads it: ``be/src/exec/csv_scanner.cpp`` and ``be/src/formats/csv/csv_reader.cpp``.

Without enclose and escape a record is cut at every row delimiter and a field at every column separator, and nothing is unescaped.
With either, an enclosed field may hold both, a doubled enclose stands for one, and the escape character is dropped before enclose,
escape, separator and delimiter and kept before anything else. ``\\N`` is NULL, enclosed or not. Empty records are skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tidegate.sandbox.starrocks.headers import LoadHeaders


@dataclass(slots=True)
class Parsed:
    """Rows that could be split: ``columns`` in the order of the source's fields (text or None), ``raw`` their text for errors."""

    columns: list[list[str | None]]
    raw: list[str]
    errors: list[tuple[str, str]] = field(default_factory=list)
    """Message and row of each row that could not be split."""


def parse_csv(body: bytes, headers: LoadHeaders, width: int, *, old_words: bool) -> Parsed:
    """``width`` is the number of fields that a row must have; ``old_words``: the message of servers before 3.2."""
    text = body.decode("utf-8", "surrogateescape")
    broken = False
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        broken = True
    if headers.enclose or headers.escape:
        records = _scan(text, headers)
    else:
        separator = headers.column_separator
        records = [(line, line.split(separator)) for line in text.split(headers.row_delimiter) if line]
        if headers.trim_space:
            records = [(line, [value.strip(" ") for value in fields]) for line, fields in records]
    if headers.skip_header:
        records = records[headers.skip_header :]
    errors: list[tuple[str, str]] = []
    good: list[tuple[str, list[str]]] = []
    for line, fields in records:
        if len(fields) != width:
            errors.append((_mismatch(width, len(fields), headers, old_words), _printable(line)))
        elif broken and _invalid(line):
            errors.append(("Invalid UTF-8 row", _printable(line)))
        else:
            good.append((line, fields))
    if not good:
        return Parsed([[] for _ in range(width)], [], errors)
    lines, rows = zip(*good, strict=True)
    columns = [[None if value == "\\N" else value for value in column] for column in zip(*rows, strict=True)]
    return Parsed(columns, list(lines), errors)


def _invalid(line: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in line)


def _printable(line: str) -> str:
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _mismatch(expected: int, found: int, headers: LoadHeaders, old_words: bool) -> str:
    if old_words:
        column, row = (" ".join(str(ord(letter)) for letter in text) for text in (headers.column_separator, headers.row_delimiter))
        return (
            f"Value count does not match column count. Expect {expected}, but got {found}. "
            f"Column delimiter: {column},Row delimiter: {row}."
        )
    return (
        f"Target column count: {expected} doesn't match source value column count: {found}. "
        f"Column separator: {_shown(headers.column_separator)}, Row delimiter: {_shown(headers.row_delimiter)}"
    )


def _shown(text: str) -> str:
    known = {"\n": "\\n", "\t": "\\t"}
    return "'" + "".join(known.get(letter, letter if letter.isprintable() else f"0x{ord(letter):x}") for letter in text) + "'"


def _scan(text: str, headers: LoadHeaders) -> list[tuple[str, list[str]]]:
    """Records with enclose or escape. One regular expression takes one field and what ends it."""
    row, separator = re.escape(headers.row_delimiter), re.escape(headers.column_separator)
    enclose, escape = re.escape(headers.enclose), re.escape(headers.escape)
    end = f"(?P<end>{separator}|{row}|\\Z)"
    escaped = f"{escape}(?:{separator}|{row}|.)|" if headers.escape else ""
    lead = " *" if headers.trim_space else ""
    field = f"(?P<plain>(?:{escaped}(?!{separator}|{row}).)*)"
    if headers.enclose:
        inner = f"(?:{enclose}{enclose}|{escaped}(?!{enclose}).)*"
        field = f"(?:{lead}{enclose}(?P<inner>{inner}){enclose}{lead}(?={separator}|{row}|\\Z)|{field})"
    field_pattern = re.compile(field + end, re.DOTALL)
    drop = None
    if headers.escape:
        drops = "|".join(part for part in (enclose, escape, separator, row) if part)
        drop = re.compile(f"{escape}({drops})", re.DOTALL)
    doubled = headers.enclose * 2
    records: list[tuple[str, list[str]]] = []
    fields: list[str] = []
    at = start = 0
    size = len(text)
    while at < size or fields:
        found = field_pattern.match(text, at)
        if found is None:  # an escape character alone at the very end
            fields.append(text[at:])
            records.append((text[start:], fields))
            break
        value = found.groupdict().get("inner")
        if value is None:
            value = found["plain"]
            value = value.strip(" ") if headers.trim_space else value
        elif doubled in value:
            value = value.replace(doubled, headers.enclose)
        if drop is not None and headers.escape in value:
            value = drop.sub(r"\1", value)
        fields.append(value)
        at = found.end()
        if found["end"] != headers.column_separator:
            line = text[start : found.start("end")]
            if line:
                records.append((line, fields))
            fields, start = [], at
    return records
