from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from sslkit.metrics import quadratic_weighted_kappa
from sslkit.statistics import FoldPredictions, bootstrap, bootstrap_fold_mean

twenty_times = settings(deadline=None, max_examples=20)


def patients_of(rng: np.random.Generator, patients: int, num_classes: int = 3, repetitions: int = 1) -> FoldPredictions:
    """Two images a patient, graded alike; each graded right in six cases of ten."""
    targets = np.repeat(rng.integers(num_classes, size=patients), 2)
    guesses = rng.integers(num_classes, size=(repetitions, 2 * patients))
    right = rng.random((repetitions, 2 * patients)) < 0.6
    return FoldPredictions(targets, np.where(right, targets, guesses), np.repeat(np.arange(patients), 2))


def naive_interval(
    folds: list[FoldPredictions], num_classes: int, draws: int, seed: int, confidence: float
) -> tuple[float | None, float | None]:
    """Draw patient after patient, gather the images of each, and score every draw by the metric itself."""
    fold_means = []
    for number, fold in enumerate(folds):
        generator = np.random.default_rng([seed, number])
        names = sorted(set(fold.groups.tolist()))
        rows_of = [np.flatnonzero(fold.groups == name) for name in names]
        drawn = generator.integers(len(names), size=(draws, len(names)))
        means = []
        for patients in drawn:
            rows = np.concatenate([rows_of[patient] for patient in patients])
            kappas = [quadratic_weighted_kappa(fold.targets[rows], p[rows], num_classes) for p in fold.predictions]
            means.append(np.nan if None in kappas else np.mean(kappas))
        fold_means.append(means)
    draw_means = np.mean(fold_means, axis=0)
    defined = draw_means[~np.isnan(draw_means)]
    if len(defined) < confidence * draws:
        return None, None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return low, high


@twenty_times
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(2, 9), st.integers(1, 3), st.integers(1, 3))
def test_equals_a_loop_over_patients(seed, num_classes, patients, num_folds, repetitions):
    rng = np.random.default_rng(seed)
    folds = [patients_of(rng, patients, num_classes, repetitions) for _ in range(num_folds)]
    whole = [quadratic_weighted_kappa(fold.targets, p, num_classes) for fold in folds for p in fold.predictions]
    if None in whole:  # left out on purpose; another test covers it
        return
    interval = bootstrap_fold_mean(folds, num_classes, draws=40, seed=3, confidence=0.6)
    expected = naive_interval(folds, num_classes, draws=40, seed=3, confidence=0.6)
    assert interval == (None, None) if expected[0] is None else interval == pytest.approx(expected, abs=1e-12)


def test_blocks_do_not_change_the_draws(monkeypatch):
    folds = [patients_of(np.random.default_rng(0), 20, repetitions=2)]
    whole = bootstrap_fold_mean(folds, 3, draws=101)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 140)
    assert bootstrap_fold_mean(folds, 3, draws=101) == pytest.approx(whole, abs=1e-15)


@twenty_times
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_kappas_equal_scikit_learn(seed, num_classes):
    rng = np.random.default_rng(seed)
    rated = rng.integers(num_classes, size=(2, 7, 30))
    matrices = np.zeros((7, num_classes, num_classes))
    for matrix, true, predicted in zip(matrices, *rated, strict=True):
        np.add.at(matrix, (true, predicted), 1.0)
    expected = [
        cohen_kappa_score(true, predicted, labels=range(num_classes), weights="quadratic")
        for true, predicted in zip(*rated, strict=True)
    ]
    np.testing.assert_allclose(bootstrap._kappas(matrices), expected, atol=1e-12)


def test_the_order_of_images_and_the_names_of_patients_do_not_matter():
    fold = patients_of(np.random.default_rng(1), 30)
    order = np.random.default_rng(2).permutation(60)
    names = np.array([f"patient {number:03d}" for number in range(30)])
    other = FoldPredictions(fold.targets[order], fold.predictions[0, order], names[fold.groups[order]])
    assert bootstrap_fold_mean([other], 3) == bootstrap_fold_mean([fold], 3)


def test_reversing_the_scale_changes_nothing():
    fold = patients_of(np.random.default_rng(1), 30)
    other = FoldPredictions(2 - fold.targets, 2 - fold.predictions, fold.groups)
    assert bootstrap_fold_mean([other], 3) == pytest.approx(bootstrap_fold_mean([fold], 3), abs=1e-12)


