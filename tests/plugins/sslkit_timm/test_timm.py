from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from sslkit.errors import ConfigError, WeightsError
from sslkit_timm import Timm, TimmConfig, sslkit_backbones


def backbone(model="resnet18", **config) -> Timm:
    return Timm(TimmConfig(model=model, **config))


def test_is_announced():
    assert list(sslkit_backbones()) == [Timm]
    assert Timm.name == "timm"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("resnet18", {}),
        ("resnet18.a1_in1k", {"drop_path_rate": 0.1}),
        ("mobilenetv3_small_050", {}),
        ("vit_tiny_patch16_224", {"img_size": 64}),
        ("vit_tiny_patch16_224", {"dynamic_img_size": True}),
    ],
)
def test_builds_models_that_keep_the_contract_of_a_backbone(model, options):
    given = backbone(model, options=options)
    network = given.build().eval()
    assert given.supports(64) is None
    with torch.no_grad():
        h = network.forward_head(network.forward_features(torch.rand(2, 3, 64, 64)), pre_logits=True)
    assert h.shape == (2, network.head_hidden_size)
    assert all(parameter.device.type == "cpu" for parameter in network.parameters())


def test_passes_options_on():
    assert backbone(options={"drop_rate": 0.25}).build().drop_rate == 0.25


def test_normalises_as_the_published_weights_expect():
    assert backbone("vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)
    assert backbone("resnet18").std == (0.229, 0.224, 0.225)


class TestSupports:
    @pytest.mark.parametrize(
        ("model", "options", "image_size", "reason"),
        [
            (
                "vit_tiny_patch16_224",
                {},
                64,
                "vit_tiny_patch16_224 cannot take images of 64 px: Input height (64) doesn't match model (224).; "
                "give options = {img_size = 64}",
            ),
            ("vit_tiny_patch16_224", {"dynamic_img_size": True}, 60, "should be divisible by patch size"),
            ("vgg11", {}, 16, "vgg11 cannot take images of 16 px: Given input size: (512x1x1)"),
            ("densenet121", {}, 28, "Output size is too small"),
            ("resnet18", {"global_pool": ""}, 64, "gives representations (512, 2, 2), not (512,)"),
        ],
    )
    def test_gives_the_reason(self, model, options, image_size, reason):
        assert reason in backbone(model, options=options).supports(image_size)

    @pytest.mark.parametrize(("model", "smallest"), [("densenet121", 29), ("convnext_atto", 32)])
    def test_agrees_with_real_forward_passes(self, model, smallest):
        given = backbone(model)
        network = given.build().eval()
        assert given.supports(smallest) is None
        with torch.no_grad():
            network.forward_features(torch.zeros(1, 3, smallest, smallest))
            with pytest.raises(RuntimeError) as failure:
                network.forward_features(torch.zeros(1, 3, smallest - 1, smallest - 1))
        assert str(failure.value) in given.supports(smallest - 1)

    def test_takes_nothing_from_the_global_generator(self):
        state = torch.get_rng_state()
        backbone().supports(64)
        assert torch.equal(torch.get_rng_state(), state)


class TestConfig:
    def test_suggests_the_nearest_model(self):
        with pytest.raises(ConfigError, match=r"has no model 'resent18'; did you mean 'resnet18'\?"):
            backbone("resent18")

    def test_suggests_nothing_where_nothing_is_near(self):
        with pytest.raises(ConfigError, match=r"has no model 'zzzz'\. See timm\.list_models\(\)\."):
            backbone("zzzz")

    def test_suggests_the_nearest_tag(self):
        with pytest.raises(
            ConfigError,
            match=r"no weights 'a1_in1' of 'resnet18'; did you mean 'resnet18\.a1_in1k'\? Accepted: resnet18, ",
        ):
            backbone("resnet18.a1_in1")

    def test_refuses_options_that_the_model_does_not_take(self):
        with pytest.raises(ConfigError, match=r"timm cannot build 'resnet18' with \{'patches': 3\}: .*'patches'"):
            backbone(options={"patches": 3})

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"block": 3}, "AttributeError: 'int' object has no attribute 'expansion'"),
            ({"act_layer": "nope"}, "KeyError: 'nope'"),
            ({"layers": "x" * 1000}, "TypeError: unsupported operand"),
        ],
    )
    def test_refuses_options_whatever_the_model_makes_of_them(self, options, error):
        with pytest.raises(
            ConfigError, match=r"^backbone\.options: timm cannot build 'resnet18' with \{.*\}: "
        ) as caught:
            backbone(options=options)
        assert error in str(caught.value)
        assert len(str(caught.value)) < 500

    def test_refuses_a_number_that_no_network_has(self):
        with pytest.raises(ValueError, match="'depth' is 1,000,000; no network has such a size: give up to 4,096"):
            TimmConfig(model="vit_tiny_patch16_224", options={"depth": 10**6})

    def test_refuses_options_that_the_toolkit_decides_on(self):
        with pytest.raises(ValueError, match="num_classes, pretrained cannot be given here"):
            TimmConfig(model="resnet18", options={"pretrained": True, "num_classes": 3, "drop_rate": 0.1})


class TestWeights:
    @pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
    def test_loads_a_file_without_its_classifier(self, model, tmp_path):
        published = timm.create_model(model)
        save_file(published.state_dict(), tmp_path / "weights.safetensors")
        network = backbone(model, weights=tmp_path / "weights.safetensors").build(pretrained=True)
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, published.state_dict()[name]), name

    def test_refuses_a_file_of_another_model(self, tmp_path):
        save_file(timm.create_model("resnet26").state_dict(), tmp_path / "weights.safetensors")
        with pytest.raises(WeightsError, match=r"do not fit this ResNet, and nothing was loaded"):
            backbone("resnet18", weights=tmp_path / "weights.safetensors").build(pretrained=True)

    def test_refuses_a_position_embedding_of_another_size(self, tmp_path):
        save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "weights.safetensors")
        given = backbone("vit_tiny_patch16_224", weights=tmp_path / "weights.safetensors", options={"img_size": 64})
        with pytest.raises(WeightsError, match=r"of another shape: pos_embed \(1, 197, 192\)"):
            given.build(pretrained=True)

    def test_asks_the_hub_without_a_file(self, monkeypatch, tmp_path):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(WeightsError, match=r'weights = "resnet18\.safetensors"'):
            backbone().build(pretrained=True)
