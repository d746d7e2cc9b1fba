from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from sslkit import load_timm_weights, load_weights
from sslkit.errors import WeightsError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def save(tensors, path):
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.fixture(params=["weights.safetensors", "weights.pth"])
def path(request, tmp_path):
    return tmp_path / request.param


def test_loads_every_tensor(path):
    source, target = network(), network()
    source[1].running_mean.fill_(3)
    load_weights(target, save(source.state_dict(), path))
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor), name


def test_drops_what_is_to_be_ignored_and_nothing_that_starts_alike(path):
    source = network()
    extra = {"classifier.weight": torch.ones(2), "classifier": torch.ones(1)}
    load_weights(network(), save({**source.state_dict(), **extra}, path), ignore=("classifier",))
    save({**source.state_dict(), "classifier2.weight": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match=r"1 unexpected: classifier2\.weight"):
        load_weights(network(), path, ignore=("classifier",))


def test_accepts_files_older_than_the_counter_of_batches(path):
    source = {k: v for k, v in network().state_dict().items() if k != "1.num_batches_tracked"}
    target = network()
    load_weights(target, save(source, path))
    assert torch.equal(target[0].weight, source["0.weight"])


def test_names_what_does_not_fit_and_changes_nothing(path):
    tensors = network().state_dict()
    tensors["surplus"] = tensors.pop("0.bias")
    tensors["3.weight"] = torch.zeros(3, 4)
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    save(tensors, path)
    with pytest.raises(WeightsError) as failure:
        load_weights(target, path)
    message = str(failure.value)
    assert f"the weights in {path} do not fit this Sequential, and nothing was loaded" in message
    assert "1 missing: 0.bias\n" in message
    assert "1 unexpected: surplus\n" in message
    assert "1 of another shape: 3.weight (3, 4) (the network's is (2, 4))" in message
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in before.items())


def test_lists_at_most_ten_names(path):
    tensors = {f"surplus{i:02d}": torch.zeros(1) for i in range(12)}
    with pytest.raises(WeightsError, match=r"12 unexpected: surplus00, .*, surplus09 and 2 more\n"):
        load_weights(nn.Identity(), save(tensors, path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.h5", b"", r"accepted are \.safetensors, \.pth, \.pt, \.bin"),
        ("weights.pth", b"", "cannot be read"),
        ("weights.pth", b"not weights", "cannot be read"),
        ("weights.safetensors", b"not weights", "cannot be read"),
    ],
)
def test_refuses_what_is_no_file_of_weights(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_weights(network(), tmp_path / name)


def test_refuses_a_file_that_is_missing(path):
    with pytest.raises(WeightsError, match=r"the file of weights .* does not exist"):
        load_weights(network(), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "state_dict": {}}, r"more than tensors: epoch, state_dict; save a module's state_dict\(\) alone"),
        ([torch.zeros(1)], r"holds list, not tensors by name; save a module's state_dict\(\)"),
    ],
)
def test_refuses_what_is_no_state_dict(tmp_path, content, message):
    with pytest.raises(WeightsError, match=message):
        load_weights(network(), save(content, tmp_path / "weights.pth"))


def test_runs_no_code_of_a_file(tmp_path):
    torch.save(network(), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="cannot be read: Weights only load failed"):
        load_weights(network(), tmp_path / "whole.pth")


class TestTimmWeights:
    def test_copies_what_timm_publishes_and_leaves_the_generator_alone(self, monkeypatch):
        published = timm.create_model("resnet18")
        asked = {}

        def create_model(model, **options):
            asked.update(options, model=model)
            torch.rand(1)
            return published

        target = timm.create_model("resnet18", num_classes=0)
        monkeypatch.setattr(timm, "create_model", create_model)
        state = torch.get_rng_state()
        load_timm_weights(target, "resnet18", ignore=("fc",), drop_rate=0.1)
        assert asked == {"model": "resnet18", "pretrained": True, "drop_rate": 0.1}
        assert torch.equal(target.layer4[1].conv2.weight, published.layer4[1].conv2.weight)
        assert torch.equal(torch.get_rng_state(), state)

    def test_is_strict(self, monkeypatch):
        target = timm.create_model("resnet18", num_classes=0)
        other = timm.create_model("resnet26")
        monkeypatch.setattr(timm, "create_model", lambda *_, **__: other)
        with pytest.raises(WeightsError, match="timm's published 'resnet18' do not fit this ResNet"):
            load_timm_weights(target, "resnet18", ignore=("fc",))

    def test_says_what_to_do_where_the_hub_is_out_of_reach(self, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        target = timm.create_model("resnet18", num_classes=0)
        with pytest.raises(WeightsError, match=r'resnet18.* cannot be had: .* give .* a file: weights = "resnet18'):
            load_timm_weights(target, "resnet18", ignore=("fc",))
