"""CSV as the backend splits it."""

from __future__ import annotations

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.sandbox.starrocks.headers import LoadHeaders, read_headers
from tidegate.sandbox.starrocks.parse_csv import parse_csv

_letters = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def rows_of(body: str, headers: LoadHeaders, width: int) -> list[tuple[str | None, ...]]:
    parsed = parse_csv(body.encode(), headers, width, old_words=False)
    assert not parsed.errors
    return list(zip(*parsed.columns, strict=True))


@given(st.lists(st.tuples(_letters, _letters, _letters), max_size=8))
@example([("\\N", "", 'a"b'), ("x\ny", ",", "\\")])
def test_what_pythons_csv_writes_with_quotes_comes_back(rows: list[tuple[str, str, str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    headers = LoadHeaders("csv", column_separator=",", enclose='"')
    want = [tuple(None if value == "\\N" else value for value in row) for row in rows]
    assert rows_of(out.getvalue(), headers, 3) == want


@given(st.lists(st.tuples(_letters, _letters), max_size=8))
def test_what_is_escaped_with_backslashes_comes_back(rows: list[tuple[str, str]]) -> None:
    def escaped(value: str) -> str:
        return "".join("\\" + letter if letter in '\\",\n' else letter for letter in value)

    body = "".join(f'"{escaped(a)}","{escaped(b)}"\n' for a, b in rows)
    headers = LoadHeaders("csv", column_separator=",", enclose='"', escape="\\")
    want = [tuple(None if value == "\\N" else value for value in row) for row in rows]
    assert rows_of(body, headers, 2) == want


@given(st.lists(st.tuples(_letters, _letters), max_size=8), st.sampled_from(["\x01", "||", "\x01\x02", "é"]))
def test_without_enclose_nothing_is_unescaped(rows: list[tuple[str, str]], separator: str) -> None:
    clean = [tuple(value.replace(separator, "").replace(separator[0], "").replace("\x03", "") for value in row) for row in rows]
    body = "".join(f"{a}{separator}{b}\x03" for a, b in clean)
    want = [tuple(None if value == "\\N" else value for value in row) for row in clean]
    assert rows_of(body, LoadHeaders("csv", column_separator=separator, row_delimiter="\x03"), 2) == want


def test_empty_records_are_skipped_and_the_last_delimiter_may_be_missing() -> None:
    assert rows_of("a\n\nb", LoadHeaders("csv"), 1) == [("a",), ("b",)]
    assert rows_of('a\n\n"b"', LoadHeaders("csv", enclose='"'), 1) == [("a",), ("b",)]


def test_a_carriage_return_belongs_to_the_value() -> None:
    assert rows_of("a\tb\r\n", LoadHeaders("csv"), 2) == [("a", "b\r")]


def test_a_null_is_backslash_n_enclosed_or_not_and_the_words_null_is_not() -> None:
    headers = LoadHeaders("csv", column_separator=",", enclose='"', escape="\\")
    assert rows_of('\\N,"\\N",NULL\n', headers, 3) == [(None, None, "NULL")]


def test_an_escape_before_anything_else_stays() -> None:
    headers = LoadHeaders("csv", column_separator=",", escape="\\")
    assert rows_of("a\\,b,c\\td\\\\\n", headers, 2) == [("a,b", "c\\td\\")]


def test_spaces_are_trimmed_only_when_asked_and_never_inside_of_quotes() -> None:
    assert rows_of(" a , b\n", LoadHeaders("csv", column_separator=","), 2) == [(" a ", " b")]
    assert rows_of(" a , b\n", LoadHeaders("csv", column_separator=",", trim_space=True), 2) == [("a", "b")]
    quotes = LoadHeaders("csv", column_separator=",", trim_space=True, enclose='"')
    assert rows_of(' " a " ,b \n', quotes, 2) == [(" a ", "b")]


def test_the_header_lines_are_skipped() -> None:
    assert rows_of("id\n1\n2\n", LoadHeaders("csv", skip_header=1), 1) == [("1",), ("2",)]


def test_a_row_with_too_few_or_too_many_fields_is_an_error_with_the_servers_words() -> None:
    parsed = parse_csv(b"1\t2\n3\n4\t5\t6\n", LoadHeaders("csv"), 2, old_words=False)
    assert parsed.columns == [["1"], ["2"]]
    words = "Target column count: 2 doesn't match source value column count: {}. Column separator: '\\t', Row delimiter: '\\n'"
    assert parsed.errors == [(words.format(1), "3"), (words.format(3), "4\t5\t6")]
    old = parse_csv(b"3\n", LoadHeaders("csv"), 2, old_words=True)
    assert old.errors[0][0].startswith("Value count does not match column count. Expect 2, but got 1.")


def test_only_the_row_that_is_not_utf8_is_an_error() -> None:
    parsed = parse_csv(b"a\tb\n\xff\tc\n\xc3\xa9\td\n", LoadHeaders("csv"), 2, old_words=False)
    assert parsed.columns == [["a", "é"], ["b", "d"]]
    assert [why for why, _ in parsed.errors] == ["Invalid UTF-8 row"]


def test_an_empty_header_is_none() -> None:
    empty = dict.fromkeys(
        ("format", "column_separator", "row_delimiter", "timezone", "max_filter_ratio", "partial_update_mode"), ""
    )
    assert read_headers(empty, (3, 3)) == read_headers({}, (3, 3))


def test_separators_are_read_as_hex_or_escapes() -> None:
    for said, meant in (
        ("\\x01", "\x01"),
        ("0x0102", "\x01\x02"),
        ("\\t", "\t"),
        ("||", "||"),
        ("\\xC3A9", "é"),
    ):
        assert read_headers({"Column_Separator": said}, (3, 3)).column_separator == meant
