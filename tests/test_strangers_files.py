"""Files that strangers wrote: no pickle in them is loaded, nothing of them is run, and no path in them leads away."""

from __future__ import annotations

import ast
import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import Bomb
from safetensors.torch import load_file, save_file
from studies import prepare_tiny, tiny_config
from torch import nn

import sslkit
from sslkit.checksums import SUMS, flaws, read_sums, seal
from sslkit.data.cache import ImageCache
from sslkit.data.shards import Shards
from sslkit.engine.weights import load_weights
from sslkit.errors import ConfigError, DataError, PluginError, RunDirectoryError, RunError, WeightsError
from sslkit.experiment.environment import git_state
from sslkit.experiment.features import read_features
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.running import RunResult
from sslkit_npz import Npz, NpzConfig

ROOT = Path(sslkit.__file__).parents[1]
FEATURES = ("features.npy", "features.json")
SOURCES = [path for folder in ("sslkit", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that is there as soon as a bomb has gone off; the test fails if it is."""
    path = tmp_path / "canary"
    pickle.loads(pickle.dumps(Bomb(path)))
    assert path.exists(), "the bomb must work"
    path.unlink()
    yield path
    assert not path.exists(), "a stranger's code was run"


# What the code never does


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def options(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def test_every_load_of_numpy_and_torch_refuses_pickles() -> None:
    loads = [(path.name, name, options(call)) for path, call, name in calls() if name in ("np.load", "torch.load")]
    assert len(loads) >= 6
    for path, name, given in loads:
        key, value = ("allow_pickle", "False") if name == "np.load" else ("weights_only", "True")
        assert given.get(key) == value, f"{name} in {path}"


FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"),
    *("pickle.Unpickler", "yaml.load", "yaml.unsafe_load", "torch.jit.load", "torch.hub.load", "torch.package.load"),
    *("np.fromfile", "numpy.load", "joblib.load", "dill.loads", "marshal.loads", "shelve.open", "runpy.run_path"),
}


KIT = {
    Path("sslkit", "testing", *name.split("/"))
    for name in ("checks/comparison.py", "checks/dataset/sharing.py", "elsewhere.py", "trials.py")
}
"""What sends a plugin to a process of its own and back: it unpickles what it has pickled itself a moment before."""


RAY = {Path("sslkit_ray", name) for name in ("shift.py", "task.py")}
"""What sends a job to a node of a Ray cluster, which unpickles all that its driver sends it anyway."""


TOGETHER = {Path("sslkit", "experiment", name) for name in ("crew.py", "data_parallel.py")}
"""The processes of one pretraining, of which torch.distributed has each unpickle what the others send it anyway."""


def may_unpickle(path: Path) -> bool:
    return any(path.parts[-len(own.parts) :] == own.parts for own in KIT | RAY | TOGETHER)


def test_nothing_that_runs_text_or_loads_objects_is_called() -> None:
    found = [(path.name, name) for path, call, name in calls() if name in FORBIDDEN and not may_unpickle(path)]
    shells = [path.name for path, call, _ in calls() if options(call).get("shell", "False") != "False"]
    assert (found, shells) == ([], [])


def test_no_module_that_loads_objects_is_imported() -> None:
    refused = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "runpy", "imp"}
    found = []
    for path in (path for path in SOURCES if not may_unpickle(path)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(path.name, name) for name in names if name.partition(".")[0] in refused]
    assert found == []


# Weights


def save_zip(bomb: Bomb, path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "bomb": bomb}, path)


def save_legacy(bomb: Bomb, path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "bomb": bomb}, path, _use_new_zipfile_serialization=False)


def save_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps(bomb, protocol=2))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize("save", [save_zip, save_legacy, save_pickle])
def test_a_pickle_among_weights_is_refused(
    canary: Path, tmp_path: Path, suffix: str, save: Callable[[Bomb, Path], None]
) -> None:
    path = tmp_path / f"weights{suffix}"
    save(Bomb(canary), path)
    network = nn.Linear(1, 1)
    before = network.weight.clone()
    with pytest.raises(WeightsError, match=rf"the file of weights .*weights\{suffix} cannot be read"):
        load_weights(network, path)
    assert torch.equal(network.weight, before)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(2, 3).to_sparse(), r"1 of another kind: weight, torch\.sparse_coo"),
        (torch.zeros(2, 3, dtype=torch.complex64), r"1 of another kind: weight, complex \(the network's is real\)"),
        (torch.zeros(3, 2), r"1 of another shape: weight \(3, 2\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_tensors_that_would_not_copy_are_listed_and_nothing_is_changed(
    tmp_path: Path, weight: torch.Tensor, message: str
) -> None:
    network = nn.Linear(3, 2)
    before = network.bias.clone()
    torch.save({"bias": torch.ones(2), "weight": weight}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=message):
        load_weights(network, tmp_path / "weights.pth")
    assert torch.equal(network.bias, before)


def test_tensors_that_go_by_numbers_are_no_weights(tmp_path: Path) -> None:
    torch.save({0: torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match="holds more than tensors: 0; save"):
        load_weights(nn.Identity(), tmp_path / "weights.pth")


# Arrays


def npz_of(path: Path, **arrays: Any) -> Path:
    plain = {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.zeros(2, np.int64)}
    np.savez(path, **{**plain, **arrays})
    return path


@pytest.mark.parametrize("array", ["train_images", "train_labels"])
def test_objects_in_an_npz_are_refused(canary: Path, tmp_path: Path, array: str) -> None:
    bombs = np.array([Bomb(canary), Bomb(canary)], dtype=object)
    path = npz_of(tmp_path / "data.npz", **{array: bombs})
    with pytest.raises(DataError, match=rf"{array} holds Python objects, which are never loaded"):
        Npz(NpzConfig(path=path, splits=("train",))).records()


@pytest.mark.parametrize("array", ["train_images", "train_labels"])
def test_a_pickle_in_an_npz_is_refused(canary: Path, tmp_path: Path, array: str) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(npz_of(path)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, pickle.dumps(Bomb(canary)) if name == f"{array}.npy" else content)
    with pytest.raises(DataError, match=r"data\.npz is not a \.npz file, or a damaged one"):
        Npz(NpzConfig(path=path, splits=("train",))).records()


def write_objects(bomb: Bomb, path: Path) -> None:
    np.save(path, np.array([bomb], dtype=object))


@pytest.mark.parametrize("write", [write_objects, save_pickle])
@pytest.mark.parametrize("name", ["images", "statistics", "headers", "digests"])
def test_a_pickle_in_the_cache_is_refused(
    canary: Path, tmp_path: Path, write: Callable[[Bomb, Path], None], name: str
) -> None:
    cache = ImageCache(tmp_path / "sets" / "ab" / "abc", {}, Shards(("abc",), 1, 1, 8))
    folder = cache.find("abc") if name != "digests" else cache.folder
    folder.mkdir(parents=True)
    write(Bomb(canary), folder / f"{name}.npy")
    with pytest.raises((ValueError, RunError, DataError)):
        cache.open()[0] if name == "images" else getattr(cache, name)()


@pytest.mark.parametrize("write", [write_objects, save_pickle])
def test_a_pickle_in_the_place_of_features_is_refused(
    canary: Path, tmp_path: Path, write: Callable[[Bomb, Path], None]
) -> None:
    write(Bomb(canary), tmp_path / "features.npy")
    (tmp_path / "features.json").write_text('{"job": "x", "rows": [0]}')
    seal(tmp_path, FEATURES)
    with pytest.raises(RunError, match=r"the features .*features\.npy are damaged .*; delete features\.json beside it"):
        read_features(tmp_path, np.array([0]))


@pytest.mark.parametrize("array", [np.zeros((1, 3)), np.zeros(1, np.float32), np.zeros((5, 3), np.float32)])
def test_features_of_another_kind_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "features.npy", array)
    (tmp_path / "features.json").write_text('{"job": "x", "rows": [0]}')
    seal(tmp_path, FEATURES)
    with pytest.raises(RunError, match="are damaged"):
        read_features(tmp_path, np.array([0]))


@pytest.mark.parametrize("text", ["[]", "{", "null", '{"job": 1}', '{"job": "x", "rows": "y"}'])
def test_features_with_an_index_of_another_kind_are_made_anew(tmp_path: Path, text: str) -> None:
    prepared = prepare_tiny(tmp_path)
    job = prepared.jobs.features[0]
    job.folder.mkdir(parents=True)
    (job.folder / "features.json").write_text(text)
    (job.folder / "features.npy").touch()
    seal(job.folder, FEATURES)
    assert not job.done
    with pytest.raises(RunError, match="damaged"):
        read_features(job.folder, np.array([0]))


# Checkpoints


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_pickle])
def test_a_pickle_in_the_place_of_a_checkpoint_is_not_loaded(
    canary: Path, tmp_path: Path, save: Callable[[Bomb, Path], None]
) -> None:
    told = _pretrain_beside(tmp_path, lambda path: save(Bomb(canary), path))
    assert any("last.ckpt is damaged and not used" in str(values.get("warning")) for values in told)


@pytest.mark.parametrize("state", [[], {}, {"update": 3}, torch.zeros(1)])
def test_a_checkpoint_of_something_else_is_not_used(tmp_path: Path, state: object) -> None:
    told = _pretrain_beside(tmp_path, lambda path: torch.save(state, path))
    assert any("last.ckpt is damaged and not used" in str(values.get("warning")) for values in told)


def test_a_checkpoint_of_another_network_is_told_with_what_does_not_match(tmp_path: Path) -> None:
    job = prepare_tiny(tmp_path / "run", pretraining={"epochs": 1}).jobs.pretrainings[0]
    job.execute(lambda values: None)
    path = job.folder / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["task"]["surplus"] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"(?s)last\.ckpt do not fit this Rotation.*1 unexpected: surplus"):
        job.execute(lambda values: None)


def _pretrain_beside(root: Path, write: Callable[[Path], None]) -> list[Mapping[str, Any]]:
    """Return what a pretraining reports that finds something else in the place of its checkpoint."""
    job = prepare_tiny(root / "run", pretraining={"epochs": 1}).jobs.pretrainings[0]
    job.folder.mkdir(parents=True)
    write(job.folder / "last.ckpt")
    told: list[Mapping[str, Any]] = []
    job.execute(told.append)
    assert job.done
    return told


# Run directories


@pytest.fixture
def run(tiny_run: RunResult, tmp_path: Path) -> Path:
    root = tmp_path / "run"
    shutil.copytree(tiny_run.directory.root, root)
    return root


def models(run: Path) -> list[Path]:
    return sorted(path.parent for path in run.glob("cells/*/model.safetensors"))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"nothing_of_ours": torch.zeros(1)}, "1 unexpected: nothing_of_ours"),
        ({"classifier.weight": torch.zeros(1)}, r"1 unexpected: classifier\.weight"),
        ({"temperature": torch.zeros(9)}, r"1 of another shape: temperature \(9,\)"),
    ],
)
def test_fitted_values_of_another_head_are_refused(run: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    for folder in models(run):
        save_file(tensors, folder / "fitted.safetensors")
        seal(folder, ["fitted.safetensors"])
    with pytest.raises(WeightsError, match=rf"(?s)fitted\.safetensors do not fit this DRGrade.*{message}"):
        list(sslkit.predict(run, ["x.png"]))


def test_fitted_values_of_the_heads_own_are_averaged(run: Path) -> None:
    before = dict(Predictor.open(run, sslkit.build_registry()).head.named_buffers())["temperature"]
    for number, folder in enumerate(models(run)):
        save_file({"temperature": before + number}, folder / "fitted.safetensors")
        seal(folder, ["fitted.safetensors"])
    numbers = {folder.name: number for number, folder in enumerate(models(run))}
    with (run / "results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["arm"], row["fraction"]) == ("scratch", "1.0")]
    expected = before + sum(numbers[row["cell"]] for row in rows) / len(rows)
    fitted = dict(Predictor.open(run, sslkit.build_registry(), arm="scratch").head.named_buffers())["temperature"]
    assert len(rows) == 2
    assert torch.allclose(fitted, expected)


def test_a_pickle_in_the_place_of_a_model_is_refused(canary: Path, run: Path) -> None:
    for folder in models(run):
        save_pickle(Bomb(canary), folder / "model.safetensors")
        seal(folder, ["model.safetensors"])
    with pytest.raises(WeightsError, match="cannot be read"):
        list(sslkit.predict(run, ["x.png"]))


def test_a_model_of_another_network_is_told_with_what_does_not_match(run: Path) -> None:
    for folder in models(run):
        tensors = load_file(folder / "model.safetensors")
        save_file({**tensors, "surplus": torch.zeros(1)}, folder / "model.safetensors")
        seal(folder, ["model.safetensors"])
    with pytest.raises(WeightsError, match=r"(?s)model\.safetensors do not fit.*1 unexpected: surplus"):
        list(sslkit.predict(run, ["x.png"]))


@pytest.mark.parametrize("cell", ["../../evil", "/etc", "..", "", "a/b", "0123456789abcde", "0123456789abcdef/.."])
def test_a_cell_that_is_none_leads_nowhere(run: Path, cell: str) -> None:
    with pytest.raises(RunDirectoryError, match="is not a cell, which is called by 16 hex digits"):
        RunDirectory(run).cell(cell)
    results = run / "results.csv"
    text = results.read_text()
    results.write_text(text.replace(models(run)[0].name, cell))
    seal(run, ["results.csv"])
    with pytest.raises(RunDirectoryError, match="16 hex digits"):
        list(sslkit.predict(run, ["x.png"]))


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"\xff\xfe", b"cell,arm,pretext,fold,fraction\na,b,c,d,e\n"])
def test_a_table_of_something_else_is_told(run: Path, content: bytes) -> None:
    (run / "results.csv").write_bytes(content)
    seal(run, ["results.csv"])
    with pytest.raises(RunDirectoryError, match=r"is not the table that 'sslkit run' writes|keeps no model"):
        list(sslkit.predict(run, ["x.png"]))


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ('name = "timm"', 'name = "./evil.py"', PluginError, r"unknown backbone '\./evil\.py'"),
        ('name = "timm"', 'name = "evil"', PluginError, "unknown backbone 'evil'"),
        ('model = "test_resnet"', 'model = "local-dir:evil"', ConfigError, "has no model 'local-dir:evil'"),
        ('model = "test_resnet"', 'model = "hf-hub:evil/evil"', ConfigError, "has no model 'hf-hub:evil/evil'"),
        (
            "[backbone.options]",
            '[backbone.options]\ncheckpoint_path = "evil.pth"',
            ConfigError,
            "checkpoint_path cannot",
        ),
        ("[backbone]", "[backbone]\nplugins = ['evil.py']", ConfigError, "unknown key"),
    ],
)
def test_a_configuration_loads_no_code(
    canary: Path, run: Path, before: str, after: str, error: type[Exception], message: str
) -> None:
    (run / "evil.py").write_text(f"import os; os.system('touch {canary}')")
    config = run / "config.toml"
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, after, 1))
    seal(run, ["config.toml"])
    with pytest.raises(error, match=message):
        list(sslkit.predict(run, ["x.png"]))


def test_commands_run_nothing_that_lies_in_a_run_directory(canary: Path, run: Path) -> None:
    evil = f"import os\nos.system('touch {canary}')\n"
    for name in ("sitecustomize", "usercustomize", "evil", "conftest", "torch", "timm", "matplotlib", "sslkit_timm"):
        (run / f"{name}.py").write_text(evil)
    (run / "evil-1.0.dist-info").mkdir()
    (run / "evil-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (run / "evil-1.0.dist-info" / "entry_points.txt").write_text("[sslkit]\nevil = evil\n")
    script = Path(sys.executable).with_name("sslkit")
    assert script.exists()
    for arguments in (["report", "."], ["predict", ".", "x.png"]):
        done = subprocess.run([str(script), *arguments], cwd=run, capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
    assert "<script" not in (run / "report" / "index.html").read_text()


def test_a_table_of_dicom_labels_opens_no_file(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from sslkit_dicom import Dicom, DicomConfig

    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    secret = tmp_path / "secret.dcm"
    secret.write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "labels.csv").write_text(f"id,label\n../secret.dcm,1\n{secret},1\n")
    with pytest.raises(DataError, match=r"2 of the 2 rows in .* belong to no image"):
        Dicom(DicomConfig(path=folder, labels=tmp_path / "labels.csv")).records()


@pytest.mark.parametrize(
    "text", ["[]", "null", "{", '{"sessions": 3}', '{"sessions": [{"timings": {"jobs": "x"}}]}', "[" * 9999]
)
def test_a_run_json_of_something_else_is_written_anew(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    seal(run, ["run.json"])
    sslkit.run(tiny_config(), run)
    sessions = json.loads((run / "run.json").read_text())["sessions"]
    assert [session["warnings"] for session in sessions] == [
        [f"{run / 'run.json'} is damaged; it is written anew, without the times of earlier calls"]
    ]


def test_a_list_of_checksums_names_the_files_of_its_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "cell" / SUMS).write_text(f"{'0' * 64}  ../secret\n{'0' * 64}  {tmp_path}/secret\n{'0' * 64}  own\n")
    assert list(read_sums(tmp_path / "cell")) == ["own"]
    assert flaws(tmp_path / "cell") == ["own is missing"]


@pytest.mark.parametrize("text", ["[]", "null", "{", '{"sslkit": 3}', '{"sslkit": {}}', "[" * 9999])
def test_weights_whose_config_json_is_another_are_made_anew(tmp_path: Path, text: str) -> None:
    job = prepare_tiny(tmp_path / "run").jobs.pretrainings[0]
    job.folder.mkdir(parents=True)
    (job.folder / "config.json").write_text(text)
    for name in ("backbone.safetensors", "metrics.jsonl"):
        (job.folder / name).touch()
    seal(job.folder, ["config.json", "backbone.safetensors", "metrics.jsonl"])
    assert (job.flaws(), job.done) == ([], False)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_state_of_a_strangers_repository_starts_no_program_of_theirs(canary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "a"]
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    for arguments in (["init", "--quiet"], ["add", "a.txt"], commit):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    subprocess.run(["git", "config", "core.fsmonitor", f"touch {canary}; false"], cwd=folder, check=True)
    hook = folder / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {canary}\n")
    hook.chmod(0o755)
    os.utime(folder / "a.txt", (1, 1))  # so that git would refresh its index
    assert (git_state(folder) or {})["changed"] is False
