"""How processes join, and in how many threads each of them computes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed.distributed_c10d import Store

from sslkit.engine.precision import Compute
from sslkit.interfaces.carrying_out import refuse_threads

_PATIENCE = timedelta(hours=1)
"""How long a process waits for the others: the first may be probing, or writing to a slow disk."""

_LOOPBACK = ("lo", "lo0")


@contextmanager
def joined(store: Store, rank: int, size: int, compute: Compute, *, one_machine: bool) -> Iterator[None]:
    """Join the processes that train together, over gloo on the CPU and NCCL on CUDA, and leave them at the end.

    Args:
        store: where they find each other.
        rank: the number of this one.
        size: how many they are.
        compute: what they compute on.
        one_machine: whether all are on one: they need no network then.
    """
    if one_machine:
        names = {name for _, name in socket.if_nameindex()} if hasattr(socket, "if_nameindex") else set()
        for name in names.intersection(_LOOPBACK):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    backend = "cpu:gloo,cuda:nccl" if compute.family == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Compute in one thread, as every job does, so that a result does not depend on how many there are.

    Raises:
        RunError: at the end, if a plugin has taken more.
    """
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
            refuse_threads(torch.get_num_threads(), allowed="a process has one")
    finally:
        torch.set_num_threads(before)