def test_an_equal_repetition_changes_nothing_since_it_meets_the_same_patients():
    fold = patients_of(np.random.default_rng(1), 30)
    twice = fold._replace(predictions=np.repeat(fold.predictions, 2, axis=0))
    assert bootstrap_fold_mean([twice], 3) == pytest.approx(bootstrap_fold_mean([fold], 3), abs=1e-12)


def test_images_of_one_patient_are_no_independent_evidence():
    fold = patients_of(np.random.default_rng(1), 50)
    fourfold = FoldPredictions(np.tile(fold.targets, 4), np.tile(fold.predictions, 4), np.tile(fold.groups, 4))
    as_patients = fourfold._replace(groups=np.arange(400))
    assert bootstrap_fold_mean([fourfold], 3) == pytest.approx(bootstrap_fold_mean([fold], 3), abs=1e-12)
    width, false_width = (np.ptp(bootstrap_fold_mean([f], 3)) for f in (fourfold, as_patients))
    assert false_width < 0.6 * width


def test_perfect_predictions_and_seeds():
    fold = patients_of(np.random.default_rng(1), 30)
    perfect = fold._replace(predictions=fold.targets)
    assert bootstrap_fold_mean([perfect, perfect], 3) == (1.0, 1.0)
    assert bootstrap_fold_mean([fold], 3, seed=1) == bootstrap_fold_mean([fold], 3, seed=1)
    assert bootstrap_fold_mean([fold], 3, seed=1) != bootstrap_fold_mean([fold], 3, seed=2)


class TestDegenerate:
    one_class = FoldPredictions(np.full(8, 1), np.full(8, 1), np.arange(8))
    good = patients_of(np.random.default_rng(1), 30)

    def test_no_fold(self):
        assert bootstrap_fold_mean([], 3) == (None, None)

    def test_one_patient(self):
        one = FoldPredictions(np.array([0, 1, 2]), np.array([0, 1, 1]), np.zeros(3))
        assert bootstrap_fold_mean([one], 3) == (None, None)
        assert bootstrap_fold_mean([self.good, one], 3) == (None, None)

    def test_a_fold_of_one_class_is_left_out_as_the_mean_leaves_it_out(self):
        assert bootstrap_fold_mean([self.one_class], 3) == (None, None)
        assert bootstrap_fold_mean([self.good, self.one_class], 3) == bootstrap_fold_mean([self.good], 3)

    def test_an_undefined_repetition_is_left_out(self):
        targets = np.ones(8, dtype=int)
        both = FoldPredictions(targets, np.array([[1] * 8, [0, 1] * 4]), np.arange(8))
        # one rater is constant: kappa is 0, or undefined where no 0 is drawn, once in 256
        assert bootstrap_fold_mean([both], 3) == (0.0, 0.0)

    def test_few_undefined_draws_are_left_out_and_many_leave_nothing(self):
        def rare(count: int) -> FoldPredictions:
            targets = np.zeros(count, dtype=int)
            targets[0] = 1
            return FoldPredictions(targets, targets, np.arange(count))

        # the one patient of the other class is missed by a draw with chance (1 - 1 / n)^n, about 0.37
        assert bootstrap_fold_mean([rare(20)], 3) == (None, None)
        assert bootstrap_fold_mean([rare(20)], 3, confidence=0.5) == (1.0, 1.0)

    @pytest.mark.parametrize(
        ("fold", "options", "message"),
        [
            (good._replace(groups=np.arange(3)), {}, r"groups have shape \(3,\); expected one an image, \(60,\)"),
            (good._replace(targets=good.targets + 1), {}, r"targets\[\d+\] is 3; accepted are the classes 0\.\.2"),
            (good._replace(predictions=good.predictions[:, 1:]), {}, r"targets and predictions must be"),
            (good, {"draws": 0}, r"draws is 0; a bootstrap needs at least one"),
            (good, {"confidence": 95}, r"confidence is 95; it must lie between 0 and 1"),
        ],
    )
    def test_impossible_values_are_refused(self, fold, options, message):
        with pytest.raises(ValueError, match=message):
            bootstrap_fold_mean([fold], 3, **options)


def test_covers_the_truth_where_only_patients_vary():
    # both eyes graded alike and right in six of ten, else at random: of 15 images, 4 + 1 x 11/15 ... in closed form:
    agreement = 0.6 * np.eye(3) / 3 + 0.4 / 9
    truth = float(bootstrap._kappas(agreement))
    assert truth == pytest.approx(0.6)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_fold_mean([patients_of(rng, 60) for _ in range(3)], 3, draws=200)
        covered += low <= truth <= high
    # 95 % less what percentiles of few draws and 300 simulations may miss
    assert 0.91 <= covered / 300 <= 0.98
