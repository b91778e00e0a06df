"""Which runs are attempts at the same work."""

import dagster as dg
import pytest

from tidegate.assets.runs import origin

pytestmark = pytest.mark.dagster


def add(instance: dg.DagsterInstance, run_id: str, parent: str | None = None, **tags: str) -> dg.DagsterRun:
    if parent is not None:
        tags["parent_run_id"] = parent
    return instance.add_run(dg.DagsterRun("job", run_id, tags={f"dagster/{name}": value for name, value in tags.items()}))


def test_a_run_by_itself_is_its_own(instance: dg.DagsterInstance) -> None:
    assert origin(instance, add(instance, "a")) == "a"


@pytest.mark.parametrize("tags", [{"is_resume_retry": "true"}, {"is_asset_resume_retry": "true"}, {"retry_number": "1"}])
def test_a_retry_is_the_run_that_failed(instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
    add(instance, "a")
    add(instance, "b", "a", **tags)
    assert origin(instance, add(instance, "c", "b", **tags)) == "a"


def test_a_retry_of_a_run_that_was_deleted_is_that_run(instance: dg.DagsterInstance) -> None:
    assert origin(instance, add(instance, "b", "a", retry_number="1")) == "a"


def test_a_run_started_over_by_somebody_is_new_work(instance: dg.DagsterInstance) -> None:
    add(instance, "a")
    assert origin(instance, add(instance, "b", "a", is_resume_retry="false")) == "b"


def test_a_retry_of_a_run_that_was_started_over_belongs_to_that(instance: dg.DagsterInstance) -> None:
    add(instance, "a")
    add(instance, "b", "a")
    assert origin(instance, add(instance, "c", "b", retry_number="1")) == "b"
