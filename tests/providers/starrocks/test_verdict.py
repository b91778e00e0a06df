"""What an answer means."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.errors import (
    ConfigError,
    PermanentError,
    PreflightError,
    RowRefused,
    SchemaError,
    TidegateError,
    TransientError,
    Unavailable,
)
from tidegate.providers.starrocks.reply import Reply
from tidegate.providers.starrocks.verdict import failure, masked, outcome, parsed, permanent, reasons


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Success", "done"),
        ("OK", "done"),
        ("Publish Timeout", "done"),
        ("PUBLISH_TIMEOUT", "done"),
        ("Label Already Exists", "exists"),
        ("LABEL_ALREADY_EXISTS", "exists"),
        ("TXN_IN_PROCESSING", "busy"),
        ("TXN_NOT_EXISTS", "gone"),
        ("Fail", "failed"),
        ("FAILED", "failed"),
        ("INTERNAL_ERROR", "failed"),
        ("Commit Timeout", "unknown"),
        ("THRIFT_RPC_ERROR", "unknown"),
        ("", "unknown"),
        ("Succeeded", "unknown"),
    ],
)
def test_every_status_has_an_outcome(status: str, expected: str) -> None:
    assert outcome(Reply(status=status)) == expected


@pytest.mark.parametrize(
    ("message", "kind", "names"),
    [
        ("too many filtered rows", RowRefused, "max_filter_ratio"),
        ("primary key size exceed the limit.", RowRefused, "128 bytes"),
        ("Only primary key table support partial update", ConfigError, "whole rows"),
        (
            "column a needs to be used for expression evaluation for materialized column b",
            SchemaError,
            "have the source send whole rows",
        ),
        (
            "Access denied; you need (at least one of) the INSERT privilege(s) on TABLE t for this operation",
            PreflightError,
            "INSERT",
        ),
        ("current running txns on db 10005 is 100, larger than limit 100", PreflightError, "max_running_txn_num_per_db"),
        ("no valid Basic authorization", PreflightError, "load_url"),
        ("class com.starrocks.common.DdlException: There is no 100-continue header", PreflightError, "Expect"),
        (
            "body size 11 exceed limit: 10, id=… You can increase the limit by setting streaming_load_max_mb",
            ConfigError,
            "batch_bytes",
        ),
        ("The size of this batch exceed the max size [104857600]  of json type data  data [ 2 ].", ConfigError, "ignore_json_size"),
        ("unknown data format, format=xml", ConfigError, "format"),
        ("Not implemented", ConfigError, "sink_version"),
        ("transaction id=1 hasn't send any data yet", ConfigError, "rolled back"),
        ("unknown table, database=a, table=b", SchemaError, "unknown table"),
        (
            "Failed to load data into tablet 1, because of too many versions, current/limit: 1001/1000.",
            Unavailable,
            "tablet_versions",
        ),
        ("tablet writer add chunk failed, -235", Unavailable, "tablet_versions"),
        ("Stream Load exceed http cuncurrent limit 47, please try again later", Unavailable, "parallelism"),
        ("timeout by txn manager", Unavailable, "load_timeout"),
        ("the weather is bad", Unavailable, "weather"),
        ("", Unavailable, "Status Fail"),
    ],
)
def test_every_message_has_its_exception_and_says_what_would_help(message: str, kind: type[TidegateError], names: str) -> None:
    reply = Reply(status="Fail", message=message)
    error = failure(reply, connection="sr", table="shop.orders", label="l1")
    assert type(error) is kind
    assert names in str(error)
    assert "connection sr, table shop.orders" in str(error)
    assert "l1" in str(error)
    assert permanent(reply) == issubclass(kind, PermanentError)


def test_an_argument_that_the_server_can_not_read_is_not_sent_again() -> None:
    assert isinstance(
        failure(Reply(status="INVALID_ARGUMENT", message="Invalid x"), connection="", table=None, label=""), ConfigError
    )


LINES = [
    "Error: NULL value in non-nullable column 'k1'. Row: [NULL, 'geheim']",
    "Error: NULL value in non-nullable column 'k1'. Row: [NULL, 'secret']",
    "Error: Value 'geheim' is out of range. The type of 'k2' is INT. Row: [1, 'geheim']",
    "Error: Value count does not match column count. Expect 3, but got 2. Row: geheim,2",
    "Error: Target column: k3 expect INT, value: geheim, row: x",
    'Error: The field name(k4), error: geheim "geheim", data: geheim',
]


def test_refused_rows_show_reasons_and_hold_the_rows() -> None:
    reply = Reply(status="Fail", message="too many filtered rows", total_rows=10, filtered_rows=6)
    error = failure(reply, connection="sr", table=None, label="l", lines=LINES)
    assert isinstance(error, RowRefused)
    assert error.rows == LINES
    text = str(error)
    assert "6 of 10 rows refused" in text
    assert "2 × NULL value in non-nullable column 'k1'" in text
    assert "The type of 'k2' is INT" in text
    assert "Expect 3, but got 2" in text
    assert "show_rows" in text


def test_refused_rows_are_shown_on_request_up_to_3000_characters() -> None:
    reply = Reply(status="Fail", message="too many filtered rows")
    error = failure(reply, connection="sr", table=None, label="l", lines=[*LINES, "x" * 5000], show_rows=True)
    assert "geheim" in str(error)
    assert len(str(error)) < 3300


@pytest.mark.parametrize(
    "text",
    [
        "Unknown column 'foo' in table 'bar'",
        "Access denied for user 'a'@'b'",
        "Value count does not match column count. Expect 3, but got 2. Column delimiter: 9,Row delimiter: 10.",
        "unknown database, database=shop",
    ],
)
def test_names_stay_in_messages(text: str) -> None:
    assert masked(text) == text


@given(st.text(string.ascii_letters + string.digits + " ,;:[]{}", min_size=1), st.sampled_from(["'", '"']))
def test_no_quoted_value_and_nothing_of_a_row_gets_through(value: str, quote: str) -> None:
    secret = f"<{value}>"
    for text in (
        f"Value {quote}{secret}{quote} is too long",
        f"bad thing. Row: {secret}",
        f"x, line: {quote}{secret}{quote}, {secret}",
    ):
        assert secret not in masked(text)


@given(st.lists(st.sampled_from(LINES)))
def test_reasons_count_every_line_at_most_once(lines: list[str]) -> None:
    counts = [int(reason.split(" × ")[0]) for reason in reasons(lines)]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) <= len(lines)


@given(st.binary())
def test_any_body_is_a_reply(body: bytes) -> None:
    parsed(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["Status", "status", "msg", "TxnId", "NumberTotalRows", "Label", "other"]), json_values))
def test_any_object_is_a_reply_with_an_outcome_and_an_exception(fields: dict[str, object]) -> None:
    reply = parsed(json.dumps(fields).encode())
    outcome(reply)
    assert isinstance(failure(reply, connection="sr", table=None, label="l"), PermanentError | TransientError)


def test_field_names_are_read_in_any_case() -> None:
    reply = parsed(b'{"status": "FAILED", "msg": "no", "TXNID": 7, "numbertotalrows": 3, "ErrorURL": "http://x"}')
    assert (reply.status, reply.message, reply.txn_id, reply.total_rows, reply.error_url) == ("FAILED", "no", 7, 3, "http://x")
