from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score, roc_auc_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from sslkit.metrics import (
    accuracy,
    binary_auroc,
    confusion_matrix,
    evaluate,
    kappa_from_confusion,
    quadratic_weighted_kappa,
    recall_by_class,
    sensitivity_specificity,
    youden_threshold,
)

NUM_CLASSES = 5
sixty_times = settings(deadline=None, max_examples=60)


@st.composite
def ratings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    num_classes = draw(st.integers(2, 7))
    dtype = draw(st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.uint64]))
    rows = draw(st.lists(st.tuples(*[st.integers(0, num_classes - 1)] * 2), min_size=1, max_size=40))
    targets, predictions = np.array(rows, dtype=dtype).T
    return targets, predictions, num_classes


def naive_kappa(targets: np.ndarray, predictions: np.ndarray, num_classes: int) -> float | None:
    """The definition, cell by cell: weights, observed counts, expected counts."""
    observed_sum = expected_sum = 0.0
    for i in range(num_classes):
        for j in range(num_classes):
            weight = (i - j) ** 2 / (num_classes - 1) ** 2
            observed = sum(1 for t, p in zip(targets, predictions, strict=True) if t == i and p == j)
            expected = sum(1 for t in targets if t == i) * sum(1 for p in predictions if p == j) / len(targets)
            observed_sum += weight * observed
            expected_sum += weight * expected
    return None if expected_sum == 0 else 1 - observed_sum / expected_sum


class TestConfusionMatrix:
    @sixty_times
    @given(ratings())
    def test_equals_scikit_learn(self, rated):
        targets, predictions, num_classes = rated
        matrix = confusion_matrix(targets, predictions, num_classes)
        assert matrix.dtype == np.int64
        # scikit-learn cannot compare uint64 with its own int64 labels
        expected = sklearn_confusion(targets.astype(int), predictions.astype(int), labels=range(num_classes))
        np.testing.assert_array_equal(matrix, expected)

    @pytest.mark.parametrize("num_classes", [11, 12, 15, 16, 17, 128])
    @pytest.mark.parametrize("dtypes", [(np.int8, np.int8), (np.uint8, np.uint8), (np.uint8, np.int16)])
    def test_small_dtypes_do_not_overflow(self, num_classes, dtypes):
        grades = np.arange(num_classes)
        matrix = confusion_matrix(grades.astype(dtypes[0]), grades[::-1].astype(dtypes[1]), num_classes)
        np.testing.assert_array_equal(matrix, np.eye(num_classes, dtype=int)[::-1])

    def test_raters_may_differ_in_dtype(self):
        matrix = confusion_matrix(np.array([0, 1], dtype=np.uint64), np.array([1, 1], dtype=np.int8), 2)
        assert matrix.tolist() == [[0, 1], [0, 1]]

    @pytest.mark.parametrize(
        ("targets", "predictions", "message"),
        [
            ([0, 1], [0, -1], r"predictions\[1\] is -1; accepted are the classes 0\.\.4"),
            ([0, 5], [0, 1], r"targets\[1\] is 5; accepted are the classes 0\.\.4"),
            # 0 * 5 + 7 would be read as the cell (1, 2)
            ([0, 0], [7, 1], r"predictions\[0\] is 7"),
            ([0, 1], [0], r"targets and predictions must be .* not \(2,\) and \(1,\)"),
            ([], [], r"targets have shape \(0,\)"),
            ([[0, 1]], [[0, 1]], r"targets have shape \(1, 2\)"),
            ([0.0, 1.0], [0, 1], r"targets are float64 \(the first is .*0\.0.*\); expected integers"),
            ([0, 1], [True, False], r"predictions are bool"),
        ],
    )
    def test_refuses(self, targets, predictions, message):
        with pytest.raises(ValueError, match=message):
            confusion_matrix(np.array(targets), np.array(predictions), NUM_CLASSES)

    def test_refuses_no_classes(self):
        with pytest.raises(ValueError, match="num_classes is 0"):
            confusion_matrix(np.array([0]), np.array([0]), 0)


