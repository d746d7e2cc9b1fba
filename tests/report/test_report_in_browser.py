"""The pages as a browser shows them: nothing cut off, no complaint, nothing that axe finds serious, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browsing import open_page

from sslkit import compare_runs
from sslkit.report import write_report

WriteRun = Callable[..., Path]
PAGES = ("report", "tournament", "failures", "comparison", "model_card", "checklist")
OWN = {"data": {"class_counts": [276, 99, 168, 34, 23], "splits_hash": "ff00", "hash": "aa11"}}
SMALL: dict[str, Any] = {"fractions": (0.05, 1.0), "folds": 3}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, write_a_run: WriteRun, small_report: Path) -> dict[str, Path]:
    """Return the path of each kind of page."""
    root = tmp_path_factory.mktemp("pages")
    tasks = [(f"pretext-task-{k}", "pretrained") for k in range(8)]
    place = {"pretext": "rotation", "arm": "pretrained", "fraction": 0.05, "repetition": 0}
    failed = [{"job": f"cells/{fold}", "reason": "not finite " * 9, "fold": fold, **place} for fold in range(2)]
    tournament = write_a_run(root / "tournament", lines=[*tasks, ("", "scratch")], fractions=(0.05,), folds=2, info=OWN)
    broken = {"failed_jobs": failed, "transductive": True, **OWN}
    lost = write_a_run(root / "lost", **SMALL, info=broken, lost=lambda row: row["arm"] == "pretrained")
    return {
        "report": small_report,
        "tournament": write_report(tournament),
        "failures": write_report(lost),
        "comparison": compare_runs([tournament, lost], root / "compare"),
        "model_card": small_report.with_name("model_card.html"),
        "checklist": small_report.with_name("checklist.html"),
    }


@pytest.mark.parametrize("name", PAGES)
def test_pages_can_be_read_by_everybody(pages: dict[str, Path], name: str) -> None:
    with open_page(pages[name], width=400) as look:
        for width, scheme in ((400, "light"), (1400, "dark")):
            look.page.set_viewport_size({"width": width, "height": 900})
            look.page.emulate_media(color_scheme=scheme)
            assert look.cut_off() == []
            assert look.serious() == []
        assert look.said == []
        assert len(look.asked) == 1


def test_details_that_are_opened_fit_as_well(pages: dict[str, Path]) -> None:
    with open_page(pages["tournament"], width=400) as look:
        look.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true })")
        assert look.page.evaluate("document.querySelectorAll('details[open]').length") > 8
        assert look.cut_off() == []
        assert look.serious() == []


def test_headings_descend_one_step_at_a_time(pages: dict[str, Path]) -> None:
    with open_page(pages["report"]) as look:
        levels = look.page.eval_on_selector_all("h1, h2, h3", "nodes => nodes.map(node => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_the_verdict_is_seen_first_and_the_figure_with_it(pages: dict[str, Path], write_a_run: WriteRun) -> None:
    said = "With 5 % of the labels, pretraining by rotation does as well as training from scratch on 14 %."
    told = [{"pretext": "rotation", "arm": "pretrained", "sentence": said}]
    run = write_a_run(pages["comparison"].parent.parent / "told", **SMALL, info={"conclusions": told, **OWN})
    with open_page(write_report(run), width=1400, height=900) as look:
        boxes = [look.page.locator(selector).first.bounding_box() for selector in (".verdicts", "figure .wide svg")]
        assert [bool(box) for box in boxes] == [True, True]
        verdict, figure = (box or {} for box in boxes)
        assert verdict["y"] + verdict["height"] < 450
        assert figure["y"] + figure["height"] / 2 < 900


def test_the_list_of_sections_stays_at_the_side_is_whole_on_a_tablet_and_takes_one_line_of_a_phone(
    pages: dict[str, Path],
) -> None:
    with open_page(pages["report"]) as look:
        look.page.evaluate("window.scrollTo({top: 3000, behavior: 'instant'})")
        assert look.page.locator("nav a").first.bounding_box()["y"] == pytest.approx(44, abs=10)
        scrolls = "node => node.scrollWidth > node.clientWidth"
        look.page.set_viewport_size({"width": 700, "height": 900})
        assert not look.page.eval_on_selector("nav ul", scrolls)
        look.page.set_viewport_size({"width": 400, "height": 900})
        assert look.page.locator("nav").bounding_box()["height"] < 80
        assert look.page.eval_on_selector("nav ul", scrolls)
        assert "gradient" in look.page.eval_on_selector("nav ul", "node => getComputedStyle(node).backgroundImage")


def test_the_keyboard_skips_to_the_results(pages: dict[str, Path]) -> None:
    with open_page(pages["report"]) as look:
        look.page.keyboard.press("Tab")
        assert look.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert (look.page.locator(".skip").bounding_box() or {})["y"] >= 0
        look.page.keyboard.press("Enter")
        assert look.page.evaluate("document.activeElement.id") == "main"


def test_paper_has_what_is_folded_away_and_no_list_of_sections(pages: dict[str, Path]) -> None:
    with open_page(pages["report"]) as look:
        look.page.emulate_media(media="print")
        assert not look.page.locator("nav").is_visible()
        assert look.page.locator("details pre").first.is_visible()
        assert look.page.locator("details pre").first.bounding_box()["height"] > 20
        assert look.page.pdf(format="A4").startswith(b"%PDF")
