from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

import sslkit
from sslkit import DownstreamHead, Prediction
from sslkit.engine.grad_cam import class_direction, grad_cam, heat_layer, spread_heat
from sslkit.engine.networks import Encoder
from sslkit.engine.precision import Compute
from sslkit.errors import PluginError
from sslkit.interfaces.plugin import PROVENANCE

CPU = Compute("cpu", "fp32")


class Softmax(DownstreamHead[Any]):
    """Three classes without an order; its answers cannot be differentiated."""

    name = "softmax"
    class_names = ("cat", "dog", "eel")

    def __init__(self, num_features: int) -> None:
        super().__init__(self.Config(), num_features)
        self.linear = nn.Linear(num_features, 3)
        vars(self)[PROVENANCE] = None

    def grade(self, label: str | int) -> int:
        return self.class_names.index(str(label))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)  # type: ignore[no-any-return]

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, targets)

    def predict(self, logits: torch.Tensor) -> Prediction:
        logits = logits.detach().float()
        return Prediction(logits.argmax(dim=1), logits.softmax(dim=1))


class TinyNetwork(nn.Module):
    """A convolution, a map of 4 by 4 places, and the square of its mean (so that the gradient is no constant)."""

    head_hidden_size = 5

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 4, stride=4)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x).tanh()  # type: ignore[no-any-return]

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        assert pre_logits
        return features.pow_(2).mean(dim=(2, 3))  # in place, as some networks do


def make(network: nn.Module, head: DownstreamHead[Any]) -> tuple[Encoder, DownstreamHead[Any]]:
    return Encoder(network, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), CPU).eval(), head.eval()