class TestQuadraticWeightedKappa:
    @sixty_times
    @given(ratings())
    def test_equals_the_definition_and_scikit_learn(self, rated):
        targets, predictions, num_classes = rated
        kappa = quadratic_weighted_kappa(targets, predictions, num_classes)
        naive = naive_kappa(targets, predictions, num_classes)
        if naive is None:
            assert kappa is None
            return
        oracle = cohen_kappa_score(
            targets.astype(int), predictions.astype(int), labels=range(num_classes), weights="quadratic"
        )
        assert kappa == pytest.approx(naive, abs=1e-12)
        assert kappa == pytest.approx(oracle, abs=1e-12)

    @sixty_times
    @given(ratings())
    def test_is_one_for_perfect_agreement_on_two_classes_or_more(self, rated):
        targets, _, num_classes = rated
        kappa = quadratic_weighted_kappa(targets, targets, num_classes)
        assert kappa == (1.0 if len(set(targets.tolist())) > 1 else None)

    @sixty_times
    @given(ratings())
    def test_is_symmetric_in_its_raters(self, rated):
        targets, predictions, num_classes = rated
        forward = quadratic_weighted_kappa(targets, predictions, num_classes)
        assert forward == quadratic_weighted_kappa(predictions, targets, num_classes)

    @sixty_times
    @given(ratings())
    def test_is_unchanged_by_reversing_the_scale(self, rated):
        targets, predictions, num_classes = rated
        top = targets.dtype.type(num_classes - 1)
        turned = quadratic_weighted_kappa(top - targets, top - predictions, num_classes)
        assert turned == quadratic_weighted_kappa(targets, predictions, num_classes)

    @sixty_times
    @given(ratings(), st.randoms(use_true_random=False))
    def test_is_unchanged_by_permuting_the_rows(self, rated, random):
        targets, predictions, num_classes = rated
        order = list(range(len(targets)))
        random.shuffle(order)
        permuted = quadratic_weighted_kappa(targets[order], predictions[order], num_classes)
        assert permuted == quadratic_weighted_kappa(targets, predictions, num_classes)

    @sixty_times
    @given(ratings())
    def test_is_at_most_one_and_one_only_for_agreement(self, rated):
        targets, predictions, num_classes = rated
        kappa = quadratic_weighted_kappa(targets, predictions, num_classes)
        if kappa is not None:
            assert -1 <= kappa <= 1
            assert (kappa == 1) == bool((targets == predictions).all())

    @sixty_times
    @given(ratings(), st.integers(0, 6))
    def test_is_zero_where_exactly_one_rater_is_constant(self, rated, grade):
        targets, _, num_classes = rated
        constant = np.full_like(targets, grade % num_classes)
        kappa = quadratic_weighted_kappa(targets, constant, num_classes)
        assert kappa == (None if (targets == constant).all() else 0.0)

    @pytest.mark.parametrize("grade", range(NUM_CLASSES))
    def test_is_undefined_where_both_are_constant_on_one_class(self, grade):
        constant = np.full(3, grade)
        assert quadratic_weighted_kappa(constant, constant, NUM_CLASSES) is None

    def test_is_zero_where_both_are_constant_on_different_classes(self):
        assert quadratic_weighted_kappa(np.array([1, 1]), np.array([3, 3]), NUM_CLASSES) == 0

    def test_uses_the_full_range_of_classes(self):
        targets, predictions = np.array([0, 0, 1, 1, 1, 4]), np.array([0, 1, 0, 1, 4, 4])
        assert quadratic_weighted_kappa(targets, predictions, NUM_CLASSES) == pytest.approx(0.629, abs=5e-4)
        # what comes out where the classes are taken from the rows, 4 then standing next to 1
        assert cohen_kappa_score(targets, predictions, weights="quadratic") == pytest.approx(0.571, abs=5e-4)

    @pytest.mark.parametrize("value", [-1, 5])
    def test_refuses_values_outside_the_range(self, value):
        # half the predictions at -1 and the rest right must not score 1
        with pytest.raises(ValueError, match=rf"predictions\[2\] is {value}; accepted are the classes 0\.\.4"):
            quadratic_weighted_kappa(np.array([0, 1, 0, 1]), np.array([0, 1, value, value]), NUM_CLASSES)


