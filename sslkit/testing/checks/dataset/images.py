"""What a data set promises of its images: the same pixels at every reading, and a fingerprint that names them."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sslkit.data.reading import read_image
from sslkit.errors import DataError
from sslkit.testing.checks.dataset.looking import digest, look, odd_one, read_all
from sslkit.testing.outcome import CheckFailed, expect
from sslkit.testing.subjects import DatasetSubject


def check_images_can_be_decoded(subject: DatasetSubject) -> None:
    """``read`` returns the bytes of an image file of a format that sslkit reads, or uint8 pixels (H, W, 3) or (H, W).

    Return a file as it is where sslkit reads its format: it knows EXIF, palettes, 16 bits and damaged files.
    """
    dataset, records = subject.listed()
    for record in records:
        content = dataset.read(record)
        if not isinstance(content, bytes):
            expect(
                isinstance(content, np.ndarray), f"read() returns {type(content).__name__}; return bytes or an array"
            )
            shape = content.shape[2:] if content.ndim == 3 else content.shape[:0]
            expect(
                content.dtype == np.uint8 and content.ndim in (2, 3) and shape in ((), (3,)),
                f"read() returns {content.dtype} {content.shape} for {record.id!r}; return uint8 (H, W, 3) or (H, W)",
            )
        try:
            read_image(content)
        except DataError as error:
            raise CheckFailed(f"the image {record.id!r} cannot be decoded: {error}") from error


def check_reading_is_stable(subject: DatasetSubject) -> None:
    """An image is the same at every reading, in whatever order images are read.

    Images are decoded once, and an unreadable one is tried again. Augmentation is the pretext task's part.
    """
    dataset, records = subject.listed()
    first = read_all(dataset, records)
    for order, again in (
        ("in the same order", read_all(dataset, records)),
        ("from the last to the first", read_all(dataset, records[::-1])[::-1]),
    ):
        odd = odd_one(records, first, again)
        expect(odd is None, f"the image {odd and odd.id!r} is another one when all are read once more {order}")


def check_what_is_read_may_be_changed(subject: DatasetSubject) -> None:
    """Pixels that ``read`` returns may be changed without changing those of a later reading.

    Return a copy of what is kept, or make it read-only: ``array.flags.writeable = False``.
    """
    dataset, records = subject.listed()
    for record in records:
        content = dataset.read(record)
        if isinstance(content, np.ndarray) and content.flags.writeable:
            before = digest(content)
            content[:] = 255 - content
            after = digest(dataset.read(record))
            expect(before == after, f"whoever changes the pixels of {record.id!r} changes those that are read next")


def check_fingerprints_are_stable(subject: DatasetSubject) -> None:
    """The fingerprint of an image is a text, the same whenever it is asked for, and by whichever instance.

    It names the image in the cache; one that changes has all images decoded anew in each run.
    """
    dataset, records = subject.listed()
    first = [dataset.fingerprint(record) for record in records]
    for record, found in zip(records, first, strict=True):
        expect(isinstance(found, str) and found != "", f"the fingerprint of {record.id!r} is {found!r}; give a text")
    other, _ = subject.listed()
    for whose, source in (("the second time", dataset), ("by another instance", other)):
        odd = odd_one(records, first, [source.fingerprint(record) for record in records])
        expect(odd is None, f"the fingerprint of {odd and odd.id!r} is another one {whose}; digest the content alone")


def check_fingerprints_tell_images_apart(subject: DatasetSubject) -> None:
    """Images that differ have different fingerprints.

    Of two images with one fingerprint, the cache may hold the other. Digest all of the content.
    """
    dataset, records = subject.listed()
    looks = [(record.id, *look(dataset, record)) for record in records]
    for (name, image, found), (other, other_image, other_found) in itertools.combinations(looks, 2):
        expect(
            image == other_image or found != other_found,
            f"{name!r} and {other!r} differ, and have one fingerprint, {found!r}; digest all of the content",
        )


def check_fingerprints_follow_content(subject: DatasetSubject) -> None:
    """A file whose content changes has another fingerprint, though its name stays.

    The cache would hold the former image otherwise. Digest the content, rather than the path. Tried on a copy of a
    file, where the records have paths.
    """
    paths = [record.path for record in subject.listed()[1] if record.path is not None]
    with TemporaryDirectory() as folder:
        looks = [_look_at_a_copy(subject, path, Path(folder, f"image{paths[0].suffix}")) for path in paths[:2]]
    images, found = {image for image, _ in looks}, {fingerprint for _, fingerprint in looks}
    expect(len(images) <= len(found), "a file has the fingerprint of what it held before; digest its content")


def _look_at_a_copy(subject: DatasetSubject, path: Path, copy: Path) -> tuple[str, str]:
    """Look at a record that leads to a copy of a file; where images are found by their ids, it is the first still."""
    shutil.copyfile(path, copy)
    dataset, records = subject.listed()
    return look(dataset, replace(records[0], path=copy))


def check_missing_file(subject: DatasetSubject) -> None:
    """``read`` raises ``OSError`` for a file that has vanished.

    The image counts as unreadable then, which the user may allow, and is tried again in the next run. Any other error
    ends the run. [read_file][sslkit.read_file] raises what is wanted.
    """
    dataset, records = subject.listed()
    for record in records:
        if record.path is None:
            continue
        gone = replace(record, path=record.path.with_name(f"missing-{record.path.name}"))
        try:
            content = dataset.read(gone)
        except OSError:
            continue
        except Exception as error:
            raise CheckFailed(
                f"where the file of {record.id!r} has vanished, read() raises {type(error).__name__}: {error}; "
                "raise OSError, as sslkit.read_file does"
            ) from error
        same = digest(content) == digest(dataset.read(record))  # found by its id, whatever the path says
        expect(same, f"where the file of {record.id!r} has vanished, read() returns something else; raise OSError")
