"""Completes paths: configurations, and the folders of runs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import click
from click.shell_completion import CompletionItem

_MOST = 5000
"""Entries of a folder that are looked at."""


def configurations(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return TOML files, and the folders on the way to them."""
    return list(_paths(incomplete, lambda entry: entry.name.endswith(".toml") and entry.is_file()))


def runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return run directories and exported weights, and the folders on the way to them."""
    return list(_paths(incomplete, _is_run))


def _is_run(entry: os.DirEntry[str]) -> bool:
    marks = (("config.toml", "run.json"), ("config.json", "model.safetensors"))
    return any(all(os.path.isfile(os.path.join(entry.path, name)) for name in names) for names in marks)


def _paths(incomplete: str, fits: Callable[[os.DirEntry[str]], bool]) -> Iterator[CompletionItem]:
    folder, begun = os.path.split(incomplete)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = sorted(itertools.islice(entries, _MOST), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if not entry.name.startswith(begun) or not entry.name.isprintable():
            continue
        if entry.name.startswith(".") and not begun.startswith("."):
            continue
        path = os.path.join(folder, entry.name)
        if fits(entry):
            yield CompletionItem(path, is_path=True)
        elif entry.is_dir():
            yield CompletionItem(f"{path}/", is_path=True)
