"""The fields of an AnalyticDB for PostgreSQL connection. Standard library only: Airflow reads this at start-up."""

from __future__ import annotations

from tidegate.providers.postgres.connection import FIELDS as POSTGRES_FIELDS
from tidegate.providers.system import Field, System

_OWN = (
    Field(
        "default_schema",
        "Target schema",
        str,
        "public",
        help="The schema of tables that are named without one (the vendor's targetschema).",
    ),
    Field(
        "case_sensitive",
        "Case sensitive names",
        bool,
        False,
        help="Off: B1 finds the column b1, whatever the case, and new tables get names in lower case. On: names are taken as they "
        "are (the vendor's casesensitive).",
    ),
    Field(
        "connection_max_active",
        "Connections",
        int,
        5,
        minimum=1,
        maximum=1000,
        help="Connections that this connection keeps open at most, its ledger's among them (the vendor's connectionmaxactive).",
    ),
)

FIELDS = (*POSTGRES_FIELDS, *_OWN)

SYSTEM = System(
    name="adbpg",
    label="AnalyticDB PostgreSQL (tidegate)",
    conn_type="adbpg",
    fields=FIELDS,
    sink="tidegate.providers.adbpg.sink:open_sink",
    extra="adbpg",
)
