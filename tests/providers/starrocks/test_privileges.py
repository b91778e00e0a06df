"""SHOW GRANTS, read."""

from __future__ import annotations

from tidegate.changes.schema import TableName
from tidegate.providers.starrocks.privileges import Privileges

T = TableName("shop", "orders")


def test_grants_by_name() -> None:
    found = Privileges.of(
        [
            "GRANT role_g, public to `app`@`%`;",
            "GRANT IMPERSONATE ON USER `a`@`%` TO USER `app`@`%`;",
            "GRANT CREATE_TABLE, ALTER ON DATABASE shop TO USER `app`@`%`;",
            "GRANT SELECT, INSERT ON TABLE shop.* TO USER `app`@`%`;",
            "GRANT ALTER ON TABLE `shop`.`orders` TO USER 'app'@'%' WITH GRANT OPTION",
            "GRANT USAGE ON CATALOG hive TO USER `app`@`%`",
        ]
    )
    assert found.roles == ("role_g", "public")
    assert not found.complete
    assert found.on_table(T, "SELECT")
    assert found.on_table(T, "ALTER")
    assert not found.on_table(T, "DELETE")
    assert not found.on_table(TableName("shop", "other"), "ALTER")
    assert not found.on_table(TableName("crm", "orders"), "SELECT")
    assert found.on_database("shop", "CREATE TABLE")
    assert not found.on_database("crm", "CREATE TABLE")


def test_everything() -> None:
    for grant in ("GRANT SELECT ON *.* TO ROLE r", "GRANT SELECT ON ALL TABLES IN ALL DATABASES TO USER 'a'@'%'"):
        assert Privileges.of([grant]).on_table(T, "SELECT")
    assert Privileges.of(["GRANT SELECT ON ALL TABLES IN DATABASE shop TO USER 'a'@'%'"]).on_table(T, "SELECT")
    assert not Privileges.of(["GRANT SELECT ON ALL TABLES IN DATABASE crm TO USER 'a'@'%'"]).on_table(T, "SELECT")
    assert Privileges.of(["GRANT CREATE TABLE ON ALL DATABASES TO USER 'a'@'%'"]).on_database("shop", "CREATE TABLE")


def test_grants_are_all_that_there_is_only_without_roles() -> None:
    assert Privileges.of(["GRANT SELECT ON TABLE shop.orders TO USER 'a'@'%'", "GRANT 'public' TO 'a'@'%'"]).complete
    assert not Privileges.of(["GRANT 'root', 'public' TO 'root'@'%'"]).complete
    assert not Privileges.of([]).complete
