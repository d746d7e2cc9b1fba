"""What the checks of backbones say of ways to be broken beside those in tests/broken."""

from __future__ import annotations

import re

import pytest
import torch
from broken.backbones import Sound
from torch import nn

from sslkit.testing import CheckFailed, TinyNetwork, make_subject
from sslkit.testing.checks.backbone import network, passes, state


class OfOneSeed(Sound):
    def build(self, *, pretrained=False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return TinyNetwork()


class DrawnShape(Sound):
    class network(TinyNetwork):
        def __init__(self):
            super().__init__()
            self.extra = nn.Linear(1, 1 + int(torch.rand(()) * 1000))


def plugin(**attributes) -> type[Sound]:
    return type("Changed", (Sound,), attributes)


def with_representation(function) -> type[Sound]:
    """A backbone whose representation h is that of the tiny network and its training mode, put through a function."""

    class Changed(TinyNetwork):
        calls = 0

        def forward_head(self, x, pre_logits=False):
            self.calls += 1
            return function(super().forward_head(x), self)

    return plugin(network=Changed)


def refuse_batch_of_one(h, network):
    if len(h) == 1:
        raise ValueError("no")
    return h


def fail_in_eval_mode(h, network):
    if not network.training:
        raise ValueError("no")
    return h


@pytest.mark.parametrize(
    ("check", "cls", "message"),
    [
        (network.check_normalisation, plugin(std=(0.2, 0.0, 0.2)), "std is (0.2, 0.0, 0.2); give three numbers in"),
        (network.check_normalisation, plugin(mean=(0.5,)), "mean is (0.5,); give three numbers in 0..1"),
        (network.check_construction_is_seeded, OfOneSeed, "networks built from two seeds have the same weights"),
        (network.check_supports, plugin(supports=lambda self, size: ""), "supports(1) is ''; return None where it"),
        (network.check_supports, plugin(supports=lambda self, size: "no"), "supports() refuses each of 8, 16, 24"),
        (
            network.check_supports,
            with_representation(fail_in_eval_mode),
            "supports(8) is None, but images of 8 px fail in eval mode: ValueError: no",
        ),
        (network.check_widths, with_representation(lambda h, _: h / 0), "representations of images of 64 px are not"),
        (network.check_widths, with_representation(lambda h, _: h.long()), "representations are torch.int64"),
        (passes.check_batch_of_one, with_representation(refuse_batch_of_one), "a batch of one image fails: ValueError"),
        (
            passes.check_eval_mode_is_repeatable,
            with_representation(lambda h, _: nn.functional.dropout(h)),
            "the global generator of torch is drawn from",
        ),
        (
            passes.check_eval_mode_is_repeatable,
            with_representation(lambda h, network: h * network.calls),
            "the same images have another representation the second time",
        ),
        (
            passes.check_half_precision,
            with_representation(lambda h, _: h * (1 + torch.is_autocast_enabled("cpu"))),
            "under bf16 autocast representations differ by 1 of the largest value",
        ),
        (
            state.check_gradient_reaches_every_parameter,
            with_representation(lambda h, _: h * 0),
            "the gradient of every parameter is zero",
        ),
        (
            state.check_gradient_reaches_every_parameter,
            with_representation(lambda h, _: (h * 0).sqrt()),
            "the gradient of stages.0.0.weight, stages.0.0.bias, stages.0.1.weight and 11 more is not finite",
        ),
        (state.check_state_round_trips, DrawnShape, "a network cannot be loaded from the state_dict of another one"),
    ],
)
def test_says_what_is_broken(check, cls, message):
    with pytest.raises(CheckFailed, match=re.escape(message)):
        check(make_subject(cls))


def test_tries_a_backbone_at_the_size_that_it_takes():
    subject = make_subject(plugin(supports=lambda self, size: None if size == 224 else "no"))

    assert subject.image_size == 224
    assert list(subject.supported(subject.sizes)) == [224]
