"""The statistics where the truth is known. ``pytest -m slow -s`` prints the tables of docs/statistics.md."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module

import numpy as np
import pytest
from scipy import stats

from sslkit.statistics import (
    FoldPredictions,
    LabelsSaved,
    bootstrap_fold_mean,
    corrected_t,
    holm,
    labels_saved,
    verdict,
)

# the package's function of the same name hides the module as an attribute
saving = import_module("sslkit.statistics.label_savings")

DRAWS = 5000
FRACTIONS = 5


def differences(rng: np.random.Generator, shape: tuple[int, ...], correlation: float, gain: float) -> np.ndarray:
    """Draw differences (..., folds) of standard deviation 1 around a gain; any two folds correlate alike.

    The part that all folds share stands for what their common training images and seeds do to all of them: it moves
    the mean, and no spread over folds betrays it.
    """
    shared = rng.normal(size=(*shape[:-1], 1))
    return gain + math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * rng.normal(size=shape)


def cover_in_theory(folds: int, correlation: float) -> float:
    """Return the chance that the interval holds the truth.

    Its variance is off by a factor, and the statistic is Student's t divided by the factor's root. The factor is 1
    for a correlation of 1 / folds.
    """
    variance = correlation + (1 - correlation) / folds
    believed = (1 - correlation) * (1 / folds + 1 / (folds - 1))
    t = stats.t(df=folds - 1)
    return 1 - 2 * t.sf(t.ppf(0.975) * math.sqrt(believed / variance))


def simulation_error(share: float, draws: int = DRAWS) -> float:
    """Return four standard errors of a share of the draws."""
    return 4 * math.sqrt(share * (1 - share) / draws)


def simulate(folds: int, correlation: float, gain: float, seed: int) -> Iterator[tuple[bool, list[str]]]:
    """Yield for each draw whether the first share's interval holds the gain, and the verdict at each share."""
    rng = np.random.default_rng(seed)
    for draw in differences(rng, (DRAWS, FRACTIONS, folds), correlation, gain):
        tests = [corrected_t(row) for row in draw]
        adjusted = holm([test.p_value for test in tests])
        said = [verdict(test.delta, p_value) for test, p_value in zip(tests, adjusted, strict=True)]
        yield tests[0].low <= gain <= tests[0].high, said


def rates(folds: int, correlation: float) -> tuple[float, float, float]:
    """Return how often the interval covers, how often zero gains yield any claim, and how often a gain is shown.

    The gain that is shown or not is twice the standard deviation over folds, at every share.
    """
    covered, said = zip(*simulate(folds, correlation, gain=2.0, seed=folds), strict=True)
    false_claims = [any(v != "no difference shown" for v in s) for _, s in simulate(folds, correlation, 0.0, 100)]
    shown = [v == "benefit" for verdicts in said for v in verdicts]
    return float(np.mean(covered)), float(np.mean(false_claims)), float(np.mean(shown))


def test_with_correlation_1_over_folds_the_interval_covers_and_false_claims_are_rare():
    cover, false_claims, _ = rates(5, 1 / 5)
    assert 0.93 <= cover <= 0.97
    assert false_claims <= 0.05 + simulation_error(0.05)


def test_in_theory_correlation_1_over_folds_is_exact_and_more_is_too_much():
    for folds in range(2, 11):
        assert cover_in_theory(folds, 1 / folds) == pytest.approx(0.95)
        assert cover_in_theory(folds, 0.5) <= 0.95 + 1e-12
        assert cover_in_theory(folds, 0.0) > 0.95


@pytest.mark.slow
def test_table_of_the_paired_test():
    print("\n| folds | correlation | covers, in theory | covers | false claims | gain of 2 sd shown |")
    print("|---|---|---|---|---|---|")
    for folds in range(2, 11):
        for name, correlation in (("0", 0.0), ("1 / folds", 1 / folds), ("0.5", 0.5)):
            cover, false_claims, shown = rates(folds, correlation)
            theory = cover_in_theory(folds, correlation)
            row = [f"{100 * value:.1f} %" for value in (theory, cover, false_claims, shown)]
            print(f"| {folds} | {name} | {' | '.join(row)} |")
            assert cover == pytest.approx(theory, abs=simulation_error(theory))
            if correlation <= 1 / folds:
                assert cover >= 0.93
                assert false_claims <= 0.05 + simulation_error(0.05)


