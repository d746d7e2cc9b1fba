"""Disks that fill up or are read-only, and files that were truncated, changed or taken away."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from studies import tiny_config

import sslkit
from sslkit.config import RunConfig, to_toml
from sslkit.errors import JobError, RunDirectoryError, StorageError
from sslkit.experiment.observation import Silent
from sslkit.experiment.run_directory import RunDirectory
from sslkit.interfaces import Job

KEPT = ("results.csv", "summary.csv", "splits.json", "audit.json", "cells/*/*", "pictures/*", "pretraining/*/*/[!lm]*")
"""What does not depend on times: neither last.ckpt nor metrics.jsonl of a pretraining."""


def study() -> RunConfig:
    """A study with every kind of file."""
    return tiny_config(
        head={"name": "dr-grade", "encoding": "regression", "cut_points": "cross-fitted"},
        evaluation={"arms": ["pretrained", "scratch", "frozen"], "label_fractions": [1.0]},
    )


def contents(root: Path) -> dict[str, bytes]:
    found = (path for name in KEPT for path in sorted(root.glob(name)) if path.name != "SHA256SUMS")
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sslkit.run(study(), tmp_path_factory.mktemp("runs") / "finished").directory.root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


class Hearing(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def run_again(root: Path) -> list[str]:
    """Carry out the same command, and return what it warned of."""
    heard = Hearing()
    sslkit.run(study(), root, observer=heard)
    return heard.warnings


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


NAMED = {
    "cells/*/result.json": r" \(cells/\w+\): result\.json .*; it is done anew$",
    "cells/*/predictions.csv": r" \(cells/\w+\): predictions\.csv .*; it is done anew$",
    "cells/*/metrics.jsonl": r" \(cells/\w+\): metrics\.jsonl .*; it is done anew$",
    "cells/*/model.safetensors": r" \(cells/\w+\): model\.safetensors .*; it is done anew$",
    "cells/*/fitted.safetensors": r" \(cells/\w+\): fitted\.safetensors .*; it is done anew$",
    "cells/*/SHA256SUMS": r" \(cells/\w+\): .*SHA256SUMS.*; it is done anew$",
    "pretraining/rotation/0/backbone.safetensors": r"^pretraining/rotation/0: backbone\.safetensors .*done anew$",
    "pretraining/rotation/0/config.json": r"^pretraining/rotation/0: config\.json .*; it is done anew$",
    "pretraining/rotation/0/metrics.jsonl": r"^pretraining/rotation/0: metrics\.jsonl .*; it is done anew$",
    "results.csv": r"run: results\.csv .*; it is written anew$",
    "summary.csv": r"run: summary\.csv .*; it is written anew$",
    "splits.json": r"run: splits\.json .*; it is written anew$",
    "audit.json": r"run: audit\.json .*; it is written anew$",
    "run.json": r"run: run\.json .*; it is written anew$",
    "config.toml": r"run: config\.toml .*; it is written anew$",
}
"""Files that vouch for work, and how a damaged one is named."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("damage", [cut, change, Path.unlink], ids=["cut", "changed", "gone"])
def test_a_damaged_file_of_a_finished_run_is_named_and_made_anew(
    finished: Path, root: Path, name: str, damage: Callable[[Path], None]
) -> None:
    path = sorted(root.glob(name))[0]
    damage(path)
    if name.startswith("pretraining"):  # else its cells stand, and nobody asks for it
        shutil.rmtree(root / "cells")

    told = run_again(root)

    assert len(told) == 1
    assert re.search(NAMED[name], told[0])
    assert contents(root) == contents(finished)


def test_every_file_damaged_at_once_is_made_anew(finished: Path, root: Path) -> None:
    for name in NAMED:
        for path in root.glob(name):
            cut(path)
    told = run_again(root)
    assert len([text for text in told if "(cells/" in text]) == 6
    assert len([text for text in told if "written anew" in text]) == 6
    assert len([text for text in told if text.startswith("pretraining/")]) == 1
    assert contents(root) == contents(finished)


@pytest.mark.parametrize("damage", [cut, change, Path.unlink], ids=["cut", "changed", "gone"])
def test_a_configuration_that_was_damaged_is_put_back_by_the_very_same_alone(
    root: Path, damage: Callable[[Path], None]
) -> None:
    damage(root / "config.toml")
    other = study().model_copy(update={"seed": 1})
    with pytest.raises(RunDirectoryError, match=r"config\.toml is missing, or was changed .* Give exactly the config"):
        sslkit.run(other, root)


@pytest.mark.parametrize("name", ["results.csv", "run.json", "cells/*/predictions.csv"])
def test_no_report_is_made_of_what_was_changed(root: Path, name: str) -> None:
    change(next(root.glob(name)))
    with pytest.raises(
        RunDirectoryError, match=rf"{name.rpartition('/')[2]} does not fit its checksum\. It was changed"
    ):
        sslkit.write_report(root)


