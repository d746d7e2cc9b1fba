"""A queue of keys: those of the last batches, the oldest of which the newest replace."""

from __future__ import annotations

import torch
from torch import nn


class KeyQueue(nn.Module):
    """The last keys that were put in, up to a fixed number.

    Args:
        length: keys that it holds at most.
        width: features of a key.

    Attributes:
        keys: float32 (length, width), a buffer; rows that are not filled yet are zero.
        count: int64, 0-d, a buffer: how many keys were ever put in. The next one goes to row ``count % length``.

    Example:
        >>> queue = KeyQueue(length=3, width=1)
        >>> queue.put(torch.tensor([[1.0], [2.0]])), queue.filled().tolist()
        (None, [True, True, False])
        >>> queue.put(torch.tensor([[3.0], [4.0]])), queue.keys.flatten().tolist()
        (None, [4.0, 2.0, 3.0])
    """

    keys: torch.Tensor
    count: torch.Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(length, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.keys)

    def filled(self) -> torch.Tensor:
        """Return which rows hold a key: bool (length,)."""
        return torch.arange(len(self.keys), device=self.keys.device) < self.count

    @torch.no_grad()
    def put(self, keys: torch.Tensor) -> None:
        """Put keys, float (N, width), in the place of the oldest; of more than the queue holds, the last ones.

        Nothing of it waits for an accelerator.
        """
        last = keys[-len(self.keys) :]
        places = torch.arange(len(keys) - len(last), len(keys), device=self.keys.device) + self.count
        self.keys[places % len(self.keys)] = last.to(self.keys.dtype)
        self.count += len(keys)
