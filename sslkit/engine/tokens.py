"""Encoders that take part of their tokens: what a task needs that hides patches from a transformer."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class TokenBackbone(Protocol):
    """What a network offers beyond a [Backbone][sslkit.Backbone]'s, where it can encode some of its patches alone.

    It is optional: [token_backbone][sslkit.token_backbone] tells whether a network has it. Patches are counted row by
    row, and each becomes one token that knows nothing of the others. With all tokens in their order,
    ``encode_tokens(embed_patches(x))`` is ``forward_features(x)``.

    Attributes:
        patch_size: side of the square patches in pixels.
        num_prefix_tokens: P, tokens that stand for no patch (a class token, registers) and come first.
    """

    @property
    def patch_size(self) -> int:
        """Side of the square patches in pixels."""

    @property
    def num_prefix_tokens(self) -> int:
        """P, tokens that stand for no patch and come first."""

    def embed_patches(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens of the patches with their positions, (N, T, C), of images, float (N, 3, H, W)."""

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the network makes of some tokens, (N, T', C): (N, P + T', C), after its last normalisation."""


def token_backbone(network: nn.Module) -> TokenBackbone | None:
    """Return how to encode some of a network's patches alone, or None where there is no way.

    A network that has the methods of [TokenBackbone][sslkit.TokenBackbone] is returned itself. Of timm's networks the
    class ``VisionTransformer`` is known, with its variants of it (ViT, DeiT, DINOv2, CLIP, with registers or without a
    class token). Not so what computes more than attention between tokens, as relative positions do, nor what looks
    beyond a patch before it makes a token of it.

    Args:
        network: as a [Backbone][sslkit.Backbone] builds it.

    Returns:
        The network, or what calls it: the weights stay the network's own. Dropout of patches is left out.

    Example:
        >>> import timm
        >>> vit = timm.create_model("test_vit", num_classes=0, img_size=64)
        >>> tokens = token_backbone(vit)
        >>> patches = tokens.embed_patches(torch.zeros(2, 3, 64, 64))
        >>> patches.shape, tokens.encode_tokens(patches[:, :5]).shape
        (torch.Size([2, 16, 64]), torch.Size([2, 6, 64]))
        >>> token_backbone(timm.create_model("resnet10t", num_classes=0)) is None
        True
    """
    if isinstance(network, TokenBackbone):
        return network
    return _TimmTokens(network) if _is_plain_vit(network) else None


class _TimmTokens:
    """timm's VisionTransformer, called part by part as its own ``forward_features`` does.

    It is no module, so that parameters are not counted, saved or copied twice.
    """

    def __init__(self, network: Any) -> None:
        self.network = network

    @property
    def patch_size(self) -> int:
        return int(self.network.patch_embed.patch_size[0])

    @property
    def num_prefix_tokens(self) -> int:
        return int(self.network.num_prefix_tokens)

    def embed_patches(self, x: torch.Tensor) -> torch.Tensor:
        network = self.network
        tokens: torch.Tensor = network._pos_embed(network.patch_embed(x))
        return tokens[:, self.num_prefix_tokens :]

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        network = self.network
        if self.num_prefix_tokens:
            tokens = torch.cat([self._prefix(tokens).expand(len(tokens), -1, -1), tokens], dim=1)
        encoded: torch.Tensor = network.norm(network.blocks(network.norm_pre(tokens)))
        return encoded

    def _prefix(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the prefix tokens with their positions, (1, P, C): they are the same whatever the patches are."""
        network, width = self.network, tokens.shape[2]
        grid = network.patch_embed.grid_size if network.dynamic_img_size else (network.patch_embed.num_patches,)
        with_positions: torch.Tensor = network._pos_embed(tokens.new_zeros(1, *grid, width))
        return with_positions[:, : self.num_prefix_tokens]


def _is_plain_vit(network: nn.Module) -> bool:
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(network, VisionTransformer) or network.pos_embed is None:
        return False
    # A stem of several convolutions, which has another class, would let a token see its neighbours' pixels.
    patches = network.patch_embed
    return type(patches) is PatchEmbed and len(set(patches.patch_size)) == 1
