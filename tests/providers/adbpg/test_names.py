"""Names are matched to the catalog ignoring case, and taken as they are where case counts."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import FakeSource
from tests.model import Change
from tests.providers.adbpg.sinks import AdbpgBox
from tests.providers.postgres.conftest import changes, schema_of
from tidegate.changes.schema import Column, TableName, TableSchema, fold
from tidegate.errors import ConfigError, SchemaError
from tidegate.providers.adbpg.names import stored, stored_names
from tidegate.sync.mapping import Sync
from tidegate.sync.options import WriteOptions
from tidegate.sync.plan import plan
from tidegate.sync.run import run
from tidegate.sync.verbs import Verbs

T = TableName("ods", "t")


@pytest.fixture
def box(plain: AdbpgBox) -> AdbpgBox:
    plain.execute("CREATE SCHEMA ods")
    return plain


def columns(box: AdbpgBox, table: str) -> list[str]:
    found = box.query(f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum")
    return [name for (name,) in found]


def rows(*names: str, number: int = 2) -> pa.Table:
    return pa.table({name: pa.array(range(1, number + 1), pa.int64()) for name in names})


# Which name is meant

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_names = st.text("abAB_Éé1", min_size=1, max_size=3)


@patient
@given(name=_names, there=st.lists(_names, unique=True, max_size=6))
def test_the_same_name_wins_then_the_only_one_that_differs_in_case(name: str, there: list[str]) -> None:
    near = [item for item in there if fold(item) == fold(name)]
    if name in there:
        assert stored(name, there) == name
    elif len(near) > 1:
        with pytest.raises(ConfigError) as caught:
            stored(name, there)
        assert all(item in str(caught.value) for item in (name, *near, "case_sensitive"))
    else:
        assert stored(name, there) == (near[0] if near else fold(name))


@patient
@given(names=st.lists(_names, unique=True, max_size=5), there=st.lists(_names, unique=True, max_size=5))
def test_two_columns_are_never_one(names: list[str], there: list[str]) -> None:
    twins = len({fold(name) for name in names}) < len(names)
    if twins or any(name not in there and sum(fold(item) == fold(name) for item in there) > 1 for name in names):
        with pytest.raises(ConfigError) as caught:
            stored_names(names, there)
        assert caught.value.setting == "case_sensitive"
    else:
        found = stored_names(names, there)
        assert len(set(found.values())) == len(names)
        assert all(fold(name) == fold(item) for name, item in found.items())


@patient
@given(names=st.lists(_names, unique=True, min_size=1, max_size=5), given_names=st.lists(_names, unique=True, max_size=5))
def test_a_table_as_its_user_calls_it_has_the_same_columns(names: list[str], given_names: list[str]) -> None:
    schema = TableSchema(T, tuple(Column(name, pa.int64()) for name in names), (names[0],))
    try:
        called = schema.called(given_names)
    except SchemaError:
        assert len({fold(name) for name in names}) < len(names)  # the table has both, and the user names a third
        return
    assert [fold(name) for name in called.names] == [fold(name) for name in names]
    assert all(name in called.names for name in given_names if name in names)
    assert called.key == (called.names[0],)


# Tables and columns

pg = pytest.mark.postgres


@pg
def test_columns_of_another_case_are_written_read_and_described(box: AdbpgBox) -> None:
    box.execute('CREATE TABLE ods.t (id bigint PRIMARY KEY, "bB" bigint, c bigint)')
    box.write(box.target(schema_of(rows("ID", "Bb", "C"), "ID"), "ODS.T"), changes(rows("ID", "Bb", "C"), "+U +U", "ID"))
    assert box.query('SELECT id, "bB", c FROM ods.t ORDER BY 1') == [(1, 1, 1), (2, 2, 2)]
    found = pa.Table.from_batches(box.sink.read(TableName("Ods", "T"), ["ID", "BB"]))
    assert found.column_names == ["ID", "BB"]
    described = box.sink.describe(TableName("ods", "T"))
    assert described is not None
    assert described.names == ("id", "bB", "c")


@pg
def test_new_tables_and_columns_get_names_in_lower_case(box: AdbpgBox) -> None:
    box.write(box.target(schema_of(rows("ID", "A"), "ID"), "Ods.New"), changes(rows("ID", "A"), "+U +U", "ID"))
    assert columns(box, "ods.new") == ["id", "a"]
    target = box.target(schema_of(rows("ID", "A", "Late"), "ID"), "ODS.NEW")
    found = box.sink.inspect(target)
    assert found.ddl == ('ALTER TABLE "ods"."new" ADD COLUMN IF NOT EXISTS "late" bigint',)
    box.sink.prepare(target, found)
    load = box.sink.begin([target], None)
    load.fill(target, Column("Late", pa.int64()), pa.scalar(7))
    load.commit([])
    assert box.query("SELECT late FROM ods.new") == [(7,), (7,)]
    load = box.sink.begin([target], None)
    assert load.truncate(target).deleted == 2
    load.commit([])


@pg
def test_options_that_name_columns_follow_them(box: AdbpgBox) -> None:
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY, v bigint, a bigint, gone boolean NOT NULL DEFAULT false)")
    schema = schema_of(rows("ID", "V", "A"), "ID")
    box.write(box.target(schema), changes(rows("ID", "V", "A"), "+U +U", "ID"))
    set_a = box.target(schema, conflict_mode="update", columns=("V", "A"), version_column="V")
    box.write(set_a, changes(pa.table({"ID": [1, 2], "V": [0, 9], "A": [50, 60]}), "+U +U", "ID"))
    marks = box.target(schema, delete_mode="soft", soft_delete_column="GONE")
    box.write(marks, changes(rows("ID", "V", "A", number=1), "-D", "ID"))
    assert box.query("SELECT * FROM ods.t ORDER BY id") == [(1, 1, 1, True), (2, 9, 60, False)]


@pg
def test_a_log_with_the_kind_of_each_change(box: AdbpgBox) -> None:
    box.execute("CREATE TABLE ods.t (id bigint, a bigint, op text)")
    target = box.target(schema_of(rows("ID", "A"), "ID"), write_mode="append", op_column="OP")
    kinds = "+I -U +U -D"
    result = box.write(target, changes(rows("ID", "A", number=4), kinds, "ID"))
    assert result.inserted == 4
    assert box.query("SELECT op FROM ods.t ORDER BY id") == [("INSERT",), ("UPDATE_BEFORE",), ("UPDATE_AFTER",), ("DELETE",)]


@pg
def test_a_refused_row_is_kept_under_the_names_of_the_table(box: AdbpgBox) -> None:
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY, a varchar(1))")
    table = pa.table({"ID": [1, 2], "A": ["x", "long"]})
    box.write(box.target(schema_of(table, "ID"), "ods.T", on_error="quarantine"), changes(table, "+U +U", "ID"))
    found = box.query("SELECT target_table, keys, events -> 0 -> 'values' FROM tidegate.tidegate_quarantine")
    assert found == [("t", [["2"]], {"id": "2", "a": "long"})]


@pg
def test_rows_that_leave_columns_out(box: AdbpgBox) -> None:
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY, a bigint, b bigint)")
    verbs = Verbs(lambda: box.open())
    verbs.upsert("ods.T", [{"ID": 1, "A": 1, "B": 1}, {"ID": 2, "A": 2}])
    verbs.update("ods.t", [{"Id": 2, "B": 5}])
    assert box.query("SELECT * FROM ods.t ORDER BY id") == [(1, 1, 1), (2, 2, 5)]
    assert sorted(verbs.read("ods.t", ["ID", "b"]).to_pylist(), key=str) == [{"ID": 1, "b": 1}, {"ID": 2, "b": 5}]


@pg
def test_columns_that_differ_in_case_only_are_refused_by_name(box: AdbpgBox) -> None:
    target = box.target(schema_of(rows("id", "Aa", "aA"), "id"))
    with pytest.raises(ConfigError, match=r"connection warehouse, table ods.t: the columns Aa and aA .*\[case_sensitive\]"):
        box.prepare(target)


@pg
def test_the_exact_name_wins_and_an_ambiguous_one_is_refused(box: AdbpgBox) -> None:
    box.execute('CREATE TABLE ods.t (id bigint PRIMARY KEY, "aA" bigint, "Aa" bigint)', 'CREATE TABLE ods."T" (id int)')
    with pytest.raises(ConfigError, match=r"AA is any of Aa, aA.*\[case_sensitive\]"):
        box.prepare(box.target(schema_of(rows("id", "AA"), "id")))
    box.write(box.target(schema_of(rows("id", "aA"), "id")), changes(rows("id", "aA"), "+U +U", "id"))
    assert box.query('SELECT "aA", "Aa" FROM ods.t ORDER BY id') == [(1, None), (2, None)]
    box.execute("CREATE TABLE ods.tt (id int)", 'CREATE TABLE ods."TT" (id int)')
    with pytest.raises(ConfigError, match=r"Tt is any of TT, tt.*\[case_sensitive\]"):
        box.sink.describe(TableName("ods", "Tt"))


@pg
def test_where_case_counts_names_are_taken_as_they_are(box: AdbpgBox) -> None:
    box.sink.close()
    box.sink = box.open(case_sensitive=True)
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY, a bigint)")
    found = box.sink.inspect(box.target(schema_of(rows("id", "A", "a"), "id"), "ods.t"))
    assert found.ddl == ('ALTER TABLE "ods"."t" ADD COLUMN IF NOT EXISTS "A" bigint',)
    assert not box.sink.inspect(box.target(schema_of(rows("id"), "id"), "ods.T")).exists


@pg
def test_a_table_without_schema_is_in_the_default_one(box: AdbpgBox) -> None:
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY)")
    assert box.sink.describe(TableName("", "t")) is None
    sink = box.open(default_schema="ODS")
    assert sink.describe(TableName("", "T")) is not None
    sink.close()


@pg
def test_a_sync_knows_its_tables_whatever_their_case(box: AdbpgBox) -> None:
    schema = TableSchema(
        TableName("shop", "Orders"), (Column("ID", pa.int64(), nullable=False), Column("Note", pa.string())), ("ID",)
    )
    box.execute('CREATE TABLE ods."oRDers" (id bigint PRIMARY KEY, "NOTE" text)')
    table = schema.table
    source = FakeSource({table: schema}, [[(table, Change(None, {"ID": at, "Note": "x"}))] for at in range(6)])

    def go(name: str, target: str, **options: Any) -> None:
        sync = Sync.of(name, [table], options=WriteOptions(**options), overrides={str(table): {"target": target}})
        run(sync, source, box.sink, owner="scheduler")

    for visible, target in ((3, "ods.Orders"), (6, "ODS.orders")):
        source.visible = visible
        go("shop", target)
    assert box.query('SELECT count(*) FROM ods."oRDers"') == [(6,)]
    assert box.query("SELECT name, owner FROM tidegate.tidegate_lease WHERE name LIKE 'table:%'") == [("table:ods.oRDers", "shop")]
    with pytest.raises(ConfigError, match="belongs to the sync shop"):
        go("other", "ods.ORDERS", initial="merge")


@pg
def test_columns_that_the_target_lacks_are_left_out_and_said_so(box: AdbpgBox) -> None:
    schema = TableSchema(TableName("shop", "T"), (Column("ID", pa.int64(), nullable=False), Column("B4", pa.string())), ("ID",))
    box.execute("CREATE TABLE ods.t (id bigint PRIMARY KEY)")
    source = FakeSource({schema.table: schema}, [])
    sync = Sync.of("shop", [schema.table], schema="ods", options=WriteOptions(on_ddl="ignore"))
    found = plan(sync, source, box.sink)
    assert found.tables[0].warnings == ("the table lacks B4, and on_ddl='ignore' adds no column: they are left out",)
    assert found.problems == ()
    assert found.tables[0].preparation.ddl == ()
