"""What a head promises of its training: logits, and a loss that can be relied upon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from sslkit.engine.networks import call_with_seed
from sslkit.testing.checks.comparison import differing, distance, few
from sslkit.testing.examples import FEW
from sslkit.testing.outcome import expect, failing_as
from sslkit.testing.subjects import HeadSubject


def check_any_width(subject: HeadSubject) -> None:
    """Representations of any width D, one or many of them, give floating-point logits (N, L), of one L.

    Backbones differ in their width, and the last batch may be one image. Take the width from ``num_features``.
    """
    lengths = set()

    @FEW
    @given(width=st.sampled_from([1, 2, 48, 1024]), count=st.sampled_from([1, 2, 5]))
    def gives_logits(width: int, count: int) -> None:
        head = subject.make(num_features=width)
        with failing_as(f"{count} representations of {width} numbers fail"):
            logits = subject.logits(head, torch.ones(count, width))
        expect(
            logits.ndim == 2 and len(logits) == count,
            f"{count} representations give logits {tuple(logits.shape)}; give ({count}, anything)",
        )
        lengths.add(logits.shape[1])

    gives_logits()
    expect(len(lengths) == 1, f"the number of logits depends on the representations: {sorted(lengths)}")


def check_rows_stand_alone(subject: HeadSubject) -> None:
    """In eval mode the logits of an image do not depend on the others of its batch, nor on its place there.

    Batches are cut where memory asks for it. Statistics of the batch belong in train mode.
    """
    head, features = subject.make(), subject.noise(4)
    whole = subject.logits(head, features)
    halves = torch.cat([subject.logits(head, features[:2]), subject.logits(head, features[2:])])
    turned = subject.logits(head, features.flip(0)).flip(0)
    for name, found in (("in batches of two", halves), ("in another order", turned)):
        moved = distance(found, whole)
        expect(moved <= 1e-4, f"four rows have other logits {name}, by {moved:.2g} of the largest one")


def check_loss(subject: HeadSubject) -> None:
    """The loss is one finite float32 number with a gradient.

    Bring logits to float32 before it, and take the mean over the batch.
    """
    head, targets = subject.make(), subject.targets(2)
    loss = subject.loss(head, subject.noise(len(targets)), targets)
    expect(loss.ndim == 0, f"the loss has the shape {tuple(loss.shape)}; take the mean")
    expect(loss.dtype == torch.float32, f"the loss is {loss.dtype}; bring logits to float32")
    expect(loss.requires_grad, "the loss has no gradient; look for detach() and no_grad()")
    expect(bool(loss.isfinite()), f"the loss is {loss.item()}")


def check_absent_classes(subject: HeadSubject) -> None:
    """The loss and ``fit`` stand batches in which classes are absent: those of one class, or of two.

    Few labels may be of few classes, and ``fit`` may get a single image. What divides by the number of a class's images
    needs a floor under it.
    """
    last = subject.num_classes - 1
    for classes in [*((k,) for k in range(subject.num_classes)), (0, last)]:
        targets = torch.tensor(classes * 2)
        named = (
            f"images of {'the class' if len(classes) == 1 else 'the classes'} {' and '.join(map(str, classes))} alone"
        )
        head, features = subject.make(), subject.noise(len(targets))
        loss = subject.loss(head, features, targets)
        expect(bool(loss.isfinite()), f"the loss of {named} is {loss.item()}")
        loss.backward()  # type: ignore[no-untyped-call]
        broken = [name for name, p in head.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        expect(not broken, f"with {named} the gradient of {few(broken)} is not finite")
        logits = subject.logits(head, features)
        for count in (len(targets), 1):
            with failing_as(f"fit() fails with {count} {named}"):
                subject.fit(head, logits[:count], targets[:count])
            unfit = [name for name, buffer in head.named_buffers() if not buffer.isfinite().all()]
            expect(not unfit, f"with {count} {named} fit() leaves {few(unfit)} not finite")


def check_huge_logits(subject: HeadSubject) -> None:
    """The loss and its gradient stay finite for logits in the thousands.

    The logarithm of a probability that has come to zero is infinite: use ``log_softmax``, ``logsigmoid``, or the losses
    "with logits".
    """
    head, targets = subject.make(), subject.targets(4)
    logits = subject.random_logits(head, len(targets), scale=1e4).requires_grad_()
    loss: torch.Tensor = head.loss(logits, targets)
    expect(bool(loss.isfinite()), f"the loss of logits in the thousands is {loss.item()}")
    loss.backward()  # type: ignore[no-untyped-call]
    expect(
        logits.grad is None or bool(logits.grad.isfinite().all()),
        "the gradient of logits in the thousands is not finite",
    )


def check_gradient_reaches_every_parameter(subject: HeadSubject) -> None:
    """The loss has a gradient at every parameter that asks for one.

    A layer that is not used is saved, loaded and decayed all the same. Leave it out.
    """
    head, targets = subject.make(), subject.targets(4)
    subject.loss(head, subject.noise(len(targets)), targets).backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in head.named_parameters() if p.requires_grad and p.grad is None]
    expect(not without, f"no gradient reaches {few(without)}")


def check_inputs_are_left_alone(subject: HeadSubject) -> None:
    """``forward``, ``loss``, ``fit`` and ``predict`` do not change the tensors that they are given.

    The same representations come up again, and logits are written down after they are decoded. Copy before changing in
    place.
    """
    head, targets = subject.make(), subject.targets(2)
    features = subject.noise(len(targets))
    logits = subject.logits(head, features)
    given = {"features": features, "logits": logits, "targets": targets}
    before = {name: value.clone() for name, value in given.items()}
    calls: dict[str, Callable[[], Any]] = {
        "forward()": lambda: head(features),
        "loss()": lambda: head.loss(logits, targets),
        "fit()": lambda: head.fit(logits, targets),
        "predict()": lambda: head.predict(logits),
    }
    for name, call in calls.items():
        call_with_seed(0, call)
        changed = differing(before, given)
        expect(changed is None, f"{name} has changed the {changed} that it was given; copy them first")


def check_half_precision(subject: HeadSubject) -> None:
    """Under bf16 autocast the loss stays float32 and near what it is in float32. For heads with the tag ``bf16``.

    Bring logits to float32 before the loss, and multiply no matrices in it. A head that cannot takes ``"bf16"`` out of
    its tags.
    """
    head, targets = subject.make(), subject.targets(4)
    features = subject.noise(len(targets))
    wanted = subject.loss(head, features, targets).item()
    with failing_as("under bf16 autocast it fails"), torch.autocast("cpu", dtype=torch.bfloat16):
        loss = subject.loss(head, features, targets)
    expect(loss.dtype == torch.float32, f"under bf16 autocast the loss is {loss.dtype}; bring logits to float32 first")
    near = abs(loss.item() - wanted) <= 0.05 * max(abs(wanted), 1.0)
    expect(near, f"under bf16 autocast the loss is {loss.item():.4g}, in float32 {wanted:.4g}")
