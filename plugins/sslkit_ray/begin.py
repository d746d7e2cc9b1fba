"""The first thing that runs on a node, which may lack all that the driver has; it travels as it is, not by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def make_begin() -> Callable[..., dict[str, Any]]:
    """Return a function that Ray sends by value, since it is defined in another, and that needs nothing but Python."""

    def begin(order: dict[str, Any], postbox: Any) -> dict[str, Any]:
        import importlib
        import os
        import platform
        import sys

        # Where the driver finds its modules a node may find them as well, if it is the same machine, say.
        sys.path.extend(path for path in order["path"] if path not in sys.path and os.path.isdir(path))
        node = platform.node()
        try:
            here = importlib.import_module("sslkit").__version__
            if here != order["versions"]["sslkit"]:
                return {"node": node, "unfit": f"it has sslkit {here} where the run has {order['versions']['sslkit']}"}
            perform = importlib.import_module("sslkit_ray.task").perform
        except ImportError as error:
            reason = f"{type(error).__name__}: {error}"
            return {
                "node": node,
                "unfit": f"its Python, {platform.python_version()} at {sys.executable}, says {reason}",
            }
        return {"node": node, **perform(order, postbox)}

    return begin
