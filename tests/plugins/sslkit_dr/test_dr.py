from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sslkit.metrics import quadratic_weighted_kappa
from sslkit_dr import DRGrade, DRGradeConfig, decode, encode_ordinal, ordinal_probabilities, sslkit_heads

ENCODINGS = ["ordinal", "softmax", "regression"]
NUM_OUTPUTS = {"ordinal": 4, "softmax": 5, "regression": 1}
often = settings(deadline=None, max_examples=80)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def head(encoding="ordinal", cut_points="fixed", num_features=8) -> DRGrade:
    return DRGrade(DRGradeConfig(encoding=encoding, cut_points=cut_points), num_features)


@st.composite
def encoded(draw: st.DrawFn, elements=finite, encodings=ENCODINGS) -> tuple[str, torch.Tensor]:
    encoding = draw(st.sampled_from(encodings))
    shape = (draw(st.integers(1, 12)), NUM_OUTPUTS[encoding])
    return encoding, torch.from_numpy(draw(hnp.arrays(np.float32, shape, elements=elements)))


@st.composite
def scored(draw: st.DrawFn) -> tuple[str, torch.Tensor, torch.Tensor]:
    """Logits as a model might give them, ties included, and grades."""
    encoding, logits = draw(encoded(st.floats(-3, 7, width=16), ["ordinal", "regression"]))
    targets = draw(st.lists(st.integers(0, 4), min_size=len(logits), max_size=len(logits)))
    return encoding, logits, torch.tensor(targets)


def kappa(fitted: DRGrade, logits: torch.Tensor, targets: torch.Tensor) -> float | None:
    return quadratic_weighted_kappa(targets.numpy(), fitted.predict(logits).classes.numpy(), 5)


def test_is_announced():
    assert list(sslkit_heads()) == [DRGrade]
    assert (DRGrade.name, DRGrade.positive_from, DRGrade.primary_metric) == ("dr-grade", 2, "qwk")
    assert head().class_names == ("No DR", "Mild", "Moderate", "Severe", "Proliferative DR")
    assert head().num_classes == 5


class TestDecoding:
    @often
    @given(encoded())
    def test_is_within_the_grades_for_any_finite_logits(self, given_logits):
        encoding, logits = given_logits
        prediction = head(encoding).predict(logits)
        assert prediction.classes.dtype == torch.int64
        assert prediction.classes.min() >= 0
        assert prediction.classes.max() <= 4
        assert prediction.probabilities.dtype == torch.float32
        assert prediction.probabilities.shape == (len(logits), 5)
        assert (prediction.probabilities >= 0).all()
        torch.testing.assert_close(prediction.probabilities.sum(dim=1), torch.ones(len(logits)), rtol=0, atol=1e-6)

    def test_no_threshold_passed_is_grade_0_and_not_minus_1(self):
        assert head().predict(torch.full((1, 4), -5.0)).classes.tolist() == [0]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_refuses_logits_that_are_not_finite(self, encoding, bad):
        with pytest.raises(ValueError, match=r"a logit is not finite.*diverged"):
            head(encoding).predict(torch.full((2, NUM_OUTPUTS[encoding]), bad))

    def test_counts_thresholds_even_where_they_contradict_each_other(self):
        assert decode(torch.tensor([[-1.0, 2.0, -1.0, 3.0]]), torch.zeros(4)).tolist() == [2]

    def test_ordinal_probabilities_by_hand(self):
        beyond = torch.tensor([[0.9, 0.4, 0.6, 0.1]])  # the third is likelier than the second: 0.4 counts
        expected = torch.tensor([[0.1, 0.5, 0.0, 0.3, 0.1]])
        torch.testing.assert_close(ordinal_probabilities(beyond.logit()), expected)

    @often
    @given(encoded(encodings=["softmax"]))
    def test_softmax_predicts_the_likeliest_grade(self, given_logits):
        _, logits = given_logits
        expected = torch.softmax(logits.double(), dim=1).float()
        prediction = head("softmax").predict(logits)
        torch.testing.assert_close(prediction.probabilities, expected)
        assert torch.equal(prediction.classes, logits.argmax(dim=1))

    @often
    @given(st.floats(-20, 20, width=32))
    def test_regression_predicts_the_nearest_grade_and_gives_it_the_most_weight(self, score):
        prediction = head("regression").predict(torch.tensor([[score]]))
        nearest = min(range(5), key=lambda k: (abs(score - k), k))
        assert prediction.classes.item() == nearest
        if abs(score - round(score)) < 0.499:
            assert prediction.probabilities.argmax().item() == nearest
            weights = [math.exp(-2 * ((min(max(score, -5), 10) - k) ** 2)) for k in range(5)]
            expected = torch.tensor([w / sum(weights) for w in weights])
            torch.testing.assert_close(prediction.probabilities[0], expected, rtol=1e-4, atol=1e-6)

    @often
    @given(st.lists(st.floats(-3, 7, width=32), min_size=4, max_size=4), st.floats(-5, 9, width=32))
    def test_regression_gives_the_most_weight_to_the_predicted_grade_with_any_cut_points(self, cut_points, score):
        regression = head("regression", "cross-fitted")
        cuts = torch.tensor(cut_points).sort().values
        regression.cut_points.copy_(cuts)
        prediction = regression.predict(torch.tensor([[score]]))
        assert prediction.classes.item() == sum(score > cut for cut in cuts.tolist())
        probabilities = prediction.probabilities[0]
        # at a cut point itself two grades are equally likely, up to rounding
        assert probabilities[prediction.classes.item()] >= probabilities.max() - 1e-6


