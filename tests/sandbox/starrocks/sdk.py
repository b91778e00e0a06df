"""StarRocks' own Java SDK as a child process: tests/fidelity/starrocks/Driver.java, which tests/install_servers.sh compiles."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.servers import Missing

FOLDER = Path(__file__).parents[3] / ".test-servers" / "starrocks-sdk"
CALL_SECONDS = 60.0
JSON_FORMAT = {"format": "json", "strip_outer_array": "true", "ignore_json_size": "true"}
"""What the connector adds to each load of JSON."""


class SdkError(Exception):
    """What the SDK threw, with its causes."""


class Sdk:
    """A Java process that drives the SDK. ``driver`` is the Connector/J on its class path: "8" or the "5.1" in StarRocks' jar."""

    def __init__(self, driver: str = "8") -> None:
        java = shutil.which("java")
        if java is None or not (FOLDER / "classes" / "Driver.class").exists():
            raise Missing("StarRocks' Java SDK was not found: make test-servers fetches it with Maven and compiles its driver")
        jars = [str(each) for each in sorted((FOLDER / "lib").glob("*.jar")) if driver == "8" or "mysql-connector" not in each.name]
        options = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx1g"]
        command = [java, *options, "-cp", ":".join([*jars, str(FOLDER / "classes")]), "Driver"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Sdk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def __call__(self, do: str, **fields: Any) -> dict[str, Any]:
        """Call the SDK; what it returned. :class:`SdkError` when it threw."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], CALL_SECONDS)
        assert ready, f"the SDK's {do} did not return within {CALL_SECONDS:g} s"
        result = dict(json.loads(self.process.stdout.readline()))
        if "error" in result:
            raise SdkError(result["error"])
        return result

    def kill(self) -> None:
        """End it as a crash would: nothing is closed, rolled back or committed."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
