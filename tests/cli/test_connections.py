"""Connections on a command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.cli.connections import connection
from tidegate.errors import ConfigError


def test_a_url_gives_the_fields() -> None:
    found = connection("mysql://reader%40shop@db.example:3307/shop?ssl_mode=required&connect_timeout=5", "source", {})
    assert found.system.name == "mysql"
    assert found.name == "source mysql db.example"
    given = {name: found.values[name] for name in ("host", "port", "login", "password", "database", "ssl_mode", "connect_timeout")}
    assert given == {
        "host": "db.example",
        "port": 3307,
        "login": "reader@shop",
        "password": "",
        "database": "shop",
        "ssl_mode": "required",
        "connect_timeout": 5.0,
    }


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "tidegatepg"])
def test_a_system_goes_by_its_names(scheme: str) -> None:
    assert connection(f"{scheme}://loader@localhost/dw", "sink", {}).system.name == "postgres"


@pytest.mark.parametrize("url", ["/var/changes/shop", "s3://lake/changes/shop?x=1"])
def test_what_follows_changefiles_is_the_stream_s_own_url(url: str) -> None:
    assert connection(f"changefiles:{url}", "source", {}).values["url"] == url


def test_secrets_come_from_the_environment_of_their_role() -> None:
    environment = {"TIDEGATE_SOURCE_PASSWORD": "one", "TIDEGATE_SINK_PASSWORD": "two", "TIDEGATE_SINK_STORAGE_SECRETS": "{}"}
    assert connection("mysql://me@db", "source", environment).values["password"] == "one"
    assert connection("postgres://me@db", "sink", environment).values["password"] == "two"
    assert connection("changefiles:/a", "sink", environment).values["storage_secrets"] == "{}"


@pytest.mark.parametrize("url", ["mysql://me:s3cret@db", "mysql://me@db?password=s3cret"])
def test_a_password_in_a_url_is_refused_with_the_way_to_give_it(url: str) -> None:
    with pytest.raises(ConfigError, match="set TIDEGATE_SOURCE_PASSWORD") as caught:
        connection(url, "source", {})
    assert "s3cret" not in str(caught.value)


def test_a_file_holds_the_system_and_its_fields(tmp_path: Path) -> None:
    file = tmp_path / "shop.json"
    file.write_text(json.dumps({"system": "mysql", "host": "db", "login": "me", "password": "s3cret", "port": 3307}))
    found = connection(f"@{file}", "source", {})
    assert (found.values["password"], found.values["port"]) == ("s3cret", 3307)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oracle://me@db", "no system 'oracle'; there are adbpg, binlogfiles, cdcfiles, changefiles, gaussdb, mysql, postgres"),
        ("db.example", "not a connection: write mysql://"),
        ("mysql://me@db:99999", "not a URL: the port is a number"),
        ("mysql://me@[::1", "not a URL: the port is a number"),
        ("mysql://me@db?sslmode=required", "did you mean ssl_mode"),
        ("mysql://me@db?ssl_mode=maybe", "'maybe' is not one of"),
        ("mysql://db", "User is missing"),
        ("@/nowhere.json", "/nowhere.json can't be read: No such file"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        connection(text, "source", {})


@pytest.mark.parametrize("content", ["not json", "[]", '{"host": "db"}'])
def test_a_file_that_is_no_connection_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "shop.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"shop\.json is not"):
        connection(f"@{file}", "source", {})
