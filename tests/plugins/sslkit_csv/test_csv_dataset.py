from __future__ import annotations

import json
import os
import pickle
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from sslkit import Record
from sslkit.errors import DataError
from sslkit_csv import EXTENSIONS, Csv, CsvConfig, sslkit_datasets

FUNDUS600 = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "fundus600"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for name in ("a.png", "b.png", "c.JPG", "img/d.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def dataset(folder: Path, text: str | bytes, **options: object) -> Csv:
    table = folder / "labels.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    return Csv(CsvConfig(table=table, **options))


def test_the_hook_returns_the_class() -> None:
    assert list(sslkit_datasets()) == [Csv]
    assert Csv.name == "csv"


def test_a_row_is_a_record(folder: Path) -> None:
    data = dataset(folder, "image,label,patient\na.png, 2 ,P1\nimg/d.png,,\n", group_column="patient")
    assert data.records() == [
        Record("a.png", folder / "a.png", "2", "P1"),
        Record("img/d.png", folder / "img/d.png", None, None),
    ]
    assert data.read(data.records()[1]) == b"img/d.png"
    assert pickle.loads(pickle.dumps(data)).records() == data.records()


def test_a_pattern_takes_the_group_from_the_name(folder: Path) -> None:
    data = dataset(folder, "image,label\nimg/d.png,0\na.png,1\n", group_pattern=r"^(\w)\.")
    assert [record.group for record in data.records()] == ["d", "a"]
    with pytest.raises(DataError, match=r"group_pattern .* finds no group in 2 of 2 file names: img/d\.png, a\.png"):
        dataset(folder, "image,label\nimg/d.png,0\na.png,1\n", group_pattern=r"^(\d+)_").records()


def test_two_sources_of_groups_are_refused(folder: Path) -> None:
    with pytest.raises(ValidationError, match="group_column and group_pattern both tell the patient; give one of them"):
        dataset(folder, "image,label,patient\na.png,0,P1\n", group_column="patient", group_pattern="(a)")


def test_the_columns_may_be_called_otherwise(folder: Path) -> None:
    data = dataset(folder, "file,image,dr\na.png,1,3\n", image_column="file", label_column="dr")
    assert data.records() == [Record("a.png", folder / "a.png", "3", None)]


@pytest.mark.parametrize("label_column", [None, "", "grade"])
def test_a_table_without_labels_is_one_for_whoever_reads_the_written_options_too(label_column: str | None) -> None:
    config = CsvConfig(table=Path("/labels.csv"), label_column=label_column)
    assert CsvConfig.model_validate_json(config.model_dump_json(exclude_none=True)) == config


@pytest.mark.parametrize("label_column", [None, ""])
def test_a_table_without_labels(folder: Path, label_column: str | None) -> None:
    records = dataset(folder, "image\na.png\nb.png\n", label_column=label_column).records()
    assert [record.label for record in records] == [None, None]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_save(folder: Path, delimiter: str, mark: bytes, newline: str) -> None:
    rows = [
        ["image", "label", '"left, or; right"'],
        ["a.png", "1", '"x, y; z"'],
        ["", "", ""],
        ["b.png", "0", ""],
        [""],
    ]
    text = newline.join(delimiter.join(row) for row in rows)
    records = dataset(folder, mark + text.encode()).records()
    assert [(record.id, record.label) for record in records] == [("a.png", "1"), ("b.png", "0")]


def test_a_given_delimiter_is_used(folder: Path) -> None:
    assert dataset(folder, "image|label,x\na.png|1\n", delimiter="|", label_column="label,x").records()[0].label == "1"


def test_windows_paths_and_detours(folder: Path) -> None:
    records = dataset(folder, "image,label\nimg\\d.png,1\n.\\img\\..\\a.png,0\n").records()
    assert [record.id for record in records] == ["img/d.png", "a.png"]
    assert [record.path for record in records] == [folder / "img/d.png", folder / "a.png"]


def test_an_absolute_path_must_lie_in_the_images_folder(folder: Path) -> None:
    records = dataset(folder, f"image,label\n{folder}/a.png,1\n{folder}/img/../b.png,0\n").records()
    assert [record.path for record in records] == [folder / "a.png", folder / "b.png"]
    with pytest.raises(
        DataError, match=r"line 2: '.*/a\.png' leaves the images folder .*img; set images to a folder that"
    ):
        dataset(folder, f"image,label\n{folder}/a.png,1\n", images=folder / "img").records()


def test_the_configuration_may_name_a_folder_that_holds_them_all(folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "e.png").touch()
    records = dataset(folder, f"image,label\n{folder}/a.png,1\n{elsewhere}/e.png,0\n", images=Path("/")).records()
    assert [record.path for record in records] == [folder / "a.png", elsewhere / "e.png"]


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "//server/share/a.png", "\\\\server\\share\\a.png", "C:\\scans\\a.png", "c:/a.png"),
        *("..", "../a.png", "img/../../a.png", "/proc/self/environ", ".", "img/.."),
    ],
)
def test_a_name_that_leads_out_of_the_images_folder_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"labels\.csv, line 2: .* leaves the images folder"):
        dataset(folder, f"image,label\n{name},1\n").records()


