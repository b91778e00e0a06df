"""The IO manager against a real PostgreSQL: what assets may return, which options they may ask for, what comes back."""

import dataclasses
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tests.servers import PostgresServer
from tidegate.assets import PostgresResource, TidegateIOManager
from tidegate.errors import Unavailable
from tidegate.sync.options import names
from tidegate.sync.results import WriteResult

pytestmark = [pytest.mark.dagster, pytest.mark.postgres]

ROWS: list[dict[str, Any]] = [{"id": 1, "name": "Ann"}, {"id": 2, "name": None}]


@dataclasses.dataclass
class Customer:
    id: int
    name: str | None


@pytest.fixture
def customers(pg_database: PostgresServer) -> PostgresServer:
    pg_database.execute("CREATE SCHEMA ods", "CREATE TABLE ods.customers (id bigint PRIMARY KEY, name text)")
    return pg_database


def rows_of(server: PostgresServer, query: str = "SELECT id, name FROM ods.customers ORDER BY 1, 2") -> list[Any]:
    connection = server.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        found: list[Any] = cursor.fetchall()
    connection.close()
    return found


def asset_of(value: Any, metadata: Mapping[str, Any] | None = None, key: list[str] | None = None) -> dg.AssetsDefinition:
    @dg.asset(key=key or ["ods", "customers"], io_manager_key="warehouse", metadata=metadata)
    def made() -> Any:
        return value() if callable(value) else value

    return made


@pytest.fixture
def materialize(warehouse: PostgresResource, instance: dg.DagsterInstance) -> Callable[..., dg.ExecuteInProcessResult]:
    def go(*assets: dg.AssetsDefinition, raise_on_error: bool = True, **defaults: Any) -> dg.ExecuteInProcessResult:
        manager = TidegateIOManager(sink=warehouse, **defaults)
        return dg.materialize(list(assets), resources={"warehouse": manager}, instance=instance, raise_on_error=raise_on_error)

    return go


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    return str(event.step_failure_data.error_display_string)


def test_every_write_option_is_a_field() -> None:
    assert set(names()) <= set(TidegateIOManager.model_fields)


@pytest.mark.parametrize(
    "value",
    [
        pa.Table.from_pylist(ROWS),
        pa.RecordBatch.from_pylist(ROWS),
        pa.Table.from_pylist(ROWS).to_reader,
        ROWS,
        lambda: iter(ROWS),
        [Customer(1, "Ann"), Customer(2, None)],
        pd.DataFrame(ROWS),
        pl.DataFrame(ROWS),
    ],
    ids=["table", "batch", "reader", "dicts", "iterator", "dataclasses", "pandas", "polars"],
)
def test_all_kinds_of_rows_are_upserted(customers: PostgresServer, materialize: Any, value: Any) -> None:
    customers.execute("INSERT INTO ods.customers VALUES (2, 'old'), (3, 'kept')")
    result = materialize(asset_of(value))
    assert rows_of(customers) == [(1, "Ann"), (2, None), (3, "kept")]
    metadata = metadata_of(result)
    assert (metadata["tidegate/rows"], metadata["tidegate/inserted"], metadata["tidegate/updated"]) == (2, 1, 1)
    assert metadata["dagster/table_name"] == "ods.customers"


@pytest.mark.parametrize(
    "make", [pa.Table.from_pylist, list, pd.DataFrame, pl.DataFrame], ids=["table", "dicts", "pandas", "polars"]
)
@pytest.mark.parametrize(
    "kinds", [("+I", "-D", "-U", "+U"), ("INSERT", "DELETE", "UPDATE_BEFORE", "UPDATE_AFTER")], ids=["short", "long"]
)
def test_a_row_kind_column_makes_deletes_travel(
    customers: PostgresServer, materialize: Any, make: Any, kinds: tuple[str, ...]
) -> None:
    customers.execute("INSERT INTO ods.customers VALUES (2, 'gone'), (3, 'before')")
    changes = [(1, "new"), (2, "gone"), (3, "before"), (3, "after")]
    rows = [{"id": key, "name": name, "row_kind": kind} for (key, name), kind in zip(changes, kinds, strict=True)]
    metadata = metadata_of(materialize(asset_of(make(rows))))
    assert rows_of(customers) == [(1, "new"), (3, "after")]
    assert [metadata[f"tidegate/{name}"] for name in ("rows", "inserted", "updated", "deleted")] == [3, 1, 1, 1]


def test_the_row_kind_column_may_have_another_name(customers: PostgresServer, materialize: Any) -> None:
    customers.execute("INSERT INTO ods.customers VALUES (1, 'gone')")
    rows = [{"id": 1, "name": None, "op": "-D"}]
    materialize(asset_of(rows, {"tidegate/row_kind_column": "op"}))
    assert rows_of(customers) == []