class TestEncoding:
    @often
    @given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
    def test_decoding_restores_what_was_encoded(self, grades):
        targets = torch.tensor(grades)
        lit = encode_ordinal(targets, 5)
        assert lit.dtype == torch.float32
        assert torch.equal(decode(2 * lit - 1, torch.zeros(4)), targets)

    def test_grade_k_lights_the_first_k_thresholds(self):
        assert encode_ordinal(torch.arange(5), 5).tolist() == [[float(j < k) for j in range(4)] for k in range(5)]


def naive_loss(encoding: str, logits: list[list[float]], targets: list[int]) -> float:
    """Each loss in plain Python, entry by entry."""
    total, count = 0.0, 0
    for row, grade in zip(logits, targets, strict=True):
        if encoding == "ordinal":
            for k, logit in enumerate(row):
                p = 1 / (1 + math.exp(-logit))
                total -= math.log(p if k < grade else 1 - p)
                count += 1
        elif encoding == "softmax":
            total -= row[grade] - math.log(sum(math.exp(logit) for logit in row))
            count += 1
        else:
            total += (row[0] - grade) ** 2
            count += 1
    return total / count


class TestLoss:
    @often
    @given(encoded(st.floats(-8, 8, width=32)), st.randoms(use_true_random=False))
    def test_equals_the_naive_loop(self, given_logits, random):
        encoding, logits = given_logits
        targets = [random.randrange(5) for _ in logits]
        loss = head(encoding).loss(logits, torch.tensor(targets))
        assert loss.shape == ()
        assert loss.item() == pytest.approx(naive_loss(encoding, logits.tolist(), targets), rel=1e-4, abs=1e-4)

    @often
    @given(encoded(st.floats(-1e4, 1e4, width=32)))
    def test_has_a_finite_gradient(self, given_logits):
        encoding, logits = given_logits
        logits.requires_grad_()
        head(encoding).loss(logits, torch.arange(len(logits)) % 5).backward()
        assert logits.grad.isfinite().all()

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_is_float32_for_half_logits(self, encoding):
        logits = torch.zeros(3, NUM_OUTPUTS[encoding], dtype=torch.bfloat16)
        assert head(encoding).loss(logits, torch.tensor([0, 2, 4])).dtype == torch.float32

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_training_learns_the_grades(self, encoding):
        torch.manual_seed(0)
        features, targets = torch.eye(5).repeat(4, 1), torch.arange(5).repeat(4)
        learner = head(encoding, num_features=5)
        optimiser = torch.optim.Adam(learner.parameters(), lr=0.1)
        for _ in range(100):
            optimiser.zero_grad()
            learner.loss(learner(features), targets).backward()
            optimiser.step()
        assert torch.equal(learner.predict(learner(features)).classes, targets)


class TestStart:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_predicts_that_all_grades_are_equally_likely(self, encoding):
        torch.manual_seed(0)
        features = torch.rand(64, 1024)
        with torch.no_grad():
            logits = head(encoding, num_features=1024)(features)
        if encoding == "regression":
            torch.testing.assert_close(logits, torch.full((64, 1), 2.0), rtol=0, atol=0.1)
        else:
            probabilities = head(encoding).predict(logits).probabilities
            torch.testing.assert_close(probabilities, torch.full((64, 5), 0.2), rtol=0, atol=0.02)

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_gradient_reaches_the_features(self, encoding):
        features = torch.rand(4, 8, requires_grad=True)
        learner = head(encoding)
        learner.loss(learner(features), torch.tensor([0, 1, 3, 4])).backward()
        assert features.grad.abs().sum() > 0


