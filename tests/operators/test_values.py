"""Text that templates render becomes the values that it stands for."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.errors import ConfigError
from tidegate.operators.values import is_template, mapping_from, names_from, options_from, structure_from
from tidegate.sync.options import WriteOptions, names

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("batch_rows", "5000", 5000),
        ("batch_bytes", " 1048576 ", 1048576),
        ("flush_interval", "2.5", 2.5),
        ("retry_wait", "3", 3.0),
        ("ignore_nulls", "True", True),
        ("ignore_nulls", "false", False),
        ("columns", '["a", "b"]', ("a", "b")),
        ("columns", "['a', 'b']", ("a", "b")),
        ("columns", "a", ("a",)),
        ("conflict_mode", "update", "update"),
        ("version_column", "updated_at", "updated_at"),
        ("version_column", 7, "7"),
        ("properties", '{"partial_update": "true"}', {"partial_update": "true"}),
    ],
)
def test_text_is_read_as_the_type_of_its_option(name: str, text: Any, value: Any) -> None:
    (parsed,) = options_from({name: text}).values()
    assert parsed == value
    assert type(parsed) is type(value)


def test_what_is_given_in_its_type_stays_as_it_is() -> None:
    given = {"batch_rows": 10, "ignore_nulls": True, "columns": ["a"], "retry_wait": 0.5}
    assert options_from(given) == given | {"columns": ("a",)}


@pytest.mark.parametrize("nothing", [None, "", "None", " "])
def test_what_renders_to_nothing_is_the_default(nothing: str | None) -> None:
    assert WriteOptions.of(options_from(dict.fromkeys(names(), nothing))) == WriteOptions()


@pytest.mark.parametrize(
    ("name", "text"), [("batch_rows", "many"), ("batch_rows", "1.5"), ("retry_wait", "soon"), ("ignore_nulls", "perhaps")]
)
def test_text_of_another_type_is_refused_by_the_name_of_its_option(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        options_from({name: text})


def test_every_write_option_has_a_type_that_text_is_read_as() -> None:
    from tidegate.operators import values

    assert set(values._KINDS) == set(names())
    assert set(values._KINDS.values()) <= {str, int, float, bool, tuple, dict}
    assert values._KINDS["write_mode"] is str
    WriteOptions.of(options_from({name: str(getattr(WriteOptions(), name)) for name in names()}))


@pytest.mark.parametrize("value", ["{{ ds }}", "a{% if b %}c{% endif %}", ["x", "{{ y }}"], {"shop.orders": {"key": "{{ k }}"}}])
def test_a_template_is_known_wherever_it_is(value: Any) -> None:
    assert is_template(value)


@pytest.mark.parametrize("value", [None, "shop.orders", 5, True, ["a", "b"], {"a": {"b": "c"}}, "{not a template}"])
def test_a_plain_value_is_no_template(value: Any) -> None:
    assert not is_template(value)


def test_the_return_value_of_another_task_is_a_template() -> None:
    from airflow.sdk import DAG, task

    @task
    def rows() -> list[dict[str, int]]:
        return [{"id": 1}]

    with DAG("d"):
        assert is_template(rows())


def test_lists_and_dicts_come_as_json_or_as_jinja_prints_them() -> None:
    assert structure_from('[{"id": 1, "ok": true, "x": null}]', "rows") == [{"id": 1, "ok": True, "x": None}]
    assert structure_from("[{'id': 1, 'ok': True, 'x': None}]", "rows") == [{"id": 1, "ok": True, "x": None}]
    assert names_from("shop.orders", "tables") == ["shop.orders"]
    assert names_from(("a", "b"), "tables") == ["a", "b"]
    assert mapping_from("{'a': {'batch_rows': 5}}", "table_options") == {"a": {"batch_rows": 5}}
    assert mapping_from(None, "table_options") == {}


def test_text_that_holds_neither_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="rows") as caught:
        structure_from("secret nonsense", "rows")
    assert "nonsense" not in str(caught.value)
    with pytest.raises(ConfigError, match="not a list"):
        names_from({"a": 1}, "tables")
    with pytest.raises(ConfigError, match="not a dict"):
        mapping_from("[1]", "table_options")