def test_nothing_is_written_for_none_and_for_no_rows(customers: PostgresServer, materialize: Any) -> None:
    customers.execute("INSERT INTO ods.customers VALUES (1, 'Ann')")
    assert "tidegate/rows" not in metadata_of(materialize(asset_of(lambda: None)))
    assert metadata_of(materialize(asset_of([])))["tidegate/rows"] == 0
    assert metadata_of(materialize(asset_of(pa.Table.from_pylist(ROWS).slice(0, 0))))["tidegate/rows"] == 0
    assert rows_of(customers) == [(1, "Ann")]


def test_a_missing_table_is_created_with_the_key_that_the_asset_names(pg_database: PostgresServer, materialize: Any) -> None:
    materialize(asset_of(ROWS, {"tidegate/key": "id"}))
    materialize(asset_of([{"id": 2, "name": "Ben"}], {"tidegate/key": ["id"]}))
    assert rows_of(pg_database) == [(1, "Ann"), (2, "Ben")]


def test_an_unnamed_pandas_index_is_no_column(customers: PostgresServer, materialize: Any) -> None:
    frame = pd.DataFrame([*ROWS, {"id": 3, "name": "Cy"}])
    materialize(asset_of(frame[frame["id"] != 2]))
    assert rows_of(customers) == [(1, "Ann"), (3, "Cy")]


def test_append_adds_rows_each_time(customers: PostgresServer, materialize: Any) -> None:
    customers.execute("ALTER TABLE ods.customers DROP CONSTRAINT customers_pkey")
    for _ in range(2):
        materialize(asset_of([{"id": 1, "name": "Ann"}], {"tidegate/write_mode": "append"}))
    assert rows_of(customers) == [(1, "Ann"), (1, "Ann")]


def test_a_retry_after_a_lost_reply_appends_nothing_twice(
    customers: PostgresServer, warehouse: PostgresResource, instance: dg.DagsterInstance
) -> None:
    customers.execute("ALTER TABLE ods.customers DROP CONSTRAINT customers_pkey")
    lost: list[WriteResult] = []

    class LosesAReply(PostgresResource):
        def append(self, *args: Any, **options: Any) -> WriteResult:
            result = super().append(*args, **options)
            if not lost:
                lost.append(result)
                raise Unavailable("the connection went away")
            return result

    @dg.asset(key=["ods", "customers"], io_manager_key="warehouse", retry_policy=dg.RetryPolicy(max_retries=1))
    def made() -> list[dict[str, Any]]:
        return list(ROWS)

    manager = TidegateIOManager(sink=LosesAReply(**warehouse.values()), write_mode="append")
    assert dg.materialize([made], resources={"warehouse": manager}, instance=instance).success
    assert len(lost) == 1
    assert rows_of(customers) == [(1, "Ann"), (2, None)]


def test_overwrite_replaces_all_rows(customers: PostgresServer, materialize: Any) -> None:
    customers.execute("INSERT INTO ods.customers VALUES (7, 'old')")
    materialize(asset_of(ROWS), write_mode="overwrite")
    assert rows_of(customers) == [(1, "Ann"), (2, None)]


def test_metadata_of_an_asset_go_before_the_manager_s_defaults(customers: PostgresServer, materialize: Any) -> None:
    customers.execute("INSERT INTO ods.customers VALUES (1, 'kept')")
    materialize(asset_of(ROWS, {"tidegate/conflict_mode": "ignore"}), conflict_mode="strict")
    assert rows_of(customers) == [(1, "kept"), (2, None)]


def test_the_table_is_named_by_metadata_or_by_the_key(customers: PostgresServer, materialize: Any) -> None:
    materialize(asset_of(ROWS[:1], {"tidegate/table": "ods.customers"}, key=["anything"]))
    materialize(asset_of(ROWS[1:], key=["deep", "customers"]), schema="ods")
    assert rows_of(customers) == [(1, "Ann"), (2, None)]


def test_an_unknown_option_is_refused_with_the_nearest_that_is_known(customers: PostgresServer, materialize: Any) -> None:
    result = materialize(asset_of(ROWS, {"tidegate/writemode": "append"}), raise_on_error=False)
    assert "unknown option tidegate/writemode; did you mean tidegate/write_mode?" in failure_of(result)
    assert rows_of(customers) == []


def test_a_permanent_error_is_not_retried(customers: PostgresServer, materialize: Any) -> None:
    attempts = []

    @dg.asset(key=["ods", "customers"], io_manager_key="warehouse", retry_policy=dg.RetryPolicy(max_retries=3))
    def made() -> list[dict[str, Any]]:
        attempts.append(1)
        return [{"id": 1, "no_such_column": 1}]

    result = materialize(made, raise_on_error=False)
    assert not result.success
    assert len(attempts) == 1
    assert "no_such_column" in failure_of(result)


