from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from studies import tiny_config
from torch import nn

import sslkit
from sslkit import Backbone, PluginConfig, Preprocessing
from sslkit.checksums import seal
from sslkit.config import to_toml
from sslkit.engine.networks import build_encoder
from sslkit.engine.precision import Compute
from sslkit.errors import PluginError, RunDirectoryError, WeightsError
from sslkit.experiment.exported import is_exported, read_exported
from sslkit.experiment.exporting import export_weights
from sslkit.experiment.run_weights import RunWeights, load_run_weights
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve
from sslkit.registry import PluginInfo, Registry

CPU = Compute("cpu", "fp32")

LOADS = """
import sys, json, numpy, timm, torch
network = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
images = torch.from_numpy(numpy.load(sys.argv[2]))
with torch.no_grad():
    features = network.forward_head(network.forward_features(images), pre_logits=True)
numpy.save(sys.argv[3], features.numpy())
print(json.dumps({"sslkit": "sslkit" in sys.modules, "classes": network.num_classes,
                  "classifier": type(network.get_classifier()).__name__,
                  "mean": network.pretrained_cfg["mean"], "std": network.pretrained_cfg["std"]}))
"""


@pytest.fixture(scope="module")
def root(tiny_run: RunResult) -> Path:
    return tiny_run.directory.root


