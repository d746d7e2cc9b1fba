"""Says whose code it was: what a plugin raises or takes long over is told with its name, its origin and the call."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from sslkit.errors import PluginError, SslkitError

logger = logging.getLogger("sslkit")

PATIENCE = 10.0
"""Seconds that a call may take before it is said whose it is."""


@dataclass(frozen=True)
class Provenance:
    """Where code comes from.

    Attributes:
        described: who it is, for messages: ``"the pretext task 'rotation' of sslkit 0.1.0"``.
        package: the top-level package of its code.
    """

    described: str
    package: str


@contextmanager
def blame(plugin: Provenance, call: str, *, contract: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what a plugin's code raises into an error that names the plugin and the call, with the plugin's own frames.

    The toolkit's own errors pass as they are, and so does what nobody is to blame for: an interrupt, a signal's exit,
    and want of memory, which is given a note.

    Args:
        plugin: whose code is called.
        call: what is called, such as ``"make_views()"``.
        contract: errors that the call is meant to raise.

    Raises:
        sslkit.errors.PluginError: for any other error.

    Example:
        >>> with blame(Provenance("the head 'acme' of acme 1.2", "acme"), "loss()"):
        ...     raise KeyError("weights")
        Traceback (most recent call last):
        sslkit.errors.PluginError: the head 'acme' of acme 1.2 failed in loss(): KeyError: 'weights'
    """
    try:
        yield
    except SslkitError:
        raise
    except contract:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which is not loaded
            error.add_note(f"in {call} of {plugin.described}")
            raise
        frames = _own_frames(error.__traceback__, plugin.package)
        if isinstance(error, SystemExit) and not _ends_in(frames, plugin.package):
            raise  # by a signal's handler, say
        said = f"{plugin.described} failed in {call}: {type(error).__name__}: {error}"
        shown = "".join(traceback.format_tb(frames)).rstrip()
        raise PluginError(f"{said}\n{shown}" if shown else said) from error


@contextmanager
def watched(plugin: Provenance, call: str) -> Iterator[None]:
    """Say in the log whose call it is, once it has taken long; the call goes on.

    Args:
        plugin: whose code is called.
        call: what is called.
    """
    said = f"{plugin.described} has been in {call} for {PATIENCE:g} s; still waiting for it"
    timer = threading.Timer(PATIENCE, logger.warning, ("%s", said))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def refuse(plugin: Provenance, call: str, what: str, wanted: str) -> PluginError:
    """Return the error of a plugin that returned something else than its interface says.

    Example:
        >>> print(refuse(Provenance("the head 'acme' of acme 1.2", "acme"), "loss()", "a list", "a 0-d tensor"))
        loss() of the head 'acme' of acme 1.2 returned a list; its interface asks for a 0-d tensor
    """
    return PluginError(f"{call} of {plugin.described} returned {what}; its interface asks for {wanted}")


def _own_frames(frames: TracebackType | None, package: str) -> TracebackType | None:
    """Return the part of a traceback that begins with the package's code; None where it has no part in it."""
    while frames is not None and _package(frames) != package:
        frames = frames.tb_next
    return frames


def _ends_in(frames: TracebackType | None, package: str) -> bool:
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    return frames is not None and _package(frames) == package


def _package(frames: TracebackType) -> str:
    return str(frames.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
