"""Headers that a user gives: those that are nearly ones of StarRocks are pointed out, and all are passed on."""

from __future__ import annotations

import pytest

from tests.providers.starrocks.scripted_sql import Script, fields
from tests.providers.starrocks.scripted_sql import script as script
from tests.providers.starrocks.test_inspection import look, target
from tests.providers.starrocks.test_vendor import LEAST
from tidegate.providers.starrocks.headers import KNOWN, load_headers, misspelt
from tidegate.providers.starrocks.metadata import Metadata
from tidegate.providers.starrocks.session import Session
from tidegate.providers.starrocks.vendor import PREFIX, from_flink


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("log_rejected_record_nmu", "log_rejected_record_num"),
        ("partial_update_mod", "partial_update_mode"),
        ("strict-mode", "strict_mode"),
        ("temporary_partition", "temporary_partitions"),
        ("foramt", "format"),
        ("were", "where"),
    ],
)
def test_a_header_that_is_nearly_one_of_starrocks_is_pointed_out(given: str, meant: str) -> None:
    (note,) = misspelt({given: "1"})
    assert note.startswith(f"{given}: did you mean {meant}?")


def test_nothing_is_said_of_known_headers_and_of_those_of_versions_to_come() -> None:
    assert misspelt(dict.fromkeys((*KNOWN, "x-trace-id", "merge_commit_timeout", "row_group", "schema"), "1")) == []


def test_the_plan_warns_of_the_connection_s_headers_and_of_the_table_s(script: Script) -> None:
    script.on("CURRENT_VERSION", [{"v": "3.3.5"}]).on("schemata", [{"1": 1}])
    values = fields(properties='{"load_dpo": "2"}')
    session = Session(values, "sr")
    found = look(Metadata(session), target(properties={"Log_Rejected_Record_Nmu": "5"}))
    session.close()
    assert [note.split("?")[0] for note in found.warnings] == [
        "properties: load_dpo: did you mean load_dop",
        "properties: log_rejected_record_nmu: did you mean log_rejected_record_num",
    ]
    assert found.problems == ()
    assert load_headers(values, "json", None, array=True)["load_dpo"] == "2"


def test_a_flink_table_s_is_noted_and_passed_on() -> None:
    name = "log_rejected_record_nmu"
    found = from_flink({**LEAST, PREFIX + name: "5"})
    assert [note for note in found.notes if note.startswith(f"{PREFIX}{name}: did you mean log_rejected_record_num?")]
    assert found.options.properties == {name: "5"}
