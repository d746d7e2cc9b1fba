from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from sslkit.statistics import PairedTest, corrected_t, holm, verdict
from sslkit.statistics.intervals import tails

sixty_times = settings(deadline=None, max_examples=60)
differences = st.lists(st.integers(-1000, 1000).map(lambda n: n / 1000), min_size=2, max_size=12)
p_values = st.lists(st.none() | st.floats(0, 1), max_size=8)


def naive_corrected_t(values: list[float], confidence: float) -> PairedTest:
    """The formula, through the distribution object of scipy.stats."""
    n = len(values)
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    error = math.sqrt(variance * (1 / n + 1 / (n - 1)))
    low, high = stats.t(df=n - 1, loc=mean, scale=error).interval(confidence)
    return PairedTest(mean, low, high, 2 * stats.t(df=n - 1).sf(abs(mean) / error))


def naive_holm(values: list[float | None]) -> list[float | None]:
    """The smallest level at which the step-down procedure rejects, straight from its definition."""
    tested = sorted(value for value in values if value is not None)

    def adjusted(value: float) -> float:
        steps = [(len(tested) - rank) * other for rank, other in enumerate(tested) if other <= value]
        return min(1.0, max(steps))

    # Of equal p-values the first has the largest factor, and the maximum takes it for all of them.
    return [None if value is None else adjusted(value) for value in values]


