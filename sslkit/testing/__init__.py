"""The conformance kit: whether a plugin keeps the promises of its interface.

In a plugin's own tests:

    from sslkit.testing import parametrize_with_checks

    @parametrize_with_checks(MyTask)
    def test_my_task_keeps_its_promises(check):
        check()

On the command line: ``sslkit plugins check my-task``.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    from sslkit.errors import UsageError

    raise UsageError("the checks of plugins need hypothesis; install it by: pip install 'sslkit[testing]'") from error

from sslkit.testing.checks.catalogue import CHECKS, TAGS, Check
from sslkit.testing.network import TinyNetwork
from sslkit.testing.outcome import CheckFailed, CheckRecord
from sslkit.testing.parametrization import parametrize_with_checks
from sslkit.testing.running import check_plugin
from sslkit.testing.subjects import (
    BackboneSubject,
    DatasetSubject,
    ExecutorSubject,
    HeadSubject,
    Options,
    PretextTaskSubject,
    Subject,
    make_subject,
)

__all__ = [
    "CHECKS",
    "TAGS",
    "BackboneSubject",
    "Check",
    "CheckFailed",
    "CheckRecord",
    "DatasetSubject",
    "ExecutorSubject",
    "HeadSubject",
    "Options",
    "PretextTaskSubject",
    "Subject",
    "TinyNetwork",
    "check_plugin",
    "make_subject",
    "parametrize_with_checks",
]
