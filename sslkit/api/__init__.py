"""The toolkit's verbs as functions."""

from sslkit.api.given import ConfigLike, Plugins
from sslkit.api.grading import predict
from sslkit.api.studies import bench, doctor, estimate, execute, ingest, plan, run
from sslkit.api.weights import embed, export, load_backbone

__all__ = [
    "ConfigLike",
    "Plugins",
    "bench",
    "doctor",
    "embed",
    "estimate",
    "execute",
    "export",
    "ingest",
    "load_backbone",
    "plan",
    "predict",
    "run",
]
