"""What a data set promises of its records: a list that is well formed, stable, and made without looking at images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np

from sslkit.data.manifest import fits_tables
from sslkit.errors import ConfigError, DataError
from sslkit.storage import StoredObject
from sslkit.testing.memory import peak_memory
from sslkit.testing.openings import files_opened
from sslkit.testing.outcome import CheckFailed, expect
from sslkit.testing.subjects import DatasetSubject
from sslkit.types import Record

_ALLOWED = 2**18
"""Bytes that any listing may take, beside what it takes for each record."""

_ALLOWED_A_RECORD = 2**12


def check_records(subject: DatasetSubject) -> None:
    """There is at least one record, and each is made of texts, whole numbers and absolute paths.

    Labels are mapped to grades and ids are written to tables as they are. A whole number of numpy is none of Python's:
    use ``int(label)``, or ``array.tolist()``.
    """
    records = subject.make().records()
    expect(isinstance(records, Sequence), f"records() returns {type(records).__name__}; return a list")
    expect(len(records) > 0, "records() is empty; raise sslkit.errors.DataError where there is no image")
    for place, record in enumerate(records):
        expect(isinstance(record, Record), f"records() holds {record!r} at place {place}, which is no sslkit.Record")
        for name, types in _FIELDS.items():
            value = getattr(record, name)
            wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
            expect(isinstance(value, types), f"the {name} of record {place} is {value!r}; give {wanted}")
        expect(
            record.path is None or record.path.is_absolute(),
            f"the path of record {place} is relative, {str(record.path)!r}; a worker may be in another folder",
        )


_FIELDS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "path": (Path, type(None)),
    "label": (str, int, type(None)),
    "group": (str, type(None)),
    "source": (str,),
    "stored": (StoredObject, type(None)),
}


def check_ids(subject: DatasetSubject) -> None:
    """Each record has an id of its own that is not empty, and that a table can hold.

    It names the image in splits.json and predictions.csv. A table holds no carriage return, and no bytes of a file's
    name that are no text.
    """
    ids = [record.id for record in subject.make().records()]
    name, count = Counter(ids).most_common(1)[0]
    expect(count == 1, f"{count} records have the id {name!r}; put the folder into it, or whatever tells them apart")
    for name in ids:
        expect(name != "", "a record has an empty id; name each image")
        expect(fits_tables(name), f"the id {name!r} has a carriage return, or bytes that are no UTF-8 text")


def check_records_are_stable(subject: DatasetSubject) -> None:
    """The records are the same, in the same order, at every listing, by one instance or by two.

    A run is taken up by a process that lists the records anew. Sort what a folder holds.
    """
    dataset = subject.make()
    first = list(dataset.records())
    _expect_equal(first, list(dataset.records()), "the second time")
    _expect_equal(first, list(subject.make().records()), "by another instance")


def _expect_equal(first: list[Record], second: list[Record], when: str) -> None:
    expect(len(first) == len(second), f"there are {len(first)} records, and {when} {len(second)}")
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        expect(one == other, f"record {place} is {one}, and {when} {other}; sort them, and draw nothing by chance")


def check_listing_opens_no_image(subject: DatasetSubject) -> None:
    """``records`` opens none of the files that it lists.

    Planning a run lists the records of a hundred thousand images in seconds. Take labels and groups from a table, or
    from the names of files and folders; whatever the image itself says is found out by ``read``.
    """
    dataset = subject.make()
    with files_opened() as opened:
        records = dataset.records()
    _expect_no_image_opened(records, opened, "records()")


def check_listing_holds_no_pixels(subject: DatasetSubject) -> None:
    """``records`` reads no image, and takes clearly less memory than the images would.

    Images that lie in one archive are to be read when they are asked for, one by one where the format allows it.
    """
    records = subject.make().records()  # what is imported meanwhile is no part of the listing
    dataset = subject.make()
    with patch.object(dataset, "read", wraps=dataset.read) as read:
        peak = peak_memory(dataset.records)
    expect(not read.called, "records() calls read(); take labels and groups from elsewhere")
    sizes = [
        len(content) if isinstance(content, bytes) else np.asarray(content).nbytes for content in _contents(subject)
    ]
    allowed = _ALLOWED + len(records) * (_ALLOWED_A_RECORD + int(np.mean(sizes)) // 2)
    expect(
        peak <= allowed,
        f"records() takes {peak:,} bytes of memory at its peak for {len(records)} images; it may take {allowed:,}. "
        "Does it read pixels?",
    )


def _contents(subject: DatasetSubject) -> list[object]:
    dataset, records = subject.listed()
    return [dataset.read(record) for record in records]


def check_unlisted(subject: DatasetSubject) -> None:
    """``unlisted`` names images by texts, none of them listed, and opens no image.

    The audit tells of them. Compare names, as a listing of the folder gives them.
    """
    dataset = subject.make()
    records = dataset.records()
    with files_opened() as opened:
        unlisted = dataset.unlisted(records)
    _expect_no_image_opened(records, opened, "unlisted()")
    for name in unlisted:
        expect(isinstance(name, str), f"unlisted() holds {name!r}; give texts, paths below the folder of the images")
    listed = sorted({record.id for record in records} & set(unlisted))
    expect(not listed, f"unlisted() names {', '.join(map(repr, listed[:3]))}, which records() lists")


def _expect_no_image_opened(records: Iterable[Record], opened: set[str], call: str) -> None:
    images = [record.path for record in records if record.path and os.path.realpath(record.path) in opened]
    expect(not images, f"{call} opens {len(images)} of the images, {images[:1]} for one; it is to open none")


def check_paths_are_resolved(subject: DatasetSubject) -> None:
    """A path among the options is relative to the file of the configuration, wherever sslkit is started.

    Make it a [ConfigPath][sslkit.ConfigPath], which is absolute by the time the data set gets it.
    """
    for name, path in subject.paths.items():
        relative = os.path.relpath(path, os.path.realpath(subject.root))
        found = getattr(subject.validate({**subject.options, name: relative}), name)
        expect(
            found.is_absolute() and os.path.realpath(found) == os.path.realpath(path),
            f"the option {name} = {relative!r} of a file in {subject.root} is {str(found)!r}; make it a ConfigPath",
        )


def check_missing_source(subject: DatasetSubject) -> None:
    """A path among the options that leads nowhere is told by a ``DataError`` that names it.

    It is the user's slip, and no mistake of the plugin's, as which any other error is told.
    """
    for name, path in subject.paths.items():
        missing = path.with_name(f"{path.name}-missing")
        try:
            subject.cls(subject.validate({**subject.options, name: str(missing)})).records()
        except (DataError, ConfigError) as error:
            expect(missing.name in str(error), f"where {name} leads nowhere, the message does not name it: {error}")
        except Exception as error:
            raise CheckFailed(
                f"where {name} leads nowhere, {type(error).__name__} is raised: {error}. Raise "
                f"sslkit.errors.DataError, and name {missing.name}"
            ) from error
