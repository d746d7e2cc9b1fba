from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from sslkit import Record
from sslkit.errors import DataError
from sslkit_image_folder import EXTENSIONS, ImageFolder, ImageFolderConfig, sslkit_datasets

GRADES = ("Mild", "Moderate", "No_DR", "Proliferate_DR", "Severe")


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def records(root: Path, group_pattern: str | None = None) -> list[Record]:
    return list(ImageFolder(ImageFolderConfig(path=root, group_pattern=group_pattern)).records())


def test_the_hook_returns_the_class() -> None:
    assert list(sslkit_datasets()) == [ImageFolder]
    assert ImageFolder.name == "image-folder"


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{grade}/{number}.png" for grade in reversed(GRADES) for number in (2, 1)))
    found = records(tmp_path)
    assert [record.id for record in found] == [f"{grade}/{number}.png" for grade in GRADES for number in (1, 2)]
    assert [record.label for record in found] == [grade for grade in GRADES for _ in (1, 2)]
    assert [record.path for record in found] == [tmp_path / record.id for record in found]
    data = ImageFolder(ImageFolderConfig(path=tmp_path))
    assert pickle.loads(pickle.dumps(data)).read(found[0]) == b"Mild/1.png"


def test_a_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    fill(tmp_path, "b.png", "a.png")
    assert records(tmp_path) == [Record("a.png", tmp_path / "a.png"), Record("b.png", tmp_path / "b.png")]


def test_images_beside_class_folders_are_unlabelled(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "Mild/b.png")
    assert [(record.id, record.label) for record in records(tmp_path)] == [("Mild/b.png", "Mild"), ("a.png", None)]


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    fill(tmp_path, "Mild/left/x/1.png", "Mild/2.png", "Severe/right/3.png")
    assert {record.id: record.label for record in records(tmp_path)} == {
        "Mild/2.png": "Mild",
        "Mild/left/x/1.png": "Mild",
        "Severe/right/3.png": "Severe",
    }


@pytest.mark.parametrize("ending", [*EXTENSIONS, *(ending.upper() for ending in EXTENSIONS)])
def test_every_extension_counts(tmp_path: Path, ending: str) -> None:
    fill(tmp_path, f"x{ending}", "readme.txt", "noextension", "png", "Thumbs.db")
    assert [record.id for record in records(tmp_path)] == [f"x{ending}"]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", ".b.png", ".cache/c.png", "__MACOSX/._a.png")
    assert [record.id for record in records(tmp_path)] == ["a.png"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, "odd.png/a.png")
    assert [(record.id, record.label) for record in records(tmp_path)] == [("odd.png/a.png", "odd.png")]


def test_links_that_go_in_a_circle_end(tmp_path: Path) -> None:
    fill(tmp_path, "Mild/a.png", "Mild/deep/b.png")
    (tmp_path / "Mild" / "deep" / "up").symlink_to(tmp_path / "Mild")
    (tmp_path / "self").symlink_to(tmp_path)
    assert [record.id for record in records(tmp_path)] == ["Mild/a.png", "Mild/deep/b.png"]


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "store", "1/a.png", "b.png")
    (tmp_path / "data" / "Mild").mkdir(parents=True)
    (tmp_path / "data" / "Severe").symlink_to(tmp_path / "store" / "1")
    (tmp_path / "data" / "Mild" / "c.png").symlink_to(tmp_path / "store" / "b.png")
    assert [record.id for record in records(tmp_path / "data")] == ["Mild/c.png", "Severe/a.png"]


def test_a_link_to_nothing_is_listed_and_fails_when_read(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (record,) = records(tmp_path)
    with pytest.raises(FileNotFoundError):
        ImageFolder(ImageFolderConfig(path=tmp_path)).read(record)


def test_one_folder_in_two_classes_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "Mild/a.png", "Severe/b.png")
    (tmp_path / "Mild" / "also").symlink_to(tmp_path / "Severe")
    (tmp_path / "Severe" / "also").symlink_to(tmp_path / "Mild")
    with pytest.raises(DataError, match=r"\S+ and \S+ in .* are one folder, by a symbolic link; .* remove the link"):
        records(tmp_path)


def test_the_pattern_gives_the_group(tmp_path: Path) -> None:
    fill(tmp_path, "0/17_left.jpeg", "1/17_right.jpeg", "1/4_left.jpeg")
    assert [record.group for record in records(tmp_path, r"^(\d+)_")] == ["17", "17", "4"]
    assert [record.group for record in records(tmp_path, "")] == [None] * 3


def test_a_file_name_without_a_group_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "9_x/1_left.png", *(f"{name}.png" for name in "abcd"))
    message = (
        r"group_pattern '\^\(\\\\d\+\)_' finds no group in 4 of 5 file names: a\.png, b\.png, c\.png, \.\.\.; every"
    )
    with pytest.raises(DataError, match=message):
        records(tmp_path, r"^(\d+)_")
    with pytest.raises(DataError, match=r"finds no group in 4 of 5 file names"):
        records(tmp_path, r"^(\d*)")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"'\(' is not a regular expression: missing \)"),
        (r"\d+", "has 0 groups; put one pair of parentheses around the patient's name"),
        ("(a){99999999999999}", "is not a regular expression: the repetition number is too large"),
        ("(" * 5000, r"'\(+ \.\.\. \(+' is not a regular expression: "),
        ("([[a])", "is not a regular expression: Possible nested set at position 2"),
        (r"(\d)(\d)", "has 2 groups; put one pair of parentheses"),
    ],
)
def test_an_impossible_pattern_is_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageFolderConfig(path=tmp_path, group_pattern=pattern)


def test_no_image_says_where_and_what_was_looked_for(tmp_path: Path) -> None:
    fill(tmp_path, "Mild/readme.txt")
    with pytest.raises(
        DataError, match=rf"no image in {tmp_path} or in any folder below it; looked for \.bmp, .*\.webp"
    ):
        records(tmp_path)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"a\.png is a file; set path to the folder of the images"):
        records(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"none is missing; set path to the folder of the images"):
        records(tmp_path / "none")
