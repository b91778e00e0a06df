"""JSON as the backend reads it: ``be/src/exec/json_scanner.cpp``.

Without ``strip_outer_array`` the body is a row of objects one after the other, with it one array of objects; ``json_root`` goes
down first. A field is found by its exact name; one that is missing is NULL (``__op``: 0), one that the table doesn't have is
skipped.
Numbers keep their digits: nothing passes through a float. A body that isn't JSON fails the load as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from tidegate.sandbox.starrocks.headers import LoadHeaders
from tidegate.sandbox.starrocks.model import LoadFailed


class Number(str):
    """A number's digits as they came."""

    __slots__ = ()


class _Refused(ValueError):
    pass


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant)
_space = re.compile(r"[ \t\r\n]*")


def parse_json(body: bytes, headers: LoadHeaders) -> list[dict[str, Any]]:
    """The objects, in order. Numbers are :class:`Number`, everything else as Python's json gives it. Raises LoadFailed."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _failed("The input is not valid UTF-8", "") from None
    first = text[_space.match(text).end() :][:1]  # type: ignore[union-attr]
    if first not in ("", "[", "{"):
        raise _failed(f"illegal json started with {first}", text)
    documents = list(_documents(text))
    if headers.json_root:
        path = parse_path(headers.json_root)
        roots = [element for document in documents for element in (document if isinstance(document, list) else [document])]
        documents = [find(root, path) for root in roots]
        if any(document is None for document in documents):
            raise _failed("json root not found", text)
        if headers.strip_outer_array:
            documents = [element for document in documents for element in _elements(document, text)]
    elif headers.strip_outer_array:
        documents = [element for document in documents for element in _elements(document, text)]
    for document in documents:
        if not isinstance(document, dict):
            if headers.strip_outer_array:
                raise _failed("the value should be object type in outer array", text)
            raise _failed("the value should be object type with strip_outer_array=false", text)
    if headers.debezium:
        return [_unwrapped(document, text) for document in documents]
    return documents


def _failed(why: str, text: str) -> LoadFailed:
    line = f"Error: Data quality error: {why}" + (f". Row: parser current location: {text[:64]}" if text else "")
    return LoadFailed(why, [line], total=1, filtered=1)


def _documents(text: str) -> Iterator[Any]:
    at = _space.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        try:
            document, at = _decoder.raw_decode(text, at)
        except RecursionError:
            raise _failed("Failed to parse json: the document is nested too deep", text[at:]) from None
        except ValueError as error:
            place = error.pos if isinstance(error, json.JSONDecodeError) else at
            why = "Failed to parse json as document stream. error: TAPE_ERROR: The JSON document has an improper structure"
            raise _failed(why, text[place:] or text[at:]) from None
        yield document
        at = _space.match(text, at).end()  # type: ignore[union-attr]


def _elements(document: Any, text: str) -> list[Any]:
    if not isinstance(document, list):
        raise _failed("the value should be array type with strip_outer_array=true", text)
    return document


def _unwrapped(document: dict[str, Any], text: str) -> dict[str, Any]:
    """A Debezium event's row: ``after`` to upsert, ``before`` to delete. Truncates and tombstones are refused."""
    event = document.get("payload", document)
    op = event.get("op") if isinstance(event, dict) else None
    row = event.get("before") if op == "d" else event.get("after") if op in ("c", "r", "u") else None
    if not isinstance(row, dict):
        raise _failed(f"invalid debezium event, op={op}", text)
    return {**row, "__op": Number("1" if op == "d" else "0")}


Path = list[str | int]
_step = re.compile(r"\.(?:\"([^\"]+)\"|([^.\[]+))|\[(\d+|\*)\]|\['([^']+)'\]")


def parse_path(text: str) -> Path:
    """``$.a.b[0]`` as its steps; ``$`` alone is empty. Raises LoadFailed."""
    text = text.strip()
    if not text.startswith("$"):
        raise LoadFailed(f"Invalid json path: {text}")
    steps: Path = []
    at = 1
    while at < len(text):
        found = _step.match(text, at)
        if found is None or found[3] == "*":
            raise LoadFailed(f"Invalid json path: {text}")
        steps.append(int(found[3]) if found[3] else found[1] or found[2] or found[4])
        at = found.end()
    return steps


def parse_paths(text: str) -> list[Path]:
    """The header ``jsonpaths``: a JSON array of paths. Raises LoadFailed."""
    try:
        paths = json.loads(text)
    except ValueError:
        paths = None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise LoadFailed(f"Invalid json path: {text}")
    return [parse_path(path) for path in paths]


def find(document: Any, path: Path) -> Any:
    """What is there, None where nothing is."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return None
            document = document[step]
        else:
            document = document.get(step) if isinstance(document, dict) else None
    return document


def columns_of(rows: Sequence[dict[str, Any]], names: Sequence[str], paths: Sequence[Path] | None) -> list[list[Any]]:
    """Values by source column. With paths the n-th column takes the n-th path, columns beyond them are NULL."""
    columns: list[list[Any]] = []
    for at, name in enumerate(names):
        if paths is None:
            column = [row.get(name) for row in rows]
        elif at < len(paths):
            column = [find(row, paths[at]) for row in rows]
        else:
            column = [None] * len(rows)
        if name == "__op":
            column = [Number("0") if value is None else value for value in column]
        columns.append(column)
    return columns


def as_text(value: Any) -> str | None:
    """A value in a string column: a number's digits, 1 and 0 for true and false, JSON without spaces for arrays and objects."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    return dumps(value)


def dumps(value: Any) -> str:
    """JSON without spaces; numbers with the digits they came with."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{dumps(name)}:{dumps(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumps, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
