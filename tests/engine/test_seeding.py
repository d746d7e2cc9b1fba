from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sslkit.engine.seeding import derive_seed, make_generator, shuffled_rows


def test_seeds_depend_on_every_part_and_its_place() -> None:
    seeds = {derive_seed(0, "a", 1), derive_seed(0, "a", 2), derive_seed(1, "a", 0), derive_seed("a", 0, 1)}

    assert len(seeds) == 4
    assert derive_seed(0, "a", 1) in seeds
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_of_one_name_draw_the_same() -> None:
    assert make_generator(3, "x").initial_seed() == make_generator(3, "x").initial_seed()
    assert make_generator(3, "x").initial_seed() != make_generator(3, "y").initial_seed()


@given(size=st.integers(1, 30), start=st.integers(0, 200), count=st.integers(1, 70), seed=st.integers(0, 5))
def test_any_stretch_of_the_stream_can_be_had_alone(size: int, start: int, count: int, seed: int) -> None:
    rows = np.arange(100, 100 + size)

    whole = shuffled_rows(rows, 0, start + count, seed, "stream")
    stretch = shuffled_rows(rows, start, count, seed, "stream")

    assert stretch.tolist() == whole[start:].tolist()


@given(size=st.integers(1, 30), passes=st.integers(1, 4))
def test_every_pass_holds_each_row_once(size: int, passes: int) -> None:
    rows = np.arange(size) * 7

    stream = shuffled_rows(rows, 0, size * passes, 0)

    for number in range(passes):
        assert sorted(stream[number * size : (number + 1) * size].tolist()) == rows.tolist()


def test_passes_and_seeds_differ() -> None:
    rows = np.arange(50)
    stream = shuffled_rows(rows, 0, 100, 0)

    assert stream[:50].tolist() != stream[50:].tolist()
    assert stream[:50].tolist() != shuffled_rows(rows, 0, 50, 1).tolist()
