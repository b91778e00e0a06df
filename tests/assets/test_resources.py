"""Dagster resources: their fields are the systems', their secrets are masked, their values may come from the environment."""

import types
import typing

import dagster as dg
import pytest

from tidegate.assets import (
    AdbpgResource,
    BinlogFilesResource,
    CdcFilesResource,
    ChangeFilesResource,
    GaussdbResource,
    MysqlResource,
    PostgresResource,
    StarRocksResource,
    TidegateResource,
)
from tidegate.providers.system import systems

pytestmark = pytest.mark.dagster

RESOURCES: list[type[TidegateResource]] = [
    MysqlResource,
    PostgresResource,
    GaussdbResource,
    AdbpgResource,
    StarRocksResource,
    ChangeFilesResource,
    CdcFilesResource,
    BinlogFilesResource,
]


def test_every_system_has_a_resource() -> None:
    assert {resource.system.name for resource in RESOURCES} == set(systems())


@pytest.mark.parametrize("resource", RESOURCES)
def test_fields_are_those_that_the_system_declares(resource: type[TidegateResource]) -> None:
    declared = {field.name: field for field in resource.system.fields}
    fields = resource.model_fields
    assert list(fields) == list(declared)
    for name, field in fields.items():
        expected = declared[name]
        assert field.is_required() == expected.required
        if not expected.required:
            assert field.default == expected.default
        assert bool((typing.cast(dict[str, object], field.json_schema_extra) or {}).get("dagster__is_secret")) == expected.secret
        kinds = typing.get_args(field.annotation) or (field.annotation,)
        optional = not expected.required and expected.default is None
        assert set(kinds) == ({expected.type, types.NoneType} if optional else {expected.type}), name


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_HOST", "db.example")
    monkeypatch.setenv("SHOP_PORT", "3307")
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    seen = []

    @dg.asset
    def look(shop: MysqlResource) -> None:
        seen.append(shop.values())

    shop = MysqlResource(
        host=dg.EnvVar("SHOP_HOST"), port=dg.EnvVar.int("SHOP_PORT"), login="reader", password=dg.EnvVar("SHOP_PASSWORD")
    )
    dg.materialize([look], resources={"shop": shop})
    assert (seen[0]["host"], seen[0]["port"], seen[0]["password"]) == ("db.example", 3307, "s3cret")


def test_messages_name_a_connection_without_its_password() -> None:
    shop = MysqlResource(host="db.example", login="reader", password="s3cret")
    assert shop.connection == "mysql reader@db.example:3306"
    assert ChangeFilesResource(url="ftp://me:s3cret@host/shop").connection == "changefiles host/shop"


def test_a_server_that_cannot_be_reached_is_told_without_its_password() -> None:
    warehouse = PostgresResource(host="127.0.0.1", port=1, login="loader", password="s3cret")
    good, text = warehouse.test_connection()
    assert not good
    assert "127.0.0.1" in text
    assert "s3cret" not in text
