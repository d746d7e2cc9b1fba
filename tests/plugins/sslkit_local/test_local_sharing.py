from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from sslkit_local import sharing

Amounts = st.lists(st.integers(1, 20), min_size=1, max_size=7)


def in_turns(work: list[int], workers: int) -> float:
    """Run all jobs at once in small slices of time, as a system does, and return when the last has ended."""
    left, slice_, now = [float(amount) for amount in work], 0.005, 0.0
    while left:
        share = min(1.0, workers / len(left))
        left = [amount - share * slice_ for amount in left]
        left = [amount for amount in left if amount > 1e-9]
        now += slice_
    return now


@given(Amounts, st.integers(1, 4))
@example([1, 1, 1], 2)
def test_shared_time_is_what_a_system_in_small_slices_takes(work: list[int], workers: int) -> None:
    scaled = [amount / 10 for amount in work]
    assert sharing.shared(scaled, workers) == pytest.approx(in_turns(scaled, workers), abs=0.05)  # type: ignore[arg-type]


@given(Amounts, Amounts, st.integers(1, 4))
def test_no_way_ends_before_the_longest_job_or_before_all_cores_have_done_all(
    running: list[int], waiting: list[int], workers: int
) -> None:
    work = [*running, *waiting]
    least = max(max(work), sum(work) / max(workers, len(running)))
    assert sharing.queued(running, waiting, workers) >= least - 1e-9
    assert sharing.shared(work, workers) >= max(max(work), sum(work) / workers) - 1e-9


@pytest.mark.parametrize(
    ("running", "waiting", "workers", "better"),
    [
        ([1.0, 1.0], [1.0], 2, True),  # 1.5 against 2
        ([0.5, 1.0], [1.0], 2, True),  # 1.25 against 1.5
        ([9.0, 1.0], [1.0], 2, False),  # the long one decides, and would be held up
        ([1.0] * 4, [1.0] * 3, 4, True),  # 1.75 against 2
        ([1.0], [1.0], 1, False),
    ],
)
def test_sharing_pays_where_the_last_round_would_leave_cores_idle(
    running: list[float], waiting: list[float], workers: int, better: bool
) -> None:
    assert sharing.pays(running, waiting, workers) is better


class TestMemory:
    def test_what_is_free_is_less_than_there_is(self) -> None:
        total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
        assert 0 < sharing.free_memory() < total

    def test_a_process_has_held_what_it_took(self) -> None:
        before = sharing.peak_memory()
        torch.zeros(before // 4 + 2**24)
        assert sharing.peak_memory() > before + 2**24
