"""What a head promises of its classes: what they are called, and how they are asked about."""

from __future__ import annotations

import numpy as np

from sslkit.metrics import evaluate
from sslkit.testing.outcome import CheckFailed, expect
from sslkit.testing.subjects import HeadSubject

_NONSENSE = ("", "no such class", -1, 10**9)
_MOST_LISTED = 10
"""Classes of which a message can be asked to list every one."""


def check_classes(subject: HeadSubject) -> None:
    """``class_names`` is a tuple of two or more names, no two of them alike.

    The names stand in reports and predictions, in the order of the grades. A single text is a tuple of its letters.
    """
    names = subject.make().class_names
    sound = isinstance(names, tuple) and len(names) >= 2 and all(isinstance(name, str) and name for name in names)
    expect(sound, f"class_names is {names!r}; give a tuple of two or more names")
    doubled = next((name for name in names if names.count(name) > 1), None)
    expect(doubled is None, f"class_names has {doubled!r} more than once; give each class a name of its own")


def check_grades(subject: HeadSubject) -> None:
    """``grade`` maps the name of each class to its place in ``class_names``, a whole number.

    Folders and tables write labels by name. The order is that of the grades, not that of the alphabet.
    """
    head = subject.make()
    for name in head.class_names:
        grade, place = head.grade(name), head.class_names.index(name)
        expect(
            isinstance(grade, int) and grade == place,
            f"grade({name!r}) is {grade!r}; its place in class_names is {place}",
        )


def check_unknown_labels_are_refused(subject: HeadSubject) -> None:
    """``grade`` refuses a label that is none of its classes by a ValueError, whose message lists what is accepted.

    A label that is taken for another one spoils the scores in silence.
    """
    head = subject.make()
    listed = head.class_names if head.num_classes <= _MOST_LISTED else ()
    for label in _NONSENSE:
        try:
            grade = head.grade(label)
        except ValueError as error:
            missing = [name for name in listed if name not in str(error)]
            expect(
                not missing and bool(str(error).strip()),
                f"grade({label!r}) says {str(error)!r}; list the classes that are accepted",
            )
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise CheckFailed(f"grade({label!r}) raises {said}; raise a ValueError that lists the classes") from error
        else:
            raise CheckFailed(f"grade({label!r}) is {grade!r}; raise a ValueError that lists the classes")


def check_primary_metric(subject: HeadSubject) -> None:
    """``primary_metric`` is a column of results.csv.

    Reports lead with it. See ``sslkit.metrics.evaluate`` for the columns.
    """
    head = subject.make()
    columns = sorted(_columns(head.num_classes, None if head.positive_from is None else 1))
    expect(
        head.primary_metric in columns,
        f"primary_metric is {head.primary_metric!r}; the columns are {', '.join(columns)}",
    )


def _columns(num_classes: int, positive_from: int | None) -> list[str]:
    rows = np.arange(num_classes)
    return list(evaluate(rows, rows, np.eye(num_classes), positive_from, num_classes))


def check_positive_from(subject: HeadSubject) -> None:
    """``positive_from`` is None, or a class in 1..K-1.

    There must be a class on either side of the question.
    """
    head = subject.make()
    lowest, most = head.positive_from, head.num_classes - 1
    expect(
        lowest is None or (isinstance(lowest, int) and 1 <= lowest <= most),
        f"positive_from is {lowest!r}; give the lowest class that counts as positive, 1..{most}, or None",
    )
