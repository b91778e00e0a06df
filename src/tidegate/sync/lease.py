"""Keeping a lease alive while a run works."""

from __future__ import annotations

import logging
import threading

from tidegate.errors import LeaseLost, TransientError
from tidegate.sync.protocols import Lease, Ledger

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""A lease without a heartbeat for this long may be taken over by anyone."""


class Heartbeat:
    """Renews a lease every third of its life in a thread of its own. A context manager.

    Losing the lease is noticed at the next :meth:`check`. That only saves work: what keeps a zombie from writing is the fence,
    which the target checks in the commit itself.
    """

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self._ledger, self._lease = ledger, lease
        self._stop = threading.Event()
        self._lost: LeaseLost | None = None
        self._thread = threading.Thread(target=self._beat, name="tidegate-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        # A renewal that hangs in the network must not hold up what the run has to say; the lease ends by itself.
        self._thread.join(self._lease.ttl)

    def check(self) -> None:
        """LeaseLost if a renewal said so."""
        if self._lost is not None:
            raise self._lost

    def _beat(self) -> None:
        while not self._stop.wait(self._lease.ttl / 3):
            try:
                self._ledger.renew(self._lease)
            except LeaseLost as lost:
                self._lost = lost
                return
            except TransientError as error:
                log.warning("heartbeat of %s failed, the next is due in %.0f s: %s", self._lease.sync, self._lease.ttl / 3, error)
