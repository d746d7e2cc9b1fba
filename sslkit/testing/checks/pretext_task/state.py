"""What a pretext task promises of itself: how it is made, saved, copied and let go."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

from sslkit.engine.networks import call_with_seed
from sslkit.interfaces import PretextTask
from sslkit.testing.checks.comparison import copy_of, few, same
from sslkit.testing.memory import only_new_objects, tensors_left
from sslkit.testing.network import TinyNetwork
from sslkit.testing.outcome import expect
from sslkit.testing.subjects import PretextTaskSubject
from sslkit.types import Views


def check_construction_is_seeded(subject: PretextTaskSubject) -> None:
    """Two tasks made from one seed of torch's global generator are the same, and ``fit`` with them.

    All arms and workers begin from the same weights, drawn from that generator alone. Draw from no other one, or seed
    it from ``torch.initial_seed()``.
    """
    first, second = (call_with_seed(3, subject.build).state_dict() for _ in range(2))
    unequal = [name for name in first if not same(first[name], second.get(name))]
    expect(not unequal, f"two tasks made from one seed differ in {few(unequal)}; draw from torch's generator alone")


def check_encoder_is_the_backbone(subject: PretextTaskSubject) -> None:
    """What is kept as ``encoder`` fits a network of the backbone, parameter by parameter.

    The encoder's weights are all that is left of a pretraining, and they are loaded strictly. Parameters of the task's
    own (a mask token, a projection) belong on the task.
    """
    wanted, found = TinyNetwork().state_dict(), subject.make().encoder.state_dict()
    added, lost = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    expect(not added, f"the task has put {few(added)} on its encoder, which then loads nowhere; keep it on the task")
    expect(not lost, f"the encoder lacks {few(lost)} of the backbone that the task was given")


def check_state_round_trips(subject: PretextTaskSubject) -> None:
    """A task that is loaded from a checkpoint goes on exactly as the one that was saved.

    All state belongs in parameters and buffers: a queue, a centre, a momentum encoder, a count of updates.
    """
    images, saved, loaded = subject.images(), subject.make(seed=0), subject.make(seed=1)
    subject.train(saved, images, num_updates=3)
    loaded.load_state_dict(copy.deepcopy(saved.state_dict()))
    for update in (3, 4):
        views = subject.views(saved, images, seed=update)
        losses = [_advance(subject, task, views, update) for task in (saved, loaded)]
        expect(
            losses[0] == losses[1],
            f"loaded from its state_dict the task has a loss of {losses[1]} where the saved one has {losses[0]}; "
            "keep all state in parameters and buffers",
        )


def _advance(subject: PretextTaskSubject, task: PretextTask[Any], views: Views, update: int) -> float:
    """Return the loss of an update, after which the task's own state moves and no weight does."""
    task.before_update(update / 5)
    output = subject.step(task, views, seed=update)
    task.after_update(output, update / 5)
    return output.loss.item()


def check_copies_and_pickles(subject: PretextTaskSubject) -> None:
    """A deep copy and a pickled copy of a task have its loss.

    Tasks travel to worker processes, and are copied to be looked at. Keep lambdas, locks and open files out of them.
    """
    task = subject.make()
    views = subject.views(task, subject.images())
    wanted = subject.step(copy_of(task, "deepcopy"), views).loss.item()
    found = subject.step(copy_of(task, "pickle"), views).loss.item()
    expect(wanted == found, f"a pickled copy has a loss of {found}, a deep copy one of {wanted}")


def check_memory_does_not_grow(subject: PretextTaskSubject) -> None:
    """An update leaves no tensor behind that the one before it has not left.

    A list of losses keeps every graph. Keep numbers (``.item()``), or a buffer of fixed size.
    """
    task, images = subject.make(), subject.images()
    left = tensors_left(lambda number: subject.train(task, images, num_updates=3, first=3 * number))
    expect(left <= 0, f"three updates have left {left} more tensors in memory; what holds on to them?")


def check_memory_is_freed(subject: PretextTaskSubject) -> None:
    """A task that nobody holds goes away, with its tensors.

    A tournament makes many tasks in one process. A cache on a method (``functools.cache``) keeps its instance.
    """
    with only_new_objects():
        task = subject.make()
        subject.step(task, subject.views(task, subject.images()))
        gone = weakref.ref(task)
        del task
        gc.collect()
    expect(gone() is None, "a task that nobody holds stays in memory; is it in a cache of its module?")
