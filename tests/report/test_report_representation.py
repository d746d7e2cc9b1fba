from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsing import open_page

import sslkit
from sslkit.errors import RunDirectoryError
from sslkit.experiment.running import RunResult
from sslkit.report.figures import Drawing
from sslkit.report.figures.palette import RAMP, VARIABLES
from sslkit.report.sections.representation import representation_section
from sslkit.report.tables import Run, read_run
from sslkit.report.theme import STYLE_SHEET


@pytest.fixture(scope="module")
def read(tiny_run: RunResult) -> Run:
    return read_run(tiny_run.directory.root)


@pytest.fixture
def run(read: Run, tmp_path: Path) -> Run:
    return replace(read, directory=tmp_path)


@pytest.fixture(scope="module")
def report(tiny_run: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with the section."""
    folder = Path(shutil.copytree(tiny_run.directory.root, tmp_path_factory.mktemp("drawn") / "run"))
    keep(folder)
    return sslkit.write_report(folder)


def keep(folder: Path, **changes: Any) -> None:
    values = {
        "method": "pca",
        "shares": [0.5, 0.25],
        "weights": "pretrained",
        "pretext": "rotation",
        "arm": "",
        "fold": 1,
        "class_names": ["No <b>DR</b>", "Mild"],
        "images": 4,
        "x": [0.0, 0.5, -0.5, 1.0],
        "y": [0.0, 0.5, -0.5, 1.0],
        "grades": [0, 1, -1, 0],
        "folds": [0, 1, 1, 1],
    }
    (folder / "representation.json").write_text(json.dumps({**values, **changes}))


def section_of(run: Run, **changes: Any) -> str:
    keep(run.directory, **changes)
    return str(representation_section(run, []))


def test_there_is_no_section_without_features(run: Run) -> None:
    drawings: list[Drawing] = []
    assert representation_section(run, drawings) == ""
    assert drawings == []


def test_the_drawing_is_in_the_report_as_long_as_what_it_shows_is_kept(report: Path) -> None:
    assert '<section id="representation">' in report.read_text("utf-8")
    assert {path.suffix for path in report.parent.glob("representation.*")} == {".svg", ".png"}
    shutil.copytree(report.parents[1], report.parents[1].with_name("later"))
    later = report.parents[1].with_name("later")
    (later / "representation.json").unlink()
    assert "representation" not in sslkit.write_report(later).read_text("utf-8")
    assert not (later / "report" / "representation.svg").exists()


def test_the_section_says_how_to_read_it(run: Run) -> None:
    section = section_of(run)
    assert section_of(run) == section
    assert "A projection shows little" in section
    assert "component 1 (50 % of the variance)" in section
    assert "The two components hold 75 % of the variance" in section
    assert "Ringed: the test images of fold 1" in section
    assert "saw the pixels, but no label" in section
    assert "<b>DR</b>" not in section


def test_every_image_is_one_mark(run: Run) -> None:
    section = section_of(run, images=9000)
    wide = section.partition('class="wide"')[2].partition('class="narrow"')[0]
    legend = 3  # grades that are there, and "no label"
    assert len(re.findall(r"<use\b", wide)) == 4 + legend
    assert "Of 9,000 images 4 are drawn" in section


def test_trained_labels_and_umap_are_cautioned_of(run: Run) -> None:
    section = section_of(run, method="umap", shares=None, weights="finetuned", arm="scratch", pretext="")
    assert "how well those come apart says nothing" in section
    assert "neither the distances between clusters nor their sizes mean anything" in section
    assert "of the variance" not in section
    assert "finetuned weights, arm scratch, fold 1" in section


def test_nothing_is_ringed_where_the_weights_have_no_fold(run: Run) -> None:
    assert "Ringed" not in section_of(run, fold=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grades": [0, 1, -1, 7]}, "a grade has no name in class_names"),
        ({"x": [0.0]}, "x, y, grades and folds differ in length"),
        ({"x": [0.0, 0.5, -0.5, 1e300]}, "x"),
        ({"method": "tsne"}, "method"),
    ],
)
def test_a_file_that_is_something_else_is_refused(run: Run, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(
        RunDirectoryError, match=rf"(?s)representation\.json is not as 'sslkit report --features FILE' .*{message}"
    ):
        section_of(run, **changes)


def test_grades_keep_their_order_of_lightness_in_both_themes() -> None:
    light, dark = STYLE_SHEET.split("@media screen and (prefers-color-scheme: dark)")[:2]

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    found = []
    for theme, ground in ((light, "#ffffff"), (dark, "#14171b")):
        ramp = [match[1] for match in re.finditer(r"--ramp-\d: (#[0-9a-f]{6})", theme)]
        values = [luminance(colour) for colour in ramp]
        contrasts = [
            (max(value, luminance(ground)) + 0.05) / (min(value, luminance(ground)) + 0.05) for value in values
        ]
        assert contrasts == sorted(contrasts)
        assert min(contrasts) >= 3
        found.append(ramp)
    assert found[0] == list(RAMP)
    assert [VARIABLES[colour] for colour in RAMP] == [f"var(--ramp-{place})" for place in range(len(RAMP))]
    assert len(found[1]) == len(RAMP)


def test_importing_the_section_loads_nothing_heavy() -> None:
    command = "import sys, sslkit.report.sections.representation; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", command], capture_output=True, text=True).stdout.split())
    assert "sslkit.report.projection" in loaded
    assert not loaded & {"torch", "numpy", "matplotlib"}


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_it_can_be_seen(report: Path, width: int, dark: bool) -> None:
    with open_page(report, width=width, dark=dark) as look:
        assert look.page.locator("#representation svg:visible").count() == 1
        assert not [found for found in look.cut_off() if "variance" in found]
        assert look.said == []
