"""What single sections say of runs that are not the usual one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sslkit.errors import RunDirectoryError
from sslkit.report import write_report
from sslkit.report.comparison import paired_difference, spread
from sslkit.report.figures import draw_differences
from sslkit.report.sections.audit import audit_section
from sslkit.report.sections.grades import referable_table
from sslkit.report.sections.measured import measured_section
from sslkit.report.sections.opening import facts, headline, opening
from sslkit.report.sections.provenance import data_section, provenance_section
from sslkit.report.sections.scores import score_table
from sslkit.report.sections.tasks import compared_lines, tasks_table
from sslkit.report.tables import Line, read_run
from sslkit.report.text import number, signed

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
    assert "pretext tasks rotation and jigsaw" in opening(run)
    named = re.findall('scope="rowgroup"[^>]*><span[^>]*></span>(.*?)</th>', score_table(run))
    assert named == [*(line.label for line in run.lines), "published (IJRASET 2022)"]


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


def test_the_audit_is_told_and_escaped(make_run: MakeRun) -> None:
    root = make_run(fractions=[0.05], folds=1)
    (root / "audit.json").write_text(json.dumps(AUDIT))

    page = audit_section(read_run(root))

    assert "1 set of identical images" in page
    assert "by &lt;b&gt;looking&lt;/b&gt;" in page
    assert "&lt;i&gt;a&lt;/i&gt;, b</code>: grades 2, 3" in page
    assert "The answers of rotation can be told from the border (90 %) of its views alone." in page
    assert "The figure to beat: QWK 0.357</strong>" in page
    assert page.count(">leak<") == 1
    assert page.count(">none found<") == 1
    heads = re.findall('<th scope="col"( class="text")?>(.*?)</th>', page)
    assert [name for left, name in heads if left] == ["what the probe sees", "shortcut"]  # as the texts below them


def test_without_an_audit_there_is_no_such_section(small_report: Path) -> None:
    assert audit_section(read_run(small_report.parents[1])) == ""
    assert 'id="audit"' not in small_report.read_text()


def test_a_damaged_audit_is_named(make_run: MakeRun) -> None:
    root = make_run(fractions=[0.05], folds=1)
    (root / "audit.json").write_text("{")

    with pytest.raises(RunDirectoryError, match=r"audit\.json is not JSON"):
        write_report(root)


def test_the_score_is_explained_where_it_leads(make_run: MakeRun) -> None:
    run = read_run(make_run(fractions=[0.05], folds=1))
    assert measured_section(run, []).count("QWK, quadratic weighted kappa, is the agreement") == 1
    other = replace(run, info={**run.info, "primary_metric": "accuracy"})
    assert "quadratic weighted kappa" not in measured_section(other, [])


def test_verdicts_lead_where_they_were_drawn(make_run: MakeRun) -> None:
    sentence = "No difference shown: pretraining by rotation against training from scratch, on 5 % of the labels."
    root = make_run(
        fractions=[0.05],
        folds=2,
        info={"conclusions": [{"pretext": "rotation", "arm": "pretrained", "sentence": sentence}]},
    )

    run = read_run(root)

    assert opening(run).endswith(f'<div class="verdicts"><p>{sentence}</p></div>')
    assert "No significance test is drawn" not in headline(run)


TOURNAMENT = [("rotation", "pretrained"), ("jigsaw", "pretrained"), ("jigsaw", "frozen"), ("", "scratch")]


def test_tasks_are_compared_side_by_side_with_what_they_cost(make_run: MakeRun) -> None:
    directory = make_run(lines=TOURNAMENT, fractions=[0.05, 0.1, 1.0], folds=2)
    for fold, (views, memory) in enumerate([(600, 2**30), (800, 3 * 2**29)]):
        log = directory / "pretraining" / "rotation" / str(fold) / "metrics.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"epoch": e, "loss": 1.0, "seconds": 30.0, "views": views, "peak_memory": memory} for e in (1, 2)]
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(directory)
    lines = compared_lines(run)
    assert [line.label for line in lines] == ["rotation, pretrained", "jigsaw, pretrained"]
    table = tasks_table(run, lines, run.fractions[:2])
    head, *rows = [
        [re.sub("<.*?>", "", cell) for cell in re.findall("<t[hd].*?</t[hd]>", row)]
        for row in re.findall("<tr>.*?</tr>", table)
    ]
    assert head == ["task", "5 %", "difference", "10 %", "difference", "views", "time", "memory"]
    assert [row[0] for row in rows] == ["rotation", "jigsaw", "scratch"]
    assert rows[0][-3:] == ["1,400", "1 min 0 s", "1.50 GiB"]
    assert rows[2][-3:] == ["", "", ""]
    mean = number(spread(run, lines[0], 0.05).mean)
    difference = signed(paired_difference(run, lines[0], 0.05).mean)
    assert rows[0][1] == mean
    assert rows[0][2].startswith(difference)


def test_one_task_is_no_tournament(make_run: MakeRun) -> None:
    one = read_run(make_run(lines=[("rotation", "pretrained"), ("rotation", "frozen"), ("", "scratch")], folds=2))
    assert compared_lines(one) == []


def test_the_differences_of_tasks_are_drawn_and_told(make_run: MakeRun) -> None:
    run = read_run(make_run(lines=TOURNAMENT, fractions=[0.05, 0.1], folds=2))
    drawing = draw_differences(run, compared_lines(run), run.fractions)
    assert drawing is not None
    assert drawing.standalone.count("5 % of the labels") == 1
    assert "rotation, pretrained: " in drawing.description
    assert draw_differences(read_run(make_run(lines=TOURNAMENT[:2], folds=2)), compared_lines(run), [0.05]) is None


def test_the_parts_of_a_task_are_not_told_as_tasks(make_run: MakeRun) -> None:
    directory = make_run(folds=2)
    info = json.loads((directory / "run.json").read_text())
    own = {"kind": "pretext-task", "distribution": "sslkit", "version": "1"}
    info["plugins"] = [{**own, "name": "combine"}, {**own, "name": "jigsaw", "part_of": "combine"}]
    (directory / "run.json").write_text(json.dumps(info))
    assert "Measured with pretext task combine." in opening(read_run(directory))
