"""What tidegate tells Airflow about itself: connection types with their forms, hooks, operators.

Airflow reads this before its own configuration is ready, in every process: standard library only, here and in all that is imported.
"""

from __future__ import annotations

from typing import Any

from tidegate.providers.system import Field, System, systems

_STANDARD = ("host", "port", "login", "password", "schema")
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def get_provider_info() -> dict[str, Any]:
    """The provider as Airflow's ``provider_info.schema.json`` describes it; the entry point ``apache_airflow_provider``."""
    known = systems().values()
    return {
        "package-name": "tidegate",
        "name": "tidegate",
        "description": "Keeps analytical stores in step with MySQL, in scheduled micro-batches.",
        "integrations": [{"integration-name": "tidegate", "tags": ["service"]}],
        "hooks": [{"integration-name": "tidegate", "python-modules": [f"tidegate.hooks.{system.name}" for system in known]}],
        "operators": [
            {
                "integration-name": "tidegate",
                "python-modules": [f"tidegate.operators.{name}" for name in ("doctor", "starrocks", "sync", "write")],
            }
        ],
        "connection-types": [_connection_type(system) for system in known],
    }


def hook_class(system: System) -> str:
    """Where a system's hook is: ``tidegate.hooks.postgres.PostgresHook`` for the system named postgres."""
    return f"tidegate.hooks.{system.name}.{system.camel or system.name.capitalize()}Hook"


def _connection_type(system: System) -> dict[str, Any]:
    standard = {field.standard: field for field in system.fields if field.standard}
    return {
        "connection-type": system.conn_type,
        "hook-class-name": hook_class(system),
        "hook-name": system.label,
        "ui-field-behaviour": {
            "hidden-fields": [name for name in _STANDARD if name not in standard],
            "relabeling": {name: field.label for name, field in standard.items()},
            "placeholders": {name: str(field.default) for name, field in standard.items() if field.default and not field.secret},
        },
        "conn-fields": {field.name: _form_field(field) for field in system.fields if not field.standard},
    }


def _form_field(field: Field) -> dict[str, Any]:
    kind = _JSON_TYPES[field.type]
    # The form insists on a value unless null is among the types.
    schema: dict[str, Any] = {"type": kind if field.required else [kind, "null"]}
    if field.default not in (None, ""):
        schema["default"] = field.default
    if field.secret:
        schema["format"] = "password"
    if field.choices:
        schema["enum"] = list(field.choices)
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    if field.maximum is not None:
        schema["maximum"] = field.maximum
    shown: dict[str, Any] = {"label": field.label, "schema": schema}
    if field.help:
        shown["description"] = field.help
    return shown