class TestKappaFromConfusion:
    def test_is_exact_for_counts_beyond_float_precision(self):
        huge = 10**17
        assert kappa_from_confusion(np.array([[huge, 0], [0, huge]])) == 1
        assert kappa_from_confusion(np.array([[huge, huge], [huge, huge + 1]])) == pytest.approx(0, abs=1e-15)

    @pytest.mark.parametrize(
        ("matrix", "message"),
        [
            (np.ones((2, 3), dtype=int), r"integers \(K, K\), not int64 \(2, 3\)"),
            (np.ones((2, 2)), "not float64"),
            (np.zeros((2, 2), dtype=int), "at least one row's count"),
            (np.array([[1, -1], [0, 1]]), "counts of 0 or more"),
        ],
    )
    def test_refuses(self, matrix, message):
        with pytest.raises(ValueError, match=message):
            kappa_from_confusion(matrix)


class TestAccuracyAndRecall:
    @sixty_times
    @given(ratings())
    def test_accuracy_equals_scikit_learn(self, rated):
        targets, predictions, _ = rated
        assert accuracy(targets, predictions) == pytest.approx(accuracy_score(targets, predictions), abs=1e-15)

    def test_accuracy_refuses_unequal_lengths(self):
        with pytest.raises(ValueError, match=r"not \(2,\) and \(1,\)"):
            accuracy(np.array([0, 1]), np.array([0]))

    @sixty_times
    @given(ratings())
    def test_recall_equals_scikit_learn_and_is_none_for_an_absent_class(self, rated):
        targets, predictions, num_classes = rated
        recalls = recall_by_class(targets, predictions, num_classes)
        oracle = recall_score(
            targets.astype(int), predictions.astype(int), labels=range(num_classes), average=None, zero_division=0
        )
        for k in range(num_classes):
            assert recalls[k] == (pytest.approx(oracle[k]) if k in targets.tolist() else None)


class TestBinaryAuroc:
    @sixty_times
    @given(
        st.lists(st.tuples(st.booleans(), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1e-300, np.inf])), min_size=1),
    )
    def test_equals_the_share_of_pairs_in_order(self, rows):
        positive, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        pairs = [float(p > n) + float(p == n) / 2 for p in scores[positive] for n in scores[~positive]]
        assert binary_auroc(positive, scores) == (pytest.approx(np.mean(pairs)) if pairs else None)

    @sixty_times
    @given(hnp.arrays(np.float32, 30, elements=st.floats(0, 1, width=32)))
    def test_equals_scikit_learn(self, scores):
        positive = np.arange(30) % 3 == 0
        assert binary_auroc(positive, scores) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)

    def test_is_half_where_all_scores_tie(self):
        assert binary_auroc(np.array([True, False, False]), np.zeros(3)) == 0.5

    def test_refuses_nan(self):
        with pytest.raises(ValueError, match=r"scores\[1\] is NaN"):
            binary_auroc(np.array([True, False]), np.array([0.0, np.nan]))

    def test_refuses_integers_for_truth(self):
        with pytest.raises(ValueError, match="positive is int64; expected bool"):
            binary_auroc(np.array([1, 0]), np.array([0.5, 0.5]))


class TestSensitivitySpecificity:
    def test_by_hand(self):
        positive = np.array([True, True, True, True, False, False])
        flagged = np.array([True, True, True, False, True, False])
        assert sensitivity_specificity(positive, flagged) == (0.75, 0.5)

    def test_is_none_without_rows(self):
        assert sensitivity_specificity(np.array([True]), np.array([True])) == (1.0, None)
        assert sensitivity_specificity(np.array([False]), np.array([True])) == (None, 0.0)

    def test_refuses_integers(self):
        with pytest.raises(ValueError, match="flagged is int64; expected bool"):
            sensitivity_specificity(np.array([True]), np.array([1]))


