from __future__ import annotations

import threading
import time

import pytest

from sslkit import Record, StoredObject
from sslkit.data.read_ahead import CONNECTIONS, read_ahead

FILES = [Record(str(number)) for number in range(16)]
OBJECTS = [Record(str(number), stored=StoredObject(f"s3://b/{number}", 1)) for number in range(16)]


def test_files_are_read_when_they_are_wanted_and_by_whoever_asks() -> None:
    asked: list[tuple[str, threading.Thread]] = []
    contents = read_ahead(lambda record: asked.append((record.id, threading.current_thread())), FILES)
    next(contents)()
    assert asked == [("0", threading.main_thread())]


def test_objects_come_in_order_whichever_is_there_first() -> None:
    def read(record: Record) -> str:
        time.sleep(0.02 if int(record.id) % 3 else 0)
        return record.id

    assert [content() for content in read_ahead(read, OBJECTS)] == [record.id for record in OBJECTS]


def test_some_are_fetched_at_a_time_and_not_more() -> None:
    now = most = 0
    lock, all_there = threading.Lock(), threading.Barrier(CONNECTIONS)

    def read(record: Record) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        all_there.wait(timeout=10)  # breaks unless as many are under way
        with lock:
            now -= 1

    for content in read_ahead(read, OBJECTS):
        content()
    assert most == CONNECTIONS


def test_an_error_is_of_the_image_that_it_is_about() -> None:
    def read(record: Record) -> str:
        if record.id == "3":
            raise OSError("the line is dead")
        return record.id

    for number, content in enumerate(read_ahead(read, OBJECTS)):
        if number == 3:
            with pytest.raises(OSError, match="the line is dead"):
                content()
        else:
            assert content() == str(number)


def test_whoever_stops_does_not_wait_for_the_others() -> None:
    started: list[str] = []

    def read(record: Record) -> None:
        started.append(record.id)
        if record.id != "0":
            time.sleep(1)  # however slow the machine is, the others have not all had their turn by then

    contents = read_ahead(read, OBJECTS)
    next(contents)()
    contents.close()
    assert len(started) < len(OBJECTS)
