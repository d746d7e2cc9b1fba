"""What a backbone promises of its networks' weights: trained, saved, loaded, copied and let go."""

from __future__ import annotations

import copy
import gc
import weakref

import torch
from safetensors.torch import load, save

from sslkit.testing.checks.comparison import copy_of, differing, few, same
from sslkit.testing.memory import only_new_objects
from sslkit.testing.outcome import CheckFailed, expect, failing_as
from sslkit.testing.subjects import BackboneSubject


def check_gradient_reaches_every_parameter(subject: BackboneSubject) -> None:
    """The representation has a gradient at every parameter that asks for one.

    A layer that is not used is saved, loaded and decayed all the same. Leave it out, or set ``requires_grad`` to False.
    """
    network = subject.build().train()
    h = subject.represent(network, subject.images(4))
    weights = torch.randn(h.shape, generator=torch.Generator().manual_seed(0))
    (h * weights).sum().backward()  # type: ignore[no-untyped-call]
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    without = [name for name, p in trained.items() if p.grad is None]
    expect(not without, f"no gradient reaches {few(without)}")
    broken = [name for name, p in trained.items() if p.grad is not None and not p.grad.isfinite().all()]
    expect(not broken, f"the gradient of {few(broken)} is not finite")
    expect(any(p.grad.any() for p in trained.values() if p.grad is not None), "the gradient of every parameter is zero")


def check_state_can_be_saved(subject: BackboneSubject) -> None:
    """The ``state_dict`` can be written as safetensors, and read again as it was.

    That is the file of a pretraining. It holds tensors, no two of which share memory: register a layer under one name.
    """
    state = {name: value.detach().contiguous() for name, value in subject.build().state_dict().items()}
    with failing_as("the state_dict cannot be written as safetensors"):
        written = save(state)
    name = differing(state, load(written))
    expect(name is None, f"{name} is another one after it was written as safetensors and read again")


def check_state_round_trips(subject: BackboneSubject) -> None:
    """The ``state_dict`` of a network, loaded strictly into another one, gives that one's representations exactly.

    All that is left of a pretraining is this state. Keep what is drawn or learnt in parameters and buffers.
    """
    saved, loaded, x = subject.build(seed=0).train(), subject.build(seed=1), subject.images(4)
    with torch.no_grad():
        subject.represent(saved, x)  # moves the running statistics
    with failing_as("a network cannot be loaded from the state_dict of another one"):
        loaded.load_state_dict(copy.deepcopy(saved.state_dict()))
    expect(
        same(subject.encode(saved, x), subject.encode(loaded, x)),
        "loaded from the state_dict of another network it has other representations; keep all state in parameters "
        "and buffers",
    )


def check_missing_weights_are_refused(subject: BackboneSubject) -> None:
    """A ``state_dict`` that lacks a tensor is refused.

    A network that is half loaded looks like one that was trained. Leave ``strict`` as it is.
    """
    state = subject.build(seed=0).state_dict()
    lacking = next(name for name in state if not name.endswith("num_batches_tracked"))
    del state[lacking]
    try:
        subject.build(seed=1).load_state_dict(state)
    except RuntimeError:
        return
    raise CheckFailed(f"a state_dict without {lacking} is loaded all the same; load strictly")


def check_copies_and_pickles(subject: BackboneSubject) -> None:
    """A deep copy and a pickled copy of a network have its representations.

    Networks are copied for momentum encoders and for weights to keep. Keep lambdas, locks and open files out of them.
    """
    network, x = subject.build(), subject.images(2)
    wanted = subject.encode(network, x)
    for how in ("deepcopy", "pickle"):
        found = subject.encode(copy_of(network, how), x)
        expect(same(wanted, found), f"after {how} the network has other representations")


def check_memory_is_freed(subject: BackboneSubject) -> None:
    """A network that nobody holds goes away, with its tensors.

    A run builds one a cell. A cache on a function (``functools.cache``) keeps what it has returned.
    """
    with only_new_objects():
        network = subject.build()
        subject.represent(network, subject.images(2)).sum().backward()  # type: ignore[no-untyped-call]
        gone = weakref.ref(network)
        del network
        gc.collect()
    expect(gone() is None, "a network that nobody holds stays in memory; is it in a cache of its module?")
