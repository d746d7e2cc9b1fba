"""What a node keeps of a run that it sees nothing of; objects of the store are stood in for by what they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from sslkit.checksums import seal
from sslkit.errors import RunError
from sslkit_ray import parcels, site
from sslkit_ray.parcels import Dispatch
from sslkit_ray.site import Site, tidy_node


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An object store that keeps the sizes of what is put into it."""
    sizes: list[int] = []

    def put(value: object) -> object:
        sizes.append(len(value))  # type: ignore[arg-type]
        return value

    monkeypatch.setattr(ray, "put", put)
    monkeypatch.setattr(ray, "get", lambda ref: ref)
    return sizes


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The driver's disk: a run directory and a cache."""
    weights = tmp_path / "here" / "run" / "pretraining" / "weights"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    images = tmp_path / "here" / "cache" / "images" / "key"
    (images / "parts").mkdir(parents=True)
    (images / "images.npy").write_bytes(b"images" * 5)
    (images / "parts" / "0").write_bytes(b"")
    seal(images, ["images.npy"])
    return tmp_path / "here"


def options(tmp_path: Path, run: str = "run") -> dict[str, str]:
    return {"scratch": str(tmp_path / "node"), "run": run}


def test_files_are_put_in_pieces_and_once(here: Path, store: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "_CHUNK", 8)
    images = here / "cache" / "images" / "key" / "images.npy"
    dispatch = Dispatch()
    for _ in range(2):
        [(name, chunks)] = dispatch.send(here / "cache", images)
        assert (name, [len(chunk) for chunk in chunks]) == ("images/key/images.npy", [8, 8, 8, 6])
    assert store == [8, 8, 8, 6]
    images.write_bytes(b"others")
    dispatch.send(here / "cache", images)
    assert store == [8, 8, 8, 6, 6]


def test_a_job_finds_what_it_reads_and_leaves_what_it_wrote(here: Path, tmp_path: Path) -> None:
    dispatch = Dispatch()
    weights = here / "run" / "pretraining" / "weights"
    node = Site(options(tmp_path), "0123456789abcdef" * 3)
    with node.desk() as desk:
        run = desk.receive(dispatch.send(here / "run", weights))
        cache = desk.images({"images/key": dispatch.send(here / "cache", here / "cache" / "images" / "key")})
        assert (run / "pretraining" / "weights").read_bytes() == b"weights"
        assert (cache / "images" / "key" / "images.npy").read_bytes() == b"images" * 5
        assert (cache / "images" / "key" / "parts" / "0").read_bytes() == b""
        assert tmp_path / "node" in run.parents
        (run / "pretraining" / "features").write_bytes(b"features")
        written = desk.written(run / "pretraining")
        assert {name: content.tobytes() for name, content in written.items()} == {"features": b"features"}
        assert desk.written(run / "nothing") == {}
    assert not run.exists()
    assert cache.exists()  # for the next job
    node.remove()
    assert list(node.base.iterdir()) == []


def test_what_a_job_writes_anew_is_sent_as_well(here: Path, tmp_path: Path) -> None:
    with Site(options(tmp_path), "node").desk() as desk:
        run = desk.receive(Dispatch().send(here / "run", here / "run" / "pretraining" / "weights"))
        (run / "new").write_bytes(b"weights")
        (run / "new").replace(run / "pretraining" / "weights")
        assert list(desk.written(run / "pretraining")) == ["weights"]


def test_images_are_unpacked_once_a_node(here: Path, tmp_path: Path) -> None:
    folder = here / "cache" / "images" / "key"
    node, sent = Site(options(tmp_path), "node"), Dispatch().send(here / "cache", folder)
    with node.desk() as one, node.desk() as other:
        cache = one.images({"images/key": sent})
        first = (cache / "images" / "key" / "images.npy").stat().st_ino
        assert other.images({"images/key": []}) == cache
        assert (cache / "images" / "key" / "images.npy").stat().st_ino == first


def test_images_that_arrive_damaged_are_not_used(here: Path, tmp_path: Path) -> None:
    folder = here / "cache" / "images" / "key"
    (folder / "images.npy").write_bytes(b"others")
    node, sent = Site(options(tmp_path), "node"), Dispatch().send(here / "cache", folder)
    with node.desk() as desk:
        with pytest.raises(RunError, match=r"damaged on their way to the node: images.npy does not fit its checksum"):
            desk.images({"images/key": sent})
        assert not (node.folder / "cache" / "images" / "key").exists()


def test_what_a_killed_run_left_on_a_node_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "_ABANDONED", -1.0)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    left, busy = (Site(options(tmp_path, name), "node") for name in ("left", "busy"))
    for folder, process in ((left.folder, killed.pid), (busy.folder, os.getpid())):
        (folder / "desks" / f"{process}-0").mkdir(parents=True)
    with Site(options(tmp_path, "next"), "node").desk():
        assert not left.folder.exists()
        assert busy.folder.exists()


def test_a_folder_that_goes_while_it_is_looked_at_fails_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Site(options(tmp_path, "other"), "node").folder
    other.mkdir(parents=True)
    stat = Path.stat

    def gone(path: Path, **given: bool) -> os.stat_result:
        found = stat(path, **given)
        if path == other:
            other.rmdir()
        return found

    monkeypatch.setattr(Path, "stat", gone)
    with Site(options(tmp_path), "node").desk() as desk:
        assert desk.folder.is_dir()
    assert not other.exists()


def test_a_node_is_left_as_it_was(tmp_path: Path) -> None:
    node = Site(options(tmp_path), "node")
    with node.desk():
        pass
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    tidy_node(options(tmp_path), "node", [(process.pid, started)])
    assert process.wait() == -9
    assert not node.folder.exists()
    tidy_node(None, "node", [])
