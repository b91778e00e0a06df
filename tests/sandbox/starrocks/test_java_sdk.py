"""StarRocks' own Java SDK, out of its Flink connector, loads through the stand-in and believes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sandbox.starrocks.sdk import JSON_FORMAT, Sdk, SdkError
from tests.servers import Missing, StarrocksServer, free_port
from tidegate.sandbox.starrocks.server import StarrocksSandbox

ROWS = ['{"id":1,"name":"Lily","score":23}', '{"id":2,"name":"Róse \\"R\\"","score":24}']
STORED = [(1, "Lily", 23), (2, 'Róse "R"', 24)]
CSV = {"format": "csv", "column_separator": "\\x01", "row_delimiter": "\\x02"}
"""The connector sends separators as they were configured and joins with what they mean."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Sdk]:
    """One Java process for the tests that don't kill it."""
    try:
        sdk = Sdk()
    except Missing as missing:
        if os.environ.get("TIDEGATE_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(missing))
    with sdk:
        yield sdk


@pytest.fixture
def server(starrocks_database: StarrocksServer) -> StarrocksServer:
    return starrocks_database


def _rows(server: StarrocksServer, query: str) -> list[tuple[Any, ...]]:
    return sorted(server.query(query))


def _load_urls(server: StarrocksServer) -> list[str]:
    return [f"{host}:{server.http_port}" for host in server.hosts]


def _jdbc(server: StarrocksServer) -> str:
    return f"jdbc:mysql://{server.hosts[0]}:{server.port}/{server.database}?useSSL=false"


@pytest.fixture
def scores(server: StarrocksServer) -> str:
    server.execute(
        "CREATE TABLE scores (id INT NOT NULL, name VARCHAR(50), score INT) PRIMARY KEY (id) DISTRIBUTED BY HASH (id)"
        ' BUCKETS 2 PROPERTIES ("replication_num" = "1")'
    )
    return "scores"


class Loader:
    """A manager of the SDK, opened on one table."""

    def __init__(self, sdk: Sdk, server: StarrocksServer, table: str, **more: Any) -> None:
        self.sdk, self.at = sdk, {"database": server.database, "table": table}
        fixed: dict[str, Any] = {
            "urls": _load_urls(server)[:1],
            "user": server.user,
            "password": server.password,
            "version": "3.3.5",
        }
        fixed |= {"manager": "v2", "properties": JSON_FORMAT, "prefix": f"p{server.database}"}
        sdk("open", **fixed | self.at | more)

    def write(self, *rows: str) -> None:
        """Buffer rows and flush them."""
        self.sdk("write", rows=rows, **self.at)
        self.sdk("flush")

    def snapshot(self) -> tuple[str, list[str]]:
        """What a checkpoint of Flink takes: an id to prepare and commit by, and its labels."""
        taken = self.sdk("snapshot")
        return taken["id"], taken["labels"]

    def state(self, label: str) -> str:
        return str(self.sdk("state", label=label, **self.at)["state"])

    def bodies(self) -> list[dict[str, Any]]:
        """The answers that the SDK passed to its listener since the last call."""
        return list(self.sdk("responses")["bodies"])


@pytest.fixture
def load(shared: Sdk, server: StarrocksServer, scores: str) -> Callable[..., Loader]:
    return lambda table=scores, **more: Loader(shared, server, table, **more)


class TestStreamLoad:
    """``_stream_load``, by both managers: sink.version=V1, and at-least-once without transactions."""

    @pytest.mark.parametrize("manager", ["v1", "v2"])
    def test_json(self, load: Callable[..., Loader], server: StarrocksServer, manager: str) -> None:
        loader = load(manager=manager)
        loader.write(*ROWS)
        assert _rows(server, "SELECT * FROM scores") == STORED
        (body,) = loader.bodies()
        counted = {name: body[name] for name in ("status", "message", "numberTotalRows", "numberLoadedRows", "numberFilteredRows")}
        assert counted == {
            "status": "Success",
            "message": "OK",
            "numberTotalRows": 2,
            "numberLoadedRows": 2,
            "numberFilteredRows": 0,
        }
        # The fields that the connector's metrics are made of.
        for name in ("loadTimeMs", "streamLoadPlanTimeMs", "readDataTimeMs", "writeDataTimeMs", "commitAndPublishTimeMs"):
            assert body[name] >= 0, name

    @pytest.mark.parametrize("manager", ["v1", "v2"])
    def test_csv_with_op(self, load: Callable[..., Loader], server: StarrocksServer, manager: str) -> None:
        server.execute("INSERT INTO scores VALUES (7, 'gone', 1), (8, 'old', 1)")
        loader = load(manager=manager, row_delimiter="\x02", properties=CSV, columns="`id`,`name`,`score`,__op")
        loader.write("7\x01\\N\x01\\N\x011", "8\x01new\nline\t\x012\x010", "9\x01\x01\\N\x010")
        assert _rows(server, "SELECT * FROM scores") == [(8, "new\nline\t", 2), (9, "", None)]

    def test_json_with_op(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        server.execute("INSERT INTO scores VALUES (7, 'gone', 1)")
        load().write('{"id":7,"__op":1}', '{"id":8,"name":"new","score":2,"__op":0}')
        assert _rows(server, "SELECT * FROM scores") == [(8, "new", 2)]

    def test_compressed_json(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        load(properties={**JSON_FORMAT, "compression": "lz4_frame"}).write(*ROWS)
        assert _rows(server, "SELECT * FROM scores") == STORED

    def test_refused_rows_are_read_from_the_error_url(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        loader = load(row_delimiter="\n", properties={"format": "csv", "column_separator": ",", "strict_mode": "true"})
        with pytest.raises(SdkError, match="too many filtered rows") as refused:
            loader.write("1,a,1", "x,b,2")
        # The SDK fetches the lines itself and puts them behind the response.
        assert "x,b,2" in str(refused.value).partition("errorLog:")[2]
        assert _rows(server, "SELECT * FROM scores") == []

    def test_a_wrong_password(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        with pytest.raises(SdkError, match="because of access denied"):
            load(password="wrong").write(*ROWS)


class TestTransactions:
    """The transaction interface: sink.version=V2."""

    def test_it_finds_that_the_server_has_them(self, shared: Sdk, server: StarrocksServer) -> None:
        assert shared("supports", urls=_load_urls(server)[:1], user=server.user, password=server.password) == {"supported": True}

    def test_it_finds_that_a_server_before_2_4_has_none(self, shared: Sdk) -> None:
        with StarrocksSandbox("2.3.18", password="secret") as box:
            urls = [f"{box.fe_host}:{box.fe_http_port}"]
            assert shared("supports", urls=urls, user=box.user, password="secret") == {"supported": False}

    @pytest.mark.parametrize("manager", ["v1", "v2"])
    def test_at_least_once(self, load: Callable[..., Loader], server: StarrocksServer, manager: str) -> None:
        loader = load(manager=manager, transaction=True)
        loader.write(*ROWS)
        if manager == "v1":
            assert loader.sdk("commit", id=_prepared(loader))["done"]
        assert _rows(server, "SELECT * FROM scores") == STORED
        assert {body["status"] for body in loader.bodies()} == {"OK"}

    def test_several_loads_in_one_transaction(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        loader = load(transaction=True, exactly_once=True, chunk_bytes=1)
        loader.write(*ROWS)
        assert loader.sdk("commit", id=_prepared(loader))["done"]
        assert _rows(server, "SELECT * FROM scores") == STORED

    def test_exactly_once(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        loader = load(transaction=True, exactly_once=True)
        loader.write(*ROWS)
        taken, (label,) = loader.snapshot()
        assert label == f"p{server.database}-scores-0-1"
        assert (loader.state(label), _rows(server, "SELECT * FROM scores")) == ("PREPARE", [])
        assert loader.sdk("prepare", id=taken)["done"]
        assert (loader.state(label), _rows(server, "SELECT * FROM scores")) == ("PREPARED", [])
        assert loader.sdk("commit", id=taken)["done"]
        assert (loader.state(label), _rows(server, "SELECT * FROM scores")) == ("VISIBLE", STORED)
        # Flink commits again what it can't know to be committed.
        assert loader.sdk("commit_label", label=label, **loader.at)["done"]
        loader.write('{"id":1,"__op":1}')
        taken, (label,) = loader.snapshot()
        assert label.endswith("-0-2")
        assert loader.sdk("abort", id=taken)["done"]
        assert (loader.state(label), _rows(server, "SELECT * FROM scores")) == ("ABORTED", STORED)

    def test_a_transaction_that_is_gone_is_no_success(self, load: Callable[..., Loader]) -> None:
        loader = load(transaction=True, exactly_once=True)
        assert loader.state("never") == "UNKNOWN"
        with pytest.raises(SdkError, match="Transaction commit failed"):
            loader.sdk("commit_label", label="never", **loader.at)
        with pytest.raises(SdkError, match="Transaction prepare failed"):
            loader.sdk("prepare_label", label="never", **loader.at)


class TestRestart:
    """The connector's own recovery, after a process that was killed."""

    @pytest.mark.parametrize("prepared", [False, True])
    def test_lingering_transactions_are_rolled_back(
        self, load: Callable[..., Loader], server: StarrocksServer, scores: str, prepared: bool
    ) -> None:
        with Sdk() as first:
            loader = Loader(first, server, scores, transaction=True, exactly_once=True)
            loader.write(*ROWS)
            taken, (label,) = loader.snapshot()
            if prepared:
                assert first("prepare", id=taken)["done"]
        loader = load(transaction=True, exactly_once=True)
        assert loader.state(label) == ("PREPARED" if prepared else "PREPARE")
        loader.sdk("abort_lingering", prefix=f"p{server.database}", **loader.at)
        assert (loader.state(label), _rows(server, "SELECT * FROM scores")) == ("ABORTED", [])
        # The label is free again: the restarted writer generates the same one.
        loader.write(*ROWS)
        taken, again = loader.snapshot()
        assert again == [label]
        assert loader.sdk("prepare", id=taken)["done"]
        assert loader.sdk("commit", id=taken)["done"]
        assert _rows(server, "SELECT * FROM scores") == STORED

    def test_a_prepared_transaction_is_committed_by_its_label(
        self, load: Callable[..., Loader], server: StarrocksServer, scores: str
    ) -> None:
        with Sdk() as first:
            loader = Loader(first, server, scores, transaction=True, exactly_once=True)
            loader.write(*ROWS)
            taken, (label,) = loader.snapshot()
            assert first("prepare", id=taken)["done"]
        loader = load(transaction=True, exactly_once=True)
        assert loader.sdk("commit_label", label=label, **loader.at)["done"]
        assert (loader.state(label), _rows(server, "SELECT * FROM scores")) == ("VISIBLE", STORED)
        with pytest.raises(SdkError, match="Try to abort a finished transactions"):
            loader.sdk("abort_lingering", prefix=f"p{server.database}", **loader.at)


class TestWalkthroughs:
    """Those of the connector's documentation, with what the connector sends for them, and the results that it shows."""

    BOARD = """CREATE TABLE `score_board`
        (
            `id` int(11) NOT NULL COMMENT "",
            `name` varchar(65533) NULL DEFAULT "" COMMENT "",
            `score` int(11) NOT NULL DEFAULT "0" COMMENT ""
        )
        ENGINE=OLAP
        PRIMARY KEY(`id`)
        COMMENT "OLAP"
        DISTRIBUTED BY HASH(`id`)"""
    VISITORS = """CREATE TABLE `{name}` (
          `page_id` INT NOT NULL COMMENT 'page',
          `visit_date` datetime NOT NULL COMMENT 'when',
          `visit_users` {type} NOT NULL COMMENT 'who'
        ) ENGINE=OLAP
        AGGREGATE KEY(`page_id`, `visit_date`)
        DISTRIBUTED BY HASH(`page_id`)"""

    @pytest.fixture(params=[False, True], ids=["stream_load", "transaction"])
    def csv(self, request: pytest.FixtureRequest, shared: Sdk, server: StarrocksServer) -> Callable[..., None]:
        def send(table: str, columns: str, *rows: str, **properties: str) -> None:
            more = {"columns": columns, "properties": {"format": "csv", **properties}, "row_delimiter": "\n"}
            Loader(shared, server, table, transaction=request.param, **more).write(*rows)

        return send

    def test_insert(self, csv: Callable[..., None], server: StarrocksServer) -> None:
        server.execute(self.BOARD)
        csv("score_board", "`id`,`name`,`score`,__op", "1\tstarrocks\t100\t0", "2\tflink\t100\t0")
        assert _rows(server, "select * from score_board") == [(1, "starrocks", 100), (2, "flink", 100)]

    def test_partial_update(self, csv: Callable[..., None], server: StarrocksServer) -> None:
        server.execute(self.BOARD, "INSERT INTO `score_board` VALUES (1, 'starrocks', 100), (2, 'flink', 100)")
        csv("score_board", "`id`,`name`,__op", "1\tstarrocks-update\t0", "2\tflink-update\t0", partial_update="true")
        assert _rows(server, "select * from score_board") == [(1, "starrocks-update", 100), (2, "flink-update", 100)]

    def test_conditional_update(self, shared: Sdk, server: StarrocksServer) -> None:
        server.execute(self.BOARD, "INSERT INTO `score_board` VALUES (1, 'starrocks', 100), (2, 'flink', 100)")
        more = {"columns": "`id`,`name`,`score`,__op", "properties": {"format": "csv", "merge_condition": "score"}}
        loader = Loader(shared, server, "score_board", row_delimiter="\n", **more)
        loader.write("1\tstarrocks-update\t99\t0", "2\tflink-update\t101\t0")
        assert _rows(server, "select * from score_board") == [(1, "starrocks", 100), (2, "flink-update", 101)]

    def test_bitmap(self, csv: Callable[..., None], server: StarrocksServer) -> None:
        server.execute(self.VISITORS.format(name="page_uv", type="BITMAP BITMAP_UNION"))
        visits = [(1, "01:30:30", 13), (1, "01:30:30", 23), (1, "01:30:30", 33), (1, "02:30:30", 13), (2, "01:30:30", 23)]
        rows = [f"{page}\t2020-06-23T{time}\t{user}" for page, time, user in visits]
        csv("page_uv", "page_id,visit_date,visit_user_id,visit_users=to_bitmap(visit_user_id)", *rows)
        found = _rows(server, "SELECT `page_id`, COUNT(DISTINCT `visit_users`) FROM `page_uv` GROUP BY `page_id`")
        assert found == [(1, 3), (2, 1)]

    def test_hll(self, csv: Callable[..., None], server: StarrocksServer) -> None:
        server.execute(self.VISITORS.format(name="hll_uv", type="HLL HLL_UNION"))
        # The connector writes a time of day without its seconds where they are 0.
        rows = "3\t2023-07-24T12:00\t78", "4\t2023-07-24T13:20:10\t2", "3\t2023-07-24T12:30\t674"
        csv("hll_uv", "page_id,visit_date,visit_user_id,visit_users=hll_hash(visit_user_id)", *rows)
        found = _rows(server, "SELECT `page_id`, COUNT(DISTINCT `visit_users`) FROM `hll_uv` GROUP BY `page_id`")
        assert found == [(3, 2), (4, 1)]


class TestTrouble:
    """What the SDK does when something goes wrong, and what has become of the rows then."""

    def test_a_follower_sends_it_to_the_leader(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        loader = load(urls=_load_urls(server)[1:], transaction=True, exactly_once=True)
        loader.write(*ROWS)
        assert loader.sdk("commit", id=_prepared(loader))["done"]
        assert _rows(server, "SELECT * FROM scores") == STORED

    def test_a_frontend_that_is_gone_is_passed_over(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        gone = f"{server.hosts[0]}:{free_port()}"
        loader = load(urls=[gone, *_load_urls(server)], transaction=True)
        loader.write(*ROWS)
        assert _rows(server, "SELECT * FROM scores") == STORED

    def test_a_publish_that_takes_long_is_a_success(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        server.fault("publish_timeout", on="stream_load", at="be")
        loader = load()
        loader.write(*ROWS)
        (body,) = loader.bodies()
        assert (body["status"], _rows(server, "SELECT * FROM scores")) == ("Publish Timeout", [])
        assert loader.state(body["label"]) == "COMMITTED"
        server.control("POST", "/publish")
        assert (loader.state(body["label"]), _rows(server, "SELECT * FROM scores")) == ("VISIBLE", STORED)

    def test_a_load_whose_answer_is_lost_is_found_done_under_its_label(
        self, load: Callable[..., Loader], server: StarrocksServer
    ) -> None:
        server.execute("CREATE TABLE log (id INT NOT NULL, name VARCHAR(9)) DUPLICATE KEY (id) DISTRIBUTED BY HASH (id)")
        server.fault("lost_reply", on="stream_load", at="be")
        loader = load(table="log", retries=1)
        loader.write('{"id":1,"name":"a"}')
        assert _rows(server, "SELECT * FROM log") == [(1, "a")]
        assert [(body["status"], body["existingJobStatus"]) for body in loader.bodies()] == [("Label Already Exists", "FINISHED")]

    def test_too_many_versions(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        server.fault("too_many_versions", on="stream_load", at="be")
        loader = load()
        with pytest.raises(SdkError, match="too many versions"):
            loader.write(*ROWS)
        assert _rows(server, "SELECT * FROM scores") == []

    def test_a_commit_whose_answer_is_lost_can_be_repeated(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        loader = load(transaction=True, exactly_once=True)
        loader.write(*ROWS)
        taken, (label,) = loader.snapshot()
        assert loader.sdk("prepare", id=taken)["done"]
        server.fault("lost_reply", on="commit")
        with pytest.raises(SdkError, match="NoHttpResponse"):
            loader.sdk("commit", id=taken)
        assert (loader.state(label), _rows(server, "SELECT * FROM scores")) == ("VISIBLE", STORED)
        assert loader.sdk("commit", id=taken)["done"]
        assert _rows(server, "SELECT * FROM scores") == STORED

    def test_a_busy_transaction_can_be_prepared_later(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        loader = load(transaction=True, exactly_once=True)
        loader.write(*ROWS)
        taken, _ = loader.snapshot()
        server.fault("busy", on="prepare", at="be")
        # Its maintainers were told: issues 383, 384, 472 and 473 of the connector.
        with pytest.raises(SdkError, match="TXN_IN_PROCESSING"):
            loader.sdk("prepare", id=taken)
        assert loader.sdk("prepare", id=taken)["done"]
        assert loader.sdk("commit", id=taken)["done"]
        assert _rows(server, "SELECT * FROM scores") == STORED

    def test_a_backend_that_dies_takes_the_transaction_along(self, load: Callable[..., Loader], server: StarrocksServer) -> None:
        loader = load(transaction=True, exactly_once=True)
        server.fault("dead", on="load", at="be")
        with pytest.raises(SdkError):
            loader.write(*ROWS)
        assert loader.state(f"p{server.database}-scores-0-1") == "ABORTED"
        assert _rows(server, "SELECT * FROM scores") == []


@pytest.fixture(scope="module", params=["5.1", "8"])
def driver(request: pytest.FixtureRequest, shared: Sdk) -> Iterator[tuple[Sdk, str]]:
    """A Java process for each version of Connector/J."""
    with Sdk(request.param) as sdk:
        yield sdk, request.param


class TestMetadata:
    """The connector's queries over JDBC, with both of the drivers that it takes."""

    @pytest.fixture
    def visitor(self, driver: tuple[Sdk, str], server: StarrocksServer) -> Sdk:
        sdk, version = driver
        said = sdk("jdbc", url=_jdbc(server), user=server.user, password=server.password)
        assert said["driver"].startswith({"5.1": "mysql-connector-java-5.1.", "8": "mysql-connector-j-8."}[version])
        return sdk

    def test_columns_keys_and_rows(self, visitor: Sdk, server: StarrocksServer) -> None:
        assert [(visitor("version")["version"],)] == server.query("SELECT current_version()")
        server.execute(
            "CREATE TABLE wide (id BIGINT NOT NULL, d DECIMAL(10, 2), v VARCHAR(9), t DATETIME, j JSON, l LARGEINT)"
            " PRIMARY KEY (id) DISTRIBUTED BY HASH (id)",
            "INSERT INTO wide (id, v) VALUES (1, 'a'), (2, 'b')",
        )
        found = visitor("columns", database=server.database, table="wide")
        columns = [(each["COLUMN_NAME"], each["COLUMN_KEY"], each["DATA_TYPE"]) for each in found["columns"]]
        assert columns == [
            ("id", "PRI", "bigint"),
            ("d", "", "decimal"),
            ("v", "", "varchar"),
            ("t", "", "datetime"),
            ("j", "", "json"),
            ("l", "", "bigint unsigned"),
        ]
        assert [int(each["ORDINAL_POSITION"]) for each in found["columns"]] == [1, 2, 3, 4, 5, 6]
        sizes = [(each["COLUMN_SIZE"], each["DECIMAL_DIGITS"]) for each in found["columns"][:3]]
        assert sizes == [(19, 0), (10, 2), (9, None)]
        assert (found["types"]["id"], found["types"]["v"]) == ("BIGINT", "VARCHAR")
        assert visitor("count", sql=f"SELECT COUNT(*) FROM {server.database}.wide")["count"] == 2

    def test_statements(self, visitor: Sdk, server: StarrocksServer) -> None:
        at = {"url": _jdbc(server), "user": server.user, "password": server.password}
        visitor("sql", sql="CREATE TABLE s (id INT, v VARCHAR(20)) DUPLICATE KEY (id) DISTRIBUTED BY HASH (id)", **at)
        visitor("sql", sql="INSERT INTO s VALUES (1, 'é'), (2, NULL)", **at)
        assert visitor("sql", sql="SELECT id, v FROM s ORDER BY id", **at)["rows"] == [["1", "é"], ["2", None]]


def _prepared(loader: Loader) -> str:
    """Take a snapshot and prepare it; its id."""
    taken, _ = loader.snapshot()
    assert loader.sdk("prepare", id=taken)["done"]
    return taken
