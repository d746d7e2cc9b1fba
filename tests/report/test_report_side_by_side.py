"""Several runs in one page: what is compared, what is refused, and why."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from command_line import sslkit

from sslkit import compare_runs
from sslkit.errors import RunDirectoryError, UsageError
from sslkit.report import write_report
from sslkit.report.side_by_side.figures import draw_runs, styles_of
from sslkit.report.side_by_side.named import read_runs
from sslkit.report.side_by_side.pairs import run_pairs, same_data, why_no_pairs
from sslkit.report.side_by_side.settings import differing_settings, differing_surroundings
from sslkit.statistics import corrected_t, holm

DATA = {"images": 600, "hash": "aa11", "splits_hash": "ff00", "class_counts": [276, 99, 168, 34, 23]}
SMALL: dict[str, Any] = {"fractions": (0.05, 1.0), "folds": 3}


@pytest.fixture
def make(tmp_path: Path, write_a_run: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that writes a run into a folder of its own."""

    def made(folder: str, *, data: dict[str, Any] = DATA, **options: Any) -> Path:
        info = {"data": {key: value for key, value in data.items() if value is not None}} | options.pop("info", {})
        return write_a_run(tmp_path / folder, **(SMALL | options), info=info)

    return made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, write_a_run: Callable[..., Path]) -> tuple[Path, Path]:
    """Return two runs with the same splits, of other tasks; not to be changed."""
    root = tmp_path_factory.mktemp("pair")
    first = write_a_run(root / "first", name="turns", info={"data": DATA}, **SMALL)
    lines = [("simclr", "pretrained"), ("", "scratch")]
    second = write_a_run(root / "second", name="contrast", lines=lines, info={"data": DATA}, **SMALL)
    _shift(second / "results.csv", 0.03)
    write_report(first)
    return first, second


def _shift(path: Path, by: float) -> None:
    """Raise the pretrained arm's QWK by an amount that grows with the fold."""
    head, *rows = path.read_text().splitlines()
    names = head.split(",")
    changed = []
    for row in rows:
        values = dict(zip(names, row.split(","), strict=True))
        if values["arm"] == "pretrained":
            values["qwk"] = repr(float(values["qwk"]) + by + 0.01 * int(values["fold"]))
        changed.append(",".join(values.values()))
    path.write_text("\n".join([head, *changed]) + "\n")


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", page.partition("</style>")[2]))


def test_pairs_are_those_of_a_naive_loop(pair: tuple[Path, Path]) -> None:
    runs = read_runs(pair)
    ours, theirs = (
        {(c.line.arm, c.fraction, c.fold): float(c.scores["qwk"] or 0) for c in named.run.cells} for named in runs
    )
    arms = {found.label: found.by_share for found in run_pairs(runs, "qwk")}
    assert list(arms) == ["pretrained: contrast less turns", "scratch: contrast less turns"]
    tests = []
    for fraction in (0.05, 1.0):
        differences = [theirs["pretrained", fraction, k] - ours["pretrained", fraction, k] for k in range(3)]
        one = arms["pretrained: contrast less turns"][fraction]
        tests.append(corrected_t(differences))
        assert one.delta == pytest.approx(fmean(differences))
        assert (one.low, one.high, one.folds) == (pytest.approx(tests[-1].low), pytest.approx(tests[-1].high), 3)
    adjusted = [one.p_holm for one in arms["pretrained: contrast less turns"].values()]
    assert adjusted == pytest.approx(holm([test.p_value for test in tests]))
    assert {one.delta for one in arms["scratch: contrast less turns"].values()} == {0.0}


def test_the_page_says_what_it_is_asked(pair: tuple[Path, Path], tmp_path: Path) -> None:
    index = compare_runs(pair, tmp_path / "compare")
    page = index.read_text()
    text = text_of(page)
    assert index == tmp_path / "compare" / "index.html"
    assert "2 runs side by side, by QWK: the same data, the same splits." in text
    assert "pretrained: contrast less turns" in text
    assert "cannot be compared in pairs" not in text
    assert "<script" not in page
    drawn = {path.name for path in index.parent.iterdir()}
    figures = ("qwk-by-labels", "qwk-between-runs")
    assert drawn == {"index.html", *(f"{name}.{kind}" for name in figures for kind in ("svg", "png"))}


