"""The processes of one pretraining, and what they know of each other."""

from sslkit.engine.distributed.batch_norm import synchronise_batch_norm
from sslkit.engine.distributed.gathering import gather, weighted_mean
from sslkit.engine.distributed.joining import in_one_thread, joined
from sslkit.engine.distributed.team import Team

__all__ = [
    "Team",
    "gather",
    "in_one_thread",
    "joined",
    "synchronise_batch_norm",
    "weighted_mean",
]