def test_a_transient_error_is_retried_by_the_asset_s_policy(pg_database: PostgresServer, instance: dg.DagsterInstance) -> None:
    attempts = []

    @dg.asset(io_manager_key="warehouse", retry_policy=dg.RetryPolicy(max_retries=2))
    def made() -> list[dict[str, Any]]:
        attempts.append(1)
        return [{"id": 1}]

    away = PostgresResource(host="127.0.0.1", port=1, login="loader")
    manager = TidegateIOManager(sink=away, max_retries=0)
    assert not dg.materialize([made], resources={"warehouse": manager}, instance=instance, raise_on_error=False).success
    assert len(attempts) == 3


@pytest.mark.parametrize(
    ("annotation", "as_rows"),
    [
        (pa.Table, lambda table: table.to_pylist()),
        (pl.DataFrame, lambda frame: frame.to_dicts()),
        (pl.LazyFrame, lambda frame: frame.collect().to_dicts()),
        (pd.DataFrame, lambda frame: [dict(zip(frame.columns, row, strict=True)) for row in frame.astype(object).values.tolist()]),
        (list, lambda rows: rows),
        (list[dict[str, Any]], lambda rows: rows),
        (Any, lambda table: table.to_pylist()),
    ],
    ids=["arrow", "polars", "lazy", "pandas", "list", "list of dicts", "any"],
)
def test_an_input_comes_as_its_annotation_asks(customers: PostgresServer, materialize: Any, annotation: Any, as_rows: Any) -> None:
    seen = []

    def look(customers: Any) -> None:
        seen.append(customers)

    look.__annotations__["customers"] = annotation
    downstream = dg.asset(ins={"customers": dg.AssetIn(key=["ods", "customers"], input_manager_key="warehouse")})(look)
    big = 2**53 + 1
    materialize(asset_of([{"id": big, "name": "Ann"}]), downstream)
    assert as_rows(seen[0]) == [{"id": big, "name": "Ann"}]


def test_integers_with_nulls_stay_exact_in_pandas(pg_database: PostgresServer, materialize: Any) -> None:
    seen = []

    @dg.asset(ins={"numbers": dg.AssetIn(key=["ods", "numbers"], input_manager_key="warehouse")})
    def look(numbers: pd.DataFrame) -> None:
        seen.extend(numbers.sort_values("id")["n"].tolist())

    big = 2**53 + 1
    rows = [{"id": 1, "n": big}, {"id": 2, "n": None}]
    materialize(asset_of(rows, {"tidegate/key": "id"}, key=["ods", "numbers"]), look)
    assert seen == [big, pd.NA]


def test_an_input_may_ask_for_some_columns(customers: PostgresServer, materialize: Any) -> None:
    seen = []

    @dg.asset(
        ins={
            "customers": dg.AssetIn(
                key=["ods", "customers"], input_manager_key="warehouse", metadata={"tidegate/columns": ["name"]}
            )
        }
    )
    def look(customers: pa.Table) -> None:
        seen.append(customers)

    materialize(asset_of(ROWS[:1]), look)
    assert seen[0].to_pylist() == [{"name": "Ann"}]


def test_values_come_back_as_they_went(pg_database: PostgresServer, materialize: Any) -> None:
    seen = []

    @dg.asset(ins={"prices": dg.AssetIn(key=["ods", "prices"], input_manager_key="warehouse")})
    def look(prices: pa.Table) -> None:
        seen.append(prices)

    rows = pa.table(
        {"id": pa.array([1], pa.int64()), "price": pa.array([Decimal("12345678901234567890.12")]), "raw": [b"\x00\xff"]}
    )
    materialize(asset_of(rows, {"tidegate/key": "id"}, key=["ods", "prices"]), look)
    assert seen[0].to_pylist() == rows.to_pylist()


def test_partitions_are_upserted_but_never_overwrite_each_other(
    customers: PostgresServer, warehouse: PostgresResource, instance: dg.DagsterInstance
) -> None:
    days = dg.StaticPartitionsDefinition(["mon", "tue"])

    @dg.asset(key=["ods", "customers"], io_manager_key="warehouse", partitions_def=days)
    def made(context: dg.AssetExecutionContext) -> list[dict[str, Any]]:
        return [{"id": ["mon", "tue"].index(context.partition_key), "name": context.partition_key}]

    @dg.asset(partitions_def=days, ins={"part": dg.AssetIn(key=["ods", "customers"], input_manager_key="warehouse")})
    def look(part: pa.Table) -> None: ...

    resources = {"warehouse": TidegateIOManager(sink=warehouse)}
    for day in days.get_partition_keys():
        dg.materialize([made], resources=resources, instance=instance, partition_key=day)
    assert rows_of(customers) == [(0, "mon"), (1, "tue")]

    result = dg.materialize(
        [made, look], selection=[look], resources=resources, instance=instance, partition_key="mon", raise_on_error=False
    )
    assert "read whole" in failure_of(result)

    replacing = {"warehouse": TidegateIOManager(sink=warehouse, write_mode="overwrite")}
    result = dg.materialize([made], resources=replacing, instance=instance, partition_key="mon", raise_on_error=False)
    assert "would replace those of all partitions" in failure_of(result)
    assert rows_of(customers) == [(0, "mon"), (1, "tue")]
