"""The fields of a StarRocks connection. Standard library only: Airflow reads this at start-up."""

from __future__ import annotations

from tidegate.providers.system import Field, System

SYSTEM = System(
    name="starrocks",
    label="StarRocks (tidegate)",
    conn_type="starrocks",
    fields=(
        Field(
            "host", "FE hosts", str, required=True, standard="host", help="Names or addresses of the frontends, comma separated."
        ),
        Field("port", "Query port", int, 9030, standard="port", minimum=1, maximum=65535, help="MySQL protocol."),
        Field("login", "User", str, required=True, standard="login", help="Needs SELECT and INSERT on the tables."),
        Field("password", "Password", str, "", secret=True, standard="password"),
        Field("database", "Database", str, "", standard="schema", help="The database of tables that are named without one."),
        Field("http_port", "HTTP port", int, 8030, minimum=1, maximum=65535, help="Of the frontends, for Stream Load."),
        Field(
            "load_url",
            "Load URL",
            str,
            help="Where to load, if that is not the FE hosts at the HTTP port: fe1:8030;fe2:8030, each with http:// or https:// "
            "before it if wished (the vendor's load-url).",
        ),
        Field(
            "be_addresses",
            "BE address map",
            str,
            help="For backends that can't be reached under the name that they are registered with: "
            "be1:8040=203.0.113.7:18040, be2:8040=203.0.113.7:28040.",
        ),
        Field(
            "ssl_mode",
            "TLS",
            str,
            "disabled",
            choices=("disabled", "required", "verify_ca", "verify_identity"),
            help="required: encrypt, on the HTTP ports as on the query port; verify_…: check the certificate, and its name.",
        ),
        Field("ssl_ca", "CA file", str, help="Path of the certificates that the servers' are checked against."),
        Field(
            "sink_version",
            "Loading interface",
            str,
            "AUTO",
            choices=("AUTO", "V1", "V2"),
            help="V1: Stream Load; V2: its transaction interface, StarRocks 2.4 and later; AUTO: V2 where server and write "
            "allow (the vendor's sink.version).",
        ),
        Field(
            "multi_table",
            "One transaction for all tables",
            str,
            "auto",
            choices=("auto", "on", "off"),
            help="The tables of a window become visible at once, StarRocks 4.0 and later; auto: where the server has it.",
        ),
        Field(
            "label_prefix",
            "Label prefix",
            str,
            "tidegate",
            help="Labels of loads begin with it: letters, digits, dash and underscore, 32 at most. No other job that loads into "
            "the database may use it (the vendor's sink.label-prefix).",
        ),
        Field("format", "Format", str, "json", choices=("json", "csv"), help="What rows are sent as (sink.properties.format)."),
        Field(
            "column_separator", "Column separator", str, "\\t", help="With csv: up to 50 bytes; \\x01 and 0x01 are read as bytes."
        ),
        Field("row_delimiter", "Row delimiter", str, "\\n", help="With csv: up to 50 bytes; \\x02 and 0x02 are read as bytes."),
        Field(
            "compression",
            "Compression",
            str,
            "none",
            choices=("none", "auto", "gzip", "zstd", "lz4_frame"),
            help="Of what is sent; JSON needs StarRocks 3.2.7 for it. auto: zstd where the server has it.",
        ),
        Field(
            "max_filter_ratio",
            "Filter ratio",
            float,
            0.0,
            minimum=0,
            maximum=1,
            help="The share of rows that StarRocks may leave out of a load as faulty. They are counted as filtered.",
        ),
        Field(
            "strict_mode",
            "Strict mode",
            bool,
            False,
            help="A value that can't be converted makes a faulty row, and not a NULL.",
        ),
        Field("time_zone", "Time zone", str, "UTC", help="In which an instant (TIMESTAMP) is written to a DATETIME column."),
        Field(
            "ignore_update_before",
            "Ignore UPDATE_BEFORE",
            bool,
            True,
            help="Off: an UPDATE_BEFORE of a primary key table is sent as a delete of its own. A changed key is a delete and an "
            "upsert either way (the vendor's sink.ignore.update-before).",
        ),
        Field("connect_timeout_ms", "Connect timeout", int, 1000, minimum=100, maximum=60_000, help="Milliseconds."),
        Field(
            "socket_timeout_ms",
            "Socket timeout",
            int,
            -1,
            minimum=-1,
            maximum=86_400_000,
            help="Milliseconds; -1: as long as the load.",
        ),
        Field(
            "wait_for_continue_timeout_ms",
            "Wait for 100-continue",
            int,
            10_000,
            minimum=3000,
            maximum=60_000,
            help="Milliseconds for which a frontend's answer is waited for before any row is sent.",
        ),
        Field(
            "load_timeout",
            "Load timeout",
            int,
            600,
            minimum=1,
            maximum=259_200,
            help="Seconds after which StarRocks gives a load up.",
        ),
        Field(
            "publish_timeout_ms",
            "Publish timeout",
            int,
            -1,
            minimum=-1,
            maximum=3_600_000,
            help="Milliseconds for which a commit waits until its rows can be seen; -1: the server's default.",
        ),
        Field(
            "tablet_versions",
            "Tablet versions",
            int,
            700,
            minimum=10,
            maximum=100_000,
            help="Loads wait while a tablet of the table has more versions than this. StarRocks refuses loads from 1000 on.",
        ),
        Field("replication_num", "Replicas of new tables", int, minimum=1, maximum=100, help="Default: the cluster's."),
        Field(
            "ledger_database",
            "Database of the ledger",
            str,
            "",
            help="Where tidegate_ledger and tidegate_quarantine are. Default: the connection's database.",
        ),
        Field(
            "properties",
            "Load properties",
            str,
            help='Further headers of Stream Load, as JSON: {"log_rejected_record_num": "100"} (the vendor\'s sink.properties.*).',
        ),
        Field(
            "show_rows",
            "Show refused rows",
            bool,
            False,
            help="In messages, with their values, as StarRocks tells them.",
        ),
    ),
    sink="tidegate.providers.starrocks.sink:open_sink",
    extra="starrocks",
    camel="StarRocks",
)
