"""A local page where one drops a photograph and sees how a run's models grade it, and the same as a web API.

It needs starlette, uvicorn and python-multipart, the extra ``serve``; nothing is imported of them before a function is
called. Who may ask, and how much, is decided in [sslkit.serve.access][], before anything of a request is read.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from sslkit.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from sslkit.serve.model import ServedModel
    from sslkit.serve.settings import Settings

_PACKAGES = ("starlette", "uvicorn", "python_multipart")


def make_app(model: ServedModel, settings: Settings | None = None) -> ASGIApp:
    """Return the page and its API as an ASGI application, for ``sslkit serve`` or a server of your own, at its root.

    Args:
        model: what grades, from [open_model][sslkit.serve.open_model].
        settings: limits, secret and names; by default for this machine alone, with nothing kept.

    Raises:
        sslkit.errors.UsageError: if the extra ``serve`` is not installed.
    """
    require_packages()
    from sslkit.serve.app import application
    from sslkit.serve.settings import Settings

    return application(model, settings or Settings())


def open_model(path: Path, *, arm: str | None = None, pretext: str | None = None) -> ServedModel:
    """Load the models of a run, or of a directory that ``sslkit export`` wrote, to grade with.

    Raises:
        sslkit.errors.RunDirectoryError: if there is no such run, or it does not keep the arm's models.
    """
    from sslkit.serve.model import ServedModel

    return ServedModel.open(path, arm=arm, pretext=pretext)


def require_packages() -> None:
    """Check that what serving needs is installed.

    Raises:
        sslkit.errors.UsageError: naming what is missing, and how to install it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"serving needs {', '.join(missing)}, not installed here: pip install 'sslkit[serve]'")
