"""Puts a plugin class to its checks."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from sslkit.errors import SslkitError
from sslkit.interfaces import Plugin
from sslkit.testing.checks.catalogue import CHECKS, Check
from sslkit.testing.outcome import CheckFailed, CheckRecord
from sslkit.testing.subjects import Options, Subject, make_subject


def check_plugin(
    cls: type[Plugin[Any]],
    options: Options | None = None,
    *,
    on_record: Callable[[CheckRecord], None] | None = None,
) -> list[CheckRecord]:
    """Put a plugin class to every check of its kind.

    Args:
        cls: a class of any kind of plugin.
        options: its options, as a configuration gives them; or a function that writes the files that they name into a
            folder, and returns them. May be left out where every option has a default.
        on_record: called with each record as soon as it is there.

    Returns:
        One record a check, in the order in which they were carried out.

    Raises:
        TypeError: if the class is no plugin class.
        sslkit.errors.ConfigError: if the options are wrong, or one is missing.
        sslkit.errors.DataError: if a data set finds nothing where they lead.

    Example:
        >>> from sslkit_rotation import Rotation
        >>> {record.outcome for record in check_plugin(Rotation)}
        {'passed'}
    """
    subject = make_subject(cls, options)
    subject.require()
    records = []
    for check in CHECKS[subject.kind]:
        record = carry_out(check, subject)
        records.append(record)
        if on_record is not None:
            on_record(record)
    return records


def carry_out(check: Check, subject: Subject) -> CheckRecord:
    """Put a plugin class to one check."""
    if reason := check.why_not(subject.cls):
        return CheckRecord(check.name, "not applicable", reason)
    if check.name in subject.cls.opt_outs:
        return CheckRecord(check.name, "opted out", subject.cls.opt_outs[check.name])
    started = time.monotonic()
    try:
        check.function(subject)
    except CheckFailed as failure:
        return CheckRecord(check.name, "failed", str(failure), time.monotonic() - started)
    except Exception as error:  # whatever a stranger's code raises is told of it
        said = f"{type(error).__name__}: {error}"
        # The toolkit's own errors say whose code it was, with its frames.
        trace = "" if isinstance(error, SslkitError) else traceback.format_exc()
        return CheckRecord(check.name, "failed", said, time.monotonic() - started, trace)
    return CheckRecord(check.name, "passed", seconds=time.monotonic() - started)
