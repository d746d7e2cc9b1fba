from __future__ import annotations

import copy
import doctest
import pickle
from typing import Any

import pytest
import timm
import torch
from torch import nn

from sslkit import TokenBackbone, token_backbone
from sslkit.engine import tokens as tokens_module

TRANSFORMERS = [
    # model, options, side of the images, prefix tokens
    ("test_vit", {"img_size": 64}, 64, 1),
    ("test_vit", {"dynamic_img_size": True}, 64, 1),
    ("test_vit", {"img_size": 64, "init_values": 1e-2, "pre_norm": True}, 64, 1),
    ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, 64, 1),
    ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2, "patch_drop_rate": 0.5}, 64, 1),
    ("vit_base_patch16_gap_224", {"img_size": 32, "depth": 1}, 32, 0),
    ("vit_base_patch16_clip_224", {"img_size": 32, "depth": 1}, 32, 1),
    ("deit_tiny_patch16_224", {"img_size": 64, "depth": 2}, 64, 1),
    ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 1}, 64, 2),
    ("deit3_small_patch16_224", {"img_size": 64, "depth": 1}, 64, 1),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "depth": 1}, 56, 5),
    ("vit_small_patch14_reg4_dinov2", {"dynamic_img_size": True, "depth": 1}, 70, 5),
]


def network(model: str, **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = timm.create_model(model, num_classes=0, **options).eval()
        for parameter in vit.parameters():  # tokens and positions begin at zero in some
            nn.init.normal_(parameter, std=0.1)
    return vit


def images(side: int) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("model", "options", "side", "prefix"), TRANSFORMERS)
def test_all_tokens_together_are_what_the_network_gives(model, options, side, prefix) -> None:
    vit, x = network(model, **options), images(side)
    tokens = token_backbone(vit)

    assert isinstance(tokens, TokenBackbone)
    with torch.no_grad():
        embedded = tokens.embed_patches(x)
        encoded = tokens.encode_tokens(embedded)

    assert tokens.num_prefix_tokens == prefix
    assert embedded.shape == (2, (side // tokens.patch_size) ** 2, vit.embed_dim)
    assert torch.equal(encoded, vit.forward_features(x))


@pytest.mark.parametrize(("model", "options", "side", "prefix"), TRANSFORMERS[:2] + TRANSFORMERS[-2:])
def test_a_token_knows_nothing_of_other_patches(model, options, side, prefix) -> None:
    tokens, x = token_backbone(network(model, **options)), images(side)
    patch = tokens.patch_size
    changed = x.clone()
    changed[:, :, patch : 2 * patch, 2 * patch : 3 * patch] += 1
    place = side // patch + 2

    with torch.no_grad():
        unequal = (tokens.embed_patches(x) != tokens.embed_patches(changed)).any(dim=2)

    assert unequal.nonzero()[:, 1].tolist() == [place, place]


def test_the_order_of_the_tokens_does_not_matter_to_the_prefix() -> None:
    tokens = token_backbone(network("test_vit", img_size=64))
    with torch.no_grad():
        embedded = tokens.embed_patches(images(64))[:, :7]
        there, back = tokens.encode_tokens(embedded), tokens.encode_tokens(embedded.flip(1))
    assert there.shape == (2, 8, 64)
    torch.testing.assert_close(there[:, 0], back[:, 0])
    torch.testing.assert_close(there[:, 1:], back[:, 1:].flip(1))


def test_gradients_reach_every_parameter_by_a_part_of_the_tokens() -> None:
    vit = network("vit_small_patch14_reg4_dinov2", img_size=56, depth=1)
    tokens = token_backbone(vit)
    tokens.encode_tokens(tokens.embed_patches(images(56))[:, 3:6]).square().sum().backward()
    assert all(parameter.grad is not None for parameter in vit.parameters())
    touched = vit.pos_embed.grad.abs().sum(dim=2)[0].nonzero().flatten().tolist()
    assert touched == [3, 4, 5]  # registers and class token of this network have no position


def test_under_autocast_it_stays_near() -> None:
    vit, x = network("test_vit", img_size=64), images(64)
    tokens = token_backbone(vit)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        encoded, whole = tokens.encode_tokens(tokens.embed_patches(x)), vit.forward_features(x)
    assert torch.equal(encoded, whole)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_of_a_module_that_holds_it_calls_the_copied_network(copied) -> None:
    holder = nn.Module()
    holder.encoder = network("test_vit", img_size=64)
    holder.tokens = token_backbone(holder.encoder)
    number = len(list(holder.parameters()))
    other = copied(holder)

    assert number == len(list(holder.encoder.parameters()))
    assert other.tokens.network is other.encoder
    assert other.encoder is not holder.encoder


class Own(nn.Module):
    """A network that has the methods itself."""

    patch_size = 4
    num_prefix_tokens = 0

    def embed_patches(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pixel_unshuffle(x, 4).flatten(2).transpose(1, 2)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens


def test_a_network_with_these_methods_is_taken_itself() -> None:
    own = Own()
    assert token_backbone(own) is own


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("resnet10t", {}),
        ("densenet121", {}),
        ("convnext_atto", {}),
        ("vit_relpos_small_patch16_224", {"img_size": 64, "depth": 1}),
        ("beit_base_patch16_224", {"img_size": 64, "depth": 1}),
        ("swin_tiny_patch4_window7_224", {"img_size": 56, "embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2)}),
        ("vit_tiny_r_s16_p8_224", {"img_size": 64, "depth": 1}),  # a token is made by a small ResNet
        ("test_vit", {"img_size": 64, "pos_embed": "none"}),
        ("test_vit", {"img_size": 64, "patch_size": (16, 8)}),
    ],
)
def test_others_have_none(model, options) -> None:
    assert token_backbone(timm.create_model(model, num_classes=0, **options)) is None


def test_the_example_runs() -> None:
    assert doctest.testmod(tokens_module).attempted > 0
    assert doctest.testmod(tokens_module).failed == 0
