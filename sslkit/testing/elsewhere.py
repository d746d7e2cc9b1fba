"""Calls a function in a fresh process: another hash seed, one thread, nothing that this process has come to."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from sslkit.testing.outcome import CheckFailed

_PATIENCE = 300.0
"""Seconds that the other process may take, with the import of torch."""


def call_elsewhere(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a fresh process.

    Args:
        function: of a module that can be imported there.
        *arguments: whatever pickles.

    Raises:
        CheckFailed: if the call cannot be sent there, or fails there.
    """
    try:
        call = pickle.dumps((function, arguments))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CheckFailed(f"nothing can be sent to another process: {error}; define classes in a module") from error
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import serve; serve()"],
        input=call,
        capture_output=True,
        timeout=_PATIENCE,
        env={
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        },
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise CheckFailed(f"it fails in another process: {said.rpartition(chr(10))[2]}\n{said}")
    return pickle.loads(done.stdout)


def serve() -> None:
    """Carry out the call on standard input, and write what it returns to standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed goes to standard error
    function, arguments = pickle.load(sys.stdin.buffer)
    pickle.dump(function(*arguments), answers)
    answers.close()
