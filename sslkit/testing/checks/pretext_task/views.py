"""What a pretext task promises of its views: a pure function of images and a generator, in whatever process."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from hypothesis import given
from hypothesis import strategies as st

from sslkit.engine.tasks import make_views
from sslkit.testing.checks.comparison import differing, few
from sslkit.testing.elsewhere import call_elsewhere
from sslkit.testing.examples import FEW
from sslkit.testing.generators import generator_states
from sslkit.testing.network import TinyNetwork
from sslkit.testing.outcome import expect, failing_as
from sslkit.testing.subjects import PretextTaskSubject
from sslkit.types import Views


def check_views_are_pure(subject: PretextTaskSubject) -> None:
    """The views depend on the images and the generator, and on nothing that was made before.

    A resumed pretraining makes the views of its update and none of those before. Draw everything from the generator,
    and keep no counter.
    """
    task = subject.make()

    @FEW
    @given(count=st.integers(1, 8), seed=st.integers(0, 2**32), other=st.integers(0, 2**32))
    def same_again(count: int, seed: int, other: int) -> None:
        images = subject.images(count, seed=seed % 97)
        first = make_views(task, images.clone(), torch.Generator().manual_seed(seed))
        make_views(task, images.flip(0), torch.Generator().manual_seed(other))
        again = make_views(task, images.clone(), torch.Generator().manual_seed(seed))
        name = differing(first, again)
        expect(
            name is None,
            f"{count} images and a generator seeded with {seed} gave other views {name!r} the second time; "
            "draw from the generator alone, and keep no state",
        )

    same_again()


def check_images_are_left_alone(subject: PretextTaskSubject) -> None:
    """``make_views`` and ``fit`` do not change the images that they are given.

    They are rows of the cache, and another task or update reads them next. Copy before changing in place.
    """
    task, images = subject.make(), subject.images()
    before = images.clone()
    subject.views(task, images)
    expect(torch.equal(images, before), "make_views() has changed the images that it was given; copy them first")
    task.fit(images)
    expect(torch.equal(images, before), "fit() has changed the images that it was given; copy them first")


def check_global_generators_are_left_alone(subject: PretextTaskSubject) -> None:
    """``make_views`` draws nothing from the global generators of torch, numpy and Python.

    Whatever else draws from them, dropout for instance, would come out otherwise. Pass ``generator=generator``.
    """
    task, images = subject.make(), subject.images(4)
    before = generator_states()
    make_views(task, images, torch.Generator().manual_seed(0))
    drawn = [name for name, state in generator_states().items() if state != before[name]]
    expect(
        not drawn,
        f"make_views() has drawn from the global generator of {', '.join(drawn)}; draw from the one that it is given",
    )


def check_views_fit_together(subject: PretextTaskSubject) -> None:
    """The views of chunks of one, three and eight images go together to a batch.

    Shapes beyond the first axis, and dtypes, must not depend on the number of images or on the draw.
    """
    task = subject.make()
    shapes: dict[str, set[str]] = {}
    for count in (1, 3, 8):
        for seed in range(3):
            views = make_views(task, subject.images(count), torch.Generator().manual_seed(seed))
            for name, view in views.items():
                rows = len(view) // count
                shapes.setdefault(name, set()).add(f"{rows} rows an image of {tuple(view.shape[1:])} {view.dtype}")
            missing = shapes.keys() - views.keys()
            expect(not missing, f"make_views() returns {few(sorted(missing))} at times only; return it always")
    for name, found in shapes.items():
        expect(len(found) == 1, f"the views {name!r} do not go together: {'; '.join(sorted(found))}")


def check_view_sizes_are_declared(subject: PretextTaskSubject) -> None:
    """The backbone sees square views of the sides that ``view_sizes`` declares, as normalised floats.

    Planning asks the backbone for these sides; one that is not declared fails in the midst of a run.
    """
    task = subject.make()
    seen: list[torch.Tensor] = []
    network = next((module for module in task.encoder.modules() if isinstance(module, TinyNetwork)), None)
    expect(network is not None, "the encoder is not the backbone that the task was given")
    hook = cast(TinyNetwork, network).stages.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    subject.step(task, subject.views(task, subject.images()))
    hook.remove()
    declared = set(subject.cls.view_sizes(subject.config, subject.context))
    expect(bool(seen), "forward() does not run the encoder by its forward_features()")
    for x in seen:
        expect(x.is_floating_point() and x.shape[1] == 3, f"the encoder was given {x.dtype} {tuple(x.shape)}")
        expect(
            {*x.shape[2:]} <= declared,
            f"the encoder was given views of {x.shape[2]} x {x.shape[3]} pixels, and view_sizes() declares "
            f"{', '.join(map(str, sorted(declared)))}; declare every side",
        )


def check_views_are_the_same_elsewhere(subject: PretextTaskSubject) -> None:
    """Another process makes the same views: one with another hash seed and another number of threads.

    Use no ``hash()`` of a text, no order of a set, no clock, no number of the process.
    """
    here, there = views_of_one_chunk(subject), call_elsewhere(views_of_one_chunk, subject)
    name = differing(here, there)
    expect(name is None, f"another process makes other views {name!r}; what differs between processes has a part in it")


def views_of_one_chunk(subject: PretextTaskSubject) -> Views:
    """Return the views of eight images."""
    return make_views(subject.make(), subject.images(8), torch.Generator().manual_seed(5))


def check_mask_is_optional(subject: PretextTaskSubject) -> None:
    """The task works where the context has no mask, and where it has one.

    ``crop = "fundus"`` gives a circular mask; ``"center"`` and ``"none"`` give none.
    """
    context = subject.context
    for name, mask in (("no mask", None), ("a mask", context.mask)):
        told = replace(context, mask=mask)
        with failing_as(f"with {name} in its context the task fails"):
            task = subject.make(context=told)
            loss = subject.step(task, subject.views(task, subject.images())).loss
        expect(bool(loss.isfinite()), f"with {name} in its context the loss is {loss.item()}")


def check_probe_labels(subject: PretextTaskSubject) -> None:
    """``probe_labels`` gives one whole number for each row of ``views["images"]``.

    The audit trains probes on these views to find shortcuts.
    """
    task = subject.make()
    views = subject.views(task, subject.images())
    labels = task.probe_labels(views)
    if labels is None:
        return
    expect("images" in views, f"there are probe labels, but no views named 'images', only {few(sorted(views))}")
    expect(
        isinstance(labels, torch.Tensor) and labels.dtype == torch.int64 and labels.shape == views["images"].shape[:1],
        f"probe_labels() gives {labels.dtype} {tuple(labels.shape)} for {len(views['images'])} rows of "
        "views['images']; give int64, one a row",
    )
