"""The connection fields of MySQL and MariaDB. Standard library only."""

from __future__ import annotations

from tidegate.providers.system import Field, System

SYSTEM = System(
    name="mysql",
    label="MySQL CDC (tidegate)",
    conn_type="mysqlcdc",
    accepts=("mysql",),
    fields=(
        Field("host", "Host", str, "localhost", standard="host", help="Name or address of the server."),
        Field("port", "Port", int, 3306, standard="port", minimum=1, maximum=65535),
        Field("login", "User", str, required=True, standard="login", help="Needs SELECT and the replication privileges."),
        Field("password", "Password", str, "", secret=True, standard="password"),
        Field("database", "Database", str, "", standard="schema", help="The database of tables that are named without one."),
        Field("unix_socket", "Unix socket", str, help="Path of the server's socket; instead of host and port."),
        Field(
            "ssl_mode",
            "TLS",
            str,
            "preferred",
            choices=("disabled", "preferred", "required", "verify_ca", "verify_identity"),
            help="preferred: encrypt if the server can; required: or fail; verify_…: check its certificate, and its name.",
        ),
        Field("ssl_ca", "CA file", str, help="Path of the certificates that the server's is checked against."),
        Field("ssl_cert", "Client certificate file", str),
        Field("ssl_key", "Client key file", str),
        Field("connect_timeout", "Connect timeout", float, 10.0, minimum=1, maximum=3600, help="Seconds."),
        Field(
            "read_timeout", "Read timeout", float, 300.0, minimum=1, maximum=86_400, help="Seconds to wait for the server's reply."
        ),
        Field(
            "zero_dates",
            "Zero dates",
            str,
            "null",
            help="What becomes of dates that no calendar has (0000-00-00, 2024-00-15, 2024-02-30): null, error, or a date or "
            "date and time to put in their place, as 1970-01-01.",
        ),
        Field(
            "tinyint1",
            "TINYINT(1)",
            str,
            "integer",
            choices=("integer", "boolean"),
            help="What TINYINT(1) is read as; as a boolean, a value other than 0 and 1 stops the run.",
        ),
        Field(
            "server_id",
            "Replica server id",
            int,
            minimum=1,
            maximum=2**32 - 1,
            help="The id under which the binlog is asked for, unlike that of every other replica. Default: random, from 2³¹ up.",
        ),
        Field(
            "snapshot_connections",
            "Connections of a first copy",
            int,
            2,
            minimum=1,
            maximum=64,
            help="How many ranges of a table are read at once; one more connection asks where they end.",
        ),
    ),
    source="tidegate.providers.mysql.source:open_source",
    extra="mysql",
)
"""MySQL and MariaDB. Airflow's own ``mysql`` connections carry the same fields."""
