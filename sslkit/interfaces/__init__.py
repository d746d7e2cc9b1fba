"""What a plugin author reads: one file a kind of plugin."""

from sslkit.interfaces.backbone import Backbone
from sslkit.interfaces.carrying_out import carry_out
from sslkit.interfaces.dataset import Dataset
from sslkit.interfaces.downstream_head import DownstreamHead
from sslkit.interfaces.executor import NOT_RUN, Executor, Job, JobObserver, PlacedJob, Reporter, longest_first
from sslkit.interfaces.job_queue import JobQueue
from sslkit.interfaces.plugin import API_VERSION, Plugin
from sslkit.interfaces.pretext_task import FAMILIES, PretextTask

__all__ = [
    "API_VERSION",
    "FAMILIES",
    "NOT_RUN",
    "Backbone",
    "Dataset",
    "DownstreamHead",
    "Executor",
    "Job",
    "JobObserver",
    "JobQueue",
    "PlacedJob",
    "Plugin",
    "PretextTask",
    "Reporter",
    "carry_out",
    "longest_first",
]
