"""The checks as tests of pytest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sslkit.interfaces import Plugin
from sslkit.testing.checks.catalogue import CHECKS
from sslkit.testing.subjects import Options, make_subject

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(*classes: type[Plugin[Any]], options: Options | None = None) -> pytest.MarkDecorator:
    """Parametrise a test by the checks of plugin classes; it calls its argument ``check``.

    Checks that do not apply to a class are left out. One that the class opts out of is skipped, with the reason.

    Args:
        *classes: plugin classes.
        options: their options; see [check_plugin][sslkit.testing.check_plugin].

    Returns:
        A mark for a test with one argument, ``check``. The ids read ``Rotation-check_loss_falls``.

    Example:
        >>> from sslkit_rotation import Rotation
        >>> @parametrize_with_checks(Rotation)
        ... def test_rotation_keeps_its_promises(check):
        ...     check()
    """
    import pytest

    parameters = []
    for cls in classes:
        subject = make_subject(cls, options)
        for check in CHECKS[subject.kind]:
            if check.why_not(cls):
                continue
            reason = cls.opt_outs.get(check.name)
            marks = () if reason is None else (pytest.mark.skip(reason=f"opted out: {reason}"),)
            parameters.append(
                pytest.param(partial(check.function, subject), id=f"{cls.__name__}-{check.name}", marks=marks)
            )
    return pytest.mark.parametrize("check", parameters)
