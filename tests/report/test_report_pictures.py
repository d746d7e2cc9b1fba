"""Pictures in the report: what is shown and said of them, how the page looks, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import open_page
from hostile import NAMES, STEERING
from PIL import Image

from sslkit.checksums import seal
from sslkit.errors import RunDirectoryError
from sslkit.experiment.running import RunResult
from sslkit.printable import printable
from sslkit.report import write_report
from sslkit.report.markup import NOTHING, Markup
from sslkit.report.page import page
from sslkit.report.pictures import read_pictures
from sslkit.report.sections.pictures import mistakes_section, views_section
from sslkit.report.tables import read_run

MakeRun = Callable[..., Path]
Index = dict[str, Any]


class Pictures(HTMLParser):
    """Collects the pictures of a piece of HTML, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


class Drawn:
    """Writes pictures into a run's folder, each of its own colour."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "pictures"
        self.folder.mkdir()
        self.files: list[str] = []

    def draw(self, kind: str = "view", side: int = 80) -> dict[str, Any]:
        number = len(self.files) + 1
        name = f"{kind}-{number}.{'png' if side <= 64 else 'jpg'}"
        pixels = np.full((side, side, 3), (number * 37 % 256, number * 91 % 256, 99), np.uint8)
        Image.fromarray(pixels).save(self.folder / name)
        self.files.append(name)
        return {"file": name, "width": side, "height": side}

    def write(self, index: Index) -> None:
        (self.folder / "pictures.json").write_text(json.dumps(index), encoding="utf-8")
        seal(self.folder, ["pictures.json", *self.files])


def mistake(drawn: Drawn, image: str = "img7", **changes: Any) -> dict[str, Any]:
    said = {"image": image, "fold": 1, "target": 4, "predicted": 0, "probability": 0.934, "of_truth": 0.02}
    return {**said, "scratch": 3, "picture": drawn.draw("mistake"), **changes}


def index_of(
    run: Path, *, images: int = 4, tasks: tuple[str, ...] = ("rotation",), side: int = 80, name: str = "img"
) -> Index:
    """Write pictures of some tasks and three mistakes; return what pictures.json says."""
    drawn = Drawn(run)
    view = {"name": "images", "number": None, "parts": 4, "labels": [f"labels: {k}" for k in range(images)]}
    index: Index = {
        "key": "k",
        "images": [
            {"image": f"{name}{k}", "grade": (0, 1, 3, None)[k % 4], "picture": drawn.draw(side=side)}
            for k in range(images)
        ],
        "tasks": [
            {
                **{"pretext": task, "fold": 0, "unchanged": ["targets"], "unseen": ["vectors"]},
                "views": [
                    {**view, "pictures": [drawn.draw(side=side) for _ in range(images)]},
                    {
                        **{"name": "hidden", "number": 2, "parts": 1, "labels": []},
                        "pictures": [drawn.draw(side=8) for _ in range(images)],
                    },
                ],
            }
            for task in tasks
        ],
        "mistakes": {
            **{"pretext": tasks[0] if tasks else "", "arm": "pretrained", "fraction": 0.05, "folds": 2, "tasks": 1},
            **{"tested": 1200, "wrong": 7},
            "images": [mistake(drawn, f"{name}{k}") for k in range(3)],
        },
    }
    drawn.write(index)
    return index


def rewrite(run: Path, index: Index) -> None:
    (run / "pictures" / "pictures.json").write_text(json.dumps(index), encoding="utf-8")
    seal(run / "pictures", ["pictures.json"])


def sections(run: Path) -> str:
    """Return the two sections without the rest of the page, whose figures take their time."""
    return views_section(read_run(run)) + mistakes_section(read_run(run))


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


# Strangers


def test_no_name_becomes_an_element_an_attribute_or_a_control_character(make_run: MakeRun, tmp_path: Path) -> None:
    pages = []
    for number, names in enumerate((["plain"] * len(NAMES), list(NAMES))):
        run = make_run(fractions=[0.05], folds=1, lines=[("t", "scratch")]).rename(tmp_path / f"run{number}")
        index = index_of(run, tasks=tuple(f"task{k}" for k in range(len(names))))
        for item, name in zip(index["tasks"], names, strict=True):
            item |= {"pretext": name, "unchanged": [name], "unseen": [name]}
            item["views"][0] |= {"name": name, "labels": [name] * 4}
        for item, name in zip(index["images"], names, strict=False):
            item["image"] = name
        for item, name in zip(index["mistakes"]["images"], names, strict=False):
            item["image"] = name
        index["mistakes"] |= {"pretext": names[0], "arm": names[1]}
        rewrite(run, index)
        source = sections(run)
        pages.append(Pictures(source))
        assert not STEERING.intersection(source)
    plain, evil = pages
    assert evil.tags == plain.tags
    assert [sorted(image) for image in evil.images] == [sorted(image) for image in plain.images]
    assert all(str(image["src"]).startswith("data:image/") for image in evil.images)
    for name in NAMES:
        assert printable(name) in evil.text


FILES = [
    "../secret.jpg",
    "/etc/passwd",
    "view-1.svg",
    "view-1.jpg/..",
    "..",
    "",
    "view-1.JPG",
    "a/view-1.jpg",
    "\0.jpg",
]


@pytest.mark.parametrize("file", FILES)
def test_no_file_elsewhere_is_asked_for(run: Path, file: str) -> None:
    index = index_of(run)
    index["images"][0]["picture"]["file"] = file
    rewrite(run, index)
    with pytest.raises(RunDirectoryError, match=r"(?s)pictures\.json is not as 'sslkit run' writes it:\n.*file: "):
        sections(run)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["images"], [{}] * 65),
        (["images", 0, "picture", "width"], 10_000),
        (["images", 0, "picture", "height"], 0),
        (["images", 0, "grade"], "x"),
        (["tasks", 0, "views", 0, "labels"], [1]),
        (["tasks", 0, "views"], {}),
        (["mistakes", "fraction"], 2),
        (["mistakes", "images", 0, "probability"], None),
        (["mistakes", "images", 0, "target"], -1),
        (["mistakes"], []),
    ],
)
def test_what_has_another_type_is_refused(run: Path, path: list[Any], value: Any) -> None:
    index = index_of(run)
    where = index
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    rewrite(run, index)
    with pytest.raises(RunDirectoryError, match=r"pictures\.json is not as 'sslkit run' writes it"):
        sections(run)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["images", 0, "grade"], 5, r"pictures\.json: grade 5 must be in 0\.\.4"),
        (["mistakes", "images", 0, "scratch"], 9, r"grade 9 must be in 0\.\.4"),
        (["tasks", 0, "views", 0, "labels"], ["a"], "one picture, and one label or none, for each of the images"),
        (["tasks", 0, "views", 0, "pictures"], [], "one picture, and one label or none, for each of the images"),
        (["images", 0, "picture", "width"], 79, r"view-1\.jpg has 80 x 80 pixels, and pictures\.json says 79 x 80"),
    ],
)
def test_what_does_not_fit_together_is_refused(run: Path, path: list[Any], value: Any, message: str) -> None:
    index = index_of(run)
    where: Any = index
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    rewrite(run, index)
    with pytest.raises(RunDirectoryError, match=message):
        sections(run)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"<svg onload=alert(1)>"), "cannot be shown: cannot identify image file"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "cannot be shown"),
        (lambda path: path.write_bytes(path.read_bytes() + bytes(300_000)), "larger than 300,000 bytes"),
        (_link, "a link, which may lead out of the run"),
        (_pipe, "not a file but a named pipe"),
        (Path.unlink, "cannot be shown"),
    ],
    ids=["svg", "png", "huge", "link", "pipe", "gone"],
)
def test_what_is_no_picture_is_refused(run: Path, spoil: Callable[[Path], object], message: str) -> None:
    index_of(run)
    (run / "pictures" / "SHA256SUMS").unlink()  # a stranger's folder has what checksums they like
    spoil(run / "pictures" / "view-1.jpg")
    with pytest.raises(RunDirectoryError, match=message):
        sections(run)


def test_a_picture_larger_than_memory_is_never_decoded(run: Path) -> None:
    index = index_of(run)
    path = run / "pictures" / index["tasks"][0]["views"][1]["pictures"][0]["file"]
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2  # what the head of a PNG says of its size
    path.write_bytes(content)
    (run / "pictures" / "SHA256SUMS").unlink()
    with pytest.raises(RunDirectoryError, match="cannot be shown"):
        sections(run)


def test_a_folder_that_was_changed_is_refused(run: Path) -> None:
    index_of(run)
    (run / "pictures" / "view-1.jpg").write_bytes(b"x")
    with pytest.raises(RunDirectoryError, match=r"pictures: view-1\.jpg does not fit its checksum"):
        sections(run)


# How it looks


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