def photographs(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(256, (count, 3, side, side), generator=generator).to(torch.uint8)


def dr_head(encoding: str, num_features: int = 8) -> DownstreamHead[Any]:
    cls: Any = sslkit.build_registry().find("head", "dr-grade").cls
    return cls(cls.Config(encoding=encoding), num_features)  # type: ignore[no-any-return]


def heat_of(encoder: Encoder, head: DownstreamHead[Any], images: torch.Tensor, layer: str = "map") -> torch.Tensor:
    with torch.no_grad():
        logits = head(encoder(images))
    classes = head.predict(logits).classes
    return grad_cam(encoder, head, images, class_direction(head, logits, classes), layer=layer)


def test_is_equation_2_as_a_loop_computes_it_by_finite_differences_in_float64() -> None:
    torch.manual_seed(0)
    network = TinyNetwork()
    encoder, head = make(network, Softmax(5))
    head.linear.weight.data.mul_(8)  # type: ignore[operator]
    images = photographs(3, 16)

    ours = heat_of(encoder, head, images).numpy()

    weight, bias = (parameter.detach().double().numpy() for parameter in head.linear.parameters())  # type: ignore[union-attr]

    def log_share(places: np.ndarray, chosen: int) -> float:
        logits = weight @ (places**2).mean(axis=(1, 2)) + bias
        return float(logits[chosen] - np.log(np.exp(logits).sum()))

    normalised = (images.double() / 255 - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / 0.2
    maps = network.double().forward_features(normalised).detach().numpy()
    for image, places in enumerate(maps):
        chosen = int(np.argmax(weight @ (places**2).mean(axis=(1, 2)) + bias))
        alphas = np.zeros(5)
        for k in range(5):
            for i in range(4):
                for j in range(4):
                    step = np.zeros_like(places)
                    step[k, i, j] = 1e-5
                    slope = (log_share(places + step, chosen) - log_share(places - step, chosen)) / 2e-5
                    alphas[k] += slope / 16
        expected = np.maximum(sum(alphas[k] * places[k] for k in range(5)), 0)
        assert expected.max() > 0
        # Of log-odds, whose gradient is that of the logarithm over 1 - p.
        scale = 1 - np.exp(log_share(places, chosen))
        np.testing.assert_allclose(ours[image] * scale, expected, rtol=2e-3, atol=1e-5)


def test_what_speaks_for_a_class_in_one_corner_lights_that_corner() -> None:
    network = TinyNetwork()
    with torch.no_grad():  # each place tells how bright it is, and nothing else
        network.convolution.weight.zero_()
        network.convolution.weight[0] = 1 / 48
        network.convolution.bias.zero_()  # type: ignore[union-attr]
    encoder, head = make(network, Softmax(5))
    with torch.no_grad():
        head.linear.weight.zero_()  # type: ignore[operator, union-attr]
        head.linear.weight[1, 0] = 3.0  # type: ignore[index]
        head.linear.bias.copy_(torch.tensor([0.0, 0.1, 0.0]))  # type: ignore[union-attr, operator]
    image = (torch.tensor([0.5, 0.4, 0.3]) * 255).round().to(torch.uint8)[:, None, None].repeat(1, 16, 16)[None]
    image[..., 12:, :4] = 255

    heat = spread_heat(heat_of(encoder, head, image), 16)[0]

    assert heat[14:, :2].min() > 0.9
    assert heat[:8].max() < 0.02
    assert heat[:, 8:].max() < 0.02


@pytest.mark.parametrize("encoding", ["ordinal", "softmax", "regression"])
def test_the_direction_is_the_derivative_of_the_log_odds_that_the_head_answers(encoding: str) -> None:
    torch.manual_seed(1)
    head = dr_head(encoding)
    head.temperature.fill_(1.7)  # type: ignore[operator]
    width = {"ordinal": 4, "softmax": 5, "regression": 1}[encoding]
    logits = torch.randn(6, width)
    if encoding == "ordinal":  # out of order, the running minimum has a kink
        logits = logits.sort(dim=1, descending=True).values - 0.4 * torch.arange(4)
    logits = logits + (torch.arange(6)[:, None] - 1 if encoding == "regression" else 0)
    classes = head.predict(logits).classes

    found = class_direction(head, logits, classes)

    wanted = logits.double().requires_grad_()
    if encoding == "ordinal":
        beyond = (wanted / 1.7).sigmoid()
        shares = torch.cat([torch.ones(6, 1), beyond], dim=1) - torch.cat([beyond, torch.zeros(6, 1)], dim=1)
    elif encoding == "softmax":
        shares = (wanted / 1.7).softmax(dim=1)
    else:
        shares = (-0.5 * ((wanted - torch.arange(5)) / (0.5 * 1.7)) ** 2).softmax(dim=1)
    asked = shares.gather(1, classes[:, None])[:, 0]
    (expected,) = torch.autograd.grad((asked / (1 - asked)).log().sum(), wanted)
    assert len(set(classes.tolist())) > 1
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0.02, atol=2e-3)


def test_the_direction_survives_probabilities_that_round_to_one() -> None:
    head = dr_head("ordinal")
    logits = torch.tensor([[40.0, 40.0, 40.0, 40.0], [-40.0, -41.0, -42.0, -43.0]])
    assert head.predict(logits).probabilities.amax(dim=1).tolist() == [1, 1]
    direction = class_direction(head, logits, torch.tensor([4, 0]))
    assert direction[0].abs().sum() == 0  # nothing within ten logits changes the answer, and nothing is made up
    assert direction[1, 0] < 0
    near = class_direction(head, torch.tensor([[12.0, 12.0, 12.0, 12.0]]), torch.tensor([4]))
    assert near.max() > 0


def test_a_head_with_other_weights_gives_another_heat() -> None:
    """The sanity check of Adebayo et al. 2018 (arXiv 1810.03292): a map that ignores the weights explains nothing."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=0)
    images = photographs(8, 96)
    heats = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        encoder, head = make(network, Softmax(network.head_hidden_size))
        heats.append(spread_heat(heat_of(encoder, head, images), 96))
    torch.manual_seed(5)
    encoder, head = make(timm.create_model("test_resnet", num_classes=0), head)  # another backbone, the same head
    heats.append(spread_heat(heat_of(encoder, head, images), 96))
    for one, other in ((heats[0], heats[1]), (heats[1], heats[2])):
        lit = [(a, b) for a, b in zip(one, other, strict=True) if a.any() and b.any()]
        correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in lit]
        assert len(correlations) >= 2
        assert np.mean(correlations) < 0.7
        assert all(np.abs(a - b).max() > 0.05 for a, b in lit)


@pytest.mark.parametrize(
    ("model", "options", "layer"),
    [
        ("test_resnet", {}, "map"),
        ("mobilenetv3_small_050", {}, "map"),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2),
                                          "window_size": 4}, "map"),
        ("test_vit", {"img_size": 64, "global_pool": "avg"}, "map"),
        ("test_vit", {"img_size": 64}, "block"),
        ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 2}, "block"),
    ],
)  # fmt: skip
def test_networks_of_every_kind_give_heat(model: str, options: dict[str, Any], layer: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(model, num_classes=0, **options)
    encoder, head = make(network, Softmax(network.head_hidden_size))
    before = [parameter.requires_grad for parameter in network.parameters()]

    assert heat_layer(encoder, head, 64) == layer
    maps = heat_of(encoder, head, photographs(4, 64), layer)

    assert maps.ndim == 3
    assert len(maps) == 4
    assert maps.min() >= 0
    assert maps.flatten(1).amax(dim=1).gt(0).any()
    assert [parameter.requires_grad for parameter in network.parameters()] == before
    assert all(parameter.grad is None for parameter in network.parameters())


class Blind(TinyNetwork):
    """A network whose representation is nothing of its map."""

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return self.convolution.bias.expand(len(features), -1)  # type: ignore[union-attr]


def test_a_backbone_without_heat_is_refused() -> None:
    with pytest.raises(PluginError, match=r"no Grad-CAM can be had of the backbone Blind: its representation does not"):
        heat_layer(*make(Blind(), Softmax(5)), 16)
    network = TinyNetwork()
    network.forward_features = lambda x: [x, x]  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(PluginError, match="no feature map can be had of the backbone TinyNetwork"):
        heat_layer(*make(network, Softmax(5)), 16)


def test_spread_heat_fills_the_image_and_nothing_outside_the_mask() -> None:
    maps = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    maps[1] = 0
    mask = np.zeros((32, 32), bool)
    mask[8:20, 4:28] = True

    heat = spread_heat(maps, 32, mask)

    assert heat.dtype == np.float32
    assert heat.shape == (3, 32, 32)
    assert not heat[:, ~mask].any()
    assert heat.max(axis=(1, 2)).tolist() == [1, 0, 1]
    expected = np.maximum(enlarged(maps[0].double().numpy(), 32), 0) * mask
    np.testing.assert_allclose(heat[0], expected / expected.max(), atol=1e-5)


def enlarged(places: np.ndarray, side: int) -> np.ndarray:
    """Keys' cubic convolution (1981) with a = -0.75, pixel by pixel, its edges repeated."""

    def weight(distance: float) -> float:
        d, a = abs(distance), -0.75
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0

    count = len(places)
    across = np.zeros((side, count))
    for pixel in range(side):
        centre = (pixel + 0.5) * count / side - 0.5
        for place in range(math.floor(centre) - 1, math.floor(centre) + 3):
            across[pixel, min(max(place, 0), count - 1)] += weight(centre - place)
    return across @ places @ across.T
