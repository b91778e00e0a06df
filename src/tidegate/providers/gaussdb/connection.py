"""The fields of a GaussDB or openGauss connection. Standard library only: Airflow reads this at start-up."""

from __future__ import annotations

from tidegate.providers.postgres.connection import FIELDS as POSTGRES_FIELDS
from tidegate.providers.system import Field, System

DRIVERS = ("auto", "psycopg2", "pg8000")
EMPTY_STRINGS = ("null", "refuse", "space")

_OWN = (
    Field(
        "host",
        "Host",
        str,
        "localhost",
        standard="host",
        help="One or several, comma separated, each with a port of its own if it differs (cn1:8000,cn2:8001). They are tried in "
        "this order until one answers that takes writes.",
    ),
    Field("port", "Port", int, 8000, standard="port", minimum=1, maximum=65535),
    Field(
        "driver",
        "Driver",
        str,
        "auto",
        choices=DRIVERS,
        help="psycopg2 can't speak GaussDB's SHA256 login unless it was built with the vendor's libpq; pg8000 does. auto "
        "asks the server which login it wants.",
    ),
    Field(
        "empty_string",
        "Empty strings",
        str,
        "null",
        choices=EMPTY_STRINGS,
        help="A database with A compatibility stores '' as NULL. null lets it; refuse sends such a row the way of on_error; space "
        "writes one blank instead. Without effect in databases that keep ''.",
    ),
)
_OWN_NAMES = {field.name for field in _OWN}

FIELDS = (*_OWN[:2], *(field for field in POSTGRES_FIELDS if field.name not in _OWN_NAMES), *_OWN[2:])

SYSTEM = System(
    name="gaussdb",
    label="GaussDB (tidegate)",
    conn_type="gaussdb",
    fields=FIELDS,
    sink="tidegate.providers.gaussdb.sink:open_sink",
    extra="gaussdb",
)
