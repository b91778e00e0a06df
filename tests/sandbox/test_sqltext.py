"""The lexer: its tokens spell the text they came from, and nothing within a string or a comment is taken for SQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.sandbox.sqltext import Token, closing, code, dotted, find, identifier, join, listed, literal, spell, split, tokens

PIECES = [
    "'",
    "''",
    '"',
    "$$",
    "$a$",
    "$",
    "\\",
    "E'",
    "U&'",
    "--",
    "/*",
    "*/",
    ";",
    "\n",
    " ",
    "a",
    "1",
    "1.5e3",
    "=-",
    "(",
    ")",
    "é",
]
plain = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
messy = st.lists(st.one_of(st.sampled_from(PIECES), plain), max_size=12).map("".join)


@given(messy)
def test_tokens_join_back(sql: str) -> None:
    assert join(tokens(sql)) == sql


@given(plain)
def test_a_constant_is_one_token_with_its_value(text: str) -> None:
    assert [(token.kind, token.value) for token in code(literal(text))] == [("string", text)]


@given(plain.filter(bool))
def test_a_delimited_name_is_one_token_with_its_name(name: str) -> None:
    assert [(token.kind, token.name) for token in tokens(identifier(name))] == [("quoted", name)]


@given(plain.filter(lambda text: "$x$" not in text and not text.endswith(("$x", "$"))))
def test_a_dollar_quoted_constant_is_one_token_with_its_value(text: str) -> None:
    assert [(token.kind, token.value) for token in tokens(f"$x${text}$x$")] == [("string", text)]


@given(st.lists(plain, min_size=1, max_size=5))
def test_semicolons_in_constants_names_and_comments_separate_nothing(texts: list[str]) -> None:
    statements = [f"SELECT {literal(text + ';').strip()} AS {identifier(text + ';')} /* ; /* ; */ */" for text in texts]
    assert split(";".join(statements)) == statements


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a=-1", ["a", "=", "-", "1"]),
        ("a@-1", ["a", "@-", "1"]),
        ("a::text", ["a", "::", "text"]),
        ("1..2", ["1", "..", "2"]),
        (".5+1.e3", [".5", "+", "1.e3"]),
        ("$1,$2", ["$1", ",", "$2"]),
        ("a-- b\n-c", ["a", "-", "c"]),
        ("a/* x /* y */ z */b", ["a", "b"]),
        (r"E'a\'b' 'c'", [r"E'a\'b'", "'c'"]),
        (r"'a\' 'b'", [r"'a\'", "'b'"]),
        ("a->>'b'", ["a", "->>", "'b'"]),
        ("$a$ $b$ $a$x", ["$a$ $b$ $a$", "x"]),
        ("x$1y", ["x$1y"]),
    ],
)
def test_tokens_are_those_of_the_server(sql: str, expected: list[str]) -> None:
    assert [token.text for token in code(sql)] == expected


def test_names_fold_unless_they_are_delimited() -> None:
    assert [token.name for token in code('Abc "Ab""c" 1')] == ["abc", 'Ab"c', ""]


def test_an_escape_string_has_the_value_that_the_server_reads() -> None:
    assert code(r"E'a\n\\\'b'")[0].value == "a\n\\'b"


def test_split_drops_empty_statements_and_keeps_the_body_of_a_rule_together() -> None:
    assert split(" ; SELECT 1;; -- only a comment\n; CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);") == [
        "SELECT 1",
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)",
    ]


def test_words_are_found_outside_brackets_only() -> None:
    pieces = code("INSERT INTO t (SELECT 1 WHERE x) WHERE y")
    assert spell(pieces[find(pieces, "where") :]) == "WHERE y"
    assert find(pieces, "returning") == -1


def test_lists_brackets_and_dotted_names() -> None:
    pieces = code('s."T" (a, f(b, c), d[1, 2])')
    assert dotted(pieces, 0) == (["s", "T"], 3)
    end = closing(pieces, 3)
    assert end == len(pieces) - 1
    assert [spell(item) for item in listed(pieces[4:end])] == ["a", "f ( b , c )", "d [ 1 , 2 ]"]
    assert listed([]) == []
    assert Token("word", "SELECT").word("select")
