"""What a pretext task promises of an update: a loss and a gradient that can be relied upon."""

from __future__ import annotations

import warnings
from functools import partial

import torch
from hypothesis import given
from hypothesis import strategies as st

from sslkit.engine.networks import call_with_seed
from sslkit.engine.tasks import take_step
from sslkit.interfaces import PretextTask
from sslkit.testing.checks.comparison import differing, few
from sslkit.testing.examples import FEW
from sslkit.testing.outcome import CheckFailed, expect
from sslkit.testing.samples import plain_images
from sslkit.testing.subjects import PretextTaskSubject


def check_views_are_left_alone(subject: PretextTaskSubject) -> None:
    """``forward`` does not change the views, the labels among them, that it is given.

    The same views may be looked at again. Copy before changing in place.
    """
    task = subject.make()
    views = subject.views(task, subject.images())
    before = {name: view.clone() for name, view in views.items()}
    subject.step(task, views)
    name = differing(before, views)
    expect(name is None, f"forward() has changed the views {name!r} that it was given; copy them first")


def check_forward_is_seeded(subject: PretextTaskSubject) -> None:
    """One seed of torch's global generator, the same weights and views give the same loss.

    A run seeds that generator before each update, and no other. Draw from it alone.
    """
    task = subject.make()
    views = subject.views(task, subject.images())
    first, second = (
        call_with_seed(4, partial(take_step, other, views)).loss.item() for other in (task, subject.make())
    )
    expect(first == second, f"the same views and seed gave a loss of {first}, then {second}; draw from torch alone")