class TestYoudenThreshold:
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30))
    def test_no_threshold_does_better(self, rows):
        positive = np.array([label for label, _ in rows])
        scores = np.array([score / 7 for _, score in rows])
        threshold = youden_threshold(positive, scores)
        if positive.all() or not positive.any():
            assert threshold is None
            return

        def j(cut):
            return sum(sensitivity_specificity(positive, scores >= cut))

        every = [j(cut) for cut in np.linspace(-0.01, 1.01, 103)]
        assert j(threshold) == pytest.approx(max(every))

    def test_of_equals_takes_the_most_sensitive(self):
        assert youden_threshold(np.array([False, True, False, True]), np.array([0.0, 1.0, 2.0, 3.0])) == 0.5

    def test_parts_neighbouring_floats(self):
        low = 0.1
        high = np.nextafter(low, 1)
        threshold = youden_threshold(np.array([False, True]), np.array([low, high]))
        assert low < threshold <= high

    def test_refuses_nan(self):
        with pytest.raises(ValueError, match=r"scores\[0\] is NaN; give scores"):
            youden_threshold(np.array([True, False]), np.array([np.nan, 0.0]))


class TestEvaluate:
    targets = np.array([0, 1, 2, 4, 4])
    predictions = np.array([0, 2, 2, 1, 4])
    probabilities = np.array(
        [
            [0.9, 0.1, 0.0, 0.0, 0.0],
            [0.0, 0.3, 0.4, 0.2, 0.1],
            [0.1, 0.2, 0.5, 0.2, 0.0],
            [0.2, 0.6, 0.1, 0.1, 0.0],
            [0.0, 0.0, 0.0, 0.2, 0.8],
        ],
        dtype=np.float32,
    )

    def test_gives_every_score_by_name(self):
        scores = evaluate(self.targets, self.predictions, self.probabilities, 2, num_classes=5, threshold=0.5)
        referable = self.probabilities[:, 2:].sum(axis=1)
        assert scores == {
            "qwk": pytest.approx(
                cohen_kappa_score(self.targets, self.predictions, labels=range(5), weights="quadratic")
            ),
            "accuracy": 0.6,
            "recall_0": 1.0,
            "recall_1": 0.0,
            "recall_2": 1.0,
            "recall_3": None,
            "recall_4": 0.5,
            "ece": pytest.approx((0.4 + 0.5 + 0.6 + 2 * (1 - 0.85)) / 5),
            "brier": pytest.approx(((self.probabilities - np.eye(5)[self.targets]) ** 2).sum() / 5),
            "referable_auroc": pytest.approx(roc_auc_score(self.targets >= 2, referable)),
            "referable_threshold": 0.5,
            "referable_sensitivity": pytest.approx(2 / 3),
            "referable_specificity": 0.5,
        }

    def test_leaves_sensitivity_and_specificity_undefined_without_a_threshold(self):
        scores = evaluate(self.targets, self.predictions, self.probabilities, positive_from=2, num_classes=5)
        assert scores["referable_auroc"] is not None
        assert [scores[f"referable_{name}"] for name in ("threshold", "sensitivity", "specificity")] == [None] * 3

    def test_calls_an_image_referable_from_the_threshold_on(self):
        scores = evaluate(self.targets, self.predictions, self.probabilities, 2, num_classes=5, threshold=0.2)
        assert (scores["referable_sensitivity"], scores["referable_specificity"]) == (1.0, 0.5)

    def test_has_no_referable_scores_without_the_question(self):
        scores = evaluate(self.targets, self.predictions, self.probabilities, positive_from=None, num_classes=5)
        assert list(scores) == ["qwk", "accuracy", *(f"recall_{k}" for k in range(5)), "ece", "brier"]

    def test_refuses_probabilities_of_another_shape(self):
        with pytest.raises(ValueError, match=r"shape \(5, 4\); expected \(5, 5\)"):
            evaluate(self.targets, self.predictions, self.probabilities[:, :4], positive_from=2, num_classes=5)

    @pytest.mark.parametrize("positive_from", [0, 5])
    def test_refuses_a_question_that_every_class_answers_alike(self, positive_from):
        with pytest.raises(ValueError, match=rf"positive_from is {positive_from}; it must lie in 1\.\.4"):
            evaluate(self.targets, self.predictions, self.probabilities, positive_from, num_classes=5)
