"""Writes answers to a file as they come, in constant memory: a table, or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sslkit.errors import DataError
from sslkit.experiment.graded import GradedImage
from sslkit.files import why_unwritable, write_atomically

FORMATS = (".csv", ".json")
"""What a file of answers may end in."""


def check_output(path: Path) -> None:
    """Refuse a file that no answers can be written to, before any is computed.

    Raises:
        DataError: if its name has another ending, it would be a folder or in none, or its folder is read-only.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path} is neither a table nor JSON; give a name that ends in {' or '.join(FORMATS)}")
    if reason := why_unwritable(path):
        raise DataError(f"{path} {reason}; give the path of a file in a folder that exists")


def write_answers(path: Path, answers: Iterable[GradedImage], class_names: Sequence[str]) -> None:
    """Write answers as they come; the file is whole, or what was there before.

    A table has the columns ``image``, ``grade``, ``grade_name``, ``p_0`` and so on, ``referable``,
    ``referable_probability`` and ``error``; what is not known is empty, and floats keep all their digits.

    Args:
        path: ending in ``.csv`` or ``.json``.
        answers: the answers.
        class_names: names of the K classes.

    Raises:
        StorageError: if the disk is full, or the file cannot be written.
    """
    lines = json_lines(answers) if path.suffix.lower() == ".json" else _rows(answers, class_names)

    def write(file: Any) -> None:
        for line in lines:  # what a name holds that is no text is written as JSON does
            file.write(line.encode(errors="backslashreplace"))

    write_atomically(path, write)


def json_lines(answers: Iterable[GradedImage]) -> Iterator[str]:
    r"""Yield the parts of one JSON array that holds an object for each answer, as they come.

    Example:
        >>> text = "".join(json_lines([GradedImage("a.png", 2, "Moderate", {"Moderate": 1.0})]))
        >>> [answer["grade"] for answer in json.loads(text)]
        [2]
    """
    before = "[\n"
    for answer in answers:
        yield before + "  " + json.dumps(asdict(answer), indent=2, allow_nan=False).replace("\n", "\n  ")
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _rows(answers: Iterable[GradedImage], class_names: Sequence[str]) -> Iterator[str]:
    shares = [f"p_{k}" for k in range(len(class_names))]
    yield _row(["image", "grade", "grade_name", *shares, "referable", "referable_probability", "error"])
    for answer in answers:
        given = answer.probabilities or {}
        values = [given.get(name) for name in class_names]
        referable = None if answer.referable is None else str(answer.referable).lower()
        chosen = [answer.image, answer.grade, answer.grade_name, *values]
        yield _row([*chosen, referable, answer.referable_probability, answer.error])


def _row(cells: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return buffer.getvalue()
