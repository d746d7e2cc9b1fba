from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.isotonic import isotonic_regression

from sslkit.statistics import EquivalentShare, LabelsSaved, isotonic, labels_saved, labels_saved_sentence

SHARES = [0.05, 0.1, 0.25, 0.5, 1.0]
LABELS = [50, 100, 250, 500, 1000]
RISING = [0.1, 0.2, 0.3, 0.4, 0.5]


def at(value: float, labels: float) -> EquivalentShare:
    return EquivalentShare(pytest.approx(value), "at", pytest.approx(labels, abs=1e-9))


def saved(pretrained: list[float], scratch: list[float], share: float = 0.1) -> EquivalentShare:
    """Without spread: two folds that score alike."""
    curves = (np.repeat(np.array(curve)[:, None], 2, axis=1) for curve in (pretrained, scratch))
    answer = labels_saved(SHARES, LABELS, *curves, share=share)
    assert answer is not None
    for end in (answer.low, answer.high):
        assert end.bound == answer.needed.bound
        assert end.value == pytest.approx(answer.needed.value)
    return answer.needed


class TestIsotonic:
    @settings(deadline=None, max_examples=100)
    @given(hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-1, 1, width=16)))
    def test_equals_scikit_learn(self, values):
        np.testing.assert_allclose(isotonic(values), isotonic_regression(values), atol=1e-12)

    def test_takes_many_rows_at_once(self):
        rows = np.random.default_rng(0).normal(size=(3, 4, 5))
        expected = [[isotonic_regression(row) for row in block] for block in rows]
        np.testing.assert_allclose(isotonic(rows), expected, atol=1e-12)


class TestShareThatIsNeeded:
    def test_between_two_shares_it_is_linear_in_the_logarithm(self):
        # halfway from 0.3 at 25 % to 0.4 at 50 %
        needed = saved([0.1, 0.35, 0.4, 0.45, 0.5], RISING)
        assert needed.bound == "at"
        assert needed.value == pytest.approx(0.25 * math.sqrt(2))
        assert needed.labels_saved == pytest.approx(1000 * 0.25 * math.sqrt(2) - 100)

    @pytest.mark.parametrize(("place", "share"), list(enumerate(SHARES)))
    def test_a_curve_needs_its_own_share_to_reach_itself(self, place, share):
        assert saved(RISING, RISING, share) == at(share, 0)

    def test_never_reached(self):
        assert saved([0.1, 0.6, 0.7, 0.8, 0.9], RISING) == EquivalentShare(1.0, "above", 900)

    def test_reached_only_at_the_end(self):
        assert saved([0.1, 0.5, 0.5, 0.5, 0.5], RISING) == at(1.0, 900)

    def test_reached_before_the_first_share(self):
        assert saved([0.0, 0.05, 0.3, 0.4, 0.5], RISING) == EquivalentShare(0.05, "below", -50)

    def test_reached_at_the_first_share(self):
        assert saved([0.0, 0.1, 0.3, 0.4, 0.5], RISING) == at(0.05, -50)

    def test_of_a_plateau_the_smallest_share_counts(self):
        assert saved([0.1, 0.4, 0.4, 0.4, 0.4], [0.1, 0.2, 0.4, 0.4, 0.4]).value == pytest.approx(0.25)
        assert saved([0.4] * 5, [0.4] * 5, share=0.5) == at(0.05, -450)

    def test_a_dip_is_pooled(self):
        # 0.5 and 0.3 pool to 0.4 at 10 and 25 %; 0.45 lies halfway from there to 0.5 at 50 %
        needed = saved([0.45] * 5, [0.1, 0.5, 0.3, 0.5, 0.6])
        assert needed.value == pytest.approx(0.25 * math.sqrt(2))

    def test_a_falling_curve_is_its_mean(self):
        falling = [0.5, 0.4, 0.3, 0.2, 0.1]
        assert saved([0.31] * 5, falling).bound == "above"
        assert saved([0.29] * 5, falling).bound == "below"
        assert saved(falling, falling) == at(0.05, -50)

    def test_the_share_may_lie_between_those_measured(self):
        assert saved(RISING, RISING, share=0.3).value == pytest.approx(0.3)

    def test_one_share(self):
        answer = labels_saved([1.0], [80], np.array([[0.5, 0.7]]), np.array([[0.4, 0.6]]), share=1.0)
        assert answer.needed == EquivalentShare(1.0, "above", 0)

    @settings(deadline=None, max_examples=60)
    @given(hnp.arrays(np.float64, (2, 5, 3), elements=st.floats(-1, 1, width=16)), st.sampled_from(SHARES))
    def test_adding_to_both_arms_or_scaling_them_changes_nothing(self, arms, share):
        # values in sixteenths: rounding cannot move a tie
        arms = np.round(arms * 16) / 16
        needed = labels_saved(SHARES, LABELS, *arms, share=share, draws=1).needed
        other = labels_saved(SHARES, LABELS, *(2 * arms + 1), share=share, draws=1).needed
        assert other.bound == needed.bound
        assert other.value == pytest.approx(needed.value)

    @settings(deadline=None, max_examples=60)
    @given(hnp.arrays(np.float64, (2, 5, 3), elements=st.floats(-1, 1, width=16)), st.sampled_from(SHARES))
    def test_a_better_pretrained_arm_never_needs_less(self, arms, share):
        order = {"below": -1, "at": 0, "above": 1}
        less, more = (
            labels_saved(SHARES, LABELS, arms[0] + gain, arms[1], share=share, draws=1).needed for gain in (0, 0.1)
        )
        assert (order[less.bound], less.value) <= (order[more.bound], more.value + 1e-9)