@pytest.fixture(scope="module")
def finetuned(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sslkit.export(root, tmp_path_factory.mktemp("exports") / "finetuned", fold=1, weights="finetuned").directory


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def load_with_plain_timm(folder: Path, images: torch.Tensor, tmp_path: Path) -> tuple[dict[str, Any], torch.Tensor]:
    np.save(tmp_path / "images.npy", images.numpy())
    command = [sys.executable, "-c", LOADS, str(folder), str(tmp_path / "images.npy"), str(tmp_path / "features.npy")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    return json.loads(said.stdout), torch.from_numpy(np.load(tmp_path / "features.npy"))


def pixels_of(size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def test_plain_timm_loads_it_and_computes_the_same(root: Path, finetuned: Path, tmp_path: Path) -> None:
    pixels = pixels_of()
    config = json.loads((finetuned / "config.json").read_text())["pretrained_cfg"]
    images = sslkit.normalize(pixels, tuple(config["mean"]), tuple(config["std"]))

    said, features = load_with_plain_timm(finetuned, images, tmp_path)

    chosen = load_run_weights(root, sslkit.build_registry(), CPU, fold=1, weights="finetuned")
    with torch.inference_mode():
        ours = sslkit.representation(sslkit.load_backbone(root, fold=1, weights="finetuned"), images)
        largest = float(ours.abs().max())
        torch.testing.assert_close(features, ours, atol=1e-6, rtol=0)
        # The run's own encoder lays its convolutions out otherwise, which rounds otherwise.
        torch.testing.assert_close(features, chosen.encoder(pixels), atol=2e-6 * largest, rtol=0)
    assert (said["sslkit"], said["classes"], said["classifier"]) == (False, 0, "Identity")


@pytest.mark.parametrize(
    ("backbone", "size", "arguments"),
    [
        ({"name": "timm", "model": "test_vit", "options": {"img_size": 32}}, 32, {"img_size": 32}),
        ({"name": "timm", "model": "test_resnet", "options": {"global_pool": "max"}}, 32, {"global_pool": "max"}),
        ({"name": "densenet121"}, 32, {}),
    ],
    ids=["vit", "max-pool", "densenet121"],
)
def test_networks_with_options_keep_them(
    backbone: dict[str, Any], size: int, arguments: dict[str, Any], tmp_path: Path
) -> None:
    registry = sslkit.build_registry()
    study = resolve(tiny_config(backbone=backbone, images={"size": size, "crop": "none"}), registry)
    encoder = build_encoder(study.backbone.make(), CPU, seed=5).eval()
    chosen = RunWeights(study, encoder, None, None, "pretrained", "rotation", 0, None, 2)

    exported = export_weights(chosen, tmp_path / "out", lambda config, files: "")

    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert exported.not_for_timm is None
    assert config["model_args"] == {"num_classes": 0, **arguments}
    assert config["pretrained_cfg"]["crop_mode"] == "squash"
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    pixels = pixels_of(size)
    with torch.inference_mode():
        images = sslkit.normalize(pixels, encoder.mean, encoder.std)
        ours, theirs = encoder(pixels), sslkit.representation(network, images)
        again = sslkit.representation(sslkit.load_backbone(tmp_path / "out"), images)
    torch.testing.assert_close(theirs, again, atol=1e-6, rtol=0)
    torch.testing.assert_close(theirs, ours, atol=2e-6 * max(1.0, float(ours.abs().max())), rtol=0)


def test_timm_gives_it_a_new_classifier(finetuned: Path) -> None:
    network = timm.create_model(f"local-dir:{finetuned}", pretrained=True, num_classes=7)
    weights = load_file(finetuned / "model.safetensors")
    assert network.get_classifier().out_features == 7
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in weights.items())


def test_pretrained_weights_are_those_of_the_pretraining(root: Path, tmp_path: Path) -> None:
    exported = sslkit.export(root, tmp_path / "out", fold=1)

    source = root / "pretraining" / "rotation" / "1" / "backbone.safetensors"
    wanted, given = load_file(source), load_file(tmp_path / "out" / "model.safetensors")
    assert wanted.keys() == given.keys()
    assert all(torch.equal(wanted[name], given[name]) for name in wanted)
    assert not (tmp_path / "out" / "head.safetensors").exists()
    assert set(exported.files) == {"README.md", "SHA256SUMS", "config.json", "model.safetensors"}
    assert (exported.weights, exported.pretext, exported.fold, exported.arm) == ("pretrained", "rotation", 1, None)
    assert read_exported(tmp_path / "out", sslkit.build_registry(), CPU).head is None


def test_what_was_fitted_across_folds_travels_with_the_head(tmp_path: Path) -> None:
    head = {"name": "dr-grade", "cut_points": "cross-fitted", "temperature": "cross-fitted"}
    run = sslkit.run(
        tiny_config(head=head, evaluation={"label_fractions": [1.0], "folds": 2, "arms": ["scratch"]}),
        tmp_path / "run",
    )
    sslkit.export(run.directory.root, tmp_path / "out", weights="finetuned", arm="scratch")

    model = read_exported(tmp_path / "out", sslkit.build_registry(), CPU)

    cell = next(run.directory.root.glob("cells/*"))
    fitted = {
        json.loads((cell / "result.json").read_text())["fold"]: load_file(cell / "fitted.safetensors")
        for cell in run.directory.root.glob("cells/*")
    }[0]
    buffers = dict(model.head.named_buffers()) if model.head else {}
    assert fitted
    assert all(torch.equal(buffers[name], tensor) for name, tensor in fitted.items())
    assert cell.is_dir()
    assert model.threshold is not None
    assert not model.encoder.training
    assert not any(part.training for part in (model.head or nn.Identity()).modules())


def test_an_exported_model_grades_as_its_cell_did(root: Path, finetuned: Path) -> None:
    model = read_exported(finetuned, sslkit.build_registry(), CPU)
    chosen = load_run_weights(root, sslkit.build_registry(), CPU, fold=1, weights="finetuned")
    pixels = pixels_of()
    assert model.head is not None
    assert chosen.head is not None
    with torch.inference_mode():
        given = model.head.predict(model.head(model.encoder(pixels)))
        wanted = chosen.head.predict(chosen.head(chosen.encoder(pixels)))
    torch.testing.assert_close(given.probabilities, wanted.probabilities, atol=0, rtol=0)
    assert model.preprocessing == Preprocessing(32, "fundus")
    assert model.threshold == chosen.threshold


def test_the_same_run_gives_the_same_bytes(root: Path, finetuned: Path, tmp_path: Path) -> None:
    sslkit.export(root, tmp_path / "finetuned", fold=1, weights="finetuned")
    for path in finetuned.iterdir():
        assert (tmp_path / "finetuned" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_card_says_what_the_weights_are_and_what_images_go_through(finetuned: Path) -> None:
    text = (finetuned / "README.md").read_text()
    mean = ", ".join(f"{value:g}" for value in json.loads((finetuned / "config.json").read_text())["sslkit"]["mean"])
    for said in (
        "not a medical device",
        'timm.create_model("local-dir:path/to/finetuned", pretrained=True)',
        'sslkit.load_backbone("path/to/finetuned")',
        "Resize the square to 32 x 32 px",
        f"take the mean off each channel ({mean})",
        "Find the visible retina",
        "Fold 1: neither the pretraining nor the training saw the images that this fold tests",
        "Synthetic fundus photographs: the figures say nothing about patients",
    ):
        assert said in text


class Odd(nn.Module):
    head_hidden_size = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)  # type: ignore[no-any-return]

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return x.mean(dim=(2, 3))


class OddBackbone(Backbone[PluginConfig]):
    """A network of its own."""

    name = "odd"
    api_version = 1

    def build(self, *, pretrained: bool = False) -> nn.Module:
        return Odd()


class TwistedBackbone(OddBackbone):
    """A model of timm that computes something else."""

    name = "twisted"

    def build(self, *, pretrained: bool = False) -> nn.Module:
        network = timm.create_model("test_resnet", num_classes=0)
        forward_head = network.forward_head
        network.forward_head = lambda x, pre_logits=False: 2 * forward_head(x, pre_logits=pre_logits)
        return network  # type: ignore[no-any-return]


def registry_with(*backbones: type[Backbone[Any]]) -> Registry:
    found = sslkit.build_registry()
    more = [PluginInfo("backbone", cls.name, cls, "sslkit-odd", "1.5") for cls in backbones]
    return Registry([*found.plugins, *more], found.broken, found.hooks, found.modules, found.observers)


def odd_run(cls: type[Backbone[Any]], folder: Path) -> Path:
    """Return what a run of a third party's backbone has left once its pretraining was done."""
    registry = registry_with(cls)
    study = resolve(tiny_config(backbone={"name": cls.name}, images={"size": 32}), registry)
    source = folder / "pretraining" / "rotation" / "0"
    source.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(study.resolved()))
    save_file(cls(PluginConfig()).build().state_dict(), source / "backbone.safetensors")
    (source / "config.json").write_text(json.dumps({"sslkit": {"epoch": 1}}))
    seal(source, ["backbone.safetensors", "config.json"])
    return folder


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (OddBackbone, "Odd is no model of timm"),
        (TwistedBackbone, "timm's network of that name computes something else"),
    ],
)
def test_a_network_that_timm_does_not_have_is_exported_all_the_same(
    cls: type[Backbone[Any]], reason: str, tmp_path: Path
) -> None:
    registry = registry_with(cls)
    exported = sslkit.export(odd_run(cls, tmp_path / "run"), tmp_path / "out", registry=registry)

    assert exported.not_for_timm is not None
    assert reason in exported.not_for_timm
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"Plain timm cannot load these weights: {reason}" in card
    assert "timm.create_model" not in card
    assert "The run had not finished when this was written" in card
    with pytest.raises(RuntimeError, match=r"Unknown model .*no model of timm: sslkit\.load_backbone loads it"):
        timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    network = sslkit.load_backbone(tmp_path / "out", registry=registry)
    weights = load_file(tmp_path / "run" / "pretraining" / "rotation" / "0" / "backbone.safetensors")
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in weights.items())


