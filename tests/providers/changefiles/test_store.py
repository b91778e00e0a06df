from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

import pytest

from tidegate.errors import ConfigError, PreflightError, Unavailable
from tidegate.providers.changefiles.store import LocalStore, RemoteStore, Store, open_store
from tidegate.providers.system import systems

SYSTEM = systems()["changefiles"]


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = str(tmp_path / "stream") if request.param == "local" else f"memory://{uuid.uuid4().hex}/stream"
    found = open_store(url, None, None, "conn")
    found.setup()
    return found


def test_create_refuses_a_name_that_is_taken_and_leaves_the_first_file(store: Store) -> None:
    store.create("1.json", b"first")
    with pytest.raises(FileExistsError):
        store.create("1.json", b"second")
    assert store.read("1.json") == b"first"


def test_of_many_that_create_one_name_at_once_one_wins(tmp_path: Path) -> None:
    barrier, won = threading.Barrier(8), []

    def attempt(number: int) -> None:
        store = LocalStore(tmp_path, "conn")
        barrier.wait()
        try:
            store.create("1.json", b"%d" % number)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (tmp_path / "1.json").read_bytes() == b"%d" % won[0]
    assert os.listdir(tmp_path) == ["1.json"]


def test_a_lost_reply_to_a_create_is_settled_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(f"memory://{uuid.uuid4().hex}", None, None, "conn")
    assert isinstance(store, RemoteStore)
    original = store._fs.pipe_file

    def lose_the_reply(path: str, data: bytes, mode: str) -> None:
        original(path, data, mode=mode)
        raise OSError("connection reset")

    def fail(path: str, data: bytes, mode: str) -> None:
        raise OSError("connection refused")

    def lose_the_race(path: str, data: bytes, mode: str) -> None:
        original(path, b"theirs", mode=mode)
        raise OSError("precondition failed")

    monkeypatch.setattr(store._fs, "pipe_file", lose_the_reply)
    store.create("1.json", b"mine")
    assert store.read("1.json") == b"mine"
    monkeypatch.setattr(store._fs, "pipe_file", fail)
    with pytest.raises(Unavailable, match="connection refused"):
        store.create("2.json", b"mine")
    monkeypatch.setattr(store._fs, "pipe_file", lose_the_race)
    with pytest.raises(FileExistsError):
        store.create("2.json", b"mine")


def test_replace_remove_and_names(store: Store) -> None:
    store.replace("leases/1.json", b"a")
    store.replace("leases/1.json", b"b")
    with store.open("data/x.parquet") as file:
        file.write(b"rows")
    assert store.read("leases/1.json") == b"b"
    assert store.names("leases") == ["1.json"]
    assert store.names("data") == ["x.parquet"]
    assert store.names("") == []
    store.remove("leases/1.json")
    store.remove("leases/1.json")
    assert store.names("leases") == []
    with pytest.raises(FileNotFoundError):
        store.read("leases/1.json")


def test_a_local_url_may_be_written_as_a_path_or_as_a_file_url(tmp_path: Path) -> None:
    for url in (str(tmp_path), f"file://{tmp_path}"):
        store = open_store(url, None, None, "conn")
        assert isinstance(store, LocalStore)
        assert store.url == str(tmp_path)


def test_storage_options_and_secrets_reach_fsspec_together() -> None:
    store = open_store("memory://x", '{"skip_instance_cache": true}', '{"anything": 1}', "conn")
    assert isinstance(store, RemoteStore)
    assert store._fs.storage_options == {"skip_instance_cache": True, "anything": 1} or store._fs.storage_options == {"anything": 1}


def test_options_that_are_no_json_object_are_refused_without_showing_them() -> None:
    with pytest.raises(ConfigError, match=r"not a JSON object \[storage_secrets\]") as caught:
        open_store("memory://x", None, "hunter2", "conn")
    assert "hunter2" not in str(caught.value)


def test_an_unknown_protocol_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"connection lake: .*nosuch.* \[url\]"):
        open_store("nosuch://bucket/stream", None, None, "lake")


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "stream").write_text("")
    store = open_store(str(tmp_path / "stream"), None, None, "conn")
    with pytest.raises(PreflightError, match="is a file"):
        store.setup()
    with pytest.raises(PreflightError, match="Not a directory"):
        store.names("")


def test_the_declaration_asks_for_a_url_and_masks_secrets() -> None:
    with pytest.raises(ConfigError, match=r"\[url\]"):
        SYSTEM.open_source({}, "conn")
    with pytest.raises(ConfigError, match=r"0 is outside 1 to .*\[segments_per_run\]"):
        SYSTEM.open_source({"url": "x", "segments_per_run": 0}, "conn")
    secret = next(item for item in SYSTEM.fields if item.name == "storage_secrets")
    assert secret.secret