class TestInterval:
    def test_what_a_fold_does_to_all_its_cells_cancels(self):
        fold_effect = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
        scratch = np.array(RISING)[:, None] + fold_effect
        answer = labels_saved(SHARES, LABELS, scratch + 0.05, scratch, share=0.1)
        assert answer.low.value == pytest.approx(answer.needed.value)
        assert answer.high.value == pytest.approx(answer.needed.value)

    def test_holds_the_estimate_and_grows_with_confidence(self):
        rng = np.random.default_rng(0)
        scratch = np.array(RISING)[:, None] + rng.normal(0, 0.02, (5, 5))
        pretrained = np.array(RISING)[:, None] + 0.08 + rng.normal(0, 0.02, (5, 5))
        wide, narrow = (labels_saved(SHARES, LABELS, pretrained, scratch, share=0.1, confidence=c) for c in (0.95, 0.5))
        assert wide.needed == narrow.needed
        ends = [end.value for end in (wide.low, narrow.low, wide.needed, narrow.high, wide.high)]
        assert ends == sorted(ends)
        assert ends[0] < ends[1] < ends[3] < ends[4]

    def test_ends_outside_the_measured_shares_are_censored(self):
        # each fold is drawn twice in a quarter of the draws, and then has it all its own way
        scratch = np.repeat(np.array(RISING)[:, None], 2, axis=1)
        answer = labels_saved(SHARES, LABELS, scratch + np.array([1, -1]), scratch, share=0.1)
        assert answer.needed == at(0.1, 0)
        assert answer.low == EquivalentShare(0.05, "below", -50)
        assert answer.high == EquivalentShare(1.0, "above", 900)

    def test_equals_a_loop_over_draws(self):
        rng = np.random.default_rng(1)
        arms = np.array(RISING)[:, None] + rng.normal(0, 0.03, (2, 5, 4)) + np.array([0.1, 0])[:, None, None]
        answer = labels_saved(SHARES, LABELS, *arms, share=0.1, draws=200, seed=5)
        drawn = np.random.default_rng(5).integers(4, size=(200, 4))
        # corrected t over bootstrap: sqrt(1/4 + 1/3) over sqrt(3/16), and the quantiles of the printed tables
        stretch = math.sqrt(28 / 9) * 3.18245 / 1.95996
        found = []
        for folds in drawn:
            mean = arms.mean(axis=2)
            stretched = mean + stretch * (arms[:, :, folds].mean(axis=2) - mean)
            pretrained, scratch = (isotonic_regression(curve) for curve in stretched)
            if scratch[0] > pretrained[1]:
                found.append(-math.inf)
            elif scratch[-1] < pretrained[1]:
                found.append(math.inf)
            else:
                found.append(math.exp(np.interp(pretrained[1], scratch, np.log(SHARES))))
        found.sort()
        assert answer.low.value == pytest.approx(max(0.05, found[5]), rel=1e-4)
        assert answer.high.value == pytest.approx(min(1.0, found[194]), rel=1e-4)

    def test_one_fold_has_no_interval(self):
        curve = np.array(RISING)[:, None]
        answer = labels_saved(SHARES, LABELS, curve, curve, share=0.1)
        assert (answer.low, answer.high, answer.folds) == (None, None, 1)

    def test_folds_with_a_missing_cell_are_left_out(self):
        rng = np.random.default_rng(0)
        arms = np.array(RISING)[:, None] + rng.normal(0, 0.05, (2, 5, 4))
        whole = labels_saved(SHARES, LABELS, *arms[..., [0, 2, 3]], share=0.1)
        arms[1, 2, 1] = np.nan
        assert labels_saved(SHARES, LABELS, *arms, share=0.1) == whole
        assert whole.folds == 3
        arms[0, 0] = np.nan
        assert labels_saved(SHARES, LABELS, *arms, share=0.1) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": [0.1, 0.1]}, r"shares are \[0\.1, 0\.1\]; expected increasing ones above 0 and at most 1"),
        ({"shares": [0.0, 0.1]}, r"expected increasing ones above 0"),
        ({"shares": [0.1, 5.0]}, r"at most 1"),
        ({"labels": [1]}, r"labels have shape \(1,\); expected one count a share, \(2,\)"),
        ({"share": 0.05}, r"share is 0\.05; expected one within those measured, 0\.1 to 1"),
        ({"scratch": np.zeros((2, 4))}, r"shapes \(2, 3\) and \(2, 4\); expected \(2, folds\) of both"),
        ({"draws": 0}, r"draws is 0; a bootstrap needs at least one"),
        ({"confidence": 1}, r"confidence is 1; it must lie between 0 and 1"),
    ],
)
def test_impossible_values_are_refused(change, message):
    given = {"shares": [0.1, 1.0], "labels": [10, 100], "share": 0.1}
    given |= {"pretrained": np.zeros((2, 3)), "scratch": np.zeros((2, 3)), **change}
    with pytest.raises(ValueError, match=message):
        labels_saved(**given)


