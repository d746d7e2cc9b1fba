"""The report as a whole: what it says, that it says it safely, and how it behaves where a run is incomplete."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sslkit.errors import RunDirectoryError
from sslkit.report import write_report
from sslkit.report.figures import Drawing
from sslkit.report.sections.audit import audit_section
from sslkit.report.sections.opening import opening, verdicts
from sslkit.report.sections.scores import counts_table
from sslkit.report.sections.training import pretraining_section
from sslkit.report.tables import read_run

MakeRun = Callable[..., Path]
REFERABLE = ("auroc", "threshold", "sensitivity", "specificity")
CARDS = ("model_card.html", "model_card.json", "checklist.html", "checklist.json")


class Page(HTMLParser):
    """Collects what the tests ask of a page: rows of tables, ids, tags, addresses and text."""

    VOID = frozenset({"meta", "br", "hr", "col"})

    def __init__(self, page: Path | str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page if isinstance(page, str) else page.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(str(value))
            if key in ("href", "src", "xlink:href"):
                self.addresses.append(str(value))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def scores(page: Page, label: str) -> dict[str, list[str]]:
    """Return the rows of one line in the table of scores, by the row's name."""
    start = page.rows.index([label])
    body: dict[str, list[str]] = {}
    for row in page.rows[start + 1 :]:
        if len(row) == 1 or row[0] in body:
            break
        body[row[0]] = row[1:]
    return body


def by_share(page: Page, column: str, label: str) -> dict[str, str]:
    """Return what a column of a table with a row a share says of one line, by share."""
    place = next(k for k, row in enumerate(page.rows) if column in row)
    rows = page.rows[page.rows.index([label], place) + 1 :]
    found: dict[str, str] = {}
    for row in rows:
        if not row[0].endswith(" %") or row[0] in found:
            break
        found[row[0]] = row[page.rows[place].index(column)]
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_returns_index_html_and_leaves_no_temporary_file(small_report: Path) -> None:
    assert small_report.parts[-3:] == ("run", "report", "index.html")
    names = {path.name for path in small_report.parent.iterdir()}
    assert {name for name in names if not name.endswith((".svg", ".png"))} == {"index.html", *CARDS}
    assert {
        "qwk-by-labels.svg",
        "qwk-by-labels.png",
        "recall-by-grade.png",
        "convergence-5.svg",
        "pretraining-rotation-loss.svg",
        "confusion-scratch-100.svg",
    } <= names


def test_table_holds_the_numbers_of_summary_csv(make_run: MakeRun) -> None:
    run = make_run(undefined=lambda row: row["arm"] == "scratch" and row["fraction"] == 0.1 and row["fold"] == 2)
    page = Page(write_report(run))
    rows = table(run / "summary.csv")
    for label, pretext, arm in (("rotation, pretrained", "rotation", "pretrained"), ("scratch", "", "scratch")):
        body = scores(page, label)
        mine = [row for row in rows if (row["pretext"], row["arm"]) == (pretext, arm)]
        assert len(mine) == 5
        for name in ("min", "mean", "max"):
            assert body[name] == [f"{float(row[f'qwk_{name}']):.3f}" for row in mine]
        assert list(by_share(page, "cells", label).values()) == [row["n"] for row in mine]
    assert list(by_share(page, "undefined", "scratch").values()) == ["0", "1", "0", "0", "0"]
    assert list(by_share(page, "undefined", "rotation, pretrained").values()) == ["0"] * 5
    assert list(by_share(page, "without a pair", "rotation, pretrained").values()) == ["0", "1", "0", "0", "0"]


def test_recall_and_referable_tables_hold_the_means_of_summary_csv(small_report: Path) -> None:
    page = Page(small_report)
    for row in table(small_report.parents[1] / "summary.csv"):
        share = f"{100 * float(row['fraction']):g} %"
        assert [share, *(f"{float(row[f'recall_{k}_mean']):.3f}" for k in range(5))] in page.rows
        referable = [f"{float(row[f'referable_{name}_mean']):.3f}" for name in REFERABLE]
        assert [share, *referable] in page.rows
    assert "Positive: Moderate, Severe, Proliferate_DR. Negative: No_DR, Mild." in page.text


