"""A copy beside the table takes its place in one moment, with all that belonged to the table, or is refused before it begins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from tests.providers.postgres.conftest import Box, changes, inserts, schema_of
from tests.providers.postgres.test_commit import Cutter, cutter
from tests.providers.postgres.test_ledger import entry
from tests.providers.postgres.test_load import people, rows
from tests.servers import wait_until
from tidegate.changes.schema import Column, TableName, TableSchema
from tidegate.errors import LeaseLost, PermanentError, PreflightError, SchemaError, Unavailable
from tidegate.providers.postgres.load import PostgresLoad
from tidegate.providers.postgres.shadow import ShadowTarget, shadow_table
from tidegate.sync.mapping import Target
from tidegate.sync.protocols import Lease, Load

pytestmark = pytest.mark.postgres
__all__ = ["cutter"]

OLD = people((1, "old"), (2, "old"))
NEW = people((2, "new"), (3, "new"), (4, "new"))
SCHEMA = schema_of(OLD, "id")


def shadow_of(box: Box, target: Target) -> ShadowTarget:
    """The shadow, created as a run creates it."""
    box.sink.drop_shadow(target)
    shadow = box.sink.shadow(target)
    box.prepare(shadow)
    return shadow


def copied(box: Box, target: Target, table: pa.Table = NEW, lease: Lease | None = None) -> tuple[Load, ShadowTarget]:
    """A load in which the whole copy has been written and swapped, and nothing is committed."""
    shadow = shadow_of(box, target)
    load = box.sink.begin([shadow], lease)
    try:
        load.write(shadow, inserts(table, *target.key), "fresh")
        load.swap(target, shadow)
    except BaseException:
        load.abort()
        raise
    return load, shadow


def copy_anew(box: Box, target: Target, table: pa.Table = NEW) -> None:
    copied(box, target, table)[0].commit([])


def problems(box: Box, target: Target) -> str:
    return "\n".join(map(str, box.sink.inspect(box.sink.shadow(target)).problems))


def old_table(box: Box, *more: str) -> Target:
    box.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint PRIMARY KEY, name text)")
    box.execute("INSERT INTO ods.t VALUES (1, 'old'), (2, 'old')", *more)
    return box.target(SCHEMA)


# What readers see


@contextmanager
def reading(box: Box, seen: list[Any], query: str = "SELECT array_agg(name ORDER BY id) FROM ods.t") -> Iterator[None]:
    """Connections that ask the query without a pause, each statement by itself."""
    stop = threading.Event()

    def read() -> None:
        connection = box.server.connect()
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute(query)
                    seen.append(cursor.fetchall()[0][0])
        except BaseException as error:
            seen.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_readers_see_the_old_rows_until_the_commit_and_the_new_ones_from_then_on(box: Box) -> None:
    target = old_table(box)
    seen: list[Any] = []
    with reading(box, seen):
        for _ in range(5):
            copy_anew(box, target)
            copy_anew(box, target, OLD)
        copy_anew(box, target)
        enough = len(seen) + 10
        wait_until(lambda: len(seen) >= enough, "ten more readings")
    assert {str(item) for item in seen} == {"['old', 'old']", "['new', 'new', 'new']"}
    assert rows(box) == [(2, "new"), (3, "new"), (4, "new")]


def test_pages_of_a_copy_are_committed_without_a_trace_in_the_table_and_go_on_after_a_crash(light: Box) -> None:
    target = old_table(light)
    shadow = shadow_of(light, target)
    first = light.sink.begin([shadow], None)
    first.write(shadow, inserts(NEW.slice(0, 1), "id"), "fresh")
    first.commit([])
    lost = light.sink.begin([shadow], None)
    lost.write(shadow, inserts(NEW.slice(1), "id"), "fresh")
    lost.swap(target, shadow)
    lost.abort()
    assert rows(light) == [(1, "old"), (2, "old")]
    found = light.sink.inspect(shadow)
    assert (found.exists, found.empty, found.ddl, found.problems) == (True, False, (), ())
    again = light.sink.begin([shadow], None)
    again.write(shadow, inserts(NEW.slice(1), "id"), "fresh")
    again.swap(target, shadow)
    again.commit([])
    assert rows(light) == [(2, "new"), (3, "new"), (4, "new")]
    assert light.query("SELECT count(*) FROM pg_class WHERE relname LIKE '%tidegate%' AND relnamespace = 'ods'::regnamespace") == [
        (0,)
    ]


def test_the_table_goes_on_to_be_written_after_the_swap(light: Box) -> None:
    target = old_table(light)
    copy_anew(light, target)
    light.write(target, changes(people((2, "x"), (5, "five")), "-D +I", "id"))
    assert [row[0] for row in rows(light)] == [3, 4, 5]
    copy_anew(light, target, OLD)
    assert rows(light) == [(1, "old"), (2, "old")]


# What belongs to the table

DRESSED = """
CREATE ROLE keeper; CREATE ROLE analyst; CREATE ROLE "odd ""role"; GRANT CREATE ON SCHEMA ods TO keeper;
ALTER DEFAULT PRIVILEGES IN SCHEMA ods GRANT ALL ON TABLES TO analyst;
CREATE TABLE ods.t (
  id bigint NOT NULL, name varchar(40) COLLATE "C" DEFAULT 'none', doc jsonb, day date,
  up text GENERATED ALWAYS AS (upper(name)) STORED, CONSTRAINT "the key" PRIMARY KEY (id) INCLUDE (day),
  CONSTRAINT named CHECK (name <> 'bad'), UNIQUE (id, name) DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 70, toast.autovacuum_enabled = false);
