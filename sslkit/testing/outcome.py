"""How a check ends."""

from __future__ import annotations

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
