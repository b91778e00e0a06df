"""Words of statements: what is quoted stays together, and LIKE is MySQL's."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.sandbox.starrocks.sqlerror import SqlError
from tidegate.sandbox.starrocks.tokens import Cursor, like, statements, tokens, unquote


@given(st.text())
def test_a_quoted_string_says_what_was_quoted(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    (token, _) = tokens(f"'{escaped}'")
    assert (token.kind, token.text) == ("string", text)
    doubled = text.replace("\\", "\\\\").replace('"', '""')
    assert unquote(f'"{doubled}"') == text


@given(st.text(min_size=1))
def test_a_quoted_name_says_what_was_quoted(name: str) -> None:
    cursor = Cursor("`" + name.replace("`", "``") + "` x")
    assert cursor.name() == name
    assert cursor.name() == "x"


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = tokens(text)
    except SqlError:
        return
    assert found[-1].kind == "end"
    assert [token.start for token in found] == sorted(token.start for token in found)


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT ';'", "/* ; */ SELECT 2", "SELECT `a;b`", ""]), max_size=5))
def test_statements_are_cut_at_semicolons_outside_of_quotes(parts: list[str]) -> None:
    assert len(list(statements(";".join(parts)))) == sum(bool(part) for part in parts)


@example("a%b_", "AxBy")
@given(st.text(alphabet="ab%_", max_size=6), st.text(alphabet="abA", max_size=6))
def test_like_matches_whatever_the_case(pattern: str, text: str) -> None:
    wanted = fnmatch.translate(pattern.replace("%", "*").replace("_", "?"))
    assert like(pattern, text) == (re.fullmatch(wanted, text, re.IGNORECASE) is not None)


def test_an_open_quote_is_refused_with_its_place() -> None:
    with pytest.raises(SqlError, match="line 2") as refused:
        tokens("SELECT\n 'open")
    assert refused.value.number == 1064
