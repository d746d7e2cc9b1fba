from __future__ import annotations

import re
from pathlib import Path

import pytest
from object_store import parquet

from sslkit.data.image_files import SUFFIXES, ImageFiles
from sslkit.data.reading import FORMATS
from sslkit.errors import DataError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(files: ImageFiles, below: Path) -> list[str]:
    found = [path.relative_to(below).as_posix() for path in files]
    assert files.count() == len(found)
    return found


def test_a_folder_gives_its_images_sorted_and_none_that_is_hidden(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/1.png", "a.tiff", "c.webp", ".hidden.png", ".trash/x.png", "notes.txt", "b/no_suffix")

    assert names(ImageFiles([tmp_path]), tmp_path) == ["a.tiff", "b/1.png", "b/2.JPG", "c.webp"]
    assert names(ImageFiles([tmp_path], suffixes=(".txt",)), tmp_path) == ["notes.txt"]
    assert [path.name for path in ImageFiles([tmp_path / ".trash"])] == ["x.png"]


def test_every_format_that_is_read_has_a_suffix_that_is_looked_for() -> None:
    from PIL import Image

    Image.init()
    known = {suffix for suffix, kind in Image.EXTENSION.items() if kind in FORMATS}
    assert set(SUFFIXES) <= known
    assert {Image.EXTENSION[suffix] for suffix in SUFFIXES} == set(FORMATS)


def test_links_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    touch(tmp_path, "scans/a.png", "elsewhere/b.png")
    (tmp_path / "scans" / "up").symlink_to(tmp_path / "scans")
    (tmp_path / "scans" / "z").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scans" / "self.png").symlink_to(tmp_path / "scans" / "self.png")

    assert names(ImageFiles([tmp_path / "scans"]), tmp_path) == ["scans/a.png", "scans/self.png", "scans/z/b.png"]


def test_a_pattern_gives_files_of_any_suffix_but_no_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x/2.jpg", "x/y/1.jpg", "x/y/scan", "x/.hidden.jpg")

    assert names(ImageFiles([tmp_path / "**" / "*.jpg"]), tmp_path) == ["x/2.jpg", "x/y/1.jpg"]
    assert names(ImageFiles([tmp_path / "x" / "*"]), tmp_path) == ["x/2.jpg"]
    assert names(ImageFiles([tmp_path / "x" / "y" / "s*"]), tmp_path) == ["x/y/scan"]


def test_a_name_that_looks_like_a_pattern_is_the_file_where_there_is_one(tmp_path: Path) -> None:
    touch(tmp_path, "scan[1].png", "scan1.png")
    assert names(ImageFiles([tmp_path / "scan[1].png"]), tmp_path) == ["scan[1].png"]
    (tmp_path / "table[1].csv").write_text("image\nscan1.png\n")
    assert names(ImageFiles([tmp_path / "table[1].csv"]), tmp_path) == ["scan1.png"]


def test_what_was_named_comes_in_its_order_and_as_often_as_it_was_named(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.png")
    given = [tmp_path / "b.png", tmp_path, tmp_path / "absent.png"]
    assert names(ImageFiles(given), tmp_path) == ["b.png", "a.png", "b.png", "absent.png"]


@pytest.mark.parametrize("name", ["list.csv", "list.TSV"])
def test_a_table_gives_the_files_of_its_column(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "t/left/1.png", "t/2.jpeg")
    table = tmp_path / "t" / name
    gap = "\t" if name.endswith("TSV") else ","
    table.write_text(f"grade{gap}image\n1{gap}left\\1.png\n{gap}2\n0{gap}absent.png\n0{gap}left/1.png\n")

    assert names(ImageFiles([table]), tmp_path) == ["t/left/1.png", "t/2.jpeg", "t/absent.png", "t/left/1.png"]


def test_a_table_may_have_another_column_and_another_folder(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.png", "tables/x")
    table = tmp_path / "tables" / "list.csv"
    table.write_text(f"file\n1.png\n{tmp_path}/images/1.png\n")

    files = ImageFiles([table], image_column="file", root=tmp_path / "images")

    assert names(files, tmp_path) == ["images/1.png", "images/1.png"]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_a_table_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    table = touch(tmp_path, "t/list.csv") / "t" / "list.csv"
    table.write_text(f"image\n{name}\n")
    with pytest.raises(DataError, match=rf"list\.csv, line 2: '{re.escape(name)}' leads out of the folder .*--root"):
        ImageFiles([table]).count()


def test_what_gives_nothing_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "empty/notes.txt", "empty/.x.png")
    with pytest.raises(DataError, match=r"no image in the folder .*empty or in any folder below it; .* Hidden files"):
        ImageFiles([tmp_path / "empty"]).count()
    with pytest.raises(DataError, match=r"no file fits the pattern '.*\*\.jpg'; .* in quotes"):
        ImageFiles([str(tmp_path / "*.jpg")]).count()
    with pytest.raises(DataError, match=r"no table at .*absent\.csv"):
        ImageFiles([tmp_path / "absent.csv"]).count()
    (tmp_path / "list.csv").write_text("image\n1.png\n")
    with pytest.raises(DataError, match=r"no column 'file' \(--image-column\)"):
        ImageFiles([tmp_path / "list.csv"], image_column="file").count()
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; --root is what the paths in .*list\.csv are"):
        ImageFiles([tmp_path / "list.csv"], root=tmp_path / "nowhere").count()


def test_a_name_that_cannot_be_a_path_is_left_to_whoever_reads_it() -> None:
    given = ["x" * 5000, "a\0b"]
    assert [str(path) for path in ImageFiles(given)] == given


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match=r"the folder .* cannot be listed: Permission denied"):
        list(ImageFiles([tmp_path]))


def test_a_parquet_table_names_images_and_its_rows(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    table = tmp_path / "grades.parquet"
    table.write_bytes(parquet(id_code=["a", "sub/b.png"]))
    assert list(ImageFiles([table], image_column="id_code")) == [tmp_path / "a.png", tmp_path / "sub/b.png"]
    table.write_bytes(parquet(id_code=["a", "../b.png"]))
    with pytest.raises(DataError, match=r"grades\.parquet, row 2: '\.\./b\.png' leads out of the folder"):
        list(ImageFiles([table], image_column="id_code"))