def test_a_plugin_that_is_not_installed_is_named_with_its_distribution(tmp_path: Path) -> None:
    sslkit.export(odd_run(OddBackbone, tmp_path / "run"), tmp_path / "out", registry=registry_with(OddBackbone))
    with pytest.raises(PluginError, match=r"needs the backbone 'odd' of sslkit-odd 1\.5, .* pip install sslkit-odd"):
        sslkit.load_backbone(tmp_path / "out")


def test_load_backbone_takes_a_run(root: Path) -> None:
    network = sslkit.load_backbone(root, fold=1)
    weights = load_file(root / "pretraining" / "rotation" / "1" / "backbone.safetensors")
    assert not network.training
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in weights.items())


def test_only_an_earlier_export_is_replaced(root: Path, finetuned: Path, tmp_path: Path) -> None:
    earlier = copy_of(finetuned, tmp_path)
    sslkit.export(root, earlier)
    assert not (earlier / "head.safetensors").exists()

    (earlier / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"is an earlier export, but holds more than it \(notes\.txt\)"):
        sslkit.export(root, earlier)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"is not empty \(thesis\.tex\), and an export replaces the whole"):
        sslkit.export(root, tmp_path / "other")
    with pytest.raises(RunDirectoryError, match=r"thesis\.tex is a file; give the path of a new directory"):
        sslkit.export(root, tmp_path / "other" / "thesis.tex")
    (tmp_path / "empty").mkdir()
    assert sslkit.export(root, tmp_path / "empty").directory == tmp_path / "empty"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "empty", "other"]


def test_an_export_that_fails_leaves_what_was_there(
    root: Path, finetuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = copy_of(finetuned, tmp_path)
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}

    def fail(*args: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("sslkit.api.weights.weights_card", fail)
    with pytest.raises(KeyboardInterrupt):
        sslkit.export(root, earlier)
    with pytest.raises(KeyboardInterrupt):
        sslkit.export(root, tmp_path / "new")
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"fold": 7}, r"has no fold 7; its folds are 0 to 1"),
        ({"fold": -1}, r"has no fold -1"),
        ({"pretext": "rotatoin"}, r"has no pretext task 'rotatoin'; did you mean 'rotation'\? It has: rotation"),
        ({"arm": "scratch"}, r"the arm 'scratch' is one of models trained on labels; give --weights finetuned"),
        ({"weights": "finetuned", "arm": "imagenet"}, r"keeps no model of arm 'imagenet'"),
    ],
)
def test_weights_that_a_run_does_not_have_are_refused(
    root: Path, tmp_path: Path, choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunDirectoryError, match=message):
        sslkit.export(root, tmp_path / "out", **choice)
    assert not (tmp_path / "out").exists()


