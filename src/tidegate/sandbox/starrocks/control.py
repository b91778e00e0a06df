"""The control port: faults, the clock and the rest of what a test does to a cluster, over HTTP with JSON.

* ``GET /faults``, ``DELETE /faults``, ``POST /faults`` {"kind": "lost_reply", "on": "commit", …}: :class:`~.faults.Fault`'s fields
* ``POST /clock`` {"forward": 3600}; ``POST /publish``: what was held back
* ``POST /backend`` {"up": false, "streaming_load_max_mb": 1}; ``POST /frontend`` {"name": "leader", "up": false}
* ``POST /tablets`` {"database": …, "table": …, "compact": true} or {"tablet_max_versions": 5}
* ``POST /users`` {"name": …, "password": …, "grants": [["INSERT", "db", "*"]]}
* ``GET /labels``: all transactions

An error is 400 with {"error": …}. It listens on loopback, and asks nobody who they are.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tidegate.sandbox.starrocks.httpd import Answer, Interrupted, Request

if TYPE_CHECKING:
    from tidegate.sandbox.starrocks.server import StarrocksSandbox


class Control:
    """Answers the requests of the control port."""

    def __init__(self, sandbox: StarrocksSandbox) -> None:
        self._sandbox = sandbox

    def handle(self, request: Request) -> Answer | None:
        try:
            with request.body() as body:
                given = json.loads(body.read() or b"{}")
            made = self._do(f"{request.method} {request.path}", given)
        except Interrupted as error:
            error.spool.close()
            return None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return Answer(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode(), 400)
        return Answer(json.dumps(made).encode())

    def _do(self, asked: str, given: dict[str, Any]) -> Any:
        box = self._sandbox
        match asked:
            case "GET /faults":
                return box.faults.all()
            case "POST /faults":
                return asdict(box.faults.add(**given))
            case "DELETE /faults":
                box.faults.clear()
            case "POST /clock":
                box.forward(float(given["forward"]))
            case "POST /publish":
                return {"published": box.transactions.publish()}
            case "POST /backend":
                if "up" in given:
                    box.set_backend(up=bool(given.pop("up")))
                for name, value in given.items():
                    if not hasattr(box.backend.config, name):
                        raise KeyError(name)
                    setattr(box.backend.config, name, int(value))
            case "POST /frontend":
                box.set_frontend(given["name"], up=bool(given["up"]))
            case "POST /tablets":
                if given.pop("compact", False):
                    box.engine.compact(given["database"], given["table"])
                if "tablet_max_versions" in given:
                    box.engine.tablet_max_versions = int(given["tablet_max_versions"])
            case "POST /users":
                box.users.add(given["name"], given["password"])
                for privilege, database, table in given.get("grants", []):
                    box.users.grant(given["name"], privilege, database, table)
            case "GET /labels":
                box.transactions.tick()
                return [asdict(each) for each in box.labels.all()]
            case _:
                raise ValueError(f"there is no {asked}")
        return {}
