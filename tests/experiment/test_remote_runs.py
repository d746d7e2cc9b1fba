"""A run whose table and images lie in a store computes what a run on local files does."""

from __future__ import annotations

import csv
import socket
from pathlib import Path
from typing import Any

import pytest
from command_line import sslkit as command
from object_store import CREDENTIALS, SECRET, ObjectStore, parquet, photographs, running_store
from studies import tiny_config, tiny_tables

import sslkit
from sslkit.config import to_toml
from sslkit.config.loading import validate
from sslkit.data.cache import build_cache
from sslkit.data.preprocessing import Preprocessing
from sslkit.experiment.environment import process_context
from sslkit.experiment.run_result import RunResult
from sslkit_image_folder import ImageFolder, ImageFolderConfig

COLUMNS = {"label_column": "grade", "group_column": "patient"}


def put_study(folder: Path, count: int) -> Path:
    """Write photographs and the same table twice, as text and as Parquet; return the folder."""
    names = [f"{number % 2}/a b#?%20ü{number}.png" for number in range(count)]
    grades = [None if number % 6 == 5 else number % 5 for number in range(count)]
    for name, content in zip(names, photographs(count, 48), strict=True):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    patients = [f"p{number // 2}" for number in range(count)]
    rows = zip(names, grades, patients, strict=True)
    text = "".join(f"{name},{'' if grade is None else grade},{patient}\n" for name, grade, patient in rows)
    (folder / "labels.csv").write_text(f"image,grade,patient\n{text}")
    (folder / "labels.parquet").write_bytes(parquet(image=names, grade=grades, patient=patients))
    return folder


def graded(run: RunResult) -> list[tuple[dict[str, str], bytes]]:
    """Return each row of results.csv with the predictions of its cell.

    The cell's name is left out, which has the images' fingerprints in it.
    """
    root = run.directory.root
    with (root / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    return [(row, (root / "cells" / row.pop("cell") / "predictions.csv").read_bytes()) for row in rows]


def assert_same(local: RunResult, remote: RunResult) -> None:
    assert graded(local) == graded(remote)
    for name in ("splits.json", "summary.csv"):
        assert (local.directory.root / name).read_bytes() == (remote.directory.root / name).read_bytes(), name


def test_a_study_in_a_store_computes_what_it_does_on_files(object_store: ObjectStore, tmp_path: Path) -> None:
    folder = put_study(tmp_path / "study", 24)
    object_store.put_folder("study", folder)
    changes: dict[str, Any] = {"evaluation": {"label_fractions": [1.0], "arms": ["scratch"]}}
    remote = {"table": "s3://study/labels.parquet", "storage_options": object_store.options}
    local = sslkit.run(
        tiny_config(dataset={"name": "csv", "table": f"{folder}/labels.csv", **COLUMNS}, **changes), tmp_path / "local"
    )
    there = sslkit.run(tiny_config(dataset={"name": "csv", **remote, **COLUMNS}, **changes), tmp_path / "remote")
    assert_same(local, there)
    # Taken up again, nothing is computed anew.
    times = {path: path.stat().st_mtime_ns for path in there.directory.root.rglob("predictions.csv")}
    sslkit.run(tiny_config(dataset={"name": "csv", **remote, **COLUMNS}, **changes), tmp_path / "remote")
    assert times == {path: path.stat().st_mtime_ns for path in there.directory.root.rglob("predictions.csv")}
    # No credentials are anywhere.
    for path in there.directory.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in (SECRET, CREDENTIALS["AWS_ACCESS_KEY_ID"]):
                assert secret.encode() not in content, path


@pytest.mark.slow
def test_real_photographs_in_a_store(fundus600: Path, object_store: ObjectStore, tmp_path: Path) -> None:
    from pyarrow import csv as pyarrow_csv
    from pyarrow.parquet import write_table

    write_table(pyarrow_csv.read_csv(fundus600 / "labels.csv"), tmp_path / "labels.parquet")
    object_store.put_folder("fundus600", fundus600, "images/")
    object_store.put_folder("fundus600", tmp_path, "tables/")
    changes: dict[str, Any] = {"images": {"size": 64, "crop": "fundus"}, "evaluation": {"arms": ["pretrained"]}}
    local = {"table": f"{fundus600}/labels.csv"}
    remote = {
        "table": "s3://fundus600/tables/labels.parquet",
        "images": "s3://fundus600/images",
        "storage_options": object_store.options,
    }
    runs = [
        sslkit.run(tiny_config(dataset={"name": "csv", **places, **COLUMNS}, **changes), tmp_path / name)
        for name, places in (("local", local), ("remote", remote))
    ]
    assert_same(*runs)


def test_the_commands_tell_of_a_store_that_lacks_something(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    object_store.put("commands", {"train/notes.txt": b""})
    dataset = {"name": "image-folder", "path": "s3://commands/train", "storage_options": object_store.options}
    Path("study.toml").write_text(to_toml(tiny_tables(dataset=dataset)))
    assert command("config", "check", "study.toml").status == 0
    outcome = command("run", "study.toml", "--dry-run")
    assert outcome.status == 2
    assert outcome.err.startswith("Error: no image in s3://commands/train or in any folder below it")
    outcome = command("run", "study.toml", "--set", "dataset.storage_options.secret=hushhush")
    assert outcome.status == 2
    assert "dataset.storage_options: 'secret' may hold a secret" in outcome.err
    assert "hushhush" not in outcome.err


def listed(store: ObjectStore, bucket: str, **options: Any) -> tuple[ImageFolder, Any]:
    given = {"path": f"s3://{bucket}", "storage_options": {**store.options, **options}}
    data = ImageFolder(validate(ImageFolderConfig, given, root=Path("/")))
    return data, data.records()


def test_processes_of_their_own_decode_from_a_store(object_store: ObjectStore, tmp_path: Path) -> None:
    files = photographs(40, 48)
    object_store.put("decoding", {f"{number}.png": content for number, content in enumerate(files)})
    data, records = listed(object_store, "decoding")
    object_store.remove("decoding", "7.png")
    object_store.put("decoding", {"8.png": b"another one"})
    cache = build_cache(
        data,
        records,
        Preprocessing(32, "center"),
        root=tmp_path,
        workers=2,
        context=process_context(["sslkit_image_folder"]),
    )
    rows = {record.id: row for row, record in enumerate(records)}
    assert cache.unreadable.keys() == {rows["7.png"], rows["8.png"]}
    assert cache.unreadable[rows["7.png"]] == "there is no object s3://decoding/7.png"
    assert "s3://decoding/8.png has changed since it was listed" in cache.unreadable[rows["8.png"]]
    images = cache.open()
    for number in (0, 20, 39):
        wanted = Preprocessing(32, "center").apply(files[number])
        assert (images[rows[f"{number}.png"]] == wanted).all()


def test_what_a_dead_line_kept_back_is_read_by_the_next_run(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = {f"{number}.png": content for number, content in enumerate(photographs(3, 48))}
    context = process_context(["sslkit_image_folder"])
    with running_store(port) as store:
        store.put("line", files)
        data, records = listed(store, "line", config_kwargs={"retries": {"max_attempts": 0}})
    silent = build_cache(data, records, Preprocessing(32, "center"), root=tmp_path, workers=1, context=context)
    with running_store(port):
        again = build_cache(data, records, Preprocessing(32, "center"), root=tmp_path, workers=1, context=context)
    assert silent.unreadable.keys() == {0, 1, 2}
    assert "s3://line/0.png cannot be read: EndpointConnectionError" in silent.unreadable[0]
    assert again.folder == silent.folder
    assert again.unreadable == {}
