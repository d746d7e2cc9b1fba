"""What a backbone promises of the networks that it builds: what they have, take and give."""

from __future__ import annotations

from itertools import islice
from numbers import Real

from sslkit.testing.checks.comparison import differing, few, same
from sslkit.testing.outcome import expect, failing_as
from sslkit.testing.subjects import BackboneSubject

_ASKED = (1, 8, 32, 64, 224)
"""Sides of images, in pixels, that ``supports`` is asked for, whatever the answer."""


def check_builds_an_encoder(subject: BackboneSubject) -> None:
    """``build`` returns a ``torch.nn.Module`` with forward_features, forward_head, and a whole head_hidden_size.

    Tasks and heads make layers of that width. Where the width is computed, bring it to ``int``.
    """
    width = subject.build().head_hidden_size
    expect(
        isinstance(width, int) and width > 0,
        f"head_hidden_size is {width!r}; give the width of the representation, a whole number",
    )


def check_normalisation(subject: BackboneSubject) -> None:
    """``mean`` and ``std`` are three numbers each, of images in 0..1; no ``std`` is zero.

    Pixels are brought to 0..1 before the mean is taken off. Divide values for 0..255 by 255.
    """
    for name, values, least in (("mean", subject.backbone.mean, 0.0), ("std", subject.backbone.std, 1e-6)):
        found = list(values)
        expect(
            len(found) == 3 and all(isinstance(value, Real) and least <= value <= 1 for value in found),
            f"{name} is {values!r}; give three numbers in {least:g}..1, one a channel",
        )


def check_construction_is_seeded(subject: BackboneSubject) -> None:
    """One seed of torch's global generator gives one set of weights, and another seed another.

    Arms are compared from the same initial weights, and repetitions from others. Draw from that generator alone.
    """
    first, again, other = (subject.build(seed).state_dict() for seed in (3, 3, 4))
    unequal = [name for name in first if not same(first[name], again.get(name))]
    expect(not unequal, f"two networks built from one seed differ in {few(unequal)}; draw from torch's generator alone")
    expect(
        differing(first, other) is not None,
        "networks built from two seeds have the same weights; draw them from torch's global generator",
    )


def check_networks_are_independent(subject: BackboneSubject) -> None:
    """Two networks share no tensor.

    Several are trained in one process, and none may move another. Make every layer within ``build``, and cache none.
    """
    first, second = subject.build(0), subject.build(1)
    memory = {value.data_ptr() for value in first.state_dict().values() if value.numel()}
    shared = [name for name, value in second.state_dict().items() if value.numel() and value.data_ptr() in memory]
    expect(not shared, f"two networks share {few(shared)}; make every layer anew within build()")


def check_supports(subject: BackboneSubject) -> None:
    """A size that ``supports`` accepts works, in train and in eval mode; one that it refuses is refused with a reason.

    Planning asks it for every size that a task's views will have, so that no run fails in its midst. One common size
    must be accepted.
    """
    for size in _ASKED:
        reason = subject.backbone.supports(size)
        expect(
            reason is None or (isinstance(reason, str) and bool(reason.strip())),
            f"supports({size}) is {reason!r}; return None where it works, and otherwise the reason as text",
        )
    accepted = list(islice(subject.supported(subject.sizes), 3))
    expect(bool(accepted), f"supports() refuses each of {', '.join(map(str, subject.sizes))} px; try other options")
    network = subject.build()
    for size in accepted:
        x = subject.images(2, size)
        with failing_as(f"supports({size}) is None, but images of {size} px fail in train mode"):
            subject.represent(network.train(), x)
        with failing_as(f"supports({size}) is None, but images of {size} px fail in eval mode"):
            subject.encode(network, x)


def check_widths(subject: BackboneSubject) -> None:
    """Representations are finite floats (N, head_hidden_size), at several sizes of images.

    ``head_hidden_size`` is the width of what ``forward_head`` returns, which in some networks is not the number of
    channels of the map.
    """
    network = subject.build()
    larger = [size for size in subject.sizes if size >= subject.image_size]
    for size in islice(subject.supported(larger), 3):
        h = subject.encode(network, subject.images(2, size))
        found, width = tuple(h.shape), network.head_hidden_size
        expect(
            h.ndim == 2 and len(h) == 2 and h.shape[1] == width,
            f"two images of {size} px have representations of shape {found}; by head_hidden_size they are (2, {width})",
        )
        expect(h.is_floating_point(), f"representations are {h.dtype}; give floats")
        expect(bool(h.isfinite().all()), f"the representations of images of {size} px are not finite")


def check_map(subject: BackboneSubject) -> None:
    """``forward_features`` returns a map or tokens, with N first: four axes, or three.

    What shows where the network looks needs places. Pooling belongs in ``forward_head``.
    """
    network = subject.build().eval()
    features = network.forward_features(subject.images(2))  # type: ignore[operator]
    expect(
        features.ndim in (3, 4) and len(features) == 2,
        f"forward_features() gives {tuple(features.shape)} for two images; give a map, (N, C, H, W) or (N, H, W, C), "
        "or tokens, (N, T, C)",
    )
