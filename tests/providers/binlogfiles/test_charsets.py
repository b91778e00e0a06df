"""What is known of character sets without a server is what servers say."""

from __future__ import annotations

import pytest

from tests.servers import MySqlServer
from tidegate.errors import SchemaError
from tidegate.providers.binlogfiles.charsets import _NARROW, _WIDE, OfflineCharsets

pytestmark = pytest.mark.mysql


@pytest.fixture(params=["mariadb", "mysql56"])
def server(request: pytest.FixtureRequest) -> MySqlServer:
    found: MySqlServer = request.getfixturevalue(request.param)
    return found


def ask(server: MySqlServer, sql: str) -> list[tuple[str, ...]]:
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[str, ...]] = list(cursor.fetchall())
    connection.close()
    return found


def test_every_collation_is_known(server: MySqlServer) -> None:
    table = "COLLATION_CHARACTER_SET_APPLICABILITY" if "mariadb" in str(server.folder) else "COLLATIONS"
    offline = OfflineCharsets("c")
    found = ask(server, f"SELECT ID, CHARACTER_SET_NAME FROM information_schema.{table} WHERE ID IS NOT NULL")
    assert len(found) > 200
    for number, name in found:
        assert offline.of_collation(int(number)) == name.replace("utf8mb3", "utf8").replace(
            "utf8", "utf8mb3", name in ("utf8", "utf8mb3")
        )


def test_every_width_is_the_servers(server: MySqlServer) -> None:
    for name, width in ask(server, "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS"):
        assert OfflineCharsets("c").width("utf8mb3" if name == "utf8" else name) == int(width), name


def test_every_byte_becomes_what_the_server_makes_of_it(server: MySqlServer) -> None:
    every = bytes(range(256))
    for charset in _NARROW:
        ((expected,),) = ask(server, f"SELECT CONVERT(_{charset} x'{every.hex()}' USING utf8mb4)")
        assert OfflineCharsets("c").text(charset, every) == expected, charset


def test_wide_sets_give_what_the_server_gives(server: MySqlServer) -> None:
    """A text in each; tests/providers/mysql/test_charsets.py holds the codecs against the server for every character."""
    for charset in _WIDE:
        name = "utf8" if charset == "utf8mb3" else charset
        ((raw, text),) = ask(
            server, f"SELECT HEX(CONVERT('aé中文…' USING {name})), CONVERT(CONVERT('aé中文…' USING {name}) USING utf8mb4)"
        )
        assert OfflineCharsets("c").text(charset, bytes.fromhex(raw)) == text, charset


@pytest.mark.parametrize("charset", ["sjis", "big5", "ujis", "swe7", "gb18030"])
def test_a_set_that_python_maps_otherwise_is_refused(charset: str) -> None:
    with pytest.raises(SchemaError, match=f"the character set {charset} can't be converted"):
        OfflineCharsets("c").texts(charset)


def test_a_number_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SchemaError, match="the collation number 9999 isn't known"):
        OfflineCharsets("c").of_collation(9999)
