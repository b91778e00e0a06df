"""Connections: their settings, and errors told apart."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest

from tests.providers.mysql.reading import Database
from tidegate.errors import ConfigError, PermanentError, PreflightError, SchemaError, TransientError, Unavailable
from tidegate.providers.mysql.connection import SYSTEM
from tidegate.providers.mysql.session import Server, Session, connect_options, quote, translated
from tidegate.providers.mysql.types import parse_labels


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (2003, Unavailable),
        (2006, Unavailable),
        (2013, Unavailable),
        (1040, Unavailable),
        (1205, Unavailable),
        (1213, Unavailable),
        (1045, PreflightError),
        (1044, PreflightError),
        (1142, PreflightError),
        (1227, PreflightError),
        (1146, SchemaError),
        (1049, SchemaError),
        (1064, PermanentError),
    ],
)
def test_errors_that_may_pass_are_told_from_those_that_do_not(number: int, kind: type[Exception]) -> None:
    error = translated(pymysql.err.OperationalError(number, "text"), "shop_mysql", "shop.orders")
    assert type(error) is kind
    assert str(error) == f"connection shop_mysql, table shop.orders: text (error {number})" + (
        f" [{error.setting}]" if error.setting else ""
    )
    assert isinstance(error, TransientError) == (kind is Unavailable)


@pytest.mark.mysql
def test_sessions_are_in_utc_and_utf8_whatever_the_server_has(db: Database) -> None:
    session = Session(db.source()._values, "shop_mysql")
    names = "@@session.time_zone, @@session.character_set_results, @@session.sql_mode, @@session.autocommit"
    assert session.rows(f"SELECT {names}") == [("+00:00", "utf8mb4", "NO_ENGINE_SUBSTITUTION", "1")]
    session.close()


@pytest.mark.mysql
def test_a_query_that_is_left_in_the_middle_costs_no_more_rows(db: Database) -> None:
    db.execute("CREATE TABLE t (v TEXT)", "INSERT INTO t VALUES " + ", ".join(["('x')"] * 5000))
    session = Session(db.source()._values, "shop_mysql")
    stream = session.stream(f"SELECT v FROM {db.name}.t")
    rows, done = stream.fetch(10, 1 << 20)
    assert (rows, done) == ([(b"x",)] * 10, False)
    stream.close()
    assert not session.driver.open


@pytest.mark.mysql
def test_a_connection_that_was_lost_is_opened_again(db: Database) -> None:
    db.execute("CREATE TABLE t (k INT PRIMARY KEY)")
    source = db.source()
    assert source.schema(db.table("t")).names == ("k",)
    session = source._session()
    number = session.rows("SELECT CONNECTION_ID()")[0][0]
    db.execute(f"KILL {number}")
    with pytest.raises(Unavailable):
        source.schema(db.table("t"))
    assert source.schema(db.table("t")).names == ("k",)


def options(**values: Any) -> dict[str, Any]:
    return connect_options(SYSTEM.values({"login": "u"} | values, "c"), "c")


def test_tls_is_as_strict_as_asked_for() -> None:
    assert options(ssl_mode="disabled")["ssl_disabled"] is True
    assert options(ssl_mode="required")["ssl"] == {"verify_mode": False}
    assert not {"ssl", "ssl_ca", "ssl_disabled"} & options().keys()
    assert options(ssl_mode="verify_identity", ssl_ca="ca.pem")["ssl_verify_identity"] is True
    assert options(ssl_mode="verify_ca", ssl_ca="ca.pem") | {"ssl_verify_cert": True, "ssl_verify_identity": False} == options(
        ssl_mode="verify_ca", ssl_ca="ca.pem"
    )
    with pytest.raises(ConfigError, match="needs the CA file"):
        options(ssl_mode="verify_ca")
    with pytest.raises(ConfigError, match="TLS is disabled"):
        options(ssl_mode="disabled", ssl_ca="ca.pem")


@pytest.mark.mysql
def test_tls_that_the_server_does_not_offer_is_not_done_without(maria: Database) -> None:
    with pytest.raises(PermanentError, match="SSL"):
        Session(SYSTEM.values(maria.server.values(ssl_mode="required"), "c"), "c")


def test_versions_are_compared_within_a_flavour() -> None:
    maria, mysql = Server(True, (10, 11, 19), "mariadb-1"), Server(False, (8, 0, 36), "u")
    assert maria.at_least(mysql=(99,), mariadb=(10, 5))
    assert not maria.at_least(mysql=(5,), mariadb=(11,))
    assert mysql.at_least(mysql=(8, 0, 1), mariadb=(99,))
    assert (str(maria), str(mysql)) == ("MariaDB 10.11.19", "MySQL 8.0.36")


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("enum('a','b')", ("a", "b")),
        ("ENUM('it''s','x,y','')", ("it's", "x,y", "")),
        (r"set('a\\b','c\nd')", ("a\\b", "c\nd")),
        ("enum('(',')')", ("(", ")")),
    ],
)
def test_labels_are_read_from_the_servers_description(written: str, labels: tuple[str, ...]) -> None:
    assert parse_labels(written) == labels


def test_identifiers_are_quoted() -> None:
    assert quote("a`b") == "`a``b`"
