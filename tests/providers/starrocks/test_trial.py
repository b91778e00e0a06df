"""What the Test button says of the account's rights; what it asks besides is in tests/hooks/test_starrocks.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from tests.providers.starrocks.conftest import Box
from tests.providers.starrocks.scripted_sql import Script
from tests.providers.starrocks.scripted_sql import script as script
from tests.providers.starrocks.test_inspection import metadata as metadata
from tests.providers.starrocks.test_inspection import there
from tidegate.changes.schema import TableName
from tidegate.errors import PreflightError, Unavailable
from tidegate.providers.starrocks import trial as module
from tidegate.providers.starrocks.metadata import Metadata

LOADER: Any = SimpleNamespace(transactions=lambda: True, reach=lambda table: "be1:8040")


def test_of_more_tables_than_are_tried_the_message_says_how_many_were(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLES", 2)
    for name in "abc":
        box.table("id BIGINT", name=name)
    database = box.server.database
    assert box.sink.check().endswith(
        f"; SELECT and INSERT on 2 of 2 tables of {database} that were tried, of the 3 that the account sees; "
        f"loads go to {box.server.be}"
    )
    box.execute(
        f"CREATE USER u_{database} IDENTIFIED BY 'pw'", f"GRANT SELECT ON ALL TABLES IN DATABASE {database} TO USER u_{database}"
    )
    weak = box.open(login=f"u_{database}", password="pw")
    with pytest.raises(PreflightError) as caught:
        weak.check()
    assert f"lacks INSERT on 2 of 2 tables of {database} that were tried, of the 3 that the account sees" in str(caught.value)
    assert f"GRANT SELECT, INSERT ON ALL TABLES IN DATABASE `{database}` TO USER 'u_{database}'" in str(caught.value)


def test_a_table_of_two_columns_that_have_to_be_named_can_be_tried(metadata: Metadata, script: Script) -> None:
    script.on("information_schema.tables ", [{"TABLE_NAME": "orders"}])
    there(script, "PRIMARY_KEYS", "`id`, `no`", id="bigint not null", no="bigint not null", sum="bigint as `id` + 1")
    assert module.trial(metadata, LOADER).endswith("; SELECT and INSERT on 1 of 1 table of shop; loads go to be1:8040")
    assert any("(`id`, `no`) SELECT `id`, `no` FROM" in statement for statement in script.statements)


def test_a_right_that_cant_be_tried_is_not_said_to_be_there(metadata: Metadata, script: Script) -> None:
    script.on("information_schema.tables ", [{"TABLE_NAME": "orders"}])
    there(script, "PRIMARY_KEYS", "`id`", id="bigint not null")
    script.on("EXPLAIN INSERT", pymysql.err.ProgrammingError(1064, "something else"))
    assert module.trial(metadata, LOADER).endswith("; SELECT and INSERT on 0 of 1 table of shop; INSERT can't be tried on orders")


def test_an_external_table_among_them_is_no_reason_to_fail(metadata: Metadata, script: Script) -> None:
    script.on("information_schema.tables ", [{"TABLE_NAME": "elsewhere"}])
    there(script, "DUP_KEYS", "`id`", id="bigint")
    script.on(
        "SHOW CREATE TABLE",
        [{"Table": "elsewhere", "Create Table": "CREATE EXTERNAL TABLE `elsewhere` (`id` bigint) ENGINE=MYSQL"}],
    )
    assert "INSERT can't be tried on elsewhere" in module.trial(metadata, LOADER)


def test_a_backend_that_can_not_be_reached_fails_the_test_and_is_said_by_the_doctor(box: Box) -> None:
    box.table("id BIGINT")
    lost = box.open(be_addresses=f"{box.server.be}=127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"backend 127\.0\.0\.1:1, which can't be reached from here.*be_addresses"):
        lost.check()
    assert any("be_addresses" in text for text in lost.health([TableName("", "t")], None))
    assert not any("be_addresses" in text for text in box.sink.health([TableName("", "t")], None))
    assert box.states() == {}, "no load was begun"