def test_paired_difference_of_table_and_headline_equals_a_naive_loop(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05, 1.0], folds=3, repetitions=2)
    rows = table(run / "results.csv")
    expected = []
    for fraction in ("0.05", "1.0"):
        folds = []
        for fold in ("0", "1", "2"):
            differences = []
            for repetition in ("0", "1"):
                scores_of = {
                    row["arm"]: float(row["qwk"])
                    for row in rows
                    if (row["fraction"], row["fold"], row["repetition"]) == (fraction, fold, repetition)
                }
                differences.append(scores_of["pretrained"] - scores_of["scratch"])
            folds.append(sum(differences) / 2)
        expected.append(f"{sum(folds) / 3:+.3f}".replace("-", "\N{MINUS SIGN}"))
    index = write_report(run)
    page = Page(index)
    assert list(by_share(page, "difference", "rotation, pretrained").values()) == expected
    assert re.findall(r"a mean paired difference of (\S+) over 3 folds", page.text) == expected
    differences = html.unescape(index.read_text()).partition("Paired differences to training from scratch")[2]
    assert ">scratch</th>" not in differences.partition("</table>")[0]


def test_headline_claims_nothing(small_report: Path) -> None:
    text = Page(small_report).text.lower()
    assert "no significance test is drawn" in text
    assert not re.search(r"benefit|improve|better|outperform|(?<!no )significant\b", text)


def test_hostile_names_are_text(make_run: MakeRun) -> None:
    evil = "<script>alert(1)</script> & \"quoted\" 'id' $x_1$ ]]> -->"
    run = make_run(
        name=evil,
        classes=(evil, "</svg><img src=x onerror=alert(1)>", "$5", "#1b1f24", "d"),
        lines=[(evil.replace("/", "|"), evil), ("", "scratch")],
        fractions=[0.05],
        folds=2,
        info={
            "notices": [evil],
            "failed_jobs": [{"job": evil, "reason": evil}],
            "missing_classes": [evil],
            "hardware": {evil: evil},
            "data": {
                "images": 3,
                "class_counts": [1, 2, 3, 4, 5],
                "unreadable": [{"id": evil, "reason": evil}],
                "hash": evil,
            },
        },
    )
    (run / "config.toml").write_text(f"name = '''{evil}</code></pre>'''", encoding="utf-8")
    index = write_report(run)
    page = Page(index)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.text.count(evil) >= 10
    assert "#1b1f24" in page.text
    for figure in index.parent.glob("*.svg"):
        assert "script" not in {node.tag.rpartition("}")[2] for node in ElementTree.parse(figure).iter()}


def test_page_is_self_contained_and_its_ids_are_unique(small_report: Path) -> None:
    page, source = Page(small_report), small_report.read_text(encoding="utf-8")
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.addresses
    assert {address[0] for address in page.addresses} == {"#"}
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", source)) <= set(page.ids)
    assert not re.search(r"@import|@font-face|<link|<script|url\((?!#)", source)


def test_figures_are_svg_that_stands_alone(small_report: Path) -> None:
    figures = sorted(small_report.parent.glob("*.svg"))
    assert len(figures) == 2 + 2 + 2 + 4 + 1 + 2
    for figure in figures:
        root = ElementTree.parse(figure).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root.attrib["aria-label"]) > 30
        text = figure.read_text(encoding="utf-8")
        assert "currentColor" not in text
        assert "var(--" not in text


def test_inline_figures_leave_their_colours_to_the_theme(small_report: Path) -> None:
    source = small_report.read_text(encoding="utf-8")
    figures = re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL)
    assert len(figures) == 3 + 10 + 3  # three of them twice, wide and narrow
    for figure in figures:
        assert "currentColor" in figure or "var(--" in figure
        assert re.findall(r"#[0-9a-f]{6}\b", figure) == []
        assert 'role="img"' in figure
        assert "<style" not in figure


def test_same_files_give_same_bytes(small_report: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in small_report.parent.iterdir()}
    run = tmp_path / "copy"
    shutil.copytree(small_report.parents[1], run, ignore=shutil.ignore_patterns("report"))
    second = {path.name: path.read_bytes() for path in write_report(run).parent.iterdir()}
    assert first == second


def test_user_settings_of_matplotlib_neither_matter_nor_change(make_run: MakeRun) -> None:
    import matplotlib

    run = make_run(fractions=[0.05], folds=1)
    first = write_report(run).read_bytes()
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert write_report(run).read_bytes() == first
        assert matplotlib.rcParams["font.size"] == 31.0


