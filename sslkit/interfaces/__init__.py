"""What a plugin author reads: one file a kind of plugin."""

from sslkit.interfaces.backbone import Backbone
from sslkit.interfaces.dataset import Dataset
from sslkit.interfaces.downstream_head import DownstreamHead
from sslkit.interfaces.executor import NOT_RUN, Executor, Job, JobObserver, Reporter, longest_first
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
    "Plugin",
    "PretextTask",
    "Reporter",
    "longest_first",
]