class TestCorrectedT:
    @sixty_times
    @given(differences, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
    def test_equals_the_formula(self, values, confidence):
        assume(np.ptp(values) > 0)
        test, naive = corrected_t(values, confidence), naive_corrected_t(values, confidence)
        assert test.delta == pytest.approx(naive.delta, abs=1e-12)
        assert test.low == pytest.approx(naive.low, rel=1e-9, abs=1e-12)
        assert test.high == pytest.approx(naive.high, rel=1e-9, abs=1e-12)
        assert test.p_value == pytest.approx(naive.p_value, rel=1e-9)

    def test_two_folds_by_hand(self):
        # mean 2, variance 2, error sqrt(2 (1/2 + 1)) = sqrt(3); with 1 degree of freedom t is Cauchy's distribution
        test = corrected_t([1.0, 3.0])
        margin = math.sqrt(3) * math.tan(math.pi * 0.475)
        assert test.delta == 2
        assert (test.low, test.high) == pytest.approx((2 - margin, 2 + margin))
        assert test.p_value == pytest.approx(1 - 2 / math.pi * math.atan(2 / math.sqrt(3)))

    def test_five_folds_by_a_table(self):
        # mean 0.03, variance 0.00025, error sqrt(0.00025 * 0.45); t of the printed tables at 4 degrees, 95 %: 2.776
        test = corrected_t([0.01, 0.02, 0.03, 0.04, 0.05])
        margin = 2.776 * math.sqrt(0.00025 * 0.45)
        assert (test.delta, test.low, test.high) == pytest.approx((0.03, 0.03 - margin, 0.03 + margin), abs=1e-5)
        assert test.p_value == pytest.approx(0.0474, abs=1e-4)

    def test_is_wider_than_the_plain_paired_t(self):
        values = [0.01, 0.02, 0.03, 0.04, 0.05]
        plain = stats.ttest_1samp(values, 0)
        test = corrected_t(values)
        assert test.p_value > plain.pvalue
        ratio = (test.high - test.low) / np.ptp(plain.confidence_interval())
        assert ratio == pytest.approx(math.sqrt(1 + 5 / 4))

    @sixty_times
    @given(differences)
    def test_swapping_the_arms_turns_the_sign_and_keeps_p(self, values):
        test, swapped = corrected_t(values), corrected_t([-value for value in values])
        assert swapped.delta == -test.delta
        assert swapped.p_value == test.p_value
        if test.low is None:
            assert swapped.low is None
        else:
            assert (swapped.low, swapped.high) == (-test.high, -test.low)

    @sixty_times
    @given(differences, st.randoms())
    def test_the_order_of_folds_does_not_matter(self, values, random):
        assume(np.ptp(values) > 0)
        shuffled = random.sample(values, len(values))
        test, other = corrected_t(values), corrected_t(shuffled)
        assert other.delta == test.delta
        assert other.p_value == pytest.approx(test.p_value, rel=1e-9)

    @sixty_times
    @given(differences, st.floats(-2, 2))
    def test_a_shift_moves_the_interval_and_keeps_its_width(self, values, shift):
        assume(np.ptp(values) > 0)
        test, shifted = corrected_t(values), corrected_t([value + shift for value in values])
        assert (shifted.low, shifted.high) == pytest.approx((test.low + shift, test.high + shift), abs=1e-9)

    @sixty_times
    @given(differences, st.floats(0.01, 100))
    def test_scaling_scales_the_interval_and_keeps_p(self, values, factor):
        assume(np.ptp(values) > 0)
        test, scaled = corrected_t(values), corrected_t([value * factor for value in values])
        assert (scaled.low, scaled.high) == pytest.approx((test.low * factor, test.high * factor), abs=1e-9)
        assert scaled.p_value == pytest.approx(test.p_value, rel=1e-6)

    @sixty_times
    @given(differences)
    def test_p_is_below_the_level_exactly_where_the_interval_excludes_zero(self, values):
        assume(np.ptp(values) > 0)
        test = corrected_t(values)
        assume(abs(test.p_value - 0.05) > 1e-9)
        assert (test.p_value < 0.05) == (test.low > 0 or test.high < 0)

    def test_fewer_than_two_folds(self):
        assert corrected_t([]) == PairedTest(None, None, None, None)
        assert corrected_t([0.1]) == PairedTest(0.1, None, None, None)

    def test_folds_that_agree_claim_no_certainty(self):
        assert corrected_t([0.0] * 5) == PairedTest(0.0, None, None, 1.0)
        # 0.3 - 0.2 and 0.1 differ in the last bits: the spread of rounding is no spread
        test = corrected_t([0.3 - 0.2, 0.1, 0.1])
        assert (test.low, test.high, test.p_value) == (None, None, None)
        assert verdict(test.delta, test.p_value) == "no difference shown"

    @pytest.mark.parametrize(
        ("values", "confidence", "message"),
        [
            ([0.1, math.nan], 0.95, r"differences\[1\] is nan; leave out folds"),
            ([[0.1, 0.2]], 0.95, r"differences have shape \(1, 2\); expected one a fold"),
            ([0.1, 0.2], 95, r"confidence is 95; it must lie between 0 and 1"),
            ([0.1], 0, r"confidence is 0; it must lie between 0 and 1"),
        ],
    )
    def test_impossible_values_are_refused(self, values, confidence, message):
        with pytest.raises(ValueError, match=message):
            corrected_t(values, confidence)


class TestHolm:
    def test_a_textbook_example(self):
        # 4 x 0.005, 3 x 0.01, then 2 x 0.03 for both of the larger ones, since 1 x 0.04 would be smaller
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    @sixty_times
    @given(p_values)
    def test_equals_the_definition(self, values):
        assert holm(values) == naive_holm(values)

    @sixty_times
    @given(p_values)
    def test_lies_between_the_raw_value_and_bonferroni(self, values):
        count = sum(value is not None for value in values)
        for raw, adjusted in zip(values, holm(values), strict=True):
            assert (raw is None) == (adjusted is None)
            assert raw is None or raw <= adjusted <= min(1, count * raw)

    @sixty_times
    @given(p_values, st.randoms())
    def test_the_order_does_not_matter(self, values, random):
        order = random.sample(range(len(values)), len(values))
        assert holm([values[i] for i in order]) == [holm(values)[i] for i in order]

    def test_none_does_not_count(self):
        assert holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
        assert holm([None]) == [None]
        assert holm([]) == []

    @pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
    def test_what_is_no_p_value_is_refused(self, value):
        with pytest.raises(ValueError, match=r"p_values\[1\] is .*; a p-value lies in 0\.\.1"):
            holm([0.5, value])


@pytest.mark.parametrize(
    ("delta", "holm_p", "expected"),
    [
        (0.1, 0.049, "benefit"),
        (-0.1, 0.049, "harm"),
        (0.1, 0.05, "no difference shown"),
        (-0.1, 0.9, "no difference shown"),
        (0.0, 0.0, "no difference shown"),
        (0.1, None, "no difference shown"),
        (None, None, "no difference shown"),
    ],
)
def test_verdict(delta, holm_p, expected):
    assert verdict(delta, holm_p) == expected


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_tails_leave_the_confidence_between_them(confidence):
    low, high = tails(confidence)
    assert high - low == pytest.approx(confidence)
    assert low == pytest.approx(float((1 - Fraction(str(confidence))) / 2))
