"""What a head promises of its predictions: classes and probabilities of the logits, and of nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sslkit.engine.networks import evaluation_mode
from sslkit.testing.checks.comparison import same
from sslkit.testing.examples import FEW
from sslkit.testing.outcome import expect, failing_as
from sslkit.testing.subjects import HeadSubject
from sslkit.types import Prediction

_LARGEST = 2.0**100
_LOGITS = st.floats(-_LARGEST, _LARGEST, width=32) | st.floats(-20, 20, width=32) | st.sampled_from([-1e4, 0.0, 1e4])


def check_predictions(subject: HeadSubject) -> None:
    """Any finite logits give classes, int64 in 0..K-1, and probabilities, float32 (N, K), whose rows sum to one.

    Scores of a network that is nearly lost are large. The exponential of them overflows: use ``softmax``.
    """
    head, count = subject.make(), subject.num_classes
    length = subject.random_logits(head, 1, scale=1).shape[1]

    @FEW
    @given(hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(length)), elements=_LOGITS))
    def within_range(values: npt.NDArray[np.float32]) -> None:
        found = subject.predict(head, torch.from_numpy(values))
        _expect_types(found, len(values), count)
        shares = found.probabilities
        shown = f"the logits {values.tolist()}"
        expect(
            bool(((found.classes >= 0) & (found.classes < count)).all()),
            f"{shown} give the classes {found.classes.tolist()}; there are 0..{count - 1}",
        )
        expect(bool((shares >= 0).all()), f"{shown} give the probabilities {shares.tolist()}, negative or no numbers")
        expect(
            bool(((shares.sum(dim=1) - 1).abs() <= 1e-4).all()),
            f"{shown} give probabilities that sum to {shares.sum(dim=1).tolist()}, not to one",
        )

    within_range()


def _expect_types(found: object, rows: int, count: int) -> None:
    expect(isinstance(found, Prediction), f"predict() returns {type(found).__name__}; return a sslkit.Prediction")
    assert isinstance(found, Prediction)
    given = [(value.dtype, tuple(value.shape)) for value in (found.classes, found.probabilities)]
    wanted = [(torch.int64, (rows,)), (torch.float32, (rows, count))]
    expect(given == wanted, f"predict() returns classes and probabilities {given}; return {wanted}")


def check_rows_are_predicted_alone(subject: HeadSubject) -> None:
    """A row is predicted as it is in a batch when it is predicted alone.

    ``sslkit predict`` may be given a single image. Ranks and means over the batch have no place in ``predict``.
    """
    head = subject.make()
    logits = subject.random_logits(head, 12, scale=3)
    whole = subject.predict(head, logits)
    for row in range(len(logits)):
        alone = subject.predict(head, logits[row : row + 1])
        near = torch.allclose(alone.probabilities, whole.probabilities[row : row + 1], rtol=0, atol=1e-5)
        expect(
            near and torch.equal(alone.classes, whole.classes[row : row + 1]),
            f"the row {logits[row].tolist()} is predicted otherwise alone than among {len(logits)}",
        )


def check_predict_is_repeatable(subject: HeadSubject) -> None:
    """The same logits give the same prediction again, and torch's global generator is not drawn from.

    Ties are broken by a rule, not by chance.
    """
    head = subject.make()
    logits = subject.random_logits(head, 12, scale=3)
    before = torch.get_rng_state()
    first, second = head.predict(logits.clone()), head.predict(logits.clone())
    expect(
        torch.equal(torch.get_rng_state(), before), "predict() draws from torch's global generator; decode by a rule"
    )
    expect(_equal(first, second), "the same logits are predicted otherwise the second time")


def check_predict_uses_no_parameter(subject: HeadSubject) -> None:
    """``predict`` decodes by buffers alone: it is the same whatever the parameters are, and has no gradient.

    Logits of other processes are decoded by a head that was never trained. Move what is fitted into buffers.
    """
    head = subject.make()
    logits = subject.random_logits(head, 12, scale=3)
    before = subject.predict(head, logits)
    expect(not before.probabilities.requires_grad, "the probabilities have a gradient; predict by buffers alone")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    after = subject.predict(head, logits)
    expect(_equal(before, after), "predict() depends on the head's parameters; keep what it needs in buffers")


def check_predict_takes_logits_of_inference(subject: HeadSubject) -> None:
    """``predict`` takes tensors made in inference mode, as evaluation hands them to it.

    It runs outside of that mode then, where such tensors can be read, and neither changed nor asked for a gradient.
    """
    head = subject.make()
    with evaluation_mode(head):
        logits = head(subject.noise(4)).float()
    with failing_as("predict() fails with logits made in inference mode; decode without changes and without gradients"):
        head.predict(logits)


def _equal(first: Prediction, second: Prediction) -> bool:
    return same(first.classes, second.classes) and same(first.probabilities, second.probabilities)
