"""Jobs and spans of time in a few words, for lines that are short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslkit.cli.display.console import line

if TYPE_CHECKING:
    from sslkit.interfaces import Job

STAGES = {"ingest": "Decoding images", "jobs": "Pretraining and fine-tuning"}
"""The stages of a run."""

AFTERWARDS = {"ingest": "looking them over", "jobs": "summing up"}
"""What is done where all of a stage is counted and the next has not begun."""

UNITS = {"ingest": "images", "jobs": "jobs"}
"""What a stage counts."""


def name_of(pretext: str, arm: str) -> str:
    """Return a pretext task and an arm, of which an arm without pretraining has none."""
    return line(f"{pretext} {arm}".strip())


def share_of(fraction: float) -> str:
    """Return a share of the labels in per cent.

    Example:
        >>> share_of(0.05), share_of(1.0), share_of(0.125)
        ('5 %', '100 %', '12.5 %')
    """
    return f"{100 * fraction:.4g} %"


def short_name(job: Job) -> str:
    """Return in a few words which job it is.

    Example:
        >>> from types import SimpleNamespace
        >>> short_name(SimpleNamespace(id="pretraining/rotation/0"))
        'pretraining by rotation, fold 0'
    """
    place = getattr(job, "coordinates", None)
    if place is not None:
        again = f", repetition {place['repetition']}" if place["repetition"] else ""
        name = name_of(place["pretext"], place["arm"])
        return f"{name}, {share_of(place['fraction'])} labels, fold {place['fold']}{again}"
    return job_name(job.id)


def job_name(name: str) -> str:
    """Return in a few words which job has an id; of a cell, that it is one.

    Example:
        >>> job_name("features/rotation/all"), job_name("cells/14fb84952fd6539c")
        ('features of rotation, all images', 'a cell')
    """
    parts = name.split("/")
    if len(parts) == 3 and parts[0] in ("pretraining", "features"):
        what = "pretraining by" if parts[0] == "pretraining" else "features of"
        return line(f"{what} {parts[1]}, {'all images' if parts[2] == 'all' else f'fold {parts[2]}'}")
    return "a cell" if parts[0] == "cells" else line(name)


def gist(reason: str) -> str:
    """Return the line of a failure's reason that says the most: of a traceback the last, of a message the first."""
    lines = reason.strip().splitlines() or [""]
    return line(lines[-1 if lines[0].startswith("Traceback") else 0])


def span(seconds: float) -> str:
    """Return a span of time, as exactly as it matters.

    Example:
        >>> span(4.2), span(59), span(800), span(5000), span(200_000)
        ('4 s', '59 s', '13 min', '1 h 23 min', '2 days 7 h')
    """
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} {'day' if days == 1 else 'days'} {hours} h" if hours else f"{days} {'day' if days == 1 else 'days'}"


def left(seconds: float | None) -> str:
    """Return how much time is left; empty where that is not known.

    Example:
        >>> left(30), left(800), left(None)
        ('less than a minute left', 'about 13 min left', '')
    """
    if seconds is None:
        return ""
    return "less than a minute left" if round(seconds) < 60 else f"about {span(seconds)} left"
