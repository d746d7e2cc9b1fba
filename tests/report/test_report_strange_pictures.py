"""A folder of pictures that a stranger wrote: what is text to the page, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile import NAMES, STEERING
from pictures_folder import Pictures, index_of, rewrite, sections

from sslkit.errors import RunDirectoryError
from sslkit.printable import printable

MakeRun = Callable[..., Path]


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    return make_run(fractions=[0.05], folds=2)


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