def test_one_of_several_tasks_must_be_chosen_and_must_have_finished(tmp_path: Path) -> None:
    folder = odd_run(OddBackbone, tmp_path / "run")
    registry = registry_with(OddBackbone)
    with pytest.raises(RunDirectoryError, match=r"pretraining of rotation, fold 1, .* has not finished; .*: folds 0"):
        sslkit.load_backbone(folder, fold=1, registry=registry)
    weights = folder / "pretraining" / "rotation" / "0" / "backbone.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(RunDirectoryError, match=r"is damaged .*backbone\.safetensors does not fit its checksum"):
        sslkit.load_backbone(folder, registry=registry)
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(f'{text}\n[[pretext]]\nname = "jigsaw"\n')
    with pytest.raises(RunDirectoryError, match=r"several pretext tasks \(rotation, jigsaw\); choose one by --pretext"):
        sslkit.load_backbone(folder, registry=registry)


def test_a_run_that_pretrains_nothing_says_so(tmp_path: Path) -> None:
    folder = odd_run(OddBackbone, tmp_path / "run")
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace('"pretrained", "scratch", "frozen", "knn"', '"scratch"'))
    with pytest.raises(RunDirectoryError, match=r"pretrains nothing: its arms are scratch; give --weights finetuned"):
        sslkit.load_backbone(folder, registry=registry_with(OddBackbone))


def test_models_that_are_kept_of_some_folds_only(root: Path, tmp_path: Path) -> None:
    folder = copy_of(root, tmp_path)
    for cell in folder.glob("cells/*"):
        if json.loads((cell / "result.json").read_text())["fold"] == 0:
            (cell / "model.safetensors").unlink(missing_ok=True)
    with pytest.raises(RunDirectoryError, match="keeps no model of fold 0, but of folds 1"):
        sslkit.export(folder, tmp_path / "out", weights="finetuned")


@pytest.mark.parametrize("name", ["model.safetensors", "head.safetensors", "config.json", "SHA256SUMS"])
def test_a_damaged_export_is_refused(finetuned: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(finetuned, tmp_path)
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(RunDirectoryError, match=r"export it again|was changed or damaged"):
        sslkit.load_backbone(folder)
    (folder / name).unlink()
    with pytest.raises(RunDirectoryError, match=r"is missing|has no config\.json|no checksum|no directory of"):
        sslkit.load_backbone(folder)


def test_the_card_may_be_edited(finetuned: Path, tmp_path: Path) -> None:
    folder = copy_of(finetuned, tmp_path)
    (folder / "README.md").write_text("# Our card\n")
    assert sslkit.load_backbone(folder) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, r"was written by a later sslkit \(format 99; this one reads up to 1\)"),
        ({"mean": [0.5]}, r"is not as 'sslkit export' writes it.*\nsslkit\.mean"),
        ({"colour": 1}, r"sslkit\.colour: unknown key"),
    ],
)
def test_a_table_that_export_did_not_write_is_refused(
    finetuned: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = copy_of(finetuned, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["sslkit"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder, ["config.json"])
    with pytest.raises(RunDirectoryError, match=message):
        sslkit.load_backbone(folder)


def test_folders_that_are_neither_run_nor_export(root: Path, finetuned: Path, tmp_path: Path) -> None:
    assert is_exported(finetuned)
    assert not is_exported(root)
    assert not is_exported(tmp_path / "absent")
    with pytest.raises(RunDirectoryError, match=r"holds neither a run \(no config\.toml\) nor exported weights"):
        sslkit.load_backbone(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match=r"was not written by 'sslkit export': its config\.json has no table"):
        sslkit.load_backbone(tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(RunDirectoryError, match=r"config\.json cannot be read"):
        sslkit.load_backbone(tmp_path)


def test_a_choice_among_what_was_not_exported_is_refused(finetuned: Path) -> None:
    sslkit.load_backbone(finetuned, fold=1, weights="finetuned", arm="pretrained")
    with pytest.raises(RunDirectoryError, match=r"holds exported weights of fold '1', not '3'; .* leave --fold out"):
        sslkit.load_backbone(finetuned, fold=3)


def test_another_network_of_the_same_plugin_is_refused(finetuned: Path, tmp_path: Path) -> None:
    folder = copy_of(finetuned, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["sslkit"]["backbone"]["options"]["model"] = "test_vit"
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder, ["config.json"])
    with pytest.raises(WeightsError, match="do not fit this VisionTransformer"):
        sslkit.load_backbone(folder)
    config["sslkit"]["backbone"]["options"]["model"] = "test_vitt"
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder, ["config.json"])
    with pytest.raises(RunDirectoryError, match=r"the backbone 'timm' does not take the options that it was exported"):
        sslkit.load_backbone(folder)
