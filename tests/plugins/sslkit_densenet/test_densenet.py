from __future__ import annotations

from collections import Counter

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from sslkit.errors import WeightsError
from sslkit_densenet import DenseNet121, DenseNet121Config, sslkit_backbones


def densenet121(weights=None) -> DenseNet121:
    return DenseNet121(DenseNet121Config(weights=weights))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return densenet121().build()


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    """torchvision's DenseNet121, with BatchNorm statistics that are not those of a new network."""
    torch.manual_seed(0)
    reference = torchvision.models.densenet121()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return reference.eval()


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_is_announced():
    assert list(sslkit_backbones()) == [DenseNet121]
    assert DenseNet121.name == "densenet121"


def test_has_the_published_number_of_parameters(network, reference):
    assert num_parameters(reference) == num_parameters(timm.create_model("densenet121")) == 7_978_856
    assert num_parameters(network) == num_parameters(reference) - num_parameters(reference.classifier) == 6_953_856


def test_has_the_published_layers(network):
    kernels = Counter(m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d))
    # 58 growth layers, their 58 bottlenecks and 3 transitions, one stem: 120, and the classifier
    assert kernels == {(3, 3): 58, (1, 1): 61, (7, 7): 1}
    pools = Counter(type(m).__name__ for m in network.modules() if isinstance(m, (nn.MaxPool2d, nn.AvgPool2d)))
    assert pools == {"MaxPool2d": 1, "AvgPool2d": 3}
    assert isinstance(network.global_pool.pool, nn.AdaptiveAvgPool2d)
    assert len([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]) == 121
    assert not [m for m in network.modules() if isinstance(m, nn.Linear)]


def test_keeps_the_contract_of_a_backbone(network):
    x = torch.rand(2, 3, 64, 64)
    features = network.forward_features(x)
    assert features.shape == (2, 1024, 2, 2)
    h = network.forward_head(features, pre_logits=True)
    assert h.shape == (2, network.head_hidden_size) == (2, 1024)
    torch.testing.assert_close(h, features.mean(dim=(2, 3)))


def test_forward_equals_torchvision_with_the_same_weights(reference, tmp_path):
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    network = densenet121(tmp_path / "weights.safetensors").build(pretrained=True).eval()
    x = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        h = network.forward_head(network.forward_features(x), pre_logits=True)
        logits = h @ reference.classifier.weight.T + reference.classifier.bias
        torch.testing.assert_close(logits, reference(x), rtol=0, atol=1e-4)


def test_loads_a_file_of_torch(reference, tmp_path):
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    network = densenet121(tmp_path / "weights.pth").build(pretrained=True)
    assert torch.equal(network.features.norm5.running_mean, reference.features.norm5.running_mean)


def test_draws_new_weights_from_the_global_generator():
    backbone = densenet121()
    torch.manual_seed(3)
    first = backbone.build()
    torch.manual_seed(3)
    second = backbone.build()
    third = backbone.build()
    assert torch.equal(first.features.conv0.weight, second.features.conv0.weight)
    assert not torch.equal(second.features.conv0.weight, third.features.conv0.weight)


def test_ignores_the_file_where_no_pretraining_is_asked_for(tmp_path):
    assert densenet121(tmp_path / "absent.pth").build(pretrained=False).head_hidden_size == 1024


def test_names_what_does_not_fit(network, tmp_path):
    tensors = network.state_dict()
    # the names of torchvision's files of 2017
    tensors = {name.replace(".norm1.", ".norm.1."): tensor for name, tensor in tensors.items()}
    torch.save(tensors, tmp_path / "old.pth")
    with pytest.raises(
        WeightsError,
        match=r"(?s)232 missing: features\.denseblock1\.denselayer1\.norm1\.weight.* and 222 more.*"
        r"290 unexpected: features\.denseblock1\.denselayer1\.norm\.1\.weight.* and 280 more",
    ):
        densenet121(tmp_path / "old.pth").build(pretrained=True)


def test_says_to_give_a_file_where_the_hub_is_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r'weights = "densenet121\.safetensors"'):
        densenet121().build(pretrained=True)


def test_normalises_as_its_published_weights_expect():
    assert densenet121().mean == (0.485, 0.456, 0.406)
    assert densenet121().std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("image_size", [1, 16, 28])
def test_refuses_images_that_are_too_small(image_size, network):
    assert densenet121().supports(image_size) == (
        f"DenseNet121 halves its input five times and needs at least 29 px, not {image_size}"
    )
    with pytest.raises(RuntimeError, match="Output size is too small"):
        network.forward_features(torch.zeros(2, 3, image_size, image_size))


@pytest.mark.parametrize("image_size", [29, 32, 224])
def test_takes_images_from_29_pixels(image_size, network):
    assert densenet121().supports(image_size) is None
    if image_size < 100:
        assert network.forward_features(torch.zeros(2, 3, image_size, image_size)).shape == (2, 1024, 1, 1)