def test_an_absolute_path_may_come_by_a_link_to_the_images_folder(folder: Path, tmp_path_factory) -> None:
    link = tmp_path_factory.mktemp("home") / "study"
    link.symlink_to(folder)
    records = dataset(folder, f"image,label\n{link}/a.png,1\n").records()
    assert [record.path for record in records] == [link / "a.png"]


def test_links_within_the_images_folder_are_followed(folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "e.png").touch()
    (folder / "linked").symlink_to(elsewhere)
    assert dataset(folder, "image,label\nlinked/e.png,1\n").records()[0].path == folder / "linked" / "e.png"


def test_a_relative_images_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert dataset(folder, "image,label\n./a.png,1\n", images=Path()).records()[0].path == Path("a.png")
    with pytest.raises(DataError, match="leaves the images folder"):
        dataset(folder, "image,label\n../a.png,1\n", images=Path()).records()


def test_a_folder_whose_name_begins_alike_is_another(folder: Path) -> None:
    (folder / "img-private").mkdir()
    (folder / "img-private" / "a.png").touch()
    with pytest.raises(DataError, match="leaves the images folder"):
        dataset(folder, f"image,label\n{folder}/img-private/a.png,1\n", images=folder / "img").records()


def test_extensions_that_the_table_leaves_out(folder: Path) -> None:
    records = dataset(folder, "image,label\na,0\nc,1\nimg/d,2\n").records()
    assert [record.id for record in records] == ["a", "c", "img/d"]
    assert [record.path.name for record in records if record.path] == ["a.png", "c.JPG", "d.png"]


@pytest.mark.parametrize("ending", [*EXTENSIONS, *(ending.upper() for ending in EXTENSIONS)])
def test_every_usual_extension_is_tried(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"10_left{ending}").touch()
    assert dataset(tmp_path, "image,label\n10_left,0\n").records()[0].path == tmp_path / f"10_left{ending}"


@pytest.mark.parametrize("extension", ["png", ".png"])
def test_a_given_extension_is_appended_where_it_is_missing(folder: Path, extension: str) -> None:
    (folder / "a.jpg").touch()
    records = dataset(folder, "image,label\na,0\nb.png,1\n", extension=extension).records()
    assert [record.path for record in records] == [folder / "a.png", folder / "b.png"]