def folds_of_models(rng: np.random.Generator, model_sd: float) -> list[FoldPredictions]:
    """Five folds of 365 patients with two eyes; a model's true kappa is the share of images that it does not guess."""
    folds = []
    for kappa in rng.normal(0.6, model_sd, size=5):
        targets = np.repeat(rng.integers(5, size=365), 2)
        predictions = np.where(rng.random(730) < kappa, targets, rng.integers(5, size=730))
        folds.append(FoldPredictions(targets, predictions, np.repeat(np.arange(365), 2)))
    return folds


@pytest.mark.slow
def test_table_of_the_bootstrap():
    print("\n| standard deviation of the models' QWK | covers | mean width |")
    print("|---|---|---|")
    covers = []
    for model_sd in (0.0, 0.02, 0.05, 0.1):
        rng = np.random.default_rng(0)
        ends = np.array([bootstrap_fold_mean(folds_of_models(rng, model_sd), 5, draws=400) for _ in range(400)])
        covers.append(np.mean((ends[:, 0] <= 0.6) & (ends[:, 1] >= 0.6)))
        print(f"| {model_sd:g} | {100 * covers[-1]:.0f} % | {np.mean(ends[:, 1] - ends[:, 0]):.3f} |")
    assert covers[0] == pytest.approx(0.95, abs=simulation_error(0.95, 400))
    assert covers == sorted(covers, reverse=True)
    assert covers[-1] < 0.7


def holds(saved: LabelsSaved, truth: float) -> bool:
    """Return whether the interval holds a share within the measured ones; an end outside them has no bound."""
    above_low = saved.low.bound == "below" or (saved.low.bound == "at" and saved.low.value <= truth)
    below_high = saved.high.bound == "above" or (saved.high.bound == "at" and saved.high.value >= truth)
    return above_low and below_high


def is_benefit(by_fold: np.ndarray, place: int) -> bool:
    """Return the verdict at one of the shares, from differences (shares, folds)."""
    tests = [corrected_t(row) for row in by_fold]
    return verdict(tests[place].delta, holm([test.p_value for test in tests])[place]) == "benefit"


@pytest.mark.slow
def test_table_of_labels_saved(monkeypatch):
    shares = np.array([0.05, 0.1, 0.25, 0.5, 1.0])
    scratch = np.array([0.55, 0.61, 0.67, 0.71, 0.74])
    truth = math.exp(np.interp(0.61 + 0.04, scratch, np.log(shares)))
    print(f"\nThe truth: {100 * truth:.1f} % of the labels.\n")
    print("| folds | covers | median interval | benefit shown | covers where it is | covers unstretched |")
    print("|---|---|---|---|---|---|")
    for folds in (2, 3, 5, 10):
        rng = np.random.default_rng(folds)
        intervals, plain, shown = [], [], []
        for _ in range(1000):
            easy = 0.03 * rng.normal(size=folds)
            arms = scratch[:, None] + easy + 0.01 * differences(rng, (2, len(shares), folds), 1 / folds, 0)
            arms[0] += 0.04
            shown.append(is_benefit(arms[0] - arms[1], place=1))
            intervals.append(labels_saved(shares, 1000 * shares, *arms, share=0.1, draws=500))
            with monkeypatch.context() as patch:
                patch.setattr(saving, "_stretch", lambda folds, high_tail: 1.0)
                plain.append(holds(labels_saved(shares, 1000 * shares, *arms, share=0.1, draws=500), truth))
        covered = np.array([holds(saved, truth) for saved in intervals])
        low, high = (np.median([getattr(saved, end).value for saved in intervals]) for end in ("low", "high"))
        row = [f"{100 * np.mean(x):.0f} %" for x in (covered, shown, covered[shown], plain)]
        row.insert(1, f"{100 * low:.0f} to {100 * high:.0f} %")
        print(f"| {folds} | {' | '.join(row)} |")
        assert np.mean(covered) > np.mean(plain)
        assert np.mean(covered) >= (0.8 if folds == 2 else 0.9)
