"""The vendor's Flink table in tidegate's terms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError
from tidegate.providers.adbpg.connection import SYSTEM
from tidegate.providers.adbpg.vendor import _DEFAULTS, OPTIONS, from_flink

LEAST = {
    "connector": "adbpg-nightly-1.13",
    "url": "jdbc:postgresql://gp-x.gpdb.rds.aliyuncs.com:3432/postgres",
    "tablename": "orders",
    "username": "u",
    "password": "hunter2",
}


def test_the_guide_s_own_table() -> None:
    given = {
        "connector": "adbpg-nightly-1.13",
        "password": "xxx",
        "tablename": "test_adbpg_table",
        "username": "xxxx",
        "url": "jdbc:postgresql://url:5432/schema",
        "maxretrytimes": "2",
        "batchsize": "50000",
        "connectionmaxactive": "5",
        "conflictmode": "ignore",
        "usecopy": "0",
        "targetschema": "public",
        "exceptionmode": "ignore",
        "casesensitive": "0",
        "writemode": "1",
        "retrywaittime": "200",
    }
    found = from_flink(given)
    assert dict(found.values) == {
        "host": "url",
        "port": 5432,
        "database": "schema",
        "login": "xxxx",
        "password": "xxx",
        "default_schema": "public",
        "case_sensitive": False,
        "connection_max_active": 5,
    }
    assert found.table == TableName("public", "test_adbpg_table")
    options = found.options
    assert (options.method, options.conflict_mode, options.on_error) == ("copy", "ignore", "skip")
    assert (options.batch_rows, options.max_retries, options.retry_wait, options.flush_interval) == (50_000, 2, 0.2, 50.0)
    assert [note.split(":")[0].split()[0] for note in found.notes] == ["exceptionmode", "batchwritetimeoutms", "usecopy"]


def test_what_is_left_out_is_as_the_vendor_has_it() -> None:
    given = from_flink({**LEAST, **_DEFAULTS})
    left_out = from_flink(LEAST)
    assert (left_out.values, left_out.table, left_out.options) == (given.values, given.table, given.options)
    assert any("the vendor's default" in note and "on_error='skip'" in note for note in left_out.notes)
    assert left_out.options.conflict_mode == "upsert"


@pytest.mark.parametrize(
    ("mode", "method"),
    [("0", "insert"), ("1", "copy"), ("2", "upsert")],
)
@pytest.mark.parametrize("conflict", ["ignore", "strict", "update", "upsert"])
@pytest.mark.parametrize(("exception", "on_error"), [("ignore", "skip"), ("strict", "fail")])
def test_every_combination_of_the_modes(mode: str, method: str, conflict: str, exception: str, on_error: str) -> None:
    found = from_flink({**LEAST, "writemode": mode, "conflictmode": conflict, "exceptionmode": exception})
    assert (found.options.method, found.options.on_error) == (method, on_error)
    assert found.options.conflict_mode == conflict
    assert any("conflictmode" in note for note in found.notes) == (mode == "2" and conflict != "upsert")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"batchSize": "1"}, "unknown option batchSize; did you mean batchsize"),
        ({"conflictmod": "x"}, "did you mean conflictmode"),
        ({"delimiter": ","}, "unknown option delimiter"),
        ({"url": ""}, r"lacks url.*\[url\]"),
        ({"connector": "jdbc"}, r"another connector's table.*\[connector\]"),
        ({"url": "jdbc:mysql://h:1/d"}, r"\[url\]"),
        ({"url": "jdbc:postgresql://h:70000/d"}, r"\[url\]"),
        ({"url": "jdbc:postgresql://h:5432"}, r"\[url\]"),
        ({"url": "jdbc:postgresql://a:1,b:2/d"}, r"one host.*\[url\]"),
        ({"url": "jdbc:postgresql://h/d?password=hunter2"}, r"carries password.*\[url\]"),
        ({"writemode": "3"}, r"undocumented.*\[writemode\]"),
        ({"writemode": "4"}, r"not one of 0, 1, 2.*\[writemode\]"),
        ({"conflictmode": "replace"}, r"\[conflictmode\]"),
        ({"exceptionmode": "skip"}, r"\[exceptionmode\]"),
        ({"casesensitive": "true"}, r"\[casesensitive\]"),
        ({"verbose": "2"}, r"\[verbose\]"),
        ({"usecopy": "yes"}, r"\[usecopy\]"),
        ({"batchsize": "0"}, r"outside 1 to 5000000.*\[batchsize\]"),
        ({"maxretrytimes": "0"}, r"\[maxretrytimes\]"),
        ({"retrywaittime": "-1"}, r"not a whole number.*\[retrywaittime\]"),
        ({"batchwritetimeoutms": "1e3"}, r"\[batchwritetimeoutms\]"),
        ({"connectionmaxactive": "1001"}, r"\[connectionmaxactive\]"),
    ],
)
def test_a_mistake_names_the_option_and_shows_no_password(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        from_flink({**LEAST, **given})
    assert "hunter2" not in str(caught.value)


def test_what_has_another_effect_here_is_said() -> None:
    more = {"connectionmaxactive": 1, "batchwritetimeoutms": "200", "verbose": "1"}
    url = "jdbc:postgresql://[::1]/my%20db?sslmode=require&reWriteBatchedInserts=true&connectTimeout=7"
    found = from_flink({**LEAST, **more, "url": url})
    assert found.values["connection_max_active"] == 2
    assert found.options.flush_interval == 1.0
    assert (found.values["host"], found.values["port"], found.values["database"]) == ("::1", 5432, "my db")
    assert (found.values["sslmode"], SYSTEM.values(found.values, "c")["connect_timeout"]) == ("require", 7)
    text = "\n".join(found.notes)
    assert all(name in text for name in (*more, "reWriteBatchedInserts", "exceptionmode"))
    assert "hunter2" not in text


_wild = st.text("01ae.-: ", max_size=8) | st.sampled_from(["0", "1", "2", "ignore", "strict", "50000"]) | st.integers(-5, 70000)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given=st.dictionaries(st.sampled_from(OPTIONS), _wild, max_size=5))
def test_any_with_clause_is_taken_or_refused_and_what_is_taken_opens(given: dict[str, Any]) -> None:
    try:
        found = from_flink({**LEAST, **given})
    except ConfigError:
        return
    assert SYSTEM.values(found.values, "c")["connection_max_active"] >= 2
    assert found.options.batch_rows is not None
