"""Writes the distribution of a new plugin: whole, or not at all."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sslkit.errors import StorageError, UsageError
from sslkit.files import absolute, make_scratch
from sslkit.printable import abbreviate, shown
from sslkit.scaffold.naming import Names
from sslkit.scaffold.rendering import NewKind, check_command, clashing_class, render
from sslkit.scaffold.samples import sample_files

if TYPE_CHECKING:
    from sslkit.registry import Registry


@dataclass(frozen=True)
class NewPlugin:
    """A distribution that has been written.

    Attributes:
        folder: where it is.
        names: what it is called.
        commands: what to type next, in order.
    """

    folder: Path
    names: Names
    commands: tuple[str, ...]


def new_plugin(name: str, kind: NewKind, output: Path | None = None, *, registry: Registry) -> NewPlugin:
    """Write the distribution of a new plugin into a folder of its own.

    Args:
        name: what a configuration is to call the plugin.
        kind: what kind of plugin it is.
        output: the folder, which is not there yet; by default ``sslkit-NAME`` in the current one.
        registry: the plugins that are installed.

    Raises:
        UsageError: if the name cannot be used or is taken, or the folder cannot be made; nothing is written then.
        StorageError: if the disk is full, or the folder cannot be written for another reason; nothing stays then.

    Example:
        >>> import sslkit, tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     made = new_plugin("blurred", "pretext-task", Path(parent) / "mine", registry=sslkit.build_registry())
        ...     sorted(path.name for path in made.folder.glob("*.*"))
        ['.github', '.gitignore', 'README.md', 'pyproject.toml', 'sslkit_blurred.py', 'try.toml']
    """
    names = Names(name)
    _refuse_taken(names, kind, registry)
    files = render(names, kind)
    if clash := clashing_class(names, files):
        raise UsageError(
            f"a plugin {name!r} would have a class {clash}, which is the name of another class in its module; "
            f"take another name, such as {name + '-2'!r}"
        )
    folder = Path(names.distribution) if output is None else output
    _refuse_place(folder)
    contents = {path: text.encode() for path, text in files.items()}
    _write({**contents, **(sample_files() if kind == "dataset" else {})}, folder)
    return NewPlugin(folder, names, _commands(names, kind, folder))


def _refuse_taken(names: Names, kind: NewKind, registry: Registry) -> None:
    if names.plugin in registry.names(kind):
        origins = " and ".join(
            plugin.origin for plugin in registry.plugins if (plugin.kind, plugin.name) == (kind, names.plugin)
        )
        raise UsageError(
            f"there is a {kind.replace('-', ' ')} {names.plugin!r} already, of {origins}; take another name. "
            "See 'sslkit plugins list'."
        )
    if importlib.util.find_spec(names.module) is not None:
        raise UsageError(
            f"there is a module {names.module} already, which the plugin's own would hide or be hidden by; "
            "take another name"
        )


def _refuse_place(folder: Path) -> None:
    try:
        absolute(folder)
    except ValueError as error:
        raise UsageError(f"no folder can be at {shown(str(folder))}: {abbreviate(str(error))}") from None
    if os.path.lexists(folder):
        raise UsageError(f"{folder} is there already, and nothing is overwritten; choose another by --output")
    if not folder.parent.is_dir():
        raise UsageError(f"there is no folder {folder.parent} to put {folder.name!r} into; make it first")


def _write(files: dict[str, bytes], folder: Path) -> None:
    scratch = make_scratch(folder)
    try:
        for path, content in files.items():
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / path).write_bytes(content)
        scratch.rename(folder)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError):
            raise StorageError.of(folder, error) from error
        raise


def _commands(names: Names, kind: NewKind, folder: Path) -> tuple[str, ...]:
    return (
        f"cd {shlex.quote(str(folder))}",
        "pip install --editable '.[test]'",
        check_command(names, kind),
        "pytest",
        "sslkit run try.toml",
    )
