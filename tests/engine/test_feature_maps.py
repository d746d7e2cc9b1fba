from __future__ import annotations

import copy
import doctest
from typing import Any

import pytest
import timm
import torch
from torch import nn

from sslkit import feature_map, feature_map_shape
from sslkit.engine import feature_maps
from sslkit.errors import PluginError

SMALL_SWIN = {"img_size": 56, "embed_dim": 16, "depths": (1, 1, 1), "num_heads": (1, 2, 4)}
NETWORKS = [
    # model, options, side of the image, shape of the map
    ("resnet10t", {}, 64, (512, 2, 2)),
    ("test_resnet", {}, 64, (96, 2, 2)),
    ("densenet121", {}, 29, (1024, 1, 1)),
    ("densenet121", {}, 64, (1024, 2, 2)),
    ("mobilenetv3_small_050", {}, 64, (288, 2, 2)),
    ("test_convnext", {}, 64, (64, 2, 2)),
    ("test_maxvit", {"img_size": 64}, 64, (128, 2, 2)),
    # channels last
    ("swin_tiny_patch4_window7_224", SMALL_SWIN, 56, (64, 4, 4)),
    ("test_mambaout", {}, 64, (64, 2, 2)),
    # tokens: with a class token, with none, with registers, with a distillation token, pooled on the way
    ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, 64, (192, 4, 4)),
    ("test_vit", {"img_size": 64}, 64, (64, 4, 4)),
    ("test_vit_relpos", {"img_size": 64}, 64, (96, 4, 4)),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "depth": 1}, 56, (384, 4, 4)),
    ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 1}, 64, (192, 4, 4)),
    ("mvitv2_tiny", {"img_size": 64}, 64, (768, 2, 2)),
    ("mixer_s32_224", {"img_size": 64}, 64, (512, 2, 2)),
    ("volo_d1_224", {"img_size": 64}, 64, (384, 4, 4)),
]


def network(model: str, **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(model, num_classes=0, **options).eval()


def images(side: int, width: int | None = None) -> torch.Tensor:
    return torch.rand(2, 3, side, width or side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("model", "options", "side", "shape"), NETWORKS, ids=[f"{model}-{side}" for model, _, side, _ in NETWORKS]
)
def test_is_the_map_that_timm_itself_makes_of_the_last_layer(model, options, side, shape) -> None:
    backbone, x = network(model, **options), images(side)

    with torch.no_grad():
        ours = feature_map(backbone, x)
        (theirs,) = backbone.forward_intermediates(x, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)

    assert ours.shape == (2, *shape)
    torch.testing.assert_close(ours, theirs)
    assert feature_map_shape(backbone, side) == shape


def test_tokens_are_laid_out_row_by_row_without_the_class_token() -> None:
    vit, x = network("test_vit", img_size=64), images(64)

    with torch.no_grad():
        features, tokens = feature_map(vit, x), vit.forward_features(x)

    assert tokens.shape == (2, 17, 64)
    for row in range(4):
        for column in range(4):
            assert torch.equal(features[:, :, row, column], tokens[:, 1 + 4 * row + column])


def test_a_map_with_its_channels_last_is_permuted() -> None:
    swin, x = network("swin_tiny_patch4_window7_224", **SMALL_SWIN), images(56)

    with torch.no_grad():
        features, map_of_swin = feature_map(swin, x), swin.forward_features(x)

    assert map_of_swin.shape == (2, 4, 4, 64)
    for channel in range(64):
        assert torch.equal(features[:, channel], map_of_swin[..., channel])


def test_tokens_of_an_oblong_image_keep_its_ratio() -> None:
    vit, x = network("test_vit", dynamic_img_size=True), images(48, 96)

    with torch.no_grad():
        features, tokens = feature_map(vit, x), vit.forward_features(x)

    assert features.shape == (2, 64, 3, 6)
    assert torch.equal(features[:, :, 1, 2], tokens[:, 1 + 6 + 2])


def test_gradients_reach_the_network() -> None:
    vit = network("test_vit", img_size=64)
    feature_map(vit, images(64)).square().sum().backward()
    assert vit.patch_embed.proj.weight.grad.abs().sum() > 0


class Gives(nn.Module):
    """A network whose features are what it is told to give."""

    def __init__(self, features: object) -> None:
        super().__init__()
        self.features = features

    def forward_features(self, x: torch.Tensor) -> object:
        return self.features


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (torch.zeros(2, 5), r"a tensor float32 \(2, 5\)\."),
        (torch.zeros(1, 5, 4, 4), r"a tensor float32 \(1, 5, 4, 4\)\."),
        ([torch.zeros(2, 5, 4, 4)] * 3, r"list\."),
        ({"map": torch.zeros(2, 5, 4, 4)}, r"dict\."),
        (None, r"NoneType\."),
        (torch.zeros(2, 17, 5), "17 tokens of an image of 64 x 64 pixels, 0 of them a prefix: the rest fill no map"),
        (torch.zeros(2, 0, 5), "0 tokens of an image of 64 x 64 pixels"),
    ],
)
def test_what_is_no_map_is_refused(features, said) -> None:
    with pytest.raises(PluginError, match=rf"be had of the backbone Gives: its forward_features\(\) gives {said}"):
        feature_map(Gives(features), images(64))


def test_the_refusal_says_what_is_accepted_and_what_to_do() -> None:
    with pytest.raises(PluginError, match=r"Accepted: one tensor, \(N, C, H, W\), .* Take another backbone"):
        feature_map(Gives(None), images(64))


def test_a_class_token_without_a_count_of_prefixes_is_dropped() -> None:
    backbone = Gives(torch.arange(10.0).view(1, 5, 2).repeat(2, 1, 1))
    backbone.cls_token = nn.Parameter(torch.zeros(1))

    assert feature_map(backbone, images(64))[0].tolist() == [[[2, 4], [6, 8]], [[3, 5], [7, 9]]]


def test_a_network_that_keeps_its_class_token_alone_has_no_map() -> None:
    with pytest.raises(PluginError, match=r"PoolingVisionTransformer.* 1 tokens .*, 1 of them a prefix"):
        feature_map_shape(network("pit_ti_224", img_size=64), 64)


def test_what_patch_dropout_leaves_is_no_map_even_where_it_is_square() -> None:
    vit = network("test_vit", img_size=128, patch_drop_rate=0.75)  # 16 of 64 tokens are left
    assert feature_map(vit, images(128)).shape == (2, 64, 8, 8)

    with pytest.raises(PluginError, match="build it with patch_drop_rate = 0"):
        feature_map(vit.train(), images(128))


@pytest.mark.parametrize("training", [True, False])
def test_asking_for_the_shape_leaves_no_trace(training: bool) -> None:
    backbone = network("test_resnet", drop_path_rate=0.5, drop_rate=0.5).train(training)
    backbone.bn1.eval()
    modes = [module.training for module in backbone.modules()]
    state = copy.deepcopy(backbone.state_dict())
    random = torch.get_rng_state()

    assert feature_map_shape(backbone, 64) == (96, 2, 2)

    assert [module.training for module in backbone.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_the_trial_is_of_the_networks_own_precision() -> None:
    assert feature_map_shape(network("test_resnet").double(), 64) == (96, 2, 2)


def test_a_network_without_weights_has_a_shape_too() -> None:
    assert feature_map_shape(Gives(torch.zeros(1, 5, 4, 4)), 64) == (5, 4, 4)


def test_the_examples_run() -> None:
    assert doctest.testmod(feature_maps) == doctest.TestResults(failed=0, attempted=7)
