"""Pictures in the report: what is shown and said of them, and how the page looks."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import open_page
from pictures_folder import Pictures, index_of, rewrite, sections

from sslkit.experiment.running import RunResult
from sslkit.report import write_report
from sslkit.report.markup import NOTHING, Markup
from sslkit.report.page import page
from sslkit.report.pictures import read_pictures
from sslkit.report.sections.pictures import mistakes_section, views_section
from sslkit.report.tables import read_run

MakeRun = Callable[..., Path]


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    return make_run(fractions=[0.05], folds=2)


def test_the_page_holds_the_very_files_in_their_places(run: Path) -> None:
    index = index_of(run)
    source = write_report(run).read_text(encoding="utf-8")
    order = re.findall(r'<section id="(\w+)"', source)
    assert order.index("views") == order.index("pretraining") + 1
    assert order.index("mistakes") == order.index("confusion") + 1
    assert re.findall(r'<a href="#(views|mistakes)">(.*?)</a>', source) == [
        ("views", "What the pretext task sees"),
        ("mistakes", "Worst mistakes"),
    ]
    page = Pictures(source)
    views = [item["picture"] for item in index["images"]]
    views += [picture for view in index["tasks"][0]["views"] for picture in view["pictures"]]
    wanted = [*views, *(item["picture"] for item in index["mistakes"]["images"])]
    assert len(page.images) == len(wanted) == 4 * 3 + 3
    for shown, picture in zip(page.images, wanted, strict=True):
        kind, _, content = str(shown["src"]).partition(";base64,")
        assert kind == f"data:image/{'png' if picture['file'].endswith('png') else 'jpeg'}"
        assert base64.b64decode(content) == (run / "pictures" / picture["file"]).read_bytes()
        assert (shown["width"], shown["height"]) == (str(picture["width"]), str(picture["height"]))
        assert shown["alt"]
        assert (shown.get("class") == "pixels") == (picture["width"] == 8)


def test_what_is_said_of_views(run: Path) -> None:
    index_of(run)
    section = Pictures(views_section(read_run(run)))
    text = re.sub(r"\s+", " ", section.text)
    assert "4 training images, and what the pretext task was shown of them in the first epoch" in text
    assert "Image No_DR Mild Severe no label" in text
    assert "images 4 views an image labels: 0 labels: 1 labels: 2 labels: 3" in text
    assert "hidden, view 2" in text
    assert "Labels are the answers that it is to find, as numbers." in text
    assert "Given unchanged: targets. Not pictures: vectors." in text
    assert section.images[5]["alt"] == "rotation: images of an image, Mild; labels: 1"
    assert section.images[9]["alt"] == "rotation: hidden, view 2 of an image, Mild"
    assert "details" not in section.tags


def test_what_is_said_of_mistakes(run: Path) -> None:
    index = index_of(run)
    index["mistakes"]["images"][1] |= {"scratch": None, "probability": 0.5, "of_truth": 0.126}
    rewrite(run, index)
    section = Pictures(mistakes_section(read_run(run)))
    text = re.sub(r"\s+", " ", section.text)
    assert "rotation, pretrained, 5 % of the labels, 2 folds, first repetition: 7 of 1,200 test images graded" in text
    assert "Proliferate_DR graded No_DR: 93 % true grade: 2 % from scratch: Severe fold 1 img0" in text
    assert "Proliferate_DR graded No_DR: 50 % true grade: 13 % fold 1 img1" in text
    assert section.images[0]["alt"] == "Test image img0: Proliferate_DR, graded No_DR"
    assert "none is chosen by its score" not in text


def test_photographs_are_counted_and_the_way_without_is_named_once(run: Path) -> None:
    index = index_of(run)  # three mistakes of images that are among the four sample images
    page = Pictures(sections(run)).text
    assert page.count("report.pictures=false") == 1
    assert "This page holds photographs: 4 images of the study, with ids." in page
    rewrite(run, index | {"images": [], "tasks": []})
    page = Pictures(sections(run)).text
    assert page.count("report.pictures=false") == 1
    assert "photographs: 3 images" in page


def test_a_tournament_is_folded_up_and_says_whose_mistakes_are_shown(run: Path) -> None:
    index = index_of(run, tasks=("rotation", "simclr", "mae", "dino"))
    index["mistakes"]["tasks"] = 4
    rewrite(run, index)
    section = views_section(read_run(run))
    assert section.count("<details") == 4
    assert section.count('<details open="">') == 1
    assert "what each pretext task was shown" in section
    assert "Of 4 pretext tasks it is the first in the configuration: none is" in mistakes_section(read_run(run))


def test_without_pictures_the_page_has_none(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert "<img" not in page
    assert "report.pictures=false" not in page
    index = index_of(run)
    rewrite(run, index | {"images": [], "tasks": [], "mistakes": None})
    assert sections(run) == ""


def test_pictures_that_are_not_wanted_are_not_shown_even_if_they_are_there(run: Path) -> None:
    index_of(run)
    (run / "config.toml").write_text("[report]\npictures = false\n")
    assert read_pictures(read_run(run)) == {}
    assert sections(run) == ""


def test_a_head_of_two_classes_and_no_mistake(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=2, classes=("a", "b"), referable=False)
    index = index_of(run)
    index["images"] = [item | {"grade": 1} for item in index["images"]]
    index["mistakes"] |= {"images": [], "wrong": 0, "tested": 1}
    rewrite(run, index)
    text = Pictures(mistakes_section(read_run(run))).text
    assert "0 of 1 test image graded wrongly." in text
    assert "the worst that happened" not in text
    assert Pictures(views_section(read_run(run))).text.splitlines().count("b") == 4


def test_the_page_of_a_run_looks_well(tiny_run: RunResult) -> None:
    with open_page(tiny_run.directory.root / "report" / "index.html") as look:
        for width, scheme in ((1400, "dark"), (400, "light")):
            look.page.set_viewport_size({"width": width, "height": 900})
            look.page.emulate_media(color_scheme=scheme)
            assert look.cut_off() == []
            assert look.serious() == []
            boxes = look.page.evaluate(
                "[...document.querySelectorAll('.sheet img, .mistakes img')].map(i => [i.complete, i.naturalWidth, "
                "i.getBoundingClientRect().width, i.getBoundingClientRect().height])"
            )
            assert len(boxes) == 4 + 4 + 12
            for complete, natural, wide, high in boxes:
                assert complete
                assert natural > 0
                assert 60 <= wide <= 200
                assert abs(wide - high) < 1
        assert look.said == []


@pytest.mark.parametrize("count", [16, 1])
def test_any_number_of_images_fits(run: Path, tmp_path: Path, count: int) -> None:
    index_of(run, images=count, name="a-name-without-an-end" * 4)
    (tmp_path / "page.html").write_text(page("run", NOTHING, Markup(sections(run)), NOTHING), encoding="utf-8")
    with open_page(tmp_path / "page.html") as look:
        for width in (1400, 400):
            look.page.set_viewport_size({"width": width, "height": 900})
            assert look.cut_off() == []
            rows = look.page.evaluate(
                "[...document.querySelectorAll('.strip')].map(s => [...s.querySelectorAll('img')]"
                ".map(i => Math.round(i.getBoundingClientRect().left)))"
            )
            assert len(rows) == 3
            assert rows[0] == rows[1] == rows[2]  # an image and its views stand one below the other
