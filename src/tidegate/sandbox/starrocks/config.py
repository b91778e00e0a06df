"""The frontend's settings that a load depends on: one object for the HTTP ports, the labels and ``ADMIN SET FRONTEND CONFIG``."""

from __future__ import annotations

import threading

# fe/fe-core/src/main/java/com/starrocks/common/Config.java
DEFAULTS: dict[str, str] = {
    "label_keep_max_second": "259200",
    "label_keep_max_num": "1000",
    "label_clean_interval_second": "14400",
    "stream_load_default_timeout_second": "600",
    "max_stream_load_timeout_second": "259200",
    "min_load_timeout_second": "1",
    "prepared_transaction_default_timeout_second": "86400",
    "max_running_txn_num_per_db": "1000",
    "transaction_clean_interval_second": "30",
    "run_mode": "shared_nothing",
    "default_replication_num": "1",
    "alter_table_timeout_second": "86400",
}


class FrontendConfig:
    """Names and values as ``ADMIN SHOW FRONTEND CONFIG`` shows them: text. Thread-safe."""

    def __init__(self, **values: object) -> None:
        self._values = DEFAULTS | {name: str(value) for name, value in values.items()}
        self._lock = threading.Lock()

    def all(self) -> dict[str, str]:
        """A copy of all settings."""
        with self._lock:
            return dict(self._values)

    def text(self, name: str) -> str:
        """One value; KeyError for a name that there is none of."""
        with self._lock:
            return self._values[name]

    def number(self, name: str) -> int:
        """One value as a number."""
        return int(self.text(name))

    def set(self, name: str, value: object) -> None:
        """``ADMIN SET FRONTEND CONFIG``; KeyError for a name that there is none of, ValueError for text in place of a number."""
        given = str(value)
        with self._lock:
            if self._values[name].lstrip("-").isdigit():
                int(given)
            self._values[name] = given
