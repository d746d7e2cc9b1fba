"""The template of a new plugin: a distribution of its own that is complete, works, and passes its checks.

On the command line: ``sslkit plugins new upside-down --kind pretext-task``.
"""

from sslkit.scaffold.naming import Names
from sslkit.scaffold.rendering import NEW_KINDS, NewKind
from sslkit.scaffold.writing import NewPlugin, new_plugin

__all__ = ["NEW_KINDS", "Names", "NewKind", "NewPlugin", "new_plugin"]
