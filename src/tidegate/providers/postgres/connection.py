"""The fields of a PostgreSQL connection. Standard library only: Airflow reads this at start-up."""

from __future__ import annotations

from tidegate.providers.system import Field, System

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

FIELDS = (
    Field("host", "Host", str, "localhost", standard="host", help="Name, address, or the folder of a Unix socket."),
    Field("port", "Port", int, 5432, standard="port", minimum=1, maximum=65535),
    Field("login", "User", str, standard="login", required=True),
    Field("password", "Password", str, "", secret=True, standard="password"),
    Field("database", "Database", str, "postgres", standard="schema"),
    Field(
        "ledger_schema",
        "Ledger schema",
        str,
        "tidegate",
        help="The schema of tidegate_ledger, tidegate_lease and tidegate_quarantine. One of its own by default, so that they stand "
        "in nobody's way and one grant is enough; it is created if it is missing.",
    ),
    Field("sslmode", "SSL mode", str, "prefer", choices=SSL_MODES),
    Field("sslrootcert", "CA certificate", str, "", help="Path of the file that verify-ca and verify-full check the server by."),
    Field("sslcert", "Client certificate", str, "", help="Path of a file."),
    Field("sslkey", "Client key", str, "", help="Path of a file."),
    Field("connect_timeout", "Connect time-out", int, 10, minimum=2, maximum=600, help="Seconds."),
    Field(
        "statement_timeout",
        "Statement time-out",
        int,
        3600,
        minimum=0,
        maximum=86_400,
        help="Seconds that one statement may take, 0 for no limit.",
    ),
    Field(
        "lock_timeout",
        "Lock time-out",
        int,
        300,
        minimum=0,
        maximum=86_400,
        help="Seconds to wait for somebody else's lock on a target table, 0 for no limit. The run tries again after it.",
    ),
    Field("application_name", "Application name", str, "tidegate", help="As pg_stat_activity shows it."),
    Field("options", "Server options", str, "", help="libpq's options, such as -c search_path=ods."),
)

SYSTEM = System(
    name="postgres",
    label="PostgreSQL (tidegate)",
    conn_type="tidegatepg",
    accepts=("postgres",),
    fields=FIELDS,
    sink="tidegate.providers.postgres.sink:open_sink",
    extra="postgres",
)
