"""Small pictures that a run leaves for its report: what its pretext tasks see, and what its models grade worst."""

from sslkit.experiment.pictures.writing import make_pictures

__all__ = ["make_pictures"]
