"""The vendor's Flink table in tidegate's terms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.providers.starrocks.connection import SYSTEM
from tidegate.providers.starrocks.vendor import _DEFAULTS, CODE_ONLY, OPTIONS, PREFIX, from_flink

LEAST = {
    "connector": "starrocks",
    "jdbc-url": "jdbc:mysql://fe1:9030",
    "load-url": "fe1:8030",
    "database-name": "test",
    "table-name": "score_board",
    "username": "root",
    "password": "hunter2",
}


def test_the_reference_s_own_table_with_its_empty_password() -> None:
    found = from_flink({**LEAST, "jdbc-url": "jdbc:mysql://127.0.0.1:9030", "load-url": "127.0.0.1:8030", "password": ""})
    assert found.table == TableName("test", "score_board")
    assert dict(found.values) == {
        "host": "127.0.0.1",
        "port": 9030,
        "load_url": "127.0.0.1:8030",
        "database": "test",
        "login": "root",
        "password": "",
        "sink_version": "AUTO",
        "connect_timeout_ms": 1000,
        "wait_for_continue_timeout_ms": 10_000,
        "ignore_update_before": True,
        "format": "json",
        "max_filter_ratio": 0.0,
        "strict_mode": False,
    }
    options = found.options
    assert (options.batch_bytes, options.batch_rows, options.flush_interval) == (94_371_840, 500_000, 300.0)
    assert (options.max_retries, options.conflict_mode, options.version_column) == (3, "upsert", None)
    assert options.properties is None
    assert found.columns is None


def test_what_is_left_out_is_as_the_vendor_s_document_has_it() -> None:
    everything = from_flink({**LEAST, **_DEFAULTS})
    left_out = from_flink(LEAST)
    assert (left_out.values, left_out.table, left_out.options) == (everything.values, everything.table, everything.options)


@pytest.mark.parametrize(
    ("option", "document", "code"),
    [("sink.connect.timeout-ms", "1000", "30000"), ("sink.wait-for-continue.timeout-ms", "10000", "30000")],
)
def test_where_document_and_code_differ_the_document_counts_and_both_are_said(option: str, document: str, code: str) -> None:
    (note,) = [note for note in from_flink(LEAST).notes if note.startswith(option)]
    assert document in note
    assert code in note
    assert not [note for note in from_flink({**LEAST, option: document}).notes if note.startswith(option)]


def test_rows_are_json_unless_csv_is_asked_for_and_that_is_said() -> None:
    assert from_flink(LEAST).values["format"] == "json"
    assert any(note.startswith("sink.properties.format: json") for note in from_flink(LEAST).notes)
    csv = from_flink({**LEAST, PREFIX + "format": "CSV", PREFIX + "column_separator": "\\x01", PREFIX + "row_delimiter": "0x02"})
    assert (csv.values["format"], csv.values["column_separator"], csv.values["row_delimiter"]) == ("csv", "\\x01", "0x02")
    assert not any("format" in note for note in csv.notes)


def test_several_frontends() -> None:
    more = {"jdbc-url": "jdbc:mysql://fe1:9030,fe2:9031,[::1]:9030/test?useSSL=true", "load-url": "fe1:8030;http://fe2:8031;"}
    found = from_flink({**LEAST, **more})
    assert (found.values["host"], found.values["port"]) == ("fe1,fe2:9031,[::1]", 9030)
    assert found.values["load_url"] == "fe1:8030;http://fe2:8031"
    assert any("useSSL" in note for note in found.notes)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sink.buffer-flush.maxrows": "1"}, "did you mean sink.buffer-flush.max-rows"),
        ({"load-url": " "}, r"lacks load-url.*\[load-url\]"),
        ({"password": None}, r"lacks password"),
        ({"connector": "doris"}, r"another connector's table.*\[connector\]"),
        ({"jdbc-url": "jdbc:postgresql://h:1/d"}, r"\[jdbc-url\]"),
        ({"jdbc-url": "jdbc:mysql://fe1:70000"}, r"\[jdbc-url\]"),
        ({"jdbc-url": "jdbc:mysql://u:hunter2@fe1:1"}, r"\[jdbc-url\]"),
        ({"load-url": "fe1"}, r"\[load-url\]"),
        ({"load-url": "http://u:hunter2@fe1:8030"}, r"\[load-url\]"),
        ({"sink.semantic": "at-most-once"}, r"\[sink.semantic\]"),
        ({"sink.version": "V3"}, r"not one of AUTO, V1, V2.*\[sink.version\]"),
        ({"sink.label-prefix": "a.b"}, r"\[sink.label-prefix\]"),
        ({"sink.buffer-flush.max-bytes": "67108863"}, r"outside 67108864 to 10737418240.*\[sink.buffer-flush.max-bytes\]"),
        ({"sink.buffer-flush.max-rows": "63999"}, r"outside 64000 to 5000000.*\[sink.buffer-flush.max-rows\]"),
        ({"sink.buffer-flush.interval-ms": "3600001"}, r"outside 1000 to 3600000.*\[sink.buffer-flush.interval-ms\]"),
        ({"sink.max-retries": "11"}, r"outside 0 to 10.*\[sink.max-retries\]"),
        ({"sink.connect.timeout-ms": "99"}, r"outside 100 to 60000.*\[sink.connect.timeout-ms\]"),
        ({"sink.wait-for-continue.timeout-ms": "2999"}, r"outside 3000 to 60000.*\[sink.wait-for-continue.timeout-ms\]"),
        ({"sink.ignore.update-before": "yes"}, r"\[sink.ignore.update-before\]"),
        ({"sink.parallelism": "0"}, r"\[sink.parallelism\]"),
        ({"sink.blackhole": "true"}, r"throws every row away.*\[sink.blackhole\]"),
        ({PREFIX + "format": "avro"}, r"\[sink.properties.format\]"),
        ({PREFIX + "max_filter_ratio": "1.1"}, r"outside 0 to 1.*\[sink.properties.max_filter_ratio\]"),
        ({PREFIX + "strict_mode": "on"}, r"\[sink.properties.strict_mode\]"),
        ({PREFIX + "timeout": "259201"}, r"\[sink.properties.timeout\]"),
        ({PREFIX + "label": "mine"}, r"\[sink.properties.label\]"),
        ({PREFIX + "enable_merge_commit": "true"}, r"no exactly once.*\[sink.properties.enable_merge_commit\]"),
        ({PREFIX + "columns": "__op"}, r"names no column.*\[sink.properties.columns\]"),
    ],
)
def test_a_mistake_names_the_option_and_shows_no_password(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        from_flink({**LEAST, **given})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("unavailable", "under"),
    [
        ({"sink.buffer-flush.max-rows": "64000"}, {"sink.version": "V2"}),
        ({"sink.buffer-flush.max-rows": "64000"}, {"sink.version": "V1", "sink.semantic": "exactly-once"}),
        ({"sink.max-retries": "3"}, {"sink.version": "V2"}),
        ({"sink.buffer-flush.interval-ms": "1000"}, {"sink.semantic": "exactly-once"}),
        ({"sink.version": "V2"}, {PREFIX + "merge_condition": "score"}),
    ],
)
def test_an_option_that_the_others_make_unavailable_is_refused(unavailable: dict[str, str], under: dict[str, str]) -> None:
    (name,) = unavailable
    with pytest.raises(ConfigError) as caught:
        from_flink({**LEAST, **under, **unavailable})
    assert caught.value.setting == name


def test_they_are_taken_where_they_are_available() -> None:
    more = {"sink.buffer-flush.max-rows": "64000", "sink.max-retries": "0", "sink.buffer-flush.interval-ms": "1000"}
    found = from_flink({**LEAST, "sink.version": "V1", **more})
    assert (found.options.batch_rows, found.options.max_retries, found.options.flush_interval) == (64_000, 0, 1.0)
    once = from_flink({**LEAST, "sink.semantic": "exactly-once", "sink.label-prefix": "shop-1"})
    assert once.options.flush_interval is None
    assert once.values["label_prefix"] == "shop-1"
    assert any("end of a window" in note for note in once.notes)


def test_partial_update_is_conflict_mode_update() -> None:
    found = from_flink({**LEAST, PREFIX + "partial_update": "true", PREFIX + "columns": "id,`name`,__op"})
    assert found.options.conflict_mode == "update"
    assert found.columns == ("id", "name")
    assert found.options.properties is None
    mode = from_flink({**LEAST, PREFIX + "partial_update": "true", PREFIX + "partial_update_mode": "column"})
    assert mode.options.properties == {"partial_update_mode": "column"}


@pytest.mark.parametrize("version", ["AUTO", "V1"])
def test_a_merge_condition_is_the_version_column_and_takes_stream_load_itself(version: str) -> None:
    found = from_flink({**LEAST, "sink.version": version, PREFIX + "merge_condition": "score"})
    assert (found.options.version_column, found.values["sink_version"]) == ("score", "V1")
    assert any(note.startswith("sink.version: V1") for note in found.notes) == (version == "AUTO")


@pytest.mark.parametrize("function", ["to_bitmap", "hll_hash"])
def test_column_expressions_are_passed_on(function: str) -> None:
    columns = f"page_id,visit_date,visit_user_id,visit_users={function}(visit_user_id)"
    found = from_flink({**LEAST, "table-name": "page_uv", PREFIX + "columns": columns})
    assert found.options.properties == {"columns": columns}
    assert found.columns == ("page_id", "visit_date", "visit_user_id")


def test_a_comma_in_an_expression_parts_no_columns() -> None:
    found = from_flink({**LEAST, PREFIX + "columns": "a,b=concat(a, ',', 'x'),__op"})
    assert found.columns == ("a",)
    assert found.options.properties == {"columns": "a,b=concat(a, ',', 'x')"}


def test_headers_are_passed_on_whatever_their_case_or_become_fields_where_there_are_some() -> None:
    more = {
        "Log_Rejected_Record_Num": "100",
        "timezone": "Europe/Berlin",
        "timeout": "60",
        "compression": "zstd",
        "enclose": "'",
    }
    found = from_flink({**LEAST, **{PREFIX + name: value for name, value in more.items()}})
    assert found.options.properties == {"log_rejected_record_num": "100", "enclose": "'"}
    assert (found.values["time_zone"], found.values["load_timeout"], found.values["compression"]) == ("Europe/Berlin", 60, "zstd")


@pytest.mark.parametrize("option", CODE_ONLY)
def test_an_option_that_only_the_code_has_is_known(option: str) -> None:
    numbers = ("count", "limit", "-ms", ".ms", "size", "num-lingering-txn")
    value = "1000" if option.endswith(numbers) else "false"
    found = from_flink({**LEAST, option: value})
    quiet = {"sink.socket.timeout-ms", "sink.publish-timeout.ms", "sink.retry.interval-ms"}
    quiet |= {"sink.transaction.multi-table.enabled", "sink.blackhole"}
    assert any(option in note for note in found.notes) == (option not in quiet)
    SYSTEM.values(found.values, "c")


def test_options_of_the_code_that_have_a_field() -> None:
    more = {
        "sink.socket.timeout-ms": "5000",
        "sink.publish-timeout.ms": "6000",
        "sink.retry.interval-ms": "10000",
        "sink.transaction.multi-table.enabled": "true",
        "sink.at-least-once.use-transaction-stream-load": "false",
    }
    found = from_flink({**LEAST, **more})
    values = found.values
    assert (values["socket_timeout_ms"], values["publish_timeout_ms"], values["multi_table"]) == (5000, 6000, "on")
    assert (values["sink_version"], found.options.retry_wait) == ("V1", 10.0)


_names = st.sampled_from([*OPTIONS, *(PREFIX + name for name in ("format", "columns", "timeout", "timezone", "merge_condition"))])
_wild = (
    st.text("01ae.-: ,=(`", max_size=8) | st.sampled_from(["true", "false", "V1", "exactly-once", "64000"]) | st.integers(-5, 70000)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given=st.dictionaries(_names, _wild, max_size=5))
def test_any_with_clause_is_taken_or_refused_and_what_is_taken_opens(given: dict[str, Any]) -> None:
    try:
        found = from_flink({**LEAST, **given})
    except ConfigError:
        return
    assert SYSTEM.values(found.values, "c")["database"] == found.table.schema
    assert found.options.batch_rows is not None
