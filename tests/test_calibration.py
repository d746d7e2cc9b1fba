from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss

from sslkit.calibration import brier_score, expected_calibration_error, reliability

PAIRS = st.integers(1, 60).flatmap(
    lambda n: st.tuples(arrays(np.float64, n, elements=st.floats(0, 1)), arrays(np.bool_, n))
)


@given(pair=PAIRS, num_bins=st.integers(1, 20))
def test_the_curve_and_its_error_equal_a_naive_loop(pair: tuple[np.ndarray, np.ndarray], num_bins: int) -> None:
    probabilities, outcomes = pair
    error, bins = 0.0, []
    for number in range(num_bins):
        inside = [i for i, p in enumerate(probabilities) if min(int(p * num_bins), num_bins - 1) == number]
        if inside:
            confidence = sum(probabilities[i] for i in inside) / len(inside)
            frequency = sum(bool(outcomes[i]) for i in inside) / len(inside)
            bins.append((confidence, frequency, len(inside)))
            error += len(inside) / len(probabilities) * abs(confidence - frequency)

    curve = reliability(probabilities, outcomes, num_bins)

    assert [entry.count for entry in curve] == [count for _, _, count in bins]
    for entry, (confidence, frequency, _) in zip(curve, bins, strict=True):
        assert (entry.confidence, entry.frequency) == pytest.approx((confidence, frequency))
    assert expected_calibration_error(probabilities, outcomes, num_bins) == pytest.approx(error, abs=1e-12)


def test_honest_probabilities_have_a_small_error_and_boasting_ones_a_large() -> None:
    rng = np.random.default_rng(0)
    honest = rng.random(20_000)
    outcomes = rng.random(20_000) < honest

    assert expected_calibration_error(honest, outcomes) < 0.02
    assert expected_calibration_error(np.round(honest), outcomes) == pytest.approx(0.25, abs=0.02)


@given(seed=st.integers(0, 100), num_rows=st.integers(2, 40))
def test_the_brier_score_equals_scikit_learns(seed: int, num_rows: int) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.random(num_rows)
    targets = rng.integers(0, 2, num_rows)
    targets[:2] = 0, 1

    ours = brier_score(np.stack([1 - positive, positive], axis=1), targets)

    assert ours == pytest.approx(2 * brier_score_loss(targets, positive))


def test_the_brier_score_is_zero_for_certain_truth_and_two_for_certain_error() -> None:
    assert brier_score(np.eye(3), np.arange(3)) == 0
    assert brier_score(np.eye(3), np.array([1, 2, 0])) == 2


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="a probability lies outside"):
        reliability(np.array([0.5, 1.2]), np.array([True, False]))
    with pytest.raises(ValueError, match=r"\(2,\) probabilities do not fit \(3,\) outcomes"):
        reliability(np.array([0.5, 0.2]), np.array([True, False, True]))
