"""What a Dagster run is to a write: who it is across retries, and how its errors end it."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from tidegate.errors import PermanentError

_RETRY_TAGS = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry", "dagster/retry_number")
_PARENT_TAG = "dagster/parent_run_id"


def origin(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The id of the run that this one retries, or its own. The same for every attempt at one piece of work.

    Retries of a step stay in their run. A retry of a run, automatic or "from failure", is a new run; one that somebody started
    over from the beginning is new work.
    """
    while any(run.tags.get(tag, "false") not in ("false", "0") for tag in _RETRY_TAGS) and _PARENT_TAG in run.tags:
        parent = instance.get_run_by_id(run.tags[_PARENT_TAG])
        if parent is None:
            return run.tags[_PARENT_TAG]
        run = parent
    return run.run_id


@contextmanager
def permanent_errors_end_the_step() -> Iterator[None]:
    """A permanent error becomes a Failure that no retry policy repeats. A transient one passes as it is, for the policy."""
    try:
        yield
    except PermanentError as error:
        where = {"connection": error.connection, "table": error.table, "position": error.position, "setting": error.setting}
        raise dg.Failure(
            str(error),
            metadata={f"tidegate/{name}": value for name, value in where.items() if value is not None}
            | {"tidegate/error": type(error).__name__},
            allow_retries=False,
        ) from error
