"""Lines of files as records: one file after the other, or all at once by where their records stand in the log."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tidegate.changes.position import FileMark
from tidegate.errors import EventRefused
from tidegate.providers.cdcfiles.files import File, Files, whole_end
from tidegate.providers.cdcfiles.records import Broken, Format, Place, Record, Refused

log = logging.getLogger(__name__)

_TAIL = 256 * 1024


@dataclass(frozen=True, slots=True)
class Known:
    """A file of the folder, and its identity: by which positions know it."""

    file: File
    key: str


@dataclass(slots=True)
class Parsed:
    """A record with where it stands: its line's number, and the line's end in the file."""

    known: Known
    record: Record
    line: int
    start: int
    end: int
    text: bytes


Span = tuple[Known, FileMark, int]
"""A file, from where it is read, and the byte before which the reading ends."""


class Lines:
    """The records of a connection's files. EventRefused, with the file and the line, for one that can't be applied."""

    def __init__(self, files: Files, name: str, *, skip_broken: bool) -> None:
        self._files = files
        self._name = name
        self._skip_broken = skip_broken
        self.skipped = 0
        """Broken lines that were passed over since this was set to 0."""

    def one_by_one(self, spans: Sequence[Span], parser: Format) -> Iterator[Parsed]:
        for span in spans:
            yield from self.records(*span, parser)

    def merged(self, spans: Sequence[Span], parser: Format) -> Iterator[Parsed]:
        """All files at once, their records by their places; one without a place stays behind the one before it."""

        def placed(span: Span, number: int) -> Iterator[tuple[tuple[int, ...], int, int, Parsed]]:
            last: tuple[int, ...] = ()
            for count, parsed in enumerate(self.records(*span, parser)):
                last = max(last, _order(parsed.record.place)) if parsed.record.place is not None else last
                yield last, number, count, parsed

        for *_, parsed in heapq.merge(*(placed(span, number) for number, span in enumerate(spans))):
            yield parsed

    def records(self, known: Known, start: FileMark, end: int, parser: Format) -> Iterator[Parsed]:
        """Those of one file, an empty one for an empty line."""
        number = start.lines
        for line in self._files.lines(known.file, start.offset, end):
            number += 1
            if not line.text:
                yield Parsed(known, Record(), number, line.start, line.end, b"")
                continue
            where = f"{known.file.name}:{number}"
            try:
                record = parser.parse(line.text)
            except Broken as error:
                if not self._skip_broken:
                    setting = "broken_lines='skip', or mend the line"
                    raise EventRefused(str(error), connection=self._name, position=where, setting=setting) from None
                self.skipped += 1
                log.warning("%s: %s: a broken line was skipped (%s), %d so far", self._name, where, error, self.skipped)
                record = Record(ends=False)
            except Refused as error:
                raise EventRefused(str(error), connection=self._name, position=where, setting=error.setting) from None
            except (TypeError, AttributeError, LookupError, ValueError) as error:
                what = f"not of the shape that {parser.name} gives its records ({type(error).__name__})"
                raise EventRefused(what, connection=self._name, position=where, setting="format") from None
            yield Parsed(known, record, number, line.start, line.end, line.text)

    def whole_end(self, file: File, start: int, ends: Callable[[bytes], bool], *, followed: bool = False) -> int | None:
        """Where the last whole line after ``start`` ends that ``ends`` says ends a transaction, found from the file's end.

        The rest is as in :func:`tidegate.providers.cdcfiles.files.whole_end`.
        """
        size = _TAIL
        while True:
            lines = self._files.tail(file, start, size)
            end = whole_end(lines, start, ends, followed=followed)
            if end is not None or not lines or lines[0].start <= start:
                return end
            size *= 8


def _order(place: Place) -> tuple[int, ...]:
    """Places of different epochs by the log's files."""
    return place.log[1:] + place.at[-2:] if place.log is not None else place.at
