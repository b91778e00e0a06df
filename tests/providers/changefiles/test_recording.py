"""The recording that the demo replays."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tests.providers.changefiles.reference import Replica
from tests.providers.changefiles.streams import open_source
from tidegate.changes.batch import RowKind
from tidegate.changes.schema import TableName
from tidegate.providers.changefiles.manifest import Manifest, origin
from tidegate.sync.protocols import Limits, Window

SHOP = Path(__file__).parents[3] / "example_dags" / "data" / "shop"
TABLES = [TableName("shop", table) for table in ("customers", "products", "orders", "order_items")]


def test_three_ticks_of_three_segments_end_in_the_rows_that_the_source_held() -> None:
    source = open_source(SHOP, segments_per_run=3)
    positions = dict(source.start(TABLES, consistent=False))
    replica = Replica({table: source.schema(table) for table in TABLES})
    for tick in range(1, 4):
        assert source.preflight(positions).problems == ()
        head = source.head()
        assert head.segment == 3 * tick
        replica.apply(source.read(Window(positions, head), Limits(rows=500)))
        positions = dict.fromkeys(TABLES, head)
    for table in TABLES:
        expected = pq.read_table(SHOP / "expected" / f"{table.name}.parquet")
        assert expected.num_rows > 50
        assert replica.differing(table, expected) == []
    assert open_source(SHOP).head() == head
    assert source.lag_seconds() == 0.0


def test_the_recording_holds_every_kind_of_change_and_moved_keys() -> None:
    source = open_source(SHOP)
    counts = dict.fromkeys(RowKind, 0)
    manifests = [Manifest.load(path.read_bytes(), name=path.name, connection="") for path in sorted(SHOP.glob("*.json"))]
    for manifest in manifests:
        for item in manifest.files:
            for kind, count in item.rows.items():
                counts[kind] += count
    assert all(counts.values())
    assert source.head().origin == origin([entry.position for entry in manifests[-1].entries.values()]) is not None
    moved = 0
    for chunk in source.read(Window(source.start(TABLES, consistent=False), source.head()), Limits()):
        for batch in chunk.batches:
            before, after = (
                batch.data.filter(batch.kinds == kind).select(list(batch.schema.key)).to_pylist()
                for kind in (RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER)
            )
            moved += sum(old != new for old, new in zip(before, after, strict=True))
    assert moved > 50
