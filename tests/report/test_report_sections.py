"""What single sections say of runs that are not the usual one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sslkit.errors import RunDirectoryError
from sslkit.report import write_report
from sslkit.report.comparison import spread
from sslkit.report.sections.opening import facts, headline, opening
from sslkit.report.sections.provenance import data_section, provenance_section
from sslkit.report.sections.scores import referable_table, score_table
from sslkit.report.tables import Line, read_run

MakeRun = Callable[..., Path]


@pytest.mark.parametrize(
    ("options", "said", "unsaid"),
    [
        ({}, "above zero in", "With 100 %"),
        ({"folds": 1}, "One fold was tested", "Folds share most"),
        ({"lines": [("", "scratch")]}, "training from scratch reached a mean QWK", "paired"),
        ({"lines": [("rotation", "pretrained")]}, "there is no cell from scratch to compare with", "paired"),
        ({"undefined": lambda row: row["arm"] == "scratch"}, "with no defined pair to compare", "paired"),
        ({"fractions": [0.125, 1.0]}, "With 12.5 % of the labels (366 images)", "nan"),
    ],
    ids=["one-share", "one-fold", "scratch-only", "no-scratch", "no-pair", "odd-share"],
)
def test_headline_says_what_there_is(make_run: MakeRun, options: dict[str, object], said: str, unsaid: str) -> None:
    text = re.sub("<.*?>", "", headline(read_run(make_run(**({"folds": 2, "fractions": [0.05]} | options)))))
    assert said in text
    assert unsaid not in text


def test_headline_lists_the_lines_of_a_tournament(make_run: MakeRun) -> None:
    lines = [
        ("", "scratch"),
        ("rotation", "pretrained"),
        ("jigsaw", "pretrained"),
        ("jigsaw", "frozen"),
        ("", "imagenet"),
    ]
    run = read_run(make_run(lines=lines, fractions=[0.05], folds=2))
    assert re.findall("<li><strong>(.*?)</strong>", headline(run)) == [
        "rotation, pretrained",
        "jigsaw, pretrained",
        "jigsaw, frozen",
        "imagenet",
    ]
    assert "pretext task rotation and jigsaw" in opening(run)
    assert re.findall("</span>(.*?)</th>", score_table(run)) == [line.label for line in run.lines]


def test_banners_stand_only_where_there_is_reason(make_run: MakeRun) -> None:
    plain = opening(read_run(make_run(fractions=[0.05], folds=1, info={"notices": []})))
    assert "banner" not in plain
    warned = opening(read_run(make_run(fractions=[0.05], folds=1, info={"transductive": True, "notices": ["Mind."]})))
    assert warned.count('class="banner"') == 2
    assert "Transductive: the pretraining saw every image" in warned


def test_facts_count_folds_and_cells(make_run: MakeRun) -> None:
    text = facts(read_run(make_run(fractions=[0.05, 1.0], folds=3)))
    assert "<dt>folds</dt><dd>3</dd>" in text
    assert "<dt>cells</dt><dd>12</dd>" in text


def test_referable_table_needs_its_columns(make_run: MakeRun) -> None:
    assert referable_table(read_run(make_run(fractions=[0.05], folds=1, referable=False))) is None
    assert "AUROC" in str(referable_table(read_run(make_run(fractions=[0.05], folds=1))))


def test_another_primary_metric_leads(make_run: MakeRun) -> None:
    run = read_run(make_run(fractions=[0.05], folds=2, repetitions=2, info={"primary_metric": "accuracy"}))
    scratch = Line("", "scratch")
    values = [float(cell.scores["accuracy"] or 0) for cell in run.cells if cell.line == scratch]
    result = spread(run, scratch, 0.05)
    assert (result.low, result.high) == (min(values), max(values))
    assert result.mean == pytest.approx(sum(values) / 4)
    assert "reached a mean accuracy" in headline(run)


def test_a_missing_configuration_is_said(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / "config.toml").unlink()
    assert "has no config.toml" in provenance_section(read_run(run))


def test_unreadable_images_are_listed(make_run: MakeRun) -> None:
    bad = [{"id": f"b{k}.png", "reason": "not an image"} for k in range(2)]
    section = data_section(read_run(make_run(fractions=[0.05], folds=1, info={"data": {"unreadable": bad}})))
    assert "2 images could not be read and were left out" in section
    assert section.count("not an image") == 2


AUDIT = {
    "duplicates": {
        "compared": 10,
        "method": "by <b>looking</b>",
        "identical": [["a", "b"]],
        "near": [],
        "rejected": 0,
        "conflicts": [{"images": ["<i>a</i>", "b"], "grades": [2, 3]}],
    },
    "groups": {"given": 5, "joined": 4, "largest": 3, "largest_share": 0.3, "with_several_grades": 1},
    "pretext_probes": {
        "rotation": [
            {"region": "border", "accuracy": 0.9, "low": 0.8, "high": 1.0, "chance": 0.25, "images": 9, "leak": True},
            {"region": "corners", "accuracy": 0.2, "low": 0.1, "high": 0.3, "chance": 0.25, "images": 9, "leak": False},
        ]
    },
    "label_probe": {"qwk": 0.357, "auroc": None},
}


def test_the_audit_is_told_and_escaped(make_run: Callable[..., Path]) -> None:
    root = make_run()
    (root / "audit.json").write_text(json.dumps(AUDIT))

    page = write_report(root).read_text()

    assert "1 set of identical images" in page
    assert "by &lt;b&gt;looking&lt;/b&gt;" in page
    assert "&lt;i&gt;a&lt;/i&gt;, b</code>: grades 2, 3" in page
    assert "The answers of rotation can be told from the border (90 %) of its views alone." in page
    assert "The figure to beat: QWK 0.357</strong>" in page
    assert page.count(">leak<") == 1
    assert page.count(">none found<") == 1


def test_without_an_audit_there_is_no_such_section(make_run: Callable[..., Path]) -> None:
    assert 'id="audit"' not in write_report(make_run()).read_text()


def test_a_damaged_audit_is_named(make_run: Callable[..., Path]) -> None:
    root = make_run()
    (root / "audit.json").write_text("{")

    with pytest.raises(RunDirectoryError, match=r"audit\.json is not JSON"):
        write_report(root)


def test_verdicts_lead_where_they_were_drawn(make_run: Callable[..., Path]) -> None:
    sentence = "No difference shown: pretraining by rotation against training from scratch, on 5 % of the labels."
    root = make_run(info={"conclusions": [{"pretext": "rotation", "arm": "pretrained", "sentence": sentence}]})

    page = write_report(root).read_text()

    assert f"<strong>{sentence}</strong>" in page
    assert "No significance test is drawn" not in page
