"""curl with the commands of StarRocks' documentation: the stand-in answers with what the documentation shows.

The commands are those of ``docs/en/loading`` in StarRocks' repository: StreamLoad.md, Load_to_Primary_Key_tables.md and
Stream_Load_transaction_interface.md; that of ``_cancel`` is the path that its handler registers (CancelStreamLoad.java).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Missing, StarrocksServer, running, start_starrocks

SCORES = """CREATE TABLE {name} (
    `id` int(11) NOT NULL COMMENT "user ID",
    `name` varchar(65533) {null} COMMENT "user name",
    `score` int(11) NOT NULL COMMENT "user score"
)
ENGINE=OLAP
PRIMARY KEY(`id`)
DISTRIBUTED BY HASH(`id`)"""
EXAMPLE = "1,Lily,23\n2,Rose,23\n3,Alice,24\n4,Julia,25\n"
ROWS = [(1, "Lily", 23), (2, "Rose", 23), (3, "Alice", 24), (4, "Julia", 25)]


@dataclass(frozen=True)
class Curl:
    """curl with ``--location-trusted -u user:password``, as in every command of the documentation."""

    server: StarrocksServer
    folder: Path
    user: str

    def run(self, path: str, *headers: str, method: str = "", body: str | None = None, trusted: bool = True) -> dict[str, Any]:
        """One command; what it printed, as JSON."""
        return dict(json.loads(self.text(path, *headers, method=method, body=body, trusted=trusted)))

    def text(self, path: str, *headers: str, method: str = "", body: str | None = None, trusted: bool = True) -> str:
        command = ["curl", "--silent", "--show-error", "--max-time", "30", "--location-trusted" if trusted else "--location"]
        command += ["-u", self.user]
        for header in headers:
            command += ["-H", header]
        if body is not None:
            file = self.folder / "example"
            file.write_text(body)
            command += ["-T", str(file), "-XPUT"]
        if method:
            command += ["-X", method]
        url = path if path.startswith("http") else f"http://{self.server.hosts[0]}:{self.server.http_port}{path}"
        return subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout

    def load(self, table: str, body: str, *headers: str) -> dict[str, Any]:
        return self.run(f"/api/{self.server.database}/{table}/_stream_load", "Expect:100-continue", *headers, body=body)

    def transaction(self, operation: str, label: str, *headers: str, body: str | None = None) -> dict[str, Any]:
        fixed = f"label:{label}", "Expect:100-continue", f"db:{self.server.database}"
        method = "POST" if body is None else ""
        return self.run(f"/api/transaction/{operation}", *fixed, *headers, method=method, body=body)

    def state(self, label: str) -> str:
        reply = self.run(f"/api/{self.server.database}/get_load_state?label={label}")
        assert (reply["status"], reply["code"], reply["msg"]) == ("OK", "0", "Success")
        return str(reply["state"])


@pytest.fixture
def server(starrocks_database: StarrocksServer) -> StarrocksServer:
    return starrocks_database


def _rows(server: StarrocksServer, query: str) -> list[tuple[Any, ...]]:
    return sorted(server.query(query))


@pytest.fixture
def curl(server: StarrocksServer, tmp_path: Path) -> Curl:
    return Curl(server, tmp_path, f"{server.user}:{server.password}")


@pytest.fixture(scope="session", autouse=True)
def _curl() -> None:
    if shutil.which("curl") is None:
        if os.environ.get("TIDEGATE_REQUIRE_SERVERS"):
            raise Missing("curl was not found: apt-get install curl")
        pytest.skip("curl was not found: apt-get install curl")


@pytest.fixture
def scores(server: StarrocksServer) -> Callable[..., None]:
    def make(name: str, *rows: str, null: str = "NOT NULL") -> None:
        server.execute(SCORES.format(name=name, null=null), *(f"INSERT INTO {name} VALUES {row}" for row in rows))

    return make


class TestStreamLoad:
    def test_csv(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table1", null="NULL")
        reply = curl.load("table1", EXAMPLE, "label:123", "column_separator:,", "columns: id, name, score")
        assert _rows(server, "SELECT * FROM table1") == ROWS
        assert (reply["Status"], reply["Message"], reply["Label"]) == ("Success", "OK", "123")
        assert (reply["NumberTotalRows"], reply["NumberLoadedRows"]) == (4, 4)
        assert (reply["NumberFilteredRows"], reply["NumberUnselectedRows"]) == (0, 0)
        assert (reply["LoadBytes"], reply["TxnId"] > 0) == (len(EXAMPLE), True)
        assert curl.state("123") == "VISIBLE"

    def test_json_by_paths_with_an_expression(self, curl: Curl, server: StarrocksServer) -> None:
        server.execute(
            "CREATE TABLE table2 (id int(11) NOT NULL, city varchar(65533) NULL)"
            " ENGINE=OLAP PRIMARY KEY(`id`) DISTRIBUTED BY HASH(`id`)"
        )
        headers = "strict_mode: true", "format: json", 'jsonpaths: ["$.name", "$.code"]', "columns: city,tmp_id, id = tmp_id * 100"
        reply = curl.load("table2", '{"name": "Beijing", "code": 2}', *headers)
        assert reply["Status"] == "Success", reply
        assert _rows(server, "SELECT * FROM table2") == [(200, "Beijing")]

    def test_a_label_is_good_for_one_load(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table1")
        assert curl.load("table1", "1,a,1\n", "label:once", "column_separator:,")["Status"] == "Success"
        reply = curl.load("table1", "2,b,2\n", "label:once", "column_separator:,")
        assert (reply["Status"], reply["ExistingJobStatus"]) == ("Label Already Exists", "FINISHED")
        assert reply["Message"].startswith("Label [once] has already been used")
        assert _rows(server, "SELECT id FROM table1") == [(1,)]

    def test_refused_rows_fail_the_load_and_are_named_under_the_error_url(
        self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]
    ) -> None:
        scores("table1")
        body = "1,a,1\nx,b,2\n"
        reply = curl.load("table1", body, "label:bad", "column_separator:,", "strict_mode:true")
        assert (reply["Status"], reply["NumberFilteredRows"]) == ("Fail", 1)
        assert "too many filtered rows" in reply["Message"]
        assert "x" in curl.text(reply["ErrorURL"])
        assert (_rows(server, "SELECT id FROM table1"), curl.state("bad")) == ([], "ABORTED")
        reply = curl.load("table1", body, "label:bad", "column_separator:,", "strict_mode:true", "max_filter_ratio:0.5")
        assert (reply["Status"], reply["NumberLoadedRows"], reply["NumberFilteredRows"]) == ("Success", 1, 1)
        assert _rows(server, "SELECT id FROM table1") == [(1,)]


class TestPrimaryKeyTables:
    def test_upsert(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table1", "(101, 'Lily', 80)")
        assert curl.load("table1", "101,Lily,100\n102,Rose,100\n", "label:label1", "column_separator:,")["Status"] == "Success"
        assert _rows(server, "SELECT * FROM table1") == [(101, "Lily", 100), (102, "Rose", 100)]

    def test_upsert_by_the_constant(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table1", "(101, 'Lily', 80)")
        reply = curl.load("table1", "101,Lily,100\n102,Rose,100\n", "label:label2", "column_separator:,", "columns:__op ='upsert'")
        assert reply["Status"] == "Success", reply
        assert _rows(server, "SELECT * FROM table1") == [(101, "Lily", 100), (102, "Rose", 100)]

    def test_delete(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table2", "(101, 'Jack', 100), (102, 'Bob', 90)")
        reply = curl.load("table2", "101,Jack,100\n", "label:label3", "column_separator:,", "columns:__op='delete'")
        assert reply["Status"] == "Success", reply
        assert _rows(server, "SELECT * FROM table2") == [(102, "Bob", 90)]

    def test_upsert_and_delete_by_a_column(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table3", "(101, 'Tom', 100), (102, 'Sam', 90)")
        body = "101,Tom,100,1\n102,Sam,70,0\n103,Stan,80,0\n"
        headers = "label:label4", "column_separator:,", "columns: id, name, score, temp, __op = temp"
        assert curl.load("table3", body, *headers)["Status"] == "Success"
        assert _rows(server, "SELECT * FROM table3") == [(102, "Sam", 70), (103, "Stan", 80)]

    def test_partial_update(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table4", "(101, 'Tom', 80)")
        headers = "label:label7", "column_separator:,", "partial_update:true", "columns:id,name"
        reply = curl.load("table4", "101,Lily\n102,Rose\n103,Alice\n", *headers)
        assert reply["Status"] == "Success", reply
        assert _rows(server, "SELECT * FROM table4") == [(101, "Lily", 80), (102, "Rose", 0), (103, "Alice", 0)]

    def test_conditional_update(self, curl: Curl, server: StarrocksServer) -> None:
        server.execute(
            "CREATE TABLE `table5` (`id` int(11) NOT NULL, `version` int NOT NULL, `score` int(11) NOT NULL)"
            " ENGINE=OLAP PRIMARY KEY(`id`) DISTRIBUTED BY HASH(`id`)",
            "INSERT INTO table5 VALUES (101, 2, 80), (102, 2, 90)",
        )
        headers = "label:label10", "column_separator:,", "merge_condition:version"
        assert curl.load("table5", "101,1,100\n102,3,100\n", *headers)["Status"] == "Success"
        assert _rows(server, "SELECT * FROM table5") == [(101, 2, 80), (102, 3, 100)]


class TestTransactions:
    LABEL = "streamload_txn_example1_table1"

    def test_begin_load_prepare_commit(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table1", null="NULL")
        reply = curl.transaction("begin", self.LABEL, "table:table1")
        assert (reply["Status"], reply["Label"], reply["TxnId"] > 0) == ("OK", self.LABEL, True)
        assert curl.state(self.LABEL) == "PREPARE"
        again = curl.transaction("begin", self.LABEL, "table:table1")
        assert (again["Status"], again["ExistingJobStatus"]) == ("LABEL_ALREADY_EXISTS", "RUNNING")
        assert again["Message"].startswith(f"Label [{self.LABEL}] has already been used")
        loaded = curl.transaction("load", self.LABEL, "table:table1", "column_separator: ,", body=EXAMPLE)
        assert (loaded["Status"], loaded["TxnId"], loaded["LoadBytes"]) == ("OK", reply["TxnId"], len(EXAMPLE))
        prepared = curl.transaction("prepare", self.LABEL)
        assert (prepared["Status"], prepared["NumberLoadedRows"]) == ("OK", 4)
        assert (curl.state(self.LABEL), _rows(server, "SELECT * FROM table1")) == ("PREPARED", [])
        committed = curl.transaction("commit", self.LABEL)
        assert (committed["Status"], committed["TxnId"]) == ("OK", reply["TxnId"])
        assert (curl.state(self.LABEL), _rows(server, "SELECT * FROM table1")) == ("VISIBLE", ROWS)
        assert curl.transaction("commit", self.LABEL)["Status"] == "OK"
        assert _rows(server, "SELECT * FROM table1") == ROWS

    @pytest.mark.parametrize("prepared", [False, True])
    def test_rollback(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None], prepared: bool) -> None:
        scores("table1")
        curl.transaction("begin", self.LABEL, "table:table1")
        curl.transaction("load", self.LABEL, "table:table1", "column_separator: ,", body=EXAMPLE)
        if prepared:
            assert curl.transaction("prepare", self.LABEL)["Status"] == "OK"
        assert curl.transaction("rollback", self.LABEL)["Status"] == "OK"
        assert (curl.state(self.LABEL), _rows(server, "SELECT * FROM table1")) == ("ABORTED", [])

    def test_a_prepared_transaction_takes_no_more_data(self, curl: Curl, scores: Callable[..., None]) -> None:
        scores("table1")
        curl.transaction("begin", self.LABEL, "table:table1")
        curl.transaction("load", self.LABEL, "table:table1", "column_separator: ,", body=EXAMPLE)
        curl.transaction("prepare", self.LABEL)
        assert curl.transaction("load", self.LABEL, "table:table1", "column_separator: ,", body=EXAMPLE)["Status"] != "OK"

    @pytest.mark.parametrize("path", ["/api/{db}/{label}/_cancel", "/api/{db}/table1/_cancel?label={label}"])
    def test_cancel(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None], path: str) -> None:
        scores("table1")
        curl.transaction("begin", self.LABEL, "table:table1")
        curl.transaction("load", self.LABEL, "table:table1", "column_separator: ,", body=EXAMPLE)
        curl.transaction("prepare", self.LABEL)
        reply = curl.run(path.format(db=server.database, label=self.LABEL), method="POST")
        assert reply["status"] == "OK", reply
        assert curl.state(self.LABEL) == "ABORTED"

    def test_a_label_that_was_never_used(self, curl: Curl, server: StarrocksServer) -> None:
        assert curl.state("never") == "UNKNOWN"


class TestSeveralTables:
    """Since 4.0: ``transaction_type:multi`` with every step, and no table with ``begin``."""

    MULTI = "transaction_type:multi"
    TABLE = "CREATE TABLE {} (id INT NOT NULL, name VARCHAR(20), score INT) PRIMARY KEY (id) DISTRIBUTED BY HASH (id)"

    @pytest.fixture(scope="class")
    @classmethod
    def newest(cls) -> Iterator[StarrocksServer]:
        with running(start_starrocks, "--server-version", "4.0.1") as server:
            server.execute(cls.TABLE.format("table1"), cls.TABLE.format("table2"))
            yield server

    @pytest.mark.parametrize("end", ["rollback", "commit"])
    def test_all_of_it_or_nothing(self, newest: StarrocksServer, tmp_path: Path, end: str) -> None:
        newest.execute("TRUNCATE TABLE table1", "TRUNCATE TABLE table2")
        curl = Curl(newest, tmp_path, f"{newest.user}:{newest.password}")
        label = f"several-{end}"
        assert curl.transaction("begin", label, self.MULTI)["Status"] == "OK"
        for table in ("table1", "table2"):
            loaded = curl.transaction("load", label, self.MULTI, f"table:{table}", "column_separator: ,", body=EXAMPLE)
            assert loaded["Status"] == "OK", loaded
        query = "SELECT 1, id FROM table1 UNION ALL SELECT 2, id FROM table2"
        assert newest.query(query) == []
        assert curl.transaction(end, label, self.MULTI)["Status"] == "OK"
        wanted = [(table, id) for table in (1, 2) for id in (1, 2, 3, 4)] if end == "commit" else []
        assert (curl.state(label), _rows(newest, query)) == ("VISIBLE" if wanted else "ABORTED", wanted)


class TestRefusals:
    def test_without_expect(self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]) -> None:
        scores("table1")
        reply = curl.run(f"/api/{server.database}/table1/_stream_load", "Expect:", "column_separator:,", body=EXAMPLE)
        assert "There is no 100-continue header" in json.dumps(reply)
        assert _rows(server, "SELECT * FROM table1") == []

    def test_credentials_that_are_lost_on_the_way_to_the_backend(
        self, curl: Curl, server: StarrocksServer, scores: Callable[..., None]
    ) -> None:
        scores("table1")
        path = f"/api/{server.database}/table1/_stream_load"
        reply = curl.run(path, "Expect:100-continue", "column_separator:,", body=EXAMPLE, trusted=False)
        assert "no valid Basic authorization" in json.dumps(reply)
        assert _rows(server, "SELECT * FROM table1") == []

    def test_a_wrong_password(self, server: StarrocksServer, tmp_path: Path) -> None:
        curl = Curl(server, tmp_path, f"{server.user}:wrong")
        reply = curl.text(f"/api/{server.database}/get_load_state?label=x", "Expect:100-continue")
        assert "Access denied" in reply or "401" in reply, reply
