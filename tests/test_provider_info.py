"""What Airflow is told: valid by its own schemas, read without importing anything, and shown as a form."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import airflow_home  # noqa: F401  before the first import of Airflow
from tidegate.provider_info import get_provider_info, hook_class
from tidegate.providers.system import Field, System, systems

pytestmark = pytest.mark.airflow


def airflow_schema(name: str) -> Any:
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    return json.loads((Path(spec.origin).parent / name).read_text())


def form(conn_type: str) -> Any:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    assert entry_points(group="apache_airflow_provider").names, "install tidegate: Airflow finds it by its entry point"
    return next(meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == conn_type)


def test_it_is_valid_by_the_schema_that_airflow_checks_it_with() -> None:
    import jsonschema  # type: ignore[import-untyped]

    jsonschema.validate(get_provider_info(), airflow_schema("provider_info.schema.json"))


def test_its_forms_are_valid_by_the_schema_for_provider_authors() -> None:
    import jsonschema

    schema = airflow_schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(get_provider_info()["connection-types"], schema)


def test_reading_it_imports_the_standard_library_and_tidegate_alone() -> None:
    code = """
import sys
before = set(sys.modules)
from tidegate.provider_info import get_provider_info
get_provider_info()
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert found == ["tidegate"]


@pytest.mark.parametrize("system", systems().values(), ids=lambda system: system.name)
def test_every_connection_type_has_the_hook_that_is_promised(system: System) -> None:
    from airflow.sdk import BaseHook

    module, _, name = hook_class(system).rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert issubclass(hook, BaseHook)
    assert hook.conn_type == system.conn_type
    assert hook.hook_name == system.label
    assert hook(**{hook.conn_name_attr: "some"}).conn_id == "some"
    assert hook().conn_id == hook.default_conn_name


@pytest.mark.parametrize("system", systems().values(), ids=lambda system: system.name)
def test_connection_types_have_no_underscore_and_secrets_a_name_that_airflow_masks(system: System) -> None:
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    assert "_" not in system.conn_type
    for field in system.fields:
        if field.secret:
            assert redact({field.name: "opensesame"}) == {field.name: "***"}


def test_the_form_shows_labels_defaults_choices_and_bounds_and_hides_what_the_system_lacks() -> None:
    postgres = form("tidegatepg")
    assert postgres.hook_name == "PostgreSQL (tidegate)"
    assert postgres.standard_fields.host.title == "Host"
    assert postgres.standard_fields.url_schema.title == "Database"
    assert postgres.standard_fields.port.placeholder == "5432"
    ssl = postgres.extra_fields["sslmode"]
    assert ssl["value"] == "prefer"
    assert ssl["schema"]["enum"][0] == "disable"
    assert postgres.extra_fields["connect_timeout"]["schema"]["type"] == ["integer", "null"]
    assert postgres.extra_fields["connect_timeout"]["schema"]["maximum"] == 600
    files = form("changefiles")
    assert all(getattr(files.standard_fields, name).hidden for name in ("host", "port", "login", "password", "url_schema"))
    assert files.extra_fields["url"]["schema"]["type"] == "string", "the form insists on it"


def test_a_secret_extra_is_typed_into_a_password_box() -> None:
    secrets = [(system, field) for system in systems().values() for field in system.fields if field.secret and not field.standard]
    assert secrets, "storage_secrets of change files is one"
    for system, field in secrets:
        assert form(system.conn_type).extra_fields[field.name]["schema"]["format"] == "password"


def test_a_required_field_is_one_that_the_form_insists_on() -> None:
    from tidegate.provider_info import _form_field

    assert _form_field(Field("url", "URL", str, required=True))["schema"] == {"type": "string"}
    assert _form_field(Field("url", "URL", str))["schema"] == {"type": ["string", "null"]}
