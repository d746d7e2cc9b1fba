"""What the commands show: progress on standard error, results on standard output."""

from sslkit.cli.display.audit import show_audit
from sslkit.cli.display.bench import show_bench, show_estimate
from sslkit.cli.display.console import line, make_console, redraws
from sslkit.cli.display.grades import show_grades
from sslkit.cli.display.plan import show_plan
from sslkit.cli.display.plugins import show_plugins
from sslkit.cli.display.progress import Progress, follow_run
from sslkit.cli.display.result import show_result

__all__ = [
    "Progress",
    "follow_run",
    "line",
    "make_console",
    "redraws",
    "show_audit",
    "show_bench",
    "show_estimate",
    "show_grades",
    "show_plan",
    "show_plugins",
    "show_result",
]
