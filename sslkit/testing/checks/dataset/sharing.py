"""What a data set promises to those that share it: threads, worker processes, and whoever owns its files."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sslkit.testing.checks.dataset.looking import look, odd_one
from sslkit.testing.elsewhere import call_elsewhere
from sslkit.testing.outcome import CheckFailed, expect
from sslkit.testing.subjects import DatasetSubject
from sslkit.types import Record

_ALLOWED = 2**16
"""Bytes that any data set may have when it is pickled, beside those for each record."""

_ALLOWED_A_RECORD = 2**10


def check_threads_may_share_it(subject: DatasetSubject) -> None:
    """Several threads that read and fingerprint images at once find what one finds.

    Fingerprints are made in threads. Keep what belongs to one call in its own variables, and put a lock around what is
    shared: the position of an open file, for one.
    """
    dataset, records = subject.listed()
    wanted = [look(dataset, record) for record in records]
    for _ in range(3):
        shared, records = subject.listed()
        together = threading.Barrier(len(records))

        def look_together(record: Record) -> tuple[str, str]:
            together.wait()  # noqa: B023 - the threads end within the round
            return look(shared, record)  # noqa: B023

        with _switching_often(), ThreadPoolExecutor(len(records)) as threads:
            try:
                found = list(threads.map(look_together, records))
            except Exception as error:
                raise CheckFailed(f"in several threads at once it fails: {type(error).__name__}: {error}") from error
        odd = odd_one(records, wanted, found)
        expect(
            odd is None, f"{odd and odd.id!r} is another image where several threads read at once; what do they share?"
        )


@contextmanager
def _switching_often() -> Iterator[None]:
    """Let threads take turns as often as they can, so that what goes wrong between two of them does so soon."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def check_pickles(subject: DatasetSubject) -> None:
    """A data set that was used travels to a worker process, small, and the copy reads what the original reads.

    Each worker is sent one. Keep open files, locks and pixels out of what is pickled, by ``__getstate__`` if need be.
    """
    dataset = subject.make()
    records = dataset.records()
    few = subject.few(records)
    wanted = [look(dataset, record) for record in few]
    try:
        sent = pickle.dumps(dataset)
        copy = pickle.loads(sent)
    except Exception as error:
        raise CheckFailed(
            f"it cannot be sent to a worker process: {type(error).__name__}: {error}; leave open files, locks and "
            "lambdas out by __getstate__"
        ) from error
    allowed = _ALLOWED + len(records) * _ALLOWED_A_RECORD
    expect(
        len(sent) <= allowed,
        f"pickled it has {len(sent):,} bytes, of {allowed:,} that it may have with {len(records)} records; leave "
        "pixels out by __getstate__",
    )
    odd = odd_one(few, wanted, [look(copy, record) for record in few])
    expect(odd is None, f"the image {odd and odd.id!r} is another one, or is named otherwise, in a pickled copy")


def check_images_are_the_same_elsewhere(subject: DatasetSubject) -> None:
    """Another process, one with another hash seed, lists the same records, and finds the same images and fingerprints.

    Sort what comes of a set or a folder; use no ``hash()`` of a text, no clock, no number of the process.
    """
    (records, images), (other_records, other_images) = what_there_is(subject), call_elsewhere(what_there_is, subject)
    expect(records == other_records, f"another process lists {other_records} where this one lists {records}; sort them")
    odd = odd_one(records, images, other_images)
    expect(odd is None, f"the image {odd and odd.id!r} is another one, or is named otherwise, in another process")


def what_there_is(subject: DatasetSubject) -> tuple[list[Record], list[tuple[str, str]]]:
    """Return a few records, with digest and fingerprint of their images."""
    dataset, records = subject.listed()
    return records, [look(dataset, record) for record in records]


def check_nothing_is_written(subject: DatasetSubject) -> None:
    """Listing and reading leave the folders of the data as they are.

    They may be read-only, or belong to somebody else. sslkit keeps decoded images in a cache of its own.
    """
    afresh = subject.afresh()
    folders = {path if path.is_dir() else path.parent for path in afresh.paths.values()}
    before = _files(folders)
    dataset, records = afresh.listed()
    folders_of_images = {record.path.parent for record in records if record.path is not None}
    before |= _files(folders_of_images - folders)
    for record in records:
        look(dataset, record)
    after = _files(folders | folders_of_images)
    changed = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    expect(not changed, f"listing and reading have changed {', '.join(changed[:3])}; write nothing beside the data")


def _files(folders: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Return size and time of change of all that lies directly in some folders."""
    found = {}
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found[entry.path] = status.st_size, status.st_mtime_ns
    return found
