"""The documented truth table of writemode, conflictmode and exceptionmode, cell by cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.providers.adbpg.conftest import AdbpgBox, own_database
from tests.providers.postgres.conftest import inserts, schema_of
from tests.servers import PostgresServer
from tidegate.errors import ConflictError, RowRefused
from tidegate.sync.results import WriteResult

pytestmark = pytest.mark.postgres

DOCS = Path(__file__).parents[3] / "docs"
METHODS = {"0": "insert", "1": "copy", "2": "upsert"}
ON_ERRORS = {"strict": "fail", "ignore": "skip"}
CONFLICT_MODES = ("upsert", "update", "ignore", "strict")
HEADER = "| `writemode` | `conflictmode` | `exceptionmode` |"

BATCH = pa.table({"id": [1, 2, 3], "name": ["new", "now", "too long"]})
STAYS = (9, "xyz")


def cells() -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of the documented table by their modes, whichever page of the docs holds it."""
    pages = [text for page in sorted(DOCS.glob("adbpg*.md")) if HEADER in (text := page.read_text())]
    assert len(pages) == 1, "the truth table stands in one page"
    lines = list(itertools.takewhile(lambda line: line.startswith("|"), pages[0][pages[0].index(HEADER) :].splitlines()))
    split = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    rows = [dict(zip(split[0], row, strict=True)) for row in split[2:]]
    return {tuple(row[f"`{name}`"] for name in ("writemode", "conflictmode", "exceptionmode")): row for row in rows}


CELLS = cells()


def test_every_cell_is_documented_under_our_options() -> None:
    assert set(CELLS) == set(itertools.product(METHODS, CONFLICT_MODES, ON_ERRORS))
    for (write, conflict, exception), cell in CELLS.items():
        ours = (cell["`method`"], cell["`conflict_mode`"], cell["`on_error`"])
        assert ours == (METHODS[write], conflict, ON_ERRORS[exception])


@pytest.fixture(scope="module", params=["staged", "native"])
def server_box(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[AdbpgBox]:
    """A server without COPY … ON CONFLICT, and one with it."""
    with own_database(postgres, f"truth_{request.param}", greenplum=request.param == "native") as box:
        yield box


@pytest.fixture
def cell_box(server_box: AdbpgBox) -> AdbpgBox:
    """A table with two rows."""
    server_box.execute(
        "DROP SCHEMA IF EXISTS ods CASCADE",
        "CREATE SCHEMA ods",
        "CREATE TABLE ods.t (id bigint PRIMARY KEY, name varchar(3))",
        f"INSERT INTO ods.t VALUES (2, 'old'), {STAYS}",
    )
    return server_box


@pytest.mark.parametrize("modes", CELLS, ids="-".join)
def test_a_cell_does_what_the_document_says(cell_box: AdbpgBox, modes: tuple[str, ...]) -> None:
    cell = CELLS[modes]
    target = cell_box.target(
        schema_of(BATCH, "id"), method=cell["`method`"], conflict_mode=cell["`conflict_mode`"], on_error=cell["`on_error`"]
    )
    ended, result = "goes on", WriteResult()
    try:
        result = cell_box.write(target, inserts(BATCH, "id"))
    except (RowRefused, ConflictError) as error:
        ended = type(error).__name__
    rows = dict(cell_box.query("SELECT id, name FROM ods.t"))
    assert rows.pop(STAYS[0]) == STAYS[1]
    lost = "lost, counted" if result.skipped == 1 else "not written"
    seen = {
        "new key": "written" if rows.pop(1, None) == "new" else "not written",
        "key that is there": {"now": "replaced", "old": "kept"}[rows.pop(2)],
        "refused row": "written" if 3 in rows else lost,
        "the run": ended,
    }
    assert not rows
    assert seen == {name: cell[name] for name in seen}