def test_importing_the_report_loads_neither_matplotlib_nor_torch() -> None:
    code = "import sys, sslkit.report; print(sorted({'matplotlib', 'torch', 'numpy'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize(
    ("options", "said", "unsaid"),
    [
        ({"folds": 1, "lines": [("", "scratch")]}, "With 10 % of the labels", "paired difference"),
        ({"undefined": lambda row: True}, "undefined", "of nan"),
        ({"lost": lambda row: True}, "No cell of this run has a result yet", "Confusion"),
    ],
    ids=["one-cell", "all-undefined", "no-cell"],
)
def test_incomplete_runs_are_reported(make_run: MakeRun, options: dict[str, object], said: str, unsaid: str) -> None:
    text = Page(write_report(make_run(**({"folds": 2, "fractions": [0.1]} | options)))).text
    assert said in text
    assert unsaid not in text


def test_failed_jobs_and_lost_files_are_told(make_run: MakeRun) -> None:
    failed = [{"job": "c00050", "reason": "the loss is not finite at update 12"}]
    run = make_run(
        fractions=[0.05], folds=2, lost=lambda row: row["cell"] == "00000000c0005000", info={"failed_jobs": failed}
    )
    shutil.rmtree(run / "cells" / "00000000c0005010")
    page = Page(write_report(run))
    assert "1 job failed" in page.text
    assert "the loss is not finite at update 12" in page.text
    assert by_share(page, "cells", "rotation, pretrained") == {"5 %": "1"}
    assert "whose predictions.csv is missing: 00000000c0005010" in page.text


def test_unknown_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"absent is not a run directory: there is no such folder.*--output"):
        write_report(tmp_path / "absent")


@pytest.mark.parametrize("name", ["run.json", "results.csv", "summary.csv"])
def test_a_missing_table_is_named(make_run: MakeRun, name: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / name).unlink()
    with pytest.raises(RunDirectoryError, match=rf"has no {name}.*'sslkit run' with the same --output"):
        write_report(run)
    assert not (run / "report").exists()


def test_provenance_and_data_are_echoed(small_report: Path) -> None:
    page, run = Page(small_report), small_report.parents[1]
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (run / "config.toml").read_text(encoding="utf-8") in page.text
    for said in ("2026-03-01 11:15 UTC", "2.14.0", info["data"]["hash"], "truncated after 512 bytes", "1 h 11 min"):
        assert said in page.text
    assert ["Mild", "370", "10.1 %", ""] in page.rows
    assert ["backbone", "densenet121", "sslkit", "0.1.0"] in page.rows
    assert "Synthetic fundus photographs: the figures say nothing about patients." in page.text


def test_figures_of_an_earlier_report_do_not_stay(make_run: Callable[..., Path]) -> None:
    root = make_run(fractions=[1.0], folds=1)
    (root / "report").mkdir()
    (root / "report" / "convergence-3.svg").write_text("<svg/>")
    (root / "report" / "notes.txt").write_text("mine")

    write_report(root)

    assert not (root / "report" / "convergence-3.svg").exists()
    assert (root / "report" / "notes.txt").exists()


def test_reliability_is_drawn_from_the_predictions(small_report: Path) -> None:
    # In these made-up predictions every predicted class has probability 0.8.
    text = (small_report.parent / "reliability-5.svg").read_text(encoding="utf-8")
    for pretext, arm in (("rotation", "pretrained"), ("", "scratch")):
        right = []
        for row in table(small_report.parents[1] / "results.csv"):
            if (row["pretext"], row["arm"], row["fraction"]) == (pretext, arm, "0.05"):
                path = small_report.parents[1] / "cells" / row["cell"] / "predictions.csv"
                right += [line["target"] == line["predicted"] for line in table(path)]
        assert f"{sum(right) / len(right):.2f} at 0.80" in text
    for row in table(small_report.parents[1] / "summary.csv"):
        means = [f"{float(row[name]):.3f}" for name in ("ece_mean", "brier_mean")]
        assert [f"{100 * float(row['fraction']):g} %", *means] in Page(small_report).rows


def test_a_probability_that_is_missing_is_told_by_its_line(make_run: MakeRun) -> None:
    run = make_run(fractions=[1.0], folds=2)
    path = next(run.glob("cells/*/predictions.csv"))
    path.write_text(path.read_text().replace("p_0", "q_0").replace("p_1", "q_1"))
    with pytest.raises(RunDirectoryError, match=r"predictions\.csv, line \d+: there is no column p_[01]"):
        write_report(run)


def test_intervals_of_test_sampling_are_called_that(make_run: MakeRun) -> None:
    run = make_run(fractions=[1.0], folds=2)
    path = run / "summary.csv"
    rows = table(path)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "ci_low", "ci_high"])
        writer.writeheader()
        writer.writerows([row | {"ci_low": "0.4", "ci_high": "0.6125"} for row in rows])
    page = Page(counts_table(read_run(run)))
    for label in ("rotation, pretrained", "scratch"):
        assert by_share(page, "test sampling only (QWK)", label) == {"100 %": "0.400 to 0.613"}
    assert "it says nothing of another training" in page.text


