"""What all operators share: options by keyword, checked while the DAG is read, and which errors Airflow retries."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from tidegate.changes.schema import TableName
from tidegate.errors import ConfigError, PositionLost, SyncBusy, Unavailable
from tidegate.operators import TidegateDeleteOperator, TidegateSyncOperator, TidegateUpsertOperator
from tidegate.operators.base import TidegateOperator, only_transient_errors_are_retried, run_name, target_asset
from tidegate.sync.options import WriteOptions, names

pytestmark = pytest.mark.airflow

OPERATORS = (TidegateSyncOperator, TidegateUpsertOperator, TidegateDeleteOperator)
SYNC: dict[str, Any] = {
    "task_id": "t",
    "sync": "s",
    "source_conn_id": "shop",
    "tables": ["shop.orders", "shop.customers"],
    "sink_conn_id": "warehouse",
    "schema": "ods",
}


def uris(operator: BaseOperator) -> list[str]:
    return [outlet.uri for outlet in operator.outlets]


def test_the_operators_take_every_write_option_with_the_default_it_has() -> None:
    parameters = inspect.signature(TidegateOperator.__init__).parameters
    for name in names():
        assert parameters[name].default == getattr(WriteOptions(), name)
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_write_option_is_a_template_field(operator: type[TidegateOperator]) -> None:
    assert set(names()) < set(operator.template_fields)


def test_no_parameter_hides_one_of_airflows_own() -> None:
    airflows = set(inspect.signature(BaseOperator.__init__).parameters) | set(dir(BaseOperator))
    for operator in OPERATORS:
        assert not airflows & set(operator.template_fields)


def test_an_unknown_option_is_refused_while_the_dag_is_read_with_the_nearest_that_is_known() -> None:
    with pytest.raises(ConfigError, match="did you mean batch_rows"):
        TidegateSyncOperator(**SYNC, batch_row=5)
    with pytest.raises(ConfigError, match="did you mean retry_delay"):
        TidegateSyncOperator(**SYNC, retry_dela=5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"conflict_mode": "replace"}, "conflict_mode"),
        ({"batch_rows": 0}, "batch_rows"),
        ({"delete_mode": "soft"}, "soft_delete_column"),
        ({"table_options": {"shop.orders": {"batch_row": 5}}}, "did you mean batch_rows"),
        ({"table_options": {"shop.unknown": {}}}, "shop.unknown"),
        ({"sync": "no spaces"}, "sync"),
        ({"tables": []}, "tables"),
    ],
)
def test_a_wrong_value_is_refused_while_the_dag_is_read(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TidegateSyncOperator(**(SYNC | options))


def test_a_wrong_value_beside_a_template_is_refused_when_the_task_runs() -> None:
    operator = TidegateSyncOperator(**(SYNC | {"conflict_mode": "{{ params.mode }}", "batch_rows": 0}))
    operator.render_template_fields({"params": {"mode": "update"}})
    with pytest.raises(ConfigError, match="batch_rows"):
        operator.as_sync()


def test_none_takes_an_option_back_for_one_table() -> None:
    soft = {"delete_mode": "soft", "soft_delete_column": "gone"}
    back = {"delete_mode": "apply", "soft_delete_column": None, "key": None, "target": None}
    orders, customers = TidegateSyncOperator(**SYNC, **soft, table_options={"shop.orders": back}).as_sync().tables
    assert orders.options == WriteOptions()
    assert str(orders.target) == "ods.orders"
    assert customers.options == WriteOptions(delete_mode="soft", soft_delete_column="gone")


def test_default_args_of_the_dag_reach_the_options() -> None:
    with DAG("d", default_args={"batch_rows": 77, "sink_conn_id": "warehouse", "on_error": "quarantine"}):
        given = {name: value for name, value in SYNC.items() if name != "sink_conn_id"}
        operator = TidegateSyncOperator(**given)
    options = operator.as_sync().tables[0].options
    assert (options.batch_rows, options.on_error) == (77, "quarantine")
    assert uris(operator)[0].startswith("tidegate://warehouse/")


@pytest.mark.parametrize("native", [False, True])
def test_templates_are_read_in_the_types_of_their_options(native: bool) -> None:
    operator = TidegateSyncOperator(
        task_id="t",
        sync="{{ params.name }}",
        source_conn_id="{{ params.env }}_shop",
        tables="{{ params.tables }}",
        sink_conn_id="warehouse",
        schema="{{ params.schema }}",
        conflict_mode="update",
        columns="{{ params.columns }}",
        batch_rows="{{ params.batch_rows }}",
        ignore_nulls="{{ params.nulls }}",
        version_column="{{ params.nothing }}",
        table_options={"shop.orders": {"batch_rows": "{{ params.batch_rows + 1 }}", "key": "{{ params.key }}"}},
        dag=DAG("d", render_template_as_native_obj=native),
    )
    operator.render_template_fields(
        {
            "params": {
                "name": "nightly",
                "env": "test",
                "tables": ["shop.orders", "shop.customers"],
                "schema": "ods",
                "columns": ["total"],
                "batch_rows": 500,
                "nulls": True,
                "nothing": None,
                "key": ["id", "line"],
            }
        }
    )
    sync = operator.as_sync()
    orders, customers = sync.tables
    assert (sync.name, operator.source_conn_id) == ("nightly", "test_shop")
    assert (str(orders.target), str(customers.target)) == ("ods.orders", "ods.customers")
    assert customers.options == WriteOptions(conflict_mode="update", columns=("total",), batch_rows=500, ignore_nulls=True)
    assert orders.options.batch_rows == 501
    assert orders.key == ("id", "line")


def test_each_target_table_is_an_asset_beside_those_that_the_user_names() -> None:
    from airflow.sdk import Asset

    operator = TidegateSyncOperator(
        **SYNC,
        table_options={"shop.orders": {"target": "dw.shop orders"}},
        outlets=[Asset("mine"), Asset("tidegate://warehouse/ods/customers")],
    )
    assert uris(operator) == ["mine", "tidegate://warehouse/ods/customers", "tidegate://warehouse/dw/shop%20orders"]
    assert target_asset("warehouse", TableName("", "t")).uri == "tidegate://warehouse/t"


@pytest.mark.parametrize("field", ["tables", "schema", "sink_conn_id"])
def test_tables_that_a_template_names_have_no_asset(field: str) -> None:
    assert uris(TidegateSyncOperator(**(SYNC | {field: "{{ params.x }}"}))) == []


def test_assets_need_no_more_than_the_names() -> None:
    operator = TidegateSyncOperator(**(SYNC | {"source_conn_id": "{{ params.x }}"}))
    assert uris(operator) == ["tidegate://warehouse/ods/orders", "tidegate://warehouse/ods/customers"]


@pytest.mark.parametrize("error", [ConfigError("wrong", setting="batch_rows"), PositionLost("purged", table="shop.orders")])
def test_what_somebody_has_to_change_fails_at_once_in_the_same_words(error: Exception) -> None:
    with pytest.raises(AirflowFailException) as caught, only_transient_errors_are_retried():
        raise error
    assert str(error) in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [Unavailable("gone"), SyncBusy("another"), RuntimeError("a bug")])
def test_everything_else_is_left_to_airflows_retries(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, only_transient_errors_are_retried():
        raise error
    assert caught.value is error


def test_a_run_keeps_its_name_over_its_tries_and_mapped_instances_have_their_own() -> None:
    def named(**more: Any) -> str:
        ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", **more)
        return run_name({"ti": ti})  # type: ignore[typeddict-item]

    assert named(map_index=-1, try_number=1) == named(map_index=-1, try_number=2) == "d/t/r"
    assert named(map_index=3) == "d/t/r/3"
