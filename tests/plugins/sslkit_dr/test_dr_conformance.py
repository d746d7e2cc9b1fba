from __future__ import annotations

from sslkit.testing import parametrize_with_checks
from sslkit_dr import DRGrade

CROSS_FITTED = {"cut_points": "cross-fitted", "temperature": "cross-fitted"}


@parametrize_with_checks(DRGrade)
def test_ordinal_keeps_its_promises(check):
    check()


@parametrize_with_checks(DRGrade, options={"encoding": "ordinal", **CROSS_FITTED})
def test_ordinal_keeps_its_promises_cross_fitted(check):
    check()


@parametrize_with_checks(DRGrade, options={"encoding": "regression"})
def test_regression_keeps_its_promises(check):
    check()


@parametrize_with_checks(DRGrade, options={"encoding": "regression", **CROSS_FITTED})
def test_regression_keeps_its_promises_cross_fitted(check):
    check()


@parametrize_with_checks(DRGrade, options={"encoding": "softmax"})
def test_softmax_keeps_its_promises(check):
    check()


@parametrize_with_checks(DRGrade, options={"encoding": "softmax", "temperature": "cross-fitted"})
def test_softmax_keeps_its_promises_cross_fitted(check):
    check()
