"""What a head promises of its state: how it is made, fitted, saved, copied and let go."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load, save

from sslkit.interfaces import DownstreamHead
from sslkit.testing.checks.comparison import copy_of, differing, few, same
from sslkit.testing.memory import tensors_left
from sslkit.testing.outcome import expect, failing_as
from sslkit.testing.subjects import HeadSubject


def check_construction_is_seeded(subject: HeadSubject) -> None:
    """Two heads made from one seed of torch's global generator are the same.

    All arms begin from the same head. Draw from that generator alone.
    """
    first, second = subject.make(seed=3).state_dict(), subject.make(seed=3).state_dict()
    unequal = [name for name in first if not same(first[name], second.get(name))]
    expect(not unequal, f"two heads made from one seed differ in {few(unequal)}; draw from torch's generator alone")


def check_fit_changes_buffers_alone(subject: HeadSubject) -> None:
    """``fit`` changes values of buffers, and nothing else: no parameter, no name, no shape. For heads that override it.

    Buffers that it has moved are all that is kept of it, and they are loaded into a head that was never fitted.
    """
    head, logits, targets = _to_be_fitted(subject)
    parameters = {name: value.detach().clone() for name, value in head.named_parameters()}
    shapes = {name: (value.dtype, value.shape) for name, value in head.named_buffers()}
    subject.fit(head, logits, targets)
    name = differing(parameters, dict(head.named_parameters()))
    expect(name is None, f"fit() has changed the parameter {name}; keep what is fitted in a buffer")
    found = {name: (value.dtype, value.shape) for name, value in head.named_buffers()}
    expect(
        found == shapes,
        f"fit() has changed the buffers from {shapes} to {found}; register them in __init__, and copy values into them",
    )


def check_fit_is_repeatable(subject: HeadSubject) -> None:
    """``fit`` gives the same buffers for the same logits and targets, whatever the seed. For heads that override it.

    Results are fitted anew whenever a run is extended. A search that starts at random takes a generator of its own,
    with a fixed seed.
    """
    fitted = []
    for seed in (1, 2):
        head, logits, targets = _to_be_fitted(subject)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head.fit(logits, targets)
        fitted.append(dict(head.named_buffers()))
    name = differing(*fitted)
    expect(name is None, f"fit() moves {name} to another value the second time; leave nothing to chance")


def check_state_round_trips(subject: HeadSubject) -> None:
    """A head that is loaded from the saved state of a trained and fitted one has its logits and predictions exactly.

    The state is written as safetensors, and all of it is parameters and buffers.
    """
    saved, logits, targets = _to_be_fitted(subject)
    subject.train(saved, subject.clusters(targets), targets, num_updates=3)
    subject.fit(saved, logits, targets)
    loaded, features = subject.make(seed=1), subject.noise(9, seed=5)
    with failing_as("a head cannot be written as safetensors and loaded from there"):
        loaded.load_state_dict(load(save({name: value.contiguous() for name, value in saved.state_dict().items()})))
    _expect_alike(subject, saved, loaded, features, "loaded from its state_dict")


def check_copies_and_pickles(subject: HeadSubject) -> None:
    """A deep copy and a pickled copy of a head in training have its logits and predictions.

    Training keeps copies of it along the way. Keep lambdas, locks, open files and graphs out of it.
    """
    head, targets = subject.make(), subject.targets(4)
    features = subject.clusters(targets)
    subject.train(head, features, targets, num_updates=2)
    for how in ("deepcopy", "pickle"):
        _expect_alike(subject, head, copy_of(head, how), features[:5], f"after {how}")


def check_memory_does_not_grow(subject: HeadSubject) -> None:
    """An update leaves no tensor behind that the one before it has not left.

    A list of losses or logits grows for as long as the training lasts. Keep numbers (``.item()``).
    """
    head, targets = subject.make(), subject.targets(4)
    features = subject.clusters(targets)
    left = tensors_left(lambda _: subject.train(head, features, targets, num_updates=3))
    expect(left <= 0, f"three updates have left {left} more tensors in memory; what holds on to them?")


def _to_be_fitted(subject: HeadSubject) -> tuple[DownstreamHead[Any], torch.Tensor, torch.Tensor]:
    """Return a new head, and logits with targets to fit it to."""
    head, targets = subject.make(), subject.targets(12, seed=3)
    trained = subject.trained[0]
    return head, subject.logits(trained, subject.clusters(targets, seed=3)), targets


def _expect_alike(
    subject: HeadSubject, first: DownstreamHead[Any], second: DownstreamHead[Any], features: torch.Tensor, when: str
) -> None:
    logits = subject.logits(first, features)
    expect(same(logits, subject.logits(second, features)), f"{when} it has other logits; keep all state in buffers")
    wanted, found = subject.predict(first, logits), subject.predict(second, logits)
    expect(
        same(wanted.classes, found.classes) and same(wanted.probabilities, found.probabilities),
        f"{when} it predicts otherwise of the same logits; keep what was fitted in buffers",
    )