CREATE INDEX "by name" ON ods.t USING btree (name text_pattern_ops DESC) WITH (fillfactor = 60) WHERE day IS NOT NULL;
CREATE INDEX by_expression ON ods.t ((lower(name)), day) INCLUDE (doc);
CREATE INDEX by_doc ON ods.t USING gin (doc jsonb_path_ops);
CREATE UNIQUE INDEX with_key ON ods.t (id, day) NULLS NOT DISTINCT;
COMMENT ON TABLE ods.t IS 'the people''s table'; COMMENT ON COLUMN ods.t.name IS 'their name';
COMMENT ON INDEX ods.by_doc IS 'a gin'; COMMENT ON CONSTRAINT "the key" ON ods.t IS 'a key';
COMMENT ON CONSTRAINT named ON ods.t IS 'c';
ALTER TABLE ods.t ALTER COLUMN day SET STATISTICS 7, ALTER COLUMN doc SET STORAGE EXTERNAL, ALTER COLUMN name SET (n_distinct = 5);
REVOKE ALL ON ods.t FROM analyst; GRANT SELECT ON ods.t TO analyst; GRANT UPDATE (name), SELECT (id) ON ods.t TO "odd ""role";
GRANT INSERT ON ods.t TO "odd ""role" WITH GRANT OPTION; GRANT SELECT ON ods.t TO PUBLIC; ALTER TABLE ods.t OWNER TO keeper;
REVOKE TRUNCATE ON ods.t FROM keeper;
"""

LOOKS = """
SELECT 'table', json_build_array(relname, pg_get_userbyid(relowner), reloptions,
         (SELECT reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid), obj_description(c.oid, 'pg_class'))::text
FROM pg_class c WHERE oid = 'ods.t'::regclass
UNION ALL SELECT 'grant', a::text FROM pg_class c, aclexplode(relacl) a WHERE oid = 'ods.t'::regclass
UNION ALL SELECT 'column', json_build_array(attname, format_type(atttypid, atttypmod), attnotnull, attstattarget, attstorage,
         attcompression, attcollation, attgenerated, attoptions, attacl::text, col_description(attrelid, attnum),
         (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum))::text
FROM pg_attribute WHERE attrelid = 'ods.t'::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'index', json_build_array(pg_get_indexdef(indexrelid), indisprimary, indimmediate,
         obj_description(indexrelid, 'pg_class'))::text
FROM pg_index WHERE indrelid = 'ods.t'::regclass
UNION ALL
SELECT 'constraint', json_build_array(conname, contype, pg_get_constraintdef(oid),
         obj_description(oid, 'pg_constraint'))::text