def check_loss(subject: PretextTaskSubject) -> None:
    """The loss is one finite float32 number with a gradient, for images of any kind: black, white, of one grey.

    Real data holds such images. What divides by a spread needs a floor under it.
    """

    @FEW
    @given(value=st.sampled_from([0, 255]) | st.integers(0, 255), plain=st.integers(0, subject.batch_size))
    def finite(value: int, plain: int) -> None:
        task, images = subject.make(), subject.images().clone()
        images[:plain] = plain_images(plain, subject.image_size, value)
        loss = subject.step(task, subject.views(task, images)).loss
        expect(loss.dtype == torch.float32, f"the loss is {loss.dtype}; bring it to float32")
        expect(
            bool(loss.isfinite()),
            f"the loss is {loss.item()} where {plain} of {len(images)} images are of one grey, {value}",
        )
        loss.backward()  # type: ignore[no-untyped-call]
        broken = [name for name, p in task.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        expect(
            not broken,
            f"the gradient of {few(broken)} is not finite where {plain} of {len(images)} images are of one grey",
        )

    finite()


def check_metrics(subject: PretextTaskSubject) -> None:
    """Metrics are finite and detached; a run keeps those of a whole epoch.

    One that still has a gradient keeps the graph of every update with it. Use ``.detach()``.
    """
    task = subject.make()
    output = subject.step(task, subject.views(task, subject.images()))
    for name, value in output.metrics.items():
        expect(not value.requires_grad, f"the metric {name!r} is not detached, and keeps its update's graph in memory")
        expect(bool(value.isfinite()), f"the metric {name!r} is {value.item()}")


def check_smallest_batch(subject: PretextTaskSubject) -> None:
    """A batch of ``min_batch_size`` images works; a smaller one is refused with a reason.

    Where images are told from one another, ``min_batch_size = 2`` says so at planning, and ``forward`` raises a
    ValueError for fewer.
    """
    task, least = subject.make(), subject.cls.min_batch_size
    loss = subject.step(task, subject.views(task, subject.images(least))).loss
    expect(bool(loss.isfinite()), f"a batch of {least} gives a loss of {loss.item()}; raise min_batch_size")
    if least == 1:
        return
    fewer = subject.views(task, subject.images(least - 1))
    try:
        call_with_seed(0, lambda: task(fewer))
    except ValueError as error:
        expect(
            bool(str(error).strip()), f"a batch of {least - 1} is refused without a reason; say why in the ValueError"
        )
    else:
        raise CheckFailed(f"a batch of {least - 1} works, but min_batch_size is {least}; lower it, or raise ValueError")


def check_gradient_reaches_the_backbone(subject: PretextTaskSubject) -> None:
    """The loss has a gradient at every parameter of the encoder's layers that the task uses.

    Elsewhere the encoder would stay as it began. Look for ``detach()``, ``no_grad()`` and ``requires_grad_(False)``.
    """
    task, used = subject.make(), set()
    layers = [layer for layer in task.encoder.modules() if any(True for _ in layer.parameters(recurse=False))]
    hooks = [layer.register_forward_hook(lambda layer, *_: used.add(layer)) for layer in layers]
    subject.step(task, subject.views(task, subject.images())).loss.backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.remove()
    expect(bool(used), "forward() runs no layer of the encoder")
    names = {layer: name for name, layer in task.encoder.named_modules()}
    without = [
        f"encoder.{names[layer]}.{name}"
        for layer in layers
        if layer in used
        for name, p in layer.named_parameters(recurse=False)
        if p.grad is None
    ]
    expect(not without, f"no gradient reaches {few(without)}")
    total = sum(
        float(p.grad.abs().sum()) for layer in used for p in layer.parameters(recurse=False) if p.grad is not None
    )
    expect(total > 0, "the gradient of every parameter of the encoder is zero")


def check_momentum_copies_are_frozen(subject: PretextTaskSubject) -> None:
    """A copy of the encoder that the task keeps, a momentum encoder say, has no gradient of its own.

    The optimiser would train it. Use ``requires_grad_(False)``, and move it in ``after_update``.
    """
    task = subject.make()
    wanted = {name: value.shape for name, value in task.encoder.state_dict().items()}
    for name, module in task.named_modules():
        if module is task.encoder or isinstance(module, PretextTask) or name.startswith("encoder."):
            continue
        if {key: value.shape for key, value in module.state_dict().items()} == wanted:
            trained = [key for key, p in module.named_parameters() if p.requires_grad]
            expect(not trained, f"{name!r} is a copy of the encoder whose {few(trained)} would be trained as well")


def check_half_precision(subject: PretextTaskSubject) -> None:
    """Under bf16 autocast the loss stays float32 and near what it is in float32. For tasks with the tag ``bf16``.

    Bring logits to float32 before the loss. A task that cannot takes ``"bf16"`` out of its tags.
    """
    task = subject.make()
    views = subject.views(task, subject.images())
    wanted = subject.step(subject.make(), views).loss.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = subject.step(subject.make(), views).loss
    expect(loss.dtype == torch.float32, f"under bf16 autocast the loss is {loss.dtype}; bring logits to float32 first")
    near = abs(loss.item() - wanted) <= 0.05 * max(abs(wanted), 1.0)
    expect(near, f"under bf16 autocast the loss is {loss.item():.4g}, in float32 {wanted:.4g}")


def check_compiles(subject: PretextTaskSubject) -> None:
    """Traced by ``torch.compile``, the task has the loss that it has without. For tasks with the tag ``compile``.

    The backend ``aot_eager`` is used: all of the tracing, none of the code generation.
    """
    eager, compiled = subject.make(), subject.make()
    views = subject.views(eager, subject.images())
    compiled.compile(backend="aot_eager")
    losses = []
    for task in (eager, compiled):
        with warnings.catch_warnings():
            # The tracer looks at .grad of whatever it meets where tracing is broken off, and warns itself of that.
            warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor that is not a leaf")
            loss = subject.step(task, views).loss
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
    near = abs(losses[1] - losses[0]) <= 1e-3 * max(abs(losses[0]), 1.0)
    expect(near, f"compiled, the loss is {losses[1]:.6g}, otherwise {losses[0]:.6g}")
    for (name, plain), traced in zip(eager.named_parameters(), compiled.parameters(), strict=True):
        expect((plain.grad is None) == (traced.grad is None), f"compiled, {name} has no gradient, or gains one")