def test_links_lead_to_the_reports_that_there_are(pair: tuple[Path, Path], tmp_path: Path) -> None:
    index = compare_runs(pair, tmp_path / "deep" / "compare")
    addresses = re.findall('href="([^"#]+)"', index.read_text())
    assert [(index.parent / address).resolve() for address in addresses] == [pair[0] / "report" / "index.html"]
    assert not addresses[0].startswith("/")
    assert "Without a report of their own, which 'sslkit report' writes: contrast." in text_of(index.read_text())


def test_same_files_give_same_bytes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in compare_runs(pair, tmp_path / "c").parent.iterdir()}

    assert files() == files()


def test_other_splits_are_not_compared_in_pairs(make: Callable[..., Path], tmp_path: Path) -> None:
    first, second = make("a", name="a"), make("b", name="b", data=DATA | {"splits_hash": "0e0e"})
    runs = read_runs([first, second])
    assert same_data(runs)
    reason = why_no_pairs(runs)
    assert reason is not None
    assert reason.startswith("they have the same data in other splits")
    text = text_of(compare_runs([first, second], tmp_path / "c").read_text())
    assert f"These runs cannot be compared in pairs: {reason}." in text
    assert "the same data, different splits" in text
    assert not (tmp_path / "c" / "qwk-between-runs.svg").exists()


@pytest.mark.parametrize(
    ("data", "said", "same"),
    [
        (DATA | {"splits_hash": "0e", "hash": "bb"}, "their data differ, and so do the images", False),
        (DATA | {"splits_hash": None}, "of b it is not known how the images were split", True),
        (DATA | {"splits_hash": "0e", "hash": None}, "their data differ", None),
    ],
)
def test_the_reason_is_told(make: Callable[..., Path], data: dict[str, Any], said: str, same: bool | None) -> None:
    runs = read_runs([make("a", name="a"), make("b", name="b", data=data)])
    assert said in str(why_no_pairs(runs))
    assert same_data(runs) is same


def test_runs_of_one_name_are_told_apart_by_their_folders(make: Callable[..., Path]) -> None:
    places = [make("x/run"), make("y/run"), make("z", name="another")]
    assert [named.name for named in read_runs(places)] == ["dr-rotation (x/run)", "dr-rotation (y/run)", "another"]


def test_what_differs_is_listed_and_nothing_else(make: Callable[..., Path], tmp_path: Path) -> None:
    first, second = make("a", name="a"), make("b", name="b", info={"versions": {"torch": "2.15.0", "python": "3.11.9"}})
    same = "seed = 0\n[pretraining]\nepochs = 4\n"
    (first / "config.toml").write_text(f'name = "a"\n{same}[[pretext]]\nname = "rotation"\n')
    (second / "config.toml").write_text(f'name = "b"\n{same}[[pretext]]\nname = "<i>"\n')
    runs = read_runs([first, second])
    assert differing_settings(runs) == {"pretext.0.name": ["rotation", "<i>"]}
    assert differing_surroundings(runs)["versions.torch"] == ["2.14.0", "2.15.0"]
    assert "versions.python" not in differing_surroundings(runs)
    page = compare_runs([first, second], tmp_path / "c").read_text()
    assert "&lt;i&gt;</code>" in page
    (second / "config.toml").unlink()
    assert "Without a config.toml: b." in text_of(compare_runs([first, second], tmp_path / "c").read_text())


def test_equal_configurations_are_said_to_be(make: Callable[..., Path], tmp_path: Path) -> None:
    text = text_of(compare_runs([make("a", name="a"), make("b", name="b")], tmp_path / "c").read_text())
    assert "The configurations are the same, but for names." in text


def test_runs_that_lead_with_other_metrics_are_compared_by_qwk(make: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make("a", name="a"), make("b", name="b", info={"primary_metric": "accuracy"})]
    assert "side by side, by QWK" in text_of(compare_runs(runs, tmp_path / "c").read_text())


def test_what_a_reader_must_know_of_single_runs_comes_first(make: Callable[..., Path], tmp_path: Path) -> None:
    failed = [{"job": "x", "reason": "y"}]
    said = [{"pretext": "rotation", "arm": "pretrained", "sentence": "No difference shown: a tale."}]
    first = make("a", name="a", info={"transductive": True, "conclusions": said, "notices": ["Mind."]})
    second = make("b", name="b", info={"failed_jobs": failed, "notices": ["Mind."]})
    page = compare_runs([first, second], tmp_path / "c").read_text().partition("</header>")[0]
    assert "<strong>Mind.</strong>" in page
    assert "<strong>a: Transductive: the pretraining saw the test images.</strong>" in page
    assert "<strong>b: 1 job failed; its own report says which.</strong>" in page
    assert "No difference shown: a tale." in page


