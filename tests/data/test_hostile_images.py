from __future__ import annotations

import faulthandler
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hostile_images import COLOURS, Sample, byte_samples, encoded, gif, samples
from PIL import Image

from sslkit.data.reading import read_image
from sslkit.errors import DataError


@pytest.fixture(autouse=True, scope="module")
def _end_what_hangs() -> Iterator[None]:
    faulthandler.dump_traceback_later(600, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def hostile() -> list[Sample]:
    return list(samples())


def verdict(sample: Sample) -> str:
    """Return what is wrong with what became of a file; "" if nothing is."""
    try:
        pixels = read_image(sample.data).pixels
    except DataError as error:
        reason = str(error)
        if "\n" in reason or not reason.isprintable():
            return f"refused in several lines: {reason!r}"
        if sample.pixels is not None and sample.reason is None:
            return f"refused: {reason}"
        return "" if re.search(sample.reason or "", reason) else f"refused by another reason: {reason}"
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.flags.c_contiguous:
        return f"read as {pixels.dtype} {pixels.shape}"
    if sample.pixels is None:
        return f"read, as {pixels.shape}" if sample.reason is not None else ""
    if pixels.shape != sample.pixels.shape:
        return f"read as {pixels.shape}"
    distance = int(np.abs(pixels.astype(int) - sample.pixels).max())
    return f"read wrong by {distance}" if distance > sample.tolerance else ""


def faults(hostile: list[Sample]) -> dict[str, str]:
    return {sample.name: fault for sample in hostile if (fault := verdict(sample))}


def test_every_file_is_read_right_or_refused_with_a_reason(hostile: list[Sample]) -> None:
    assert faults(hostile) == {}


def test_there_are_many_and_each_has_a_name_of_its_own(
    hostile: list[Sample], record_property: pytest.RecordProperty
) -> None:
    record_property("files", len(hostile))
    assert len(hostile) >= 900
    assert len({sample.name for sample in hostile}) == len(hostile)
    assert [data for _, data in byte_samples()] == [sample.data for sample in hostile]


def test_threads_that_decode_together_leave_filters_and_limit_as_they_were(
    hostile: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4711)
    filters = list(warnings.filters)
    parts = [hostile[start::8] for start in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(faults, parts)) == [{}] * 8
    assert (Image.MAX_IMAGE_PIXELS, warnings.filters) == (4711, filters)


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize(
    "data",
    [
        *(encoded(COLOURS, format) for format in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")),
        encoded(COLOURS, "TIFF", compression="tiff_lzw"),
        encoded(Image.fromarray(COLOURS[..., 0]), "GIF"),
    ],
    ids=["png", "jpeg", "tiff", "bmp", "webp", "ppm", "tiff-lzw", "gif"],
)
def test_pillows_own_limit_is_without_effect(monkeypatch: pytest.MonkeyPatch, limit: int | None, data: bytes) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert read_image(data, max_pixels=COLOURS[..., 0].size).pixels.shape == COLOURS.shape
    with pytest.raises(DataError, match=r"too large: 1,536 pixels; accepted: up to 1,535\. If it is no .*max_pixels$"):
        read_image(data, max_pixels=1535)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_of_each_thread_is_its_own() -> None:
    data = encoded(COLOURS, "PNG")

    def refuses(limit: int) -> bool:
        try:
            read_image(data, max_pixels=limit)
        except DataError:
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(refuses, [100, 100_000] * 400)) == [True, False] * 400


def test_the_pixels_of_a_frame_beyond_the_screen_count() -> None:
    assert read_image(gif(9, 9, 9, 9, num_codes=81), max_pixels=81).pixels.shape == (9, 9, 3)
    with pytest.raises(DataError, match="too large: 400 pixels; accepted: up to 81"):
        read_image(gif(9, 9, 20, 20, num_codes=81), max_pixels=81)


MEASURE = """
import time
from benchmarks.process_memory import memory
from hostile_images import samples
from sslkit.data.reading import read_image
from sslkit.errors import DataError

hostile = list(samples())
read_image(hostile[0].data)
before, slowest = memory("VmHWM"), 0.0
for sample in hostile:
    started = time.perf_counter()
    try:
        read_image(sample.data)
    except DataError:
        pass
    slowest = max(slowest, time.perf_counter() - started)
print((memory("VmHWM") - before) // 2**20, slowest)
"""


@pytest.fixture(scope="module")
def measured() -> tuple[int, float]:
    """Return the MiB that the peak of memory rises by while all files are read, and the seconds of the slowest."""
    folder = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{MEASURE}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    memory, seconds = done.stdout.split()
    return int(memory), float(seconds)


def test_no_file_takes_much_memory_or_time(measured: tuple[int, float]) -> None:
    memory, seconds = measured
    assert memory < 100  # of claims of gigabytes; texts may take 64 MiB
    assert seconds < 30
