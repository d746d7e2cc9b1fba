from __future__ import annotations

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit_moco.queue import KeyQueue

few = settings(deadline=None, max_examples=80)


@few
@given(st.integers(1, 12), st.lists(st.integers(0, 30), max_size=8))
def test_holds_the_last_keys_that_were_put_in(length, sizes):
    """Against a list that is cut off: for batches that do not divide the queue, and such as are larger than it."""
    queue, naive, number = KeyQueue(length, 2), [], 0
    for size in sizes:
        keys = torch.arange(number, number + size).float().view(-1, 1).expand(-1, 2)
        number += size
        queue.put(keys)
        naive = (naive + keys[:, 0].tolist())[-length:]
        held = queue.keys[queue.filled()]
        assert sorted(held[:, 0].tolist()) == naive
        assert torch.equal(held[:, 0], held[:, 1])
        assert len(queue) == len(queue.keys) == length
        assert queue.count.item() == number


def test_goes_on_from_its_state():
    queue, other = KeyQueue(5, 3), KeyQueue(5, 3)
    queue.put(torch.randn(7, 3))
    other.load_state_dict(copy.deepcopy(queue.state_dict()))
    keys = torch.randn(2, 3)
    queue.put(keys)
    other.put(keys)
    assert torch.equal(queue.keys, other.keys)
    assert queue.count == other.count == 9


def test_keeps_no_graph():
    queue = KeyQueue(4, 2)
    queue.put(torch.randn(2, 2, requires_grad=True) * 2)
    assert not queue.keys.requires_grad
    assert queue.keys.grad_fn is None


def test_keys_of_half_precision_are_kept_in_single():
    queue = KeyQueue(4, 2)
    queue.put(torch.ones(2, 2, dtype=torch.bfloat16))
    assert queue.keys.dtype == torch.float32