def test_a_link_to_an_image_is_an_image(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "a.png")
    assert dataset(folder, "image,label\nlink,0\n").records()[0].path == folder / "link.png"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, r"labels\.csv is empty; its first line must name the columns"),
        ("image,label\n\n", {}, "has no rows below its header"),
        (
            "imgae,label\na.png,1\n",
            {},
            r"no column 'image' \(image_column\); did you mean 'imgae'.; its columns: imgae",
        ),
        (
            "image,grade\na.png,1\n",
            {},
            r"no column 'label' \(label_column\); its columns: image, grade. Set label_column",
        ),
        (
            "image,label,patients,,\na.png,1,2,,\n",
            {"group_column": "patient"},
            r"no column 'patient' \(group_column\); did you mean 'patients'.; its columns: image, label, patients\. ",
        ),
        ("image,label,label\na.png,1,1\n", {}, r"has 2 columns 'label' \(label_column\); rename all but one"),
        (
            "image,label\na.png,1\n\nb.png\n",
            {},
            "line 4: 1 cells where the header has 2 columns; quote cells that hold ','",
        ),
        ("image,label\na.png,1,5\n", {}, "line 2: 3 cells where the header has 2 columns"),
        ('image,label\n"a\n.png",1,5\n', {}, "line 2: 3 cells"),
        ("image,label\n,1\n", {}, "line 2: the cell of column 'image' is blank"),
        (
            'image,label\na.png,1\n"b.png,2\n',
            {},
            "line 3: not a valid table: unexpected end of data; look for a stray quote",
        ),
        ('image,label\n"a.png"x,1\n', {}, "line 2: not a valid table: ',' expected after '\"'"),
        (
            "image,label\na.png,1\nb.png,1\na.png,2\n",
            {},
            "line 4: the image 'a.png' stands in line 2 already, with the label '1' there and '2' here",
        ),
        ("image,label\na.png,1\na,1\n", {}, "line 3: the image 'a' stands in line 2 already; keep one of the rows"),
        ("image,label\nimg/../../a.png,1\n", {}, r"line 2: 'img/../../a.png' leaves the images folder .*; set images"),
        ("image,label\n..\\a.png,1\n", {}, r"line 2: '../a.png' leaves the images folder"),
        (
            "image,label\na.png,0\nx.png,0\ny,1\nimg,2\nnone/z.png,1\n",
            {},
            r"4 of the 5 images in .*labels\.csv do not exist: 'x\.png' \(line 3\), 'y' \(line 4\), 'img' \(line 5\), "
            r"\.\.\.; looked for in .*, also with \.png, \.jpg, .*\. Set images to the folder",
        ),
        (
            "image,label\na,0\nc,1\n",
            {"extension": "png"},
            r"1 of the 2 images in .* do not exist: 'c' \(line 3\); looked for in .*, with the extension \.png",
        ),
        (b"\xff\xfei\x00m\x00", {}, "is UTF-16 text; save it as CSV in UTF-8"),
        (b"PK\x03\x04rest", {}, "is a spreadsheet or zip file, not text; save it as CSV in UTF-8"),
        ("image,label\na.png,mäßig\n".encode("latin-1"), {}, "line 2: not UTF-8 text; save it as CSV in UTF-8"),
    ],
)
def test_every_fault_of_a_table_is_named(
    folder: Path, text: str | bytes, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        dataset(folder, text, **options).records()


def test_a_name_that_fits_two_files_is_refused(folder: Path) -> None:
    (folder / "a.JPG").touch()
    with pytest.raises(DataError, match=r"line 2: 'a' may be any of a\.png, a\.JPG; set extension"):
        dataset(folder, "image,label\na,1\n").records()


def test_a_missing_table_or_folder(folder: Path) -> None:
    (folder / "labels.csv").write_text("image,label\na.png,1\n")
    with pytest.raises(DataError, match=r"no table at .*label\.csv; did you mean 'labels\.csv'"):
        Csv(CsvConfig(table=folder / "label.csv")).records()
    with pytest.raises(DataError, match=r"no table at .*/nowhere/labels\.csv$"):
        Csv(CsvConfig(table=folder / "nowhere" / "labels.csv")).records()
    with pytest.raises(DataError, match=r"the images folder .*imgs does not exist; set images to the folder"):
        Csv(CsvConfig(table=folder / "labels.csv", images=folder / "imgs")).records()
    with pytest.raises(DataError, match=r"the table .* cannot be read: "):
        Csv(CsvConfig(table=folder / "img")).records()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_that_may_not_be_listed(folder: Path) -> None:
    (folder / "img").chmod(0)
    with pytest.raises(DataError, match=r"the folder .* cannot be listed: Permission denied"):
        dataset(folder, "image,label\nimg/d.png,1\n").records()


@pytest.mark.parametrize("delimiter", [",,", '"', "\n"])
def test_an_impossible_delimiter_is_refused(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(ValidationError, match="is no delimiter; give one character"):
        CsvConfig(table=tmp_path, delimiter=delimiter)


def test_a_configuration_file_may_be_relative(folder: Path) -> None:
    (folder / "labels.csv").write_text("image,label\nd.png,1\n")
    text = json.dumps({"table": "labels.csv", "images": "img"})
    config = CsvConfig.model_validate_json(text, context={"root": folder})
    assert Csv(config).records()[0].path == folder.resolve() / "img/d.png"


def test_folders_are_listed_once_not_asked_for_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 5000
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        for number in range(10):
            (tmp_path / folder / f"{number}.png").touch()
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    text = "image,label\n" + "".join(f"{'xy'[row % 2]}/{row},{row % 5}\n" for row in range(rows))
    started = time.perf_counter()
    with pytest.raises(DataError, match=f"{rows - 10} of the {rows} images"):
        dataset(tmp_path, text).records()
    assert listed == [str(tmp_path / "x"), str(tmp_path / "y")]
    assert time.perf_counter() - started < 5


@pytest.mark.skipif(not FUNDUS600.is_dir(), reason=f"no fundus600 at {FUNDUS600}")
def test_real_table() -> None:
    config = CsvConfig(table=FUNDUS600 / "labels.csv", label_column="grade", group_column="patient")
    records = Csv(config).records()
    assert len({record.id for record in records}) == 600
    assert len({record.group for record in records}) == 300
    labels = [record.label for record in records]
    assert [labels.count(str(grade)) for grade in range(5)] == [276, 99, 168, 34, 23]
