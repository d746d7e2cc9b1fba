"""What a backbone promises of a forward pass: it depends on the image, and on nothing that happens to be about."""

from __future__ import annotations

import torch

from sslkit.engine.networks import call_with_seed, evaluation_mode, representation
from sslkit.testing.checks.comparison import copy_of, differing, distance, same
from sslkit.testing.generators import generator_states
from sslkit.testing.outcome import expect, failing_as
from sslkit.testing.subjects import BackboneSubject

_ROUNDING = 1e-5
"""Share of the largest value by which the order of additions may move a float32 representation: some twenty times what
it comes to in the convolutional networks and transformers of timm that were tried, on a CPU."""

_HALF_ROUNDING = 0.1
"""The same of a network that computes in bf16, whose numbers have three digits."""


def check_images_stand_alone(subject: BackboneSubject) -> None:
    """In eval mode an image's representation does not depend on the others of its batch, nor on its place there.

    Batches are cut where memory asks for it. Statistics of the batch belong in train mode.
    """
    network, x = subject.build(), subject.images(4)
    whole = subject.encode(network, x)
    halves = torch.cat([subject.encode(network, x[:2]), subject.encode(network, x[2:])])
    turned = subject.encode(network, x.flip(0)).flip(0)
    for name, found in (("in batches of two", halves), ("in another order", turned)):
        moved = distance(found, whole)
        expect(
            moved <= _ROUNDING,
            f"in eval mode four images have other representations {name}, by {moved:.2g} of the largest value; "
            "use running statistics, not those of the batch",
        )


def check_batch_of_one(subject: BackboneSubject) -> None:
    """In eval mode a batch of one image works.

    The last batch may be one. A ``squeeze()`` without an axis drops N as well.
    """
    network, x = subject.build(), subject.images(2)
    with failing_as("in eval mode a batch of one image fails"):
        h = subject.encode(network, x[:1])
    wanted = (1, subject.encode(network, x).shape[-1])
    expect(tuple(h.shape) == wanted, f"one image has a representation of shape {tuple(h.shape)}, not {wanted}; keep N")


def check_eval_mode_is_repeatable(subject: BackboneSubject) -> None:
    """In eval mode, and in ``supports``, nothing is left to chance: the same again, and no generator is drawn from.

    Dropout and stochastic depth belong in train mode.
    """
    network, x = subject.build(), subject.images(2)
    before = generator_states()
    subject.backbone.supports(64)
    with evaluation_mode(network):
        first, second = representation(network, x.clone()), representation(network, x.clone())
    drawn = [name for name, state in generator_states().items() if state != before[name]]
    expect(not drawn, f"in eval mode the global generator of {', '.join(drawn)} is drawn from; do so in train mode")
    expect(same(first, second), "in eval mode the same images have another representation the second time")


def check_eval_mode_changes_nothing(subject: BackboneSubject) -> None:
    """In eval mode a forward pass leaves weights and buffers as they are.

    Looking at an image must not change what is said of the next one. Move statistics and counters in train mode.
    """
    network = subject.build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    subject.encode(network, subject.images(2))
    name = differing(before, network.state_dict())
    expect(name is None, f"in eval mode a forward pass changes {name}; change it where self.training is true")


def check_input_is_left_alone(subject: BackboneSubject) -> None:
    """A forward pass does not change the images that it is given.

    Views may be looked at again. Copy before changing in place.
    """
    network, x = subject.build(), subject.images(2)
    before = x.clone()
    for mode in (True, False):
        network.train(mode)
        call_with_seed(0, lambda: representation(network, x))
        expect(torch.equal(x, before), "the forward pass has changed the images that it was given; copy them first")


def check_memory_layout(subject: BackboneSubject) -> None:
    """Weights and images in channels-last layout give the same representation.

    That is how a run lays them out. ``view`` fails there where ``reshape`` works.
    """
    network, x = subject.build(), subject.images(2)
    wanted = subject.encode(network, x)
    layout = torch.channels_last
    with failing_as("in channels-last layout the network fails; use reshape() in place of view()"):
        found = subject.encode(network.to(memory_format=layout), x.contiguous(memory_format=layout))
    moved = distance(found, wanted)
    expect(moved <= _ROUNDING, f"in channels-last layout representations differ by {moved:.2g} of the largest value")


def check_half_precision(subject: BackboneSubject) -> None:
    """Under bf16 autocast the representation is near what it is in float32. For backbones with the tag ``bf16``.

    A network that cannot takes ``"bf16"`` out of its tags, and is then run in float32.
    """
    network, x = subject.build(), subject.images(2)
    wanted = subject.encode(network, x)
    with failing_as("under bf16 autocast the network fails"), torch.autocast("cpu", dtype=torch.bfloat16):
        found = subject.encode(network, x)
    moved = distance(found, wanted)
    expect(moved <= _HALF_ROUNDING, f"under bf16 autocast representations differ by {moved:.2g} of the largest value")


def check_compiles(subject: BackboneSubject) -> None:
    """Traced by ``torch.compile`` in train mode, the network gives what it gives without. For the tag ``compile``.

    The backend ``aot_eager`` is used: the tracing, and none of the code generation; the gradient is left to it.
    """
    network, x = subject.build().train(), subject.images(2)
    traced = copy_of(network)
    compiled = torch.compile(lambda images: representation(traced, images), backend="aot_eager")
    with torch.no_grad():
        wanted = subject.represent(network, x)
        with failing_as("torch.compile cannot trace the network"):
            found = call_with_seed(0, lambda: compiled(x.clone()))
    moved = distance(found, wanted)
    expect(moved <= 1e-3, f"compiled, representations differ by {moved:.2g} of the largest value")
