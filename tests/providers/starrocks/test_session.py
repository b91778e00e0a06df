"""The query port: failover, what is repeated and what is not, and the classes of errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.starrocks.scripted_sql import Script, fields, lost
from tests.providers.starrocks.scripted_sql import script as script
from tidegate.errors import ConfigError, PermanentError, PreflightError, SchemaError, TransientError, Unavailable
from tidegate.providers.starrocks import session as module
from tidegate.providers.starrocks.session import Denied, Session, connect_options, hosts, translated


@pytest.fixture
def session(script: Script) -> Iterator[Session]:
    made = Session(fields(host="fe1, fe2:9031, fe3"), "sr")
    yield made
    made.close()
    assert script.open == 0


def unreachable() -> Exception:
    return pymysql.err.OperationalError(2003, "Can't connect to MySQL server on 'fe1' (timed out)")


class TestFailover:
    def test_nothing_is_connected_before_the_first_statement(self, session: Session, script: Script) -> None:
        assert script.connects == []
        assert session.address is None

    def test_the_first_frontend_that_answers_is_taken_and_stays_the_first(self, session: Session, script: Script) -> None:
        script.refuses[("fe1", 9030)] = unreachable()
        session.rows("SELECT 1")
        assert session.address == "fe2:9031"
        script.refuses[("fe2", 9031)] = unreachable()
        script.on("SELECT 2", [])
        session.close()
        session.rows("SELECT 2")
        assert session.address == "fe3:9030"
        assert [(item["host"], item["port"]) for item in script.connects] == [
            ("fe1", 9030),
            ("fe2", 9031),
            ("fe2", 9031),
            ("fe3", 9030),
        ]

    def test_none_that_answers_is_unavailable_and_names_them_all(self, session: Session, script: Script) -> None:
        script.refuses = {(host, port): unreachable() for host, port in (("fe1", 9030), ("fe2", 9031), ("fe3", 9030))}
        with pytest.raises(Unavailable, match=r"fe1:9030.*fe2:9031.*fe3:9030") as caught:
            session.rows("SELECT 1")
        assert "geheim" not in str(caught.value)

    def test_a_wrong_password_is_not_tried_elsewhere(self, session: Session, script: Script) -> None:
        script.refuses[("fe1", 9030)] = pymysql.err.OperationalError(1045, "Access denied for user 'app' (using password: YES)")
        with pytest.raises(PreflightError, match="Access denied"):
            session.rows("SELECT 1")
        assert len(script.connects) == 1

    def test_every_connection_begins_with_the_time_zone(self, session: Session, script: Script) -> None:
        session.rows("SELECT 1")
        assert script.connects[0]["init_command"] == "SET time_zone = 'UTC'"


class TestKeptConnections:
    def test_a_dead_one_is_made_anew_and_the_question_repeated(self, session: Session, script: Script) -> None:
        session.rows("SELECT 1")
        failures = [lost()]

        def once(_: Any) -> list[dict[str, Any]]:
            if failures:
                raise failures.pop()
            return [{"a": 7}]

        script.on("SELECT a", once)
        assert session.value("SELECT a") == 7
        assert len(script.connects) == 2

    def test_a_fresh_one_that_is_lost_is_not_tried_again(self, session: Session, script: Script) -> None:
        script.on("SELECT a", lost())
        with pytest.raises(Unavailable):
            session.value("SELECT a")
        assert script.statements == ["SELECT a"]

    def test_a_statement_that_changes_something_is_never_repeated(self, session: Session, script: Script) -> None:
        session.rows("SELECT 1")
        script.on("CREATE", lost())
        with pytest.raises(Unavailable):
            session.run("CREATE TABLE t (a int)")
        assert script.statements.count("CREATE TABLE t (a int)") == 1

    def test_an_idle_one_is_looked_at_before_something_is_changed(
        self, session: Session, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session.rows("SELECT 1")
        monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
        script.on("PING", lost())
        session.run("DROP TABLE t")
        assert script.statements == ["SELECT 1", "PING", "DROP TABLE t"]
        assert len(script.connects) == 2

    def test_an_error_of_the_statement_keeps_the_connection(self, session: Session, script: Script) -> None:
        script.on("SELECT x", pymysql.err.ProgrammingError(1064, "Getting syntax error at line 1, column 0. Detail message: no."))
        with pytest.raises(PermanentError):
            session.rows("SELECT x")
        session.rows("SELECT 1")
        assert len(script.connects) == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "text", "kind"),
        [
            (5203, "Access denied; you need (at least one of) the INSERT privilege(s) on TABLE t for this operation", Denied),
            (1064, "Access denied; you need (at least one of) the OPERATE privilege(s) on SYSTEM", Denied),
            (1142, "SELECT command denied to user 'app'@'10.0.0.1' for table 't'", Denied),
            (1049, "Unknown database 'x'", SchemaError),
            (5501, "Unknown database 'x'", SchemaError),
            (5502, "Getting analyzing error. Detail message: Unknown table 'x.t'.", SchemaError),
            (1064, "Getting analyzing error. Detail message: Unknown table 'x.t'.", SchemaError),
            (1064, "Getting analyzing error. Detail message: Column '`t`.`c`' cannot be resolved.", SchemaError),
            (1064, "Backend not found. Check if any backend is down or not", Unavailable),
            (2013, "Lost connection to MySQL server during query", Unavailable),
            (1064, "Getting syntax error at line 1, column 0. Detail message: Unexpected input 'leader'.", PermanentError),
            (1045, "Access denied for user 'app' (using password: YES)", PreflightError),
        ],
    )
    def test_by_number_and_by_words(self, code: int, text: str, kind: type[Exception]) -> None:
        error = translated(pymysql.err.OperationalError(code, text), "sr", "shop.t")
        assert type(error) is kind
        assert "connection sr, table shop.t" in str(error)

    def test_what_comes_from_the_socket_is_unavailable(self) -> None:
        assert isinstance(translated(TimeoutError("timed out"), "sr"), TransientError)
        assert isinstance(translated(pymysql.err.InterfaceError(0, ""), "sr"), TransientError)


class TestFields:
    def test_hosts_with_and_without_ports(self) -> None:
        assert hosts(fields(host="a,b:1 , [::1]:2,[fe80::1]"), "sr") == [("a", 9030), ("b", 1), ("::1", 2), ("fe80::1", 9030)]

    @pytest.mark.parametrize("text", [",", "a:b", "a:0", "a:70000", ":9030"])
    def test_what_is_no_host_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="host"):
            hosts(fields(host=text), "sr")

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.integers(1, 65535)), min_size=1, max_size=5)
    )
    def test_hosts_are_read_as_they_are_written(self, pairs: list[tuple[str, int]]) -> None:
        assert hosts(fields(host=", ".join(f"{host}:{port}" for host, port in pairs)), "sr") == pairs

    def test_time_outs_are_in_seconds_and_a_statement_may_take_as_long_as_a_load(self) -> None:
        options = connect_options(fields(connect_timeout_ms=1500), "sr")
        assert (options["connect_timeout"], options["read_timeout"]) == (1.5, 600.0)
        assert connect_options(fields(socket_timeout_ms=2500), "sr")["read_timeout"] == 2.5

    def test_tls_is_what_is_asked_for(self) -> None:
        assert connect_options(fields(), "sr")["ssl_disabled"] is True
        assert connect_options(fields(ssl_mode="required"), "sr")["ssl"] == {"verify_mode": False}
        verified = connect_options(fields(ssl_mode="verify_identity", ssl_ca="/ca.pem"), "sr")
        assert (verified["ssl_ca"], verified["ssl_verify_cert"], verified["ssl_verify_identity"]) == ("/ca.pem", True, True)
        with pytest.raises(ConfigError, match="ssl_ca"):
            connect_options(fields(ssl_mode="verify_ca"), "sr")
        with pytest.raises(ConfigError, match="ssl_mode"):
            connect_options(fields(ssl_ca="/ca.pem"), "sr")