FROM pg_constraint WHERE conrelid = 'ods.t'::regclass
ORDER BY 1, 2
"""


@pytest.fixture
def roles(box: Box) -> Iterator[None]:
    yield
    box.execute('DROP OWNED BY keeper, analyst, "odd ""role" CASCADE', 'DROP ROLE keeper, analyst, "odd ""role"')


def test_owner_grants_comments_settings_and_indexes_go_over(box: Box, roles: None) -> None:
    box.execute("CREATE SCHEMA ods", DRESSED)
    box.execute("INSERT INTO ods.t VALUES (1, 'old', '{}', '2020-01-01')")
    table = pa.table({"id": [1, 2], "name": ["a", "b"], "doc": ['{"a": 1}', "[]"], "day": pa.array([1, None], pa.date32())})
    schema = TableSchema(
        TableName("shop", "t"),
        (
            Column("id", pa.int64(), False),
            Column("name", pa.string(), attributes={"length": "40"}),
            Column("doc", pa.string(), attributes={"json": "1"}),
            Column("day", pa.date32()),
        ),
        ("id",),
    )
    before = box.query(LOOKS)
    assert len([item for item in before if item[0] == "index"]) == 6
    target = box.target(schema)
    copy_anew(box, target, table)
    assert box.query(LOOKS) == before
    assert box.query("SELECT id, name, doc, up FROM ods.t ORDER BY id") == [(1, "a", {"a": 1}, "A"), (2, "b", [], "B")]
    copy_anew(box, target, table)
    assert box.query(LOOKS) == before
    assert box.query("SELECT reltuples FROM pg_class WHERE oid = 'ods.t'::regclass") == [(2.0,)]


def test_columns_that_no_longer_fit_get_another_type_and_missing_ones_are_added_and_the_key_may_change(light: Box) -> None:
    old_table(light, "ALTER TABLE ods.t ADD flag boolean DEFAULT true, ADD short varchar(4), ADD wide numeric")
    table = pa.table({"id": [1, 1], "region": ["a", "b"], "name": ["x", "y"], "flag": [1.5, None], "short": ["long", "s"]})
    table = table.append_column("wide", pa.array([1, 2], pa.int32()))
    target = light.target(schema_of(table, "id", "region"))
    found = light.sink.inspect(light.sink.shadow(target))
    assert found.problems == ()
    assert any("flag: boolean becomes double precision; its default is dropped" in warning for warning in found.warnings)
    assert any("primary key (id) becomes (id, region)" in warning for warning in found.warnings)
    copy_anew(light, target, table)
    assert light.query("SELECT id, region, name, flag, short, wide FROM ods.t ORDER BY region") == [
        (1, "a", "x", 1.5, "long", 1),
        (1, "b", "y", None, "s", 2),
    ]
    assert light.query(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = 'ods.t'::regclass"
    ) == [("t_pkey", "PRIMARY KEY (id, region)")]
    types = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'ods.t'::regclass AND attnum > 0"
    assert dict(light.query(types)) == {
        "id": "bigint",
        "name": "text",
        "flag": "double precision",
        "short": "character varying(4)",
        "wide": "numeric",
        "region": "text",
    }


def test_a_key_index_that_is_no_primary_key_is_there_from_the_beginning(light: Box) -> None:
    light.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint, name text)", "CREATE UNIQUE INDEX mine ON ods.t (id)")
    target = light.target(SCHEMA)
    shadow = shadow_of(light, target)
    assert light.sink.inspect(shadow).strategy == "INSERT … ON CONFLICT"
    copy_anew(light, target)
    assert light.query("SELECT indexname FROM pg_indexes WHERE schemaname = 'ods'") == [("mine",)]


def test_a_table_without_any_index_on_the_key_stays_without(light: Box) -> None:
    light.execute("CREATE SCHEMA ods", "CREATE TABLE ods.t (id bigint, name text)")
    copy_anew(light, light.target(SCHEMA))
    assert rows(light) == [(2, "new"), (3, "new"), (4, "new")]
    assert light.query("SELECT indexname FROM pg_indexes WHERE schemaname = 'ods'") == []


def test_a_table_that_is_gone_is_made_anew(light: Box) -> None:
    copy_anew(light, light.target(SCHEMA))
    assert rows(light) == [(2, "new"), (3, "new"), (4, "new")]
    assert light.sink.inspect(light.target(SCHEMA)).strategy == "INSERT … ON CONFLICT"
    assert light.query("SELECT obj_description('ods.t'::regclass)") == [(None,)]


# What can't go over is refused before the copy begins


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE VIEW ods.v AS SELECT id FROM ods.t", "rule _RETURN on view ods.v"),
        ("CREATE MATERIALIZED VIEW ods.m AS SELECT 1 FROM ods.t", "materialized view ods.m"),
        ("CREATE TABLE ods.child (t bigint REFERENCES ods.t)", "constraint child_t_fkey on table ods.child"),
        ("CREATE TABLE ods.p (n bigint PRIMARY KEY); ALTER TABLE ods.t ADD FOREIGN KEY (id) REFERENCES ods.p NOT VALID",
         "constraint t_id_fkey on table ods.t"),
        ("CREATE FUNCTION ods.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
         "CREATE TRIGGER tr BEFORE INSERT ON ods.t FOR EACH ROW EXECUTE FUNCTION ods.f()", "trigger tr on table ods.t"),
        ("CREATE POLICY mine ON ods.t USING (true)", "policy mine on table ods.t"),
        ("ALTER TABLE ods.t ENABLE ROW LEVEL SECURITY", "row level security"),
        ("CREATE RULE r AS ON DELETE TO ods.t DO INSTEAD NOTHING", "rule r on table ods.t"),
        ("CREATE PUBLICATION mine FOR TABLE ods.t", "publication mine"),
        ("CREATE PUBLICATION every FOR ALL TABLES", "publication every"),
        ("CREATE TABLE ods.heir () INHERITS (ods.t)", "table ods.heir"),
        ("CREATE TABLE ods.base (id bigint NOT NULL); ALTER TABLE ods.t INHERIT ods.base", "table ods.base"),
        ("ALTER TABLE ods.t REPLICA IDENTITY FULL", "a replica identity"),
        ("ALTER TABLE ods.t SET UNLOGGED", "being UNLOGGED"),
        ("CREATE STATISTICS ods.s ON id, name FROM ods.t", "statistics object ods.s"),
        ("CREATE SEQUENCE ods.q OWNED BY ods.t.id", "sequence ods.q"),
        ("ALTER TABLE ods.t ALTER id ADD GENERATED BY DEFAULT AS IDENTITY", "sequence ods.t_id_seq"),
        ("CREATE FUNCTION ods.g(ods.t) RETURNS int LANGUAGE sql AS 'SELECT 1'", "function ods.g(ods.t)"),
        ("CREATE FUNCTION ods.h() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(id) FROM ods.t; END", "function ods.h()"),
        ("CREATE TABLE ods.holder (rows ods.t[])", "column rows of table ods.holder"),
        ("ALTER TABLE ods.t ADD EXCLUDE (id WITH =)", "t_id_excl"),
        ("CLUSTER ods.t USING t_pkey", "index t_pkey (invalid, clustered"),
        ("ALTER TABLE ods.t ADD mine int, ADD loaded timestamptz DEFAULT now()", "the source doesn't have mine, loaded"),
        ("CREATE UNIQUE INDEX other ON ods.t (name, (id + 1))", "unique indexes besides the key (other)"),
    ],
)  # fmt: skip
def test_what_a_copy_cannot_take_over_is_named_with_the_choices(light: Box, statement: str, said: str) -> None:
    target = old_table(light, statement)
    found = problems(light, target)
    light.execute("DROP PUBLICATION IF EXISTS mine, every")
    assert said in found
    assert "table ods.t: " in found
    assert "tidegate resync" in found or "create them again" in found


def test_a_partitioned_table_is_refused(light: Box) -> None:
    light.execute("CREATE SCHEMA ods; CREATE TABLE ods.t (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)")
    light.execute("CREATE TABLE ods.t1 PARTITION OF ods.t FOR VALUES FROM (0) TO (9)")
    assert "its partitions" in problems(light, light.target(SCHEMA))
    assert "table ods.t" in problems(light, light.target(SCHEMA, "ods.t1"))


def test_what_appears_while_the_copy_is_under_way_is_refused_at_the_swap(light: Box) -> None:
    target = old_table(light)
    altered = "altered since its copy began"
    for statement, undo, said in (
        ("CREATE VIEW ods.v AS SELECT id FROM ods.t", "DROP VIEW ods.v", "view ods.v"),
        ("ALTER TABLE ods.t ADD CHECK (id > 0)", "ALTER TABLE ods.t DROP CONSTRAINT t_id_check", altered),
        ("ALTER TABLE ods.t ALTER name SET DEFAULT 'x'", "ALTER TABLE ods.t ALTER name DROP DEFAULT", altered),
        ("CREATE UNIQUE INDEX other ON ods.t (name) WHERE id > 5", "DROP INDEX ods.other", "unique indexes besides the key"),
    ):
        shadow = shadow_of(light, target)
        light.execute(statement)
        load = light.sink.begin([shadow], None)
        load.write(shadow, inserts(NEW, "id"), "fresh")
        with pytest.raises(PermanentError, match=said):
            load.swap(target, shadow)
        load.abort()
        light.execute(undo)
    assert rows(light) == [(1, "old"), (2, "old")]
    copy_anew(light, target)


def test_an_account_that_does_not_own_the_table_is_told_what_to_grant(box: Box) -> None:
    target = old_table(box)
    box.execute("CREATE ROLE weak LOGIN", "CREATE ROLE boss", "GRANT CREATE, USAGE ON SCHEMA ods TO weak")
    box.execute("GRANT ALL ON ods.t TO weak", "ALTER TABLE ods.t OWNER TO boss")
    sink = box.open(login="weak")
    try:
        shadow = sink.shadow(target)
        found = sink.inspect(shadow).problems
        assert isinstance(found[0], PreflightError)
        assert "no member of its owner, boss: grant it that role" in str(found[0])
        box.execute("GRANT boss TO weak")
        assert "owner boss, to whom the account may not give a table in this schema" in str(sink.inspect(shadow).problems[0])
        box.execute("GRANT CREATE, USAGE ON SCHEMA ods TO boss")
        found_now = sink.inspect(shadow)
        assert found_now.problems == ()
        sink.prepare(shadow, found_now)
        load = sink.begin([shadow], None)
        load.write(shadow, inserts(NEW, "id"), "fresh")
        load.swap(target, shadow)
        load.commit([])
        assert box.query("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'ods.t'::regclass") == [("boss",)]
        assert len(rows(box)) == 3
    finally:
        sink.close()
        box.execute("DROP OWNED BY weak, boss CASCADE", "DROP ROLE weak, boss")


def test_an_index_that_does_not_take_a_columns_new_type_is_refused_before_the_copy(light: Box) -> None:
    old_table(light, "ALTER TABLE ods.t ADD doc jsonb", "CREATE INDEX ON ods.t USING gin (doc jsonb_path_ops)")
    table = pa.table({"id": [1], "name": ["x"], "doc": pa.array([b"x"])})
    target = light.target(schema_of(table, "id"))
    with pytest.raises(PermanentError, match=r"operator class .* does not accept data type bytea"):
        shadow_of(light, target)
    light.execute("DROP INDEX ods.t_doc_idx", "CREATE INDEX mine ON ods.t (doc)")
    copy_anew(light, target, table)
    assert light.query("SELECT indexname FROM pg_indexes WHERE schemaname = 'ods' ORDER BY 1") == [("mine",), ("t_pkey",)]


# The shadow's name


def test_names_of_shadows_fit_and_differ() -> None:
    assert shadow_table(TableName("ods", "t")) == TableName("ods", "t__tidegate_shadow")
    names = {shadow_table(TableName("ods", "ü" * 20 + "x" * 20 + end)).name for end in ("", "a", "b", "aa")}
    assert len(names) == 4
    assert all(len(name.encode()) <= 63 and name.endswith("__tidegate_shadow") for name in names)


def test_a_table_with_the_longest_name_is_copied(light: Box) -> None:
    name = "ü" * 31 + "x"
    target = light.target(SCHEMA, f"ods.{name}")
    light.write(target, inserts(OLD, "id"))
    copy_anew(light, target)
    assert rows(light, f'ods."{name}"') == [(2, "new"), (3, "new"), (4, "new")]


def test_a_table_of_the_shadows_name_that_is_not_ours_is_left_alone(light: Box) -> None:
    target = old_table(light, "CREATE TABLE ods.t__tidegate_shadow (id bigint)")
    assert "is there already, and is no copy of ods.t that tidegate made" in problems(light, target)
    with pytest.raises(SchemaError, match="no copy of"):
        light.sink.drop_shadow(target)
    load = light.sink.begin([target], None)
    with pytest.raises(SchemaError, match="no copy of"):
        load.swap(target, light.sink.shadow(target))
    load.abort()
    assert rows(light, "ods.t__tidegate_shadow") == []


def test_dropping_a_shadow_that_is_not_there_does_nothing(light: Box) -> None:
    target = old_table(light)
    light.sink.drop_shadow(target)
    shadow_of(light, target)
    light.sink.drop_shadow(target)
    assert not light.sink.inspect(light.sink.shadow(target)).exists


def test_what_a_copy_sets_aside_is_the_targets_own(box: Box) -> None:
    old_table(box)
    box.sink.ledger.setup()
    target = box.target(SCHEMA, on_error="quarantine")
    copied(box, target, people((2, "new"), (3, "a\0b")), box.sink.ledger.acquire("s", "me", 60))[0].commit([])
    assert rows(box) == [(2, "new")]
    assert box.query("SELECT target_table, keys::text FROM tidegate.tidegate_quarantine") == [("t", '[["3"]]')]


# The moment of the swap


def test_a_long_query_makes_the_swap_wait_and_then_give_up_while_others_go_on_reading(box: Box) -> None:
    target = old_table(box)
    holder = box.server.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT * FROM ods.t")
    box.sink.close()
    box.sink = box.open(lock_timeout=1)
    seen: list[Any] = []
    try:
        with reading(box, seen), pytest.raises(Unavailable, match=r"table ods\.t: .*lock timeout.*\[lock_timeout\]"):
            copied(box, target)
    finally:
        holder.close()
    assert {str(item) for item in seen} == {"['old', 'old']"}
    copy_anew(box, target)
    assert len(rows(box)) == 3


def test_the_lock_is_asked_for_again_so_that_readers_get_through_in_between(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.providers.postgres.swap.LOCK_SECONDS", 0.2)
    target = old_table(box)
    holder, other = box.server.connect(), box.server.connect()
    other.autocommit = True
    with holder.cursor() as cursor:
        cursor.execute("SELECT * FROM ods.t")
    done: list[Load] = []
    swapping = threading.Thread(target=lambda: done.append(copied(box, target)[0]))
    swapping.start()
    try:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ods.t'::regclass"
        deadline = time.monotonic() + 30
        while box.query(waiting) == [(0,)] and time.monotonic() < deadline:
            pass
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM ods.t")  # would wait for the holder behind the swap's request
            assert cursor.fetchall() == [(2,)]
        assert swapping.is_alive()
    finally:
        holder.close()
        other.close()
        swapping.join()
    done[0].commit([])
    assert len(rows(box)) == 3


def test_a_session_that_dies_after_the_swap_leaves_the_old_table_and_a_shadow_to_be_dropped(box: Box) -> None:
    target = old_table(box)
    load, _ = copied(box, target)
    assert isinstance(load, PostgresLoad)
    pid = load._session.value("SELECT pg_backend_pid()")
    assert box.query(f"SELECT pg_terminate_backend({pid}, 10000)") == [(True,)]
    with pytest.raises(Unavailable):
        load.commit([])
    assert rows(box) == [(1, "old"), (2, "old")]
    copy_anew(box, target)
    assert rows(box) == [(2, "new"), (3, "new"), (4, "new")]


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_lost_commit_there_is_the_old_table_or_the_new_one_and_the_ledger_agrees(
    box: Box, cutter: Cutter, when: str
) -> None:
    target = old_table(box)
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    box.sink.close()
    direct, box.sink = box.sink, box.open(port=cutter.port)
    load, _ = copied(box, target, lease=lease)
    cutter.armed = when
    with pytest.raises(Unavailable):
        load.commit([entry(10)])
    load.abort()
    box.sink.close()
    box.sink = direct
    box.sink.ledger.acquire("s", "me", 60)  # waits until the lost transaction has ended
    committed = when == "after"
    assert bool(box.sink.ledger.last("s")) == committed
    assert len(rows(box)) == (3 if committed else 2)
    box.sink.drop_shadow(target)
    assert len(rows(box)) == (3 if committed else 2)


def test_a_run_that_was_overtaken_swaps_nothing(box: Box) -> None:
    target = old_table(box)
    box.sink.ledger.setup()
    lease = box.sink.ledger.acquire("s", "me", 60)
    load, _ = copied(box, target, lease=lease)
    other = box.open()
    other.ledger.acquire("s", "me", 60)
    other.close()
    with pytest.raises(LeaseLost):
        load.commit([entry(10)])
    assert rows(box) == [(1, "old"), (2, "old")]
