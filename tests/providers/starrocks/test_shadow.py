"""A copy beside the old rows, which takes their place once: resync, and initial='replace'."""

from __future__ import annotations

import pytest

from tests.providers.starrocks.conftest import FIRST, SCHEMA, SOURCE, Box, Killed, at, entry, inserts, kill, people, rows
from tidegate.sync.mapping import Target


def tables(box: Box) -> list[str]:
    return sorted(name for (name,) in box.query("SHOW TABLES") if not name.startswith("tidegate_"))


def prepared_shadow(box: Box, target: Target) -> Target:
    shadow = box.sink.shadow(target)
    box.prepare(shadow)
    return shadow


def test_a_shadow_is_made_like_its_table_and_takes_its_place(either: Box) -> None:
    either.table("id BIGINT, name VARCHAR(20), mine INT DEFAULT '7'", "PRIMARY KEY(id) COMMENT 'kept' DISTRIBUTED BY HASH(id)")
    either.execute("INSERT INTO t VALUES (1, 'old', 1), (9, 'gone', 1)")
    target = either.target(SCHEMA)
    shadow = prepared_shadow(either, target)
    load = either.begin(shadow)
    load.write(shadow, inserts(FIRST, "id"), "fresh")
    load.swap(target, shadow)
    load.commit([])
    assert rows(either) == [(1, "ann", 7), (2, "bob", 7)]
    assert "kept" in either.query("SHOW CREATE TABLE t")[0][1]
    assert tables(either) == ["t"]
    either.write(target, inserts(people((3, "cid")), "id"))
    assert len(rows(either)) == 3


def test_readers_see_the_old_rows_until_the_load_is_committed(box: Box) -> None:
    target = box.target(SCHEMA)
    box.write(target, inserts(people((9, "old")), "id"))
    shadow = prepared_shadow(box, target)
    load = box.begin(shadow)
    load.write(shadow, inserts(FIRST, "id"), "fresh")
    load.swap(target, shadow)
    assert rows(box) == [(9, "old")]
    load.abort()
    assert rows(box) == [(9, "old")]
    box.sink.drop_shadow(target)
    box.sink.drop_shadow(target)
    assert tables(box) == ["t"]


def test_the_shadow_of_a_table_whose_type_no_longer_fits_is_made_like_the_source(box: Box) -> None:
    box.table("id BIGINT, name INT")
    target = box.target(SCHEMA)
    assert box.sink.inspect(target).problems
    shadow = prepared_shadow(box, target)
    load = box.begin(shadow)
    load.write(shadow, inserts(FIRST, "id"), "fresh")
    load.swap(target, shadow)
    load.commit([])
    assert rows(box) == [(1, "ann"), (2, "bob")]


def test_the_shadow_of_a_table_that_is_gone_is_given_its_name(box: Box) -> None:
    target = box.target(SCHEMA)
    shadow = prepared_shadow(box, target)
    load = box.begin(shadow)
    load.write(shadow, inserts(FIRST, "id"), "fresh")
    load.swap(target, shadow)
    load.commit([])
    assert (rows(box), tables(box)) == ([(1, "ann"), (2, "bob")], ["t"])


AFTER = ("before the swap", "after the swap", "after the drop")


@pytest.mark.parametrize(
    ("version", "dies"),
    [
        ("AUTO", "before the decision"),
        ("AUTO", "before the commit"),
        *((version, dies) for version in ("AUTO", "V1") for dies in AFTER),
    ],
)
def test_a_swap_that_was_decided_is_done_once_whenever_the_run_dies(
    box: Box, version: str, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.reopen(sink_version=version)
    target = box.target(SCHEMA)
    box.write(target, inserts(people((9, "old")), "id"))
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    shadow = prepared_shadow(box, target)
    load = box.begin(shadow, lease=lease)
    load.write(shadow, inserts(FIRST, "id"), "fresh")
    load.swap(target, shadow)
    if dies == "before the decision":
        kill(box.sink, "prepare", after=True)
    elif dies == "before the commit":
        kill(box.sink, "commit")
    else:
        real = box.sink.metadata.apply

        def apply(table: object, statement: str, **more: object) -> None:
            if (dies == "before the swap" and "SWAP" in statement) or (dies == "after the swap" and "DROP" in statement):
                raise Killed
            real(table, statement, **more)  # type: ignore[arg-type]
            if dies == "after the drop" and "DROP" in statement:
                raise Killed

        monkeypatch.setattr(box.sink.metadata, "apply", apply)
    with pytest.raises(Killed):
        load.commit([entry(10)])
    before = rows(box)
    assert before == ([(9, "old")] if dies.startswith("before") else [(1, "ann"), (2, "bob")])
    for _ in range(2):
        box.reopen(sink_version=version)
        lease = box.sink.ledger.acquire("s", "me", 60)
        box.sink.ledger.intents(lease)
    if dies == "before the decision":
        assert rows(box) == [(9, "old")]
        assert box.sink.ledger.last("s") == {}
    else:
        assert rows(box) == [(1, "ann"), (2, "bob")]
        assert tables(box) == ["t"]
        assert box.sink.ledger.last("s")[SOURCE].position == at(10)
    box.write(target, inserts(people((3, "cid")), "id"), lease=lease)
    assert (3, "cid") in rows(box)