class TestSentence:
    def say(self, needed: EquivalentShare, *ends: EquivalentShare, share: float = 0.1) -> str:
        low, high = ends or (None, None)
        return labels_saved_sentence(LabelsSaved(share, needed, low, high, 0.95, 5), "pretraining by rotation")

    def test_with_its_interval(self):
        ends = EquivalentShare(0.14, "at", 100), EquivalentShare(0.38, "at", 800)
        assert self.say(EquivalentShare(0.2312, "at", 384.2), *ends) == (
            "With 10 % of the labels, pretraining by rotation does as well as training from scratch on 23 % "
            "(95 % interval 14 to 38): 384 labels saved"
        )

    def test_censored_ends(self):
        below, above = EquivalentShare(0.05, "below", -50), EquivalentShare(1.0, "above", 3296)
        said = self.say(EquivalentShare(0.23, "at", 3296), below, above)
        assert said.endswith("on 23 % (95 % interval < 5 % to > 100 %): 3,296 labels saved")
        said = self.say(above, EquivalentShare(0.6, "at", 1000), above)
        assert said.endswith(
            "does better than training from scratch on 100 % (95 % interval 60 % to > 100 %): "
            "more than 3,296 labels saved"
        )

    def test_nothing_saved(self):
        said = self.say(EquivalentShare(0.05, "below", -50))
        assert said.endswith("does no better than training from scratch on less than 5 %: no labels saved")
        said = self.say(EquivalentShare(0.0731, "at", -27))
        assert said.endswith("does as well as training from scratch on 7.3 %: no labels saved")

    def test_one_label_and_an_odd_share(self):
        said = self.say(EquivalentShare(0.0997, "at", 1.2), share=0.0625)
        assert said.startswith("With 6.25 % of the labels")
        assert said.endswith("on 10 %: 1 label saved")


def test_a_benefit_at_the_largest_share_is_not_called_nothing() -> None:
    scratch = np.array([[0.2, 0.3, 0.25]])

    saved = labels_saved([1.0], [400], scratch + 0.1, scratch, share=1.0)

    assert saved is not None
    assert saved.needed.bound == "above"
    sentence = labels_saved_sentence(saved, "pretraining")
    assert "no labels saved" not in sentence
    assert sentence.endswith("how many labels that saves lies beyond what was measured")
