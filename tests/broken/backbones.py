"""Backbones that are broken in one way each."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sslkit import Backbone, PluginConfig
from sslkit.testing import TinyNetwork


class Sound(Backbone[PluginConfig]):
    """A tiny network."""

    name = "sound"
    api_version = 1
    network: ClassVar[type[nn.Module]] = TinyNetwork

    def build(self, *, pretrained: bool = False) -> nn.Module:
        return self.network()


class FractionalWidth(Sound):
    """Its width is computed, and no whole number."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.head_hidden_size = self.num_features * 1.5


class MeanOfBytes(Sound):
    """Its mean is one of pixels in 0..255."""

    mean = (123.675, 116.28, 103.53)


class DrawsFromNumpy(Sound):
    """Some of its weights come from another generator."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            with torch.no_grad():
                self.projection.weight.copy_(torch.from_numpy(np.random.normal(0, 0.1, self.projection.weight.shape)))


class SharedLayer(Sound):
    """All of its networks have one layer in common."""

    projection = nn.Linear(TinyNetwork.num_features, TinyNetwork.head_hidden_size)

    def build(self, *, pretrained: bool = False) -> nn.Module:
        network = TinyNetwork()
        network.projection = self.projection
        return network


class SupportsTooMuch(Sound):
    """Its map of an image of 8 pixels has nothing left to pool."""

    class network(TinyNetwork):
        def forward_features(self, x):
            return F.avg_pool2d(super().forward_features(x), 2)


class NarrowerThanDeclared(Sound):
    """It declares the channels of its map, as is easily done with MobileNetV3."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.head_hidden_size = self.num_features


class PoolsItsMap(Sound):
    """Its map has no places any more."""

    class network(TinyNetwork):
        def forward_features(self, x):
            return super().forward_features(x).mean((2, 3))

        def forward_head(self, x, pre_logits=False):
            return self.projection(x)


class MixesItsBatch(Sound):
    """It adds the mean of the batch, in eval mode too."""

    class network(TinyNetwork):
        def forward_head(self, x, pre_logits=False):
            h = super().forward_head(x)
            return h + h.mean(0)


class DropsTheAxisOfOne(Sound):
    """Its squeeze() takes away N where N is one."""

    class network(TinyNetwork):
        def forward_head(self, x, pre_logits=False):
            return super().forward_head(x).squeeze()


class JittersWhenEvaluated(Sound):
    """It adds noise in eval mode."""

    class network(TinyNetwork):
        def forward_head(self, x, pre_logits=False):
            h = super().forward_head(x)
            return h + 1e-7 * torch.randn_like(h)


class CountsWhenEvaluated(Sound):
    """It counts the images that it sees in eval mode, too."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.register_buffer("num_seen", torch.zeros((), dtype=torch.int64))

        def forward_features(self, x):
            self.num_seen += len(x)
            return super().forward_features(x)


class ChangesItsInput(Sound):
    """It scales its input in place."""

    class network(TinyNetwork):
        def forward_features(self, x):
            return super().forward_features(x.mul_(0.5))


class ViewsItsMap(Sound):
    """Its view() needs the usual layout."""

    class network(TinyNetwork):
        def forward_head(self, x, pre_logits=False):
            return self.projection(x.view(len(x), -1).view(len(x), self.num_features, -1).mean(2))


class AddsToFloat32(Sound):
    """It adds what it computes in half precision to float32."""

    class network(TinyNetwork):
        def forward_head(self, x, pre_logits=False):
            h = super().forward_head(x)
            return torch.zeros(h.shape).index_add(1, torch.arange(h.shape[1]), h)


class TakesAShortcutWhenTraced(Sound):
    """It pools the first column alone where it is traced."""

    class network(TinyNetwork):
        def forward_head(self, x, pre_logits=False):
            return super().forward_head(x[..., :1] if torch.compiler.is_compiling() else x)


class UnusedLayer(Sound):
    """Its classifier is left over."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.classifier = nn.Linear(self.head_hidden_size, 2)


class TwoNamesForALayer(Sound):
    """Its projection has another name as well."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.last = self.projection


class StateInAnAttribute(Sound):
    """What it draws is in no buffer."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.scale = 1 + torch.rand(self.head_hidden_size)

        def forward_head(self, x, pre_logits=False):
            return super().forward_head(x) * self.scale


class LoadsWhatThereIs(Sound):
    """It loads a state that lacks something."""

    class network(TinyNetwork):
        def load_state_dict(self, state_dict, strict=True, assign=False):
            return super().load_state_dict(state_dict, strict=False, assign=assign)


class HoldsALambda(Sound):
    """Its networks hold what cannot be pickled."""

    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.scale = lambda h: h


class KeepsEveryNetwork(Sound):
    """It keeps a list of all that it has built."""

    built: ClassVar[list[nn.Module]] = []

    def build(self, *, pretrained: bool = False) -> nn.Module:
        self.built.append(super().build())
        return self.built[-1]


BROKEN: dict[str, Any] = {
    "check_builds_an_encoder": FractionalWidth,
    "check_normalisation": MeanOfBytes,
    "check_construction_is_seeded": DrawsFromNumpy,
    "check_networks_are_independent": SharedLayer,
    "check_supports": SupportsTooMuch,
    "check_widths": NarrowerThanDeclared,
    "check_map": PoolsItsMap,
    "check_images_stand_alone": MixesItsBatch,
    "check_batch_of_one": DropsTheAxisOfOne,
    "check_eval_mode_is_repeatable": JittersWhenEvaluated,
    "check_eval_mode_changes_nothing": CountsWhenEvaluated,
    "check_input_is_left_alone": ChangesItsInput,
    "check_memory_layout": ViewsItsMap,
    "check_half_precision": AddsToFloat32,
    "check_compiles": TakesAShortcutWhenTraced,
    "check_gradient_reaches_every_parameter": UnusedLayer,
    "check_state_can_be_saved": TwoNamesForALayer,
    "check_state_round_trips": StateInAnAttribute,
    "check_missing_weights_are_refused": LoadsWhatThereIs,
    "check_copies_and_pickles": HoldsALambda,
    "check_memory_is_freed": KeepsEveryNetwork,
}
SOUND = Sound