@pytest.mark.parametrize("name", ["model.safetensors", "fitted.safetensors"])
def test_a_damaged_model_grades_nothing(root: Path, name: str) -> None:
    for path in root.glob(f"cells/*/{name}"):
        change(path)
    with pytest.raises(RunDirectoryError, match=rf"{name} does not fit its checksum\. It was changed or damaged"):
        sslkit.predict(root, [])


@pytest.mark.parametrize("name", ["features.npy", "features.json", "backbone.safetensors"])
def test_what_a_cell_reads_is_checked_when_it_is_read(finished: Path, root: Path, name: str) -> None:
    shutil.rmtree(root / "cells")
    run_damaging = Damaging(lambda: change(root / "pretraining" / "rotation" / "0" / name))
    with pytest.raises(JobError, match=rf"{name} does not fit its checksum.*It was changed or damaged"):
        sslkit.run(study(), root, observer=run_damaging)
    sslkit.run(study(), root)
    assert contents(root) == contents(finished)


class Damaging(Silent):
    """Does something once, when the jobs begin, or when one has ended."""

    def __init__(self, act: Callable[[], object], *, when: str = "jobs") -> None:
        self.act: Callable[[], object] | None = act
        self.when = when

    def _maybe(self, moment: str) -> None:
        if moment == self.when and self.act is not None:
            act, self.act = self.act, None
            act()

    def stage(self, name: str, total: int) -> None:
        self._maybe(name)

    def job_progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        self._maybe("progress")

    def job_finished(self, job: Job) -> None:
        if job.id.startswith("cells/"):
            self._maybe("cell")


@pytest.mark.parametrize("when", ["ingest", "jobs", "progress", "cell"])
def test_a_run_directory_that_is_deleted_under_way_ends_the_run_and_does_not_come_back(
    tmp_path: Path, when: str
) -> None:
    root = tmp_path / "run"
    with pytest.raises(StorageError, match=r"run was taken away or replaced while the run was under way; the same"):
        sslkit.run(study(), root, observer=Damaging(lambda: root.rename(tmp_path / "away"), when=when))
    assert not root.exists()


def test_a_cell_that_is_edited_under_way_is_reported_and_not_counted(tmp_path: Path, finished: Path) -> None:
    root = tmp_path / "run"

    def edit() -> None:
        path = next(iter(root.glob("cells/[!.]*/predictions.csv")))
        path.write_text(path.read_text().replace("0", "1", 1))

    with pytest.raises(JobError, match=r"its files were changed after it was finished: predictions\.csv does not fit"):
        sslkit.run(study(), root, observer=Damaging(edit, when="cell"))
    sslkit.run(study(), root)
    assert contents(root) == contents(finished)


def command(folder: Path, environment: Mapping[str, str], limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Carry out the study as a command whose files may have so many bytes, in a folder of its own."""
    config = folder / "study.toml"
    config.write_text(to_toml(study().model_dump(mode="json", exclude_none=True)))

    def limit_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "sslkit", "run", str(config), "--output", str(folder / "run")],
        **{"env": {**os.environ, **environment}, "preexec_fn": limit_files},
        **{"capture_output": True, "text": True, "timeout": 300},
    )


@pytest.mark.parametrize(("limit", "stopped_at"), [(60_000, r"images\.npy"), (300_000, "last.ckpt")])
def test_files_that_may_not_grow_stop_what_needs_them_and_nothing_is_lost(
    tmp_path: Path, finished: Path, limit: int, stopped_at: str
) -> None:
    environment = {"SSLKIT_CACHE": str(tmp_path / "cache")}
    done = command(tmp_path, environment, limit)
    assert done.returncode == 1
    assert re.search(rf"cannot write .*{stopped_at}: File too large; raise the limit", done.stderr)
    assert "Traceback" not in done.stderr

    done = command(tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "run") == contents(finished)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_what_needs_it_and_nothing_is_lost(tmp_path: Path, small_disk: Path, finished: Path) -> None:
    environment = {"SSLKIT_CACHE": str(tmp_path / "cache")}
    done = command(small_disk, environment)
    assert done.returncode == 1
    assert "No space left on device; free some space. Then run the same command again" in done.stderr
    assert "Traceback" not in done.stderr

    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = command(small_disk, environment)
    assert done.returncode == 0, done.stderr
    assert contents(small_disk / "run") == contents(finished)


def test_a_full_disk_for_decoded_images_is_told_at_once(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "full").write_bytes(bytes(450_000))
    done = command(tmp_path, {"SSLKIT_CACHE": str(small_disk / "cache")})
    assert done.returncode == 1
    assert "images.npy: No space left on device; free some space" in done.stderr
    assert not (tmp_path / "run").exists()
    assert list((small_disk / "cache" / "images").glob("*/*")) == []


def test_a_read_only_disk_is_refused_before_any_work(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "study.toml").touch()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunDirectoryError, match=r"run cannot be written to; give another --output"):
        sslkit.run(study(), small_disk / "run")
    assert not RunDirectory(small_disk / "run").root.exists()
