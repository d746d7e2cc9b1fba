"""What was published on the same images: where it appears, and where it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sslkit.report.figures import draw_scores
from sslkit.report.reference import APTOS_ROTATION, reference_for
from sslkit.report.sections.scores import score_table
from sslkit.report.tables import Run, read_run

MakeRun = Callable[..., Path]
APTOS = (1805, 370, 999, 193, 295)


def run_on(counts: Sequence[int], **info: Any) -> Run:
    names = [f"grade {k}" for k in range(len(counts))]
    return Run(
        Path("none"), {"class_names": names, "data": {"class_counts": list(counts)}, **info}, {}, None, {}, (), ()
    )


def test_the_published_set_has_3662_images() -> None:
    assert sum(APTOS_ROTATION.class_counts) == 3662
    assert list(APTOS_ROTATION.spreads) == [0.05, 0.1, 0.25, 0.5, 1.0]
    assert all((s.low or 0) < (s.mean or 0) < (s.high or 0) for s in APTOS_ROTATION.spreads.values())


@pytest.mark.parametrize(
    ("counts", "known"),
    [
        (APTOS, True),
        ((1800, 368, 995, 193, 290), True),  # sixteen were unreadable
        ((1769, 370, 999, 193, 295), True),  # 36 are missing: 1 % of 3,662
        ((1768, 370, 999, 193, 295), False),
        ((1805, 371, 999, 193, 295), False),  # one more than there are
        ((276, 99, 168, 34, 23), False),
        ((1805, 370, 999, 488), False),
        ((), False),
    ],
)
def test_the_data_set_is_known_by_its_counts(counts: Sequence[int], known: bool) -> None:
    assert (reference_for(run_on(counts)) is not None) == known


def test_only_the_metric_that_was_published_is_shown() -> None:
    assert reference_for(run_on(APTOS, primary_metric="accuracy")) is None
    assert reference_for(Run(Path("none"), {"class_names": []}, {}, None, {}, (), ())) is None


def test_the_published_curve_stands_in_figure_and_table(make_run: MakeRun) -> None:
    run = read_run(make_run(fractions=[0.05, 0.1, 0.2, 1.0], folds=2))
    drawing = draw_scores(run)
    assert ">published (IJRASET 2022)</text>" in drawing.standalone
    assert "published (IJRASET 2022): 0.294 at 5 %, 0.432 at 10 %" in drawing.description
    table = score_table(run)
    rows = table.partition("published (IJRASET 2022)")[2]
    values = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr.*?</tr>", rows)]
    dash = "\N{EN DASH}"  # nothing was published at 20 %
    assert values == [
        ["0.175", "0.289", dash, "0.696"],
        ["0.294", "0.432", dash, "0.725"],
        ["0.467", "0.508", dash, "0.756"],
    ]
    assert "arXiv 2006.03829" in table
    assert "Not directly comparable" in table


def test_other_data_has_no_published_curve(make_run: MakeRun) -> None:
    run = read_run(make_run(fractions=[0.05, 1.0], folds=2, info={"data": {"class_counts": [276, 99, 168, 34, 23]}}))
    assert "IJRASET" not in draw_scores(run).standalone + score_table(run)


@pytest.mark.parametrize(("fractions", "times"), [([0.1], 1), ([0.02, 0.03], 0), ([0.05, 1.0], 1)])
def test_the_curve_keeps_to_the_shares_of_the_run(make_run: MakeRun, fractions: list[float], times: int) -> None:
    drawn = draw_scores(read_run(make_run(fractions=fractions, folds=1))).standalone
    assert drawn.count(">published (IJRASET 2022)</text>") == times