class TestFit:
    @often
    @given(scored())
    def test_never_lowers_kappa_on_its_own_images(self, given_scores):
        encoding, logits, targets = given_scores
        fitted = head(encoding, "cross-fitted")
        before = kappa(fitted, logits, targets)
        fitted.fit(logits, targets)
        after = kappa(fitted, logits, targets)
        assert (after is None) == (before is None)
        if after is not None:
            assert after >= before - 1e-12

    @often
    @given(scored())
    def test_no_move_of_one_cut_point_is_better(self, given_scores):
        encoding, logits, targets = given_scores
        fitted = head(encoding, "cross-fitted")
        fitted.fit(logits, targets)
        best = kappa(fitted, logits, targets)
        if len(targets.unique()) < 2:
            return
        cut_points = fitted.cut_points.clone()
        for k in range(4):
            column = logits[:, k if encoding == "ordinal" else 0]
            for place in [*column.tolist(), column.min().item() - 1]:
                moved = cut_points.clone()
                moved[k] = place
                if encoding == "regression" and not torch.equal(moved, moved.sort().values):
                    continue
                fitted.cut_points.copy_(moved)
                assert kappa(fitted, logits, targets) <= best + 1e-12

    @often
    @given(scored())
    def test_is_repeatable_and_leaves_regression_cut_points_in_order(self, given_scores):
        encoding, logits, targets = given_scores
        fitted = head(encoding, "cross-fitted")
        fitted.fit(logits, targets)
        first = fitted.cut_points.clone()
        assert first.isfinite().all()
        fitted.fit(logits, targets)
        assert torch.equal(fitted.cut_points, first)
        if encoding == "regression":
            assert (first.diff() >= 0).all()

    def test_finds_the_cut_points_of_a_shifted_score(self):
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(5).repeat(100)
        scores = 0.5 * targets + 3 + 0.1 * torch.rand(500, generator=generator)
        fitted = head("regression", "cross-fitted")
        assert kappa(fitted, scores[:, None], targets) < 0.5
        fitted.fit(scores[:, None], targets)
        assert kappa(fitted, scores[:, None], targets) == 1
        torch.testing.assert_close(fitted.cut_points, torch.tensor([3.3, 3.8, 4.3, 4.8]), rtol=0, atol=0.05)

    def test_moves_nothing_where_the_fixed_cut_points_are_best(self):
        fitted = head("regression", "cross-fitted")
        fitted.fit(torch.arange(5.0)[:, None], torch.arange(5))
        assert fitted.cut_points.tolist() == [0.5, 1.5, 2.5, 3.5]

    def test_moves_nothing_where_all_images_are_of_one_grade(self):
        fitted = head("ordinal", "cross-fitted")
        fitted.fit(torch.randn(6, 4), torch.full((6,), 3))
        assert fitted.cut_points.tolist() == [0, 0, 0, 0]

    def test_does_nothing_where_cut_points_are_fixed(self):
        fixed = head("regression")
        fixed.fit(torch.tensor([[5.0], [6.0]]), torch.tensor([0, 1]))
        assert fixed.cut_points.tolist() == [0.5, 1.5, 2.5, 3.5]

    def test_refuses_logits_that_are_not_finite(self):
        with pytest.raises(ValueError, match="a logit is not finite"):
            head("ordinal", "cross-fitted").fit(torch.full((2, 4), math.nan), torch.tensor([0, 1]))

    @pytest.mark.parametrize(
        ("encoding", "cut_points", "cross_fitted"),
        [("ordinal", "fixed", False), ("ordinal", "cross-fitted", True), ("regression", "cross-fitted", True)],
    )
    def test_is_asked_for_where_it_is_configured(self, encoding, cut_points, cross_fitted):
        assert head(encoding, cut_points).cross_fitted is cross_fitted

    def test_is_saved_with_the_head(self):
        fitted = head("regression", "cross-fitted")
        fitted.fit(torch.tensor([[2.0], [2.1], [2.2]]), torch.tensor([0, 0, 1]))
        loaded = head("regression", "cross-fitted")
        loaded.load_state_dict(fitted.state_dict())
        assert torch.equal(loaded.cut_points, fitted.cut_points)
        assert not torch.equal(loaded.cut_points, head("regression").cut_points)


class TestGrade:
    @pytest.mark.parametrize("grade", range(5))
    def test_takes_numbers_as_they_are_and_as_text(self, grade):
        for label in (grade, f"{grade}", f"{grade}.0", f" {grade} ", float(grade), np.int64(grade), np.float64(grade)):
            assert head().grade(label) == grade

    @pytest.mark.parametrize(
        ("label", "grade"),
        [
            *zip(["No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR"], range(5), strict=True),
            *zip(DRGrade.class_names, range(5), strict=True),
            ("no dr", 0),
            ("NODR", 0),
            ("No apparent retinopathy", 0),
            ("moderate-NPDR", 2),
            ("severe dr", 3),
            ("PDR", 4),
            ("proliferative", 4),
        ],
    )
    def test_takes_names(self, label, grade):
        assert head().grade(label) == grade

    @pytest.mark.parametrize("label", [-1, 5, "5", "1.5", "", "nan", "None", "11", "0_1", True, math.nan, None])
    def test_refuses_others(self, label):
        with pytest.raises(ValueError, match=r"is no grade of diabetic retinopathy.*Accepted: 0 to 4, or No DR, .*PDR"):
            head().grade(label)

    def test_suggests_nothing_where_nothing_is_near(self):
        with pytest.raises(ValueError, match=r"label 'zzz' is no grade of diabetic retinopathy\. Accepted"):
            head().grade("zzz")

    def test_suggests_the_nearest_name(self):
        with pytest.raises(ValueError, match=r"label 'Moderat' is no grade .*; did you mean 'Moderate'\?"):
            head().grade("Moderat")


def test_softmax_has_no_cut_points_to_fit():
    with pytest.raises(ValueError, match='cut_points = "cross-fitted" needs encoding = "ordinal" or "regression"'):
        DRGradeConfig(encoding="softmax", cut_points="cross-fitted")
