from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslkit import GradedImage
from sslkit.errors import DataError
from sslkit.experiment.graded_files import check_output, json_lines, write_answers

NAMES = ("No", "A, few", "Many")
ANSWERS = [
    GradedImage("a.png", 1, "A, few", {"No": 0.1, "A, few": 0.6, "Many": 0.30000001192092896}, True, 0.3),
    GradedImage('b",\n.png', error="not an image"),
    GradedImage("c\udcff.png", 0, "No", {"No": 1.0, "A, few": 0.0, "Many": 0.0}),
]


def test_a_table_holds_every_answer_in_its_columns(tmp_path: Path) -> None:
    write_answers(tmp_path / "grades.csv", iter(ANSWERS), NAMES)

    text = (tmp_path / "grades.csv").read_text()
    assert text.splitlines()[0] == "image,grade,grade_name,p_0,p_1,p_2,referable,referable_probability,error"
    with (tmp_path / "grades.csv").open(newline="") as file:
        first, second, third = csv.DictReader(file)
    assert list(first.values()) == ["a.png", "1", "A, few", "0.1", "0.6", "0.30000001192092896", "true", "0.3", ""]
    assert list(second.values()) == ['b",\n.png', *[""] * 7, "not an image"]
    assert list(third.values()) == ["c\\udcff.png", "0", "No", "1.0", "0.0", "0.0", "", "", ""]


def test_json_holds_what_the_answers_do(tmp_path: Path) -> None:
    write_answers(tmp_path / "grades.JSON", iter(ANSWERS), NAMES)

    answers = json.loads((tmp_path / "grades.JSON").read_text())

    assert [GradedImage(**answer) for answer in answers] == ANSWERS
    assert list(answers[0]) == [
        *("image", "grade", "grade_name", "probabilities", "referable", "referable_probability", "error")
    ]


def test_json_is_an_array_however_many_there_are() -> None:
    for count in (0, 1, 3):
        text = "".join(json_lines(ANSWERS[:count]))
        assert len(json.loads(text)) == count
        assert text == json.dumps(json.loads(text), indent=2) + "\n"


@pytest.mark.parametrize("name", ["grades.csv", "grades.json"])
def test_each_answer_is_written_before_the_next_is_taken(tmp_path: Path, name: str) -> None:
    """A file is written in constant memory, and appears under its name once it is whole."""
    sizes = []

    def give() -> Iterator[GradedImage]:
        for number in range(2000):
            if number % 500 == 499:
                (part,) = tmp_path.iterdir()
                sizes.append(part.stat().st_size)
                assert part.name != name
            yield ANSWERS[0]

    write_answers(tmp_path / name, give(), NAMES)

    assert sizes[0] > 10_000
    assert sizes == sorted(set(sizes))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_stops_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    path.write_text("of yesterday")

    def give() -> Iterator[GradedImage]:
        yield ANSWERS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_answers(path, give(), NAMES)

    assert path.read_text() == "of yesterday"
    assert [left.name for left in tmp_path.iterdir()] == ["grades.csv"]


def test_names_that_nothing_can_be_written_to_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output(tmp_path / "grades.CSV")
    with pytest.raises(DataError, match=r"grades\.xlsx is neither a table nor JSON; .* ends in \.csv or \.json"):
        check_output(tmp_path / "grades.xlsx")
    with pytest.raises(DataError, match=r"grades\.csv cannot be written: there is no folder .*nowhere"):
        check_output(tmp_path / "nowhere" / "grades.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv is a folder"):
        check_output(tmp_path / "folder.csv")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DataError, match=r"grades\.csv cannot be written: nothing may be written into the folder"):
        check_output(tmp_path / "grades.csv")
