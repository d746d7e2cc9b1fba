"""What a shell completes: nothing here loads torch, or imports a plugin."""

from sslkit.cli.completing.keys import settings
from sslkit.cli.completing.paths import configurations, runs
from sslkit.cli.completing.plugins import plugin_names, plugin_options
from sslkit.cli.completing.shells import script_for
from sslkit.cli.completing.trained import arms, pretext_tasks

__all__ = [
    "arms",
    "configurations",
    "plugin_names",
    "plugin_options",
    "pretext_tasks",
    "runs",
    "script_for",
    "settings",
]