def test_failures_are_told_of_each_run_even_if_all_have_some(make: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make(name, name=name, info={"failed_jobs": [{"job": "x", "reason": "y"}]}) for name in "ab"]
    page = compare_runs(runs, tmp_path / "c").read_text()
    assert [f"<strong>{name}: 1 job failed; its own report says which.</strong>" in page for name in "ab"] == [True] * 2


def test_runs_are_drawn_as_long_as_each_has_a_colour_of_its_own(make: Callable[..., Path]) -> None:
    small: dict[str, Any] = {"lines": [("", "scratch")], "fractions": (1.0,), "folds": 1}
    runs = read_runs([make(f"run{k}", name=f"run{k}", **small) for k in range(7)])
    assert len(set(styles_of(runs[:6]).values())) == 6
    assert draw_runs(runs[:6], "qwk") is not None
    assert draw_runs(runs, "qwk") is None


def test_a_run_without_results_has_its_place(make: Callable[..., Path], tmp_path: Path) -> None:
    empty = make("b", name="b", lost=lambda row: True)
    text = text_of(compare_runs([make("a", name="a"), empty], tmp_path / "c").read_text())
    assert "no arm at any share is in two of these runs" in text


def test_runs_on_other_classes_are_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make("a"), make("b", classes=("No_DR", "Mild", "Severe"))]
    with pytest.raises(UsageError, match=r"have different classes: 'No_DR', .*'Severe'.*give runs on the same classes"):
        compare_runs(runs, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_run_is_not_compared_with_itself(make: Callable[..., Path], tmp_path: Path) -> None:
    run = make("a")
    with pytest.raises(UsageError, match="is given 2 times"):
        compare_runs([run, tmp_path / "a" / ".." / "a"], tmp_path / "c")
    with pytest.raises(UsageError, match="1 run given; a comparison needs two or more"):
        compare_runs([run], tmp_path / "c")


def test_a_folder_that_is_no_run_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="absent is not a run directory"):
        compare_runs([make("a"), tmp_path / "absent"], tmp_path / "c")


def test_nothing_of_others_is_overwritten(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the report of one of the runs; give --output a folder of its own"):
        compare_runs(pair, pair[0] / "report")
    (tmp_path / "mine.svg").write_text("<svg/>")
    with pytest.raises(UsageError, match="holds other files and no earlier report; give --output a new folder"):
        compare_runs(pair, tmp_path)
    with pytest.raises(UsageError, match="it is no folder"):
        compare_runs(pair, tmp_path / "mine.svg")
    assert (tmp_path / "mine.svg").read_text() == "<svg/>"


def test_the_command_compares_and_says_where(pair: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "compare"
    assert sslkit("report", *pair, "--output", output) == (0, f"{output / 'index.html'}\n", "")
    refused = sslkit("report", *pair)
    assert refused.status == 2
    assert re.search(r"2 runs are given.*say where to write it, for example --output compare", refused.err)


def test_one_report_may_be_written_elsewhere(make: Callable[..., Path], tmp_path: Path) -> None:
    run = make("run", lines=[("", "scratch")], fractions=(1.0,), folds=1)
    index = write_report(run, tmp_path / "elsewhere")
    assert index == tmp_path / "elsewhere" / "index.html"
    assert (tmp_path / "elsewhere" / "model_card.json").is_file()
    assert not (run / "report").exists()
    assert write_report(run, tmp_path / "elsewhere") == index
    with pytest.raises(UsageError, match="holds other files"):
        write_report(run, run)


def test_a_png_of_the_users_own_stays(make: Callable[..., Path]) -> None:
    run = make("a", lines=[("", "scratch")], fractions=(1.0,), folds=1)
    folder = write_report(run).parent
    for name in ("old.svg", "old.png", "mine.png"):
        (folder / name).write_bytes(b"")
    write_report(run)
    assert not {"old.svg", "old.png"} & {path.name for path in folder.iterdir()}
    assert (folder / "mine.png").exists()


def test_pngs_are_twice_as_wide_as_their_svg(pair: tuple[Path, Path]) -> None:
    from PIL import Image

    with Image.open(pair[0] / "report" / "qwk-by-labels.png") as image:
        assert image.size == (1800, 880)
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        assert json.dumps(sorted(image.info)) == '["dpi"]'  # nothing that a day or a version changes


def test_importing_it_stays_light() -> None:
    heavy = "{'matplotlib', 'torch', 'numpy'}"
    code = f"import sys; from sslkit import compare_runs; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
