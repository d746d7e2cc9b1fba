"""How a check ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "opted out", "not applicable"]


class CheckFailed(AssertionError):
    """A plugin breaks a promise of its interface; the message says which, and how to mend it."""


def expect(kept: bool, message: str) -> None:
    """Fail the check with this message unless the promise is kept.

    Raises:
        CheckFailed: if it is not.

    Example:
        >>> expect(1 + 1 == 2, "arithmetic has changed")
    """
    if not kept:
        raise CheckFailed(message)


@contextmanager
def failing_as(message: str) -> Iterator[None]:
    """Fail the check with this message, and the error, where what is done within raises.

    Raises:
        CheckFailed: if it does.

    Example:
        >>> with failing_as("a batch of one fails"):
        ...     1 / 0
        Traceback (most recent call last):
        sslkit.testing.outcome.CheckFailed: a batch of one fails: ZeroDivisionError: division by zero
    """
    try:
        yield
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(f"{message}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class CheckRecord:
    """What came of one check of one plugin.

    Attributes:
        check: the check's name, ``check_<property>``.
        outcome: ``"passed"``, ``"failed"``, ``"opted out"`` or ``"not applicable"``.
        message: why it failed, the reason of the opt-out, or why it does not apply; empty where it passed.
        seconds: how long it took.
        traceback: where another error than [CheckFailed][sslkit.testing.CheckFailed] came from; empty otherwise.
    """

    check: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0
    traceback: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)
