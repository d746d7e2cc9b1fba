from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.calibration import expected_calibration_error
from sslkit_dr import DRGrade, DRGradeConfig, encode_ordinal
from sslkit_dr.temperature import BOUND

ENCODINGS = ["ordinal", "softmax", "regression"]


def head(encoding: str, temperature: str = "cross-fitted", cut_points: str = "fixed") -> DRGrade:
    return DRGrade(DRGradeConfig(encoding=encoding, temperature=temperature, cut_points=cut_points), 8)


def overconfident(encoding: str, factor: float, number: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits that are ``factor`` times too sure of grades, which are drawn as the honest logits say."""
    rng = np.random.default_rng(0)
    if encoding == "regression":
        targets = rng.integers(0, 5, number)
        return torch.from_numpy(targets + rng.normal(0, 0.5 * factor, number)).float()[:, None], torch.from_numpy(
            targets
        )
    outputs = 4 if encoding == "ordinal" else 5
    logits = torch.from_numpy(rng.normal(0, 1.5, (number, outputs))).float()
    if encoding == "ordinal":
        logits = logits.sort(dim=1, descending=True).values
    honest = head(encoding, "fixed").predict(logits).probabilities.double().numpy()
    targets = np.array([rng.choice(5, p=row / row.sum()) for row in honest])
    return logits * factor, torch.from_numpy(targets)


def misfit(encoding: str, logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> float:
    """The negative log-likelihood, written out anew."""
    logits = logits.double()
    if encoding == "softmax":
        return float(-(logits / temperature).log_softmax(1)[torch.arange(len(targets)), targets].mean())
    if encoding == "ordinal":
        lit, shares = encode_ordinal(targets, 5).bool(), torch.sigmoid(logits / temperature)
        return float(-torch.where(lit, shares, 1 - shares).clamp_min(1e-300).log().mean())
    exponents = -0.5 * ((logits - torch.arange(5)) / (0.5 * temperature)) ** 2
    return float((exponents.logsumexp(1) - exponents[torch.arange(len(targets)), targets]).mean())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_no_temperature_fits_better(encoding: str, factor: float) -> None:
    logits, targets = overconfident(encoding, factor)
    fitted = head(encoding)
    fitted.fit(logits, targets)
    found = misfit(encoding, logits, targets, float(fitted.temperature))
    assert found <= min(misfit(encoding, logits, targets, at) for at in np.geomspace(0.2, 10, 200)) + 1e-6
    assert float(fitted.temperature) == pytest.approx(factor, rel=0.15)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_probabilities_come_to_mean_what_they_say_and_no_grade_changes(encoding: str) -> None:
    logits, targets = overconfident(encoding, 3.0)
    fixed, fitted = head(encoding, "fixed"), head(encoding)
    fitted.fit(logits, targets)
    before, after = fixed.predict(logits), fitted.predict(logits)
    assert torch.equal(before.classes, after.classes)
    right = (before.classes == targets).numpy()
    errors = []
    for prediction in (before, after):
        sure = prediction.probabilities.gather(1, prediction.classes[:, None])[:, 0].numpy()
        errors.append(expected_calibration_error(sure, right))
    assert errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_on_memorised_images_it_ends_at_its_bound(encoding: str) -> None:
    targets = torch.arange(5).repeat(20)
    logits = {
        "ordinal": 6 * (2 * encode_ordinal(targets, 5) - 1),
        "softmax": 6 * torch.eye(5)[targets],
        "regression": targets[:, None].float(),
    }[encoding]
    fitted = head(encoding)
    fitted.fit(logits, targets)
    assert float(fitted.temperature) < 1.5 / BOUND


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_fixed_stays_and_changes_nothing(encoding: str) -> None:
    fixed = head(encoding, "fixed")
    logits, targets = overconfident(encoding, 3.0, 50)
    before = fixed.predict(logits).probabilities
    fixed.fit(logits, targets)
    assert not fixed.cross_fitted
    assert float(fixed.temperature) == 1.0
    assert torch.equal(fixed.predict(logits).probabilities, before)


def test_it_is_fitted_after_the_cut_points() -> None:
    logits, targets = overconfident("regression", 1.0)
    both, later = head("regression", cut_points="cross-fitted"), head("regression")
    both.fit(logits * 2 + 1, targets)
    assert both.cut_points.tolist() == pytest.approx([2.0, 4.0, 6.0, 8.0], abs=0.5)
    later.cut_points.copy_(both.cut_points)
    later.fit(logits * 2 + 1, targets)
    assert torch.equal(both.temperature, later.temperature)


def test_it_is_saved_with_the_head() -> None:
    logits, targets = overconfident("softmax", 3.0, 200)
    fitted, loaded = head("softmax"), head("softmax")
    fitted.fit(logits, targets)
    loaded.load_state_dict(fitted.state_dict())
    assert float(loaded.temperature) == float(fitted.temperature) != 1.0


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(ENCODINGS), st.floats(1 / BOUND, BOUND), st.integers(0, 1000))
def test_probabilities_stay_probabilities_at_any_temperature(encoding: str, temperature: float, seed: int) -> None:
    fitted = head(encoding)
    fitted.temperature.fill_(temperature)
    outputs = {"ordinal": 4, "softmax": 5, "regression": 1}[encoding]
    logits = 10 * torch.randn(6, outputs, generator=torch.Generator().manual_seed(seed))
    probabilities = fitted.predict(logits).probabilities
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6), rtol=0, atol=1e-5)