def test_a_probe_of_the_representation_is_drawn_and_the_kept_epoch_told(make_run: MakeRun) -> None:
    run = make_run(fractions=[1.0], folds=2)
    for fold in ("0", "1"):
        folder = run / "pretraining" / "rotation" / fold
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            line["probe_qwk"] = None if line["epoch"] % 10 else 0.2
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "config.json").write_text(json.dumps({"sslkit": {"epoch": 40 if fold == "0" else 20}}))
    drawings: list[Drawing] = []
    section = pretraining_section(read_run(run), drawings)
    assert "Kept by the probe in place of the last epoch: 20 of 1." in section
    assert len([drawing for drawing in drawings if drawing.name.startswith("pretraining-rotation-probe")]) == 1


def test_a_collapsed_representation_is_flagged_with_its_folds_and_its_spread_drawn(make_run: MakeRun) -> None:
    run = make_run(
        fractions=[1.0], folds=3, lines=[("rotation", "pretrained"), ("agreement", "frozen"), ("", "scratch")]
    )
    for path in run.glob("pretraining/*/*/metrics.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        collapsing = path.parent.parent.name == "agreement" and path.parent.name != "1"
        for line in lines[9::10]:
            spread = 0.5 / line["epoch"] ** 2 if collapsing else 0.3 + 0.001 * line["epoch"]
            line |= {"feature_spread": spread, "untrained_spread": 0.4, "effective_rank": 1 + 40 * spread}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    drawings: list[Drawing] = []
    page = Page(verdicts(read_run(run)) + pretraining_section(read_run(run), drawings))
    said = "The representation of the pretext task 'agreement' has collapsed (folds 0, 2): the backbone says"
    assert page.text.count(said) == 2  # beside the verdicts, and over the curves
    assert "'rotation' has collapsed" not in page.text
    assert (
        page.text.count("a representation that ends below 10 % of that, at the dotted line, counts as collapsed") == 2
    )
    said = "feature spread of agreement by epoch, 3 pretrainings; in the last epoch between 0.0003"
    assert [said in drawing.description for drawing in drawings].count(True) == 1
    assert not [drawing for drawing in drawings if "untrained" in drawing.name]


def test_cells_that_failed_are_counted_by_arm_and_share(make_run: MakeRun) -> None:
    place = {"pretext": "rotation", "arm": "pretrained", "fraction": 0.05, "repetition": 0}
    failed = [{"job": f"cells/{fold}", "reason": "x", "fold": fold, **place} for fold in range(2)]
    failed.append({"job": "cells/s", "reason": "x", "fold": 0, **place, "pretext": "", "arm": "scratch"})
    page = Page(opening(read_run(make_run(fractions=[0.05], folds=2, info={"failed_jobs": failed}))))
    assert "3 jobs failed; what follows goes without." in page.text
    assert "lacking, by arm and share of the labels: rotation, pretrained at 5 %: 2; scratch at 5 %: 1." in page.text


def test_what_kinds_of_images_there_are_is_told(make_run: MakeRun) -> None:
    run = make_run(fractions=[1.0], folds=1)
    spread = {"min": 1200.0, "median": 2000.0, "max": 3888.0}
    audit = {
        "images": {
            **{"formats": {"JPEG": 2, "PNG": 1}, "modes": {"RGB": 3}, "bit_depths": {"8": 3}},
            **{"width": spread, "height": spread, "aspect": {"min": 1.0, "median": 1.0, "max": 1.5}},
            **{"tiny": ["<b>.png"], "constant": [], "truncated": []},
            **{"unlisted": [f"{k}.png" for k in range(30)], "unlisted_count": 2000},
        },
        "duplicates": {"identical": [], "near": [], "compared": 3, "method": "hash", "conflicts": [], "rejected": 0},
        "groups": {"given": 3, "joined": 3, "largest": 1, "with_several_grades": 0},
        "classes": {},
        "pretext_probes": {},
        "label_probe": None,
    }
    (run / "audit.json").write_text(json.dumps(audit))
    page = Page(audit_section(read_run(run)))
    assert ["formats", "JPEG (2), PNG (1)"] in page.rows
    assert ["width, px", "1,200 to 3,888, median 2,000"] in page.rows
    assert "1 image smaller than the size they are brought to" in page.text
    assert "<b>.png" in page.text
    assert "2,000 images without a row in the table" in page.text
    assert "and 1,980 more" in page.text
