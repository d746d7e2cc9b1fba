"""Makes the files of a new plugin from the templates."""

from __future__ import annotations

import ast
import builtins
from importlib import resources
from string import Template
from typing import Literal, get_args

from sslkit.scaffold.naming import Names

NewKind = Literal["pretext-task", "backbone", "head", "dataset"]
NEW_KINDS: tuple[NewKind, ...] = get_args(NewKind)
"""The kinds of plugin that there is a template for."""

MODULE, TESTS = "{module}.py", "tests/test_{stem}.py"

_FILES = {
    MODULE: "{kind}/plugin.py",
    TESTS: "{kind}/test_plugin.py",
    "try.toml": "{kind}/try.toml",
    "pyproject.toml": "common/pyproject.toml",
    "README.md": "common/README.md",
    ".gitignore": "common/gitignore",
    ".github/workflows/tests.yml": "common/tests.yml",
}
"""The files of a distribution, and the templates that they are made from."""

_TABLES: dict[NewKind, str] = {"pretext-task": "pretext", "backbone": "backbone", "head": "head", "dataset": "dataset"}
"""The table of a configuration that names a plugin of the kind."""

_WORDS: dict[NewKind, str] = {
    "pretext-task": "a pretext task",
    "backbone": "a backbone",
    "head": "a downstream head",
    "dataset": "a data set",
}


def render(names: Names, kind: NewKind) -> dict[str, str]:
    """Return the text of each file of a distribution, by its path in the folder.

    Example:
        >>> sorted(render(Names("blurred"), "head"))[-3:]
        ['sslkit_blurred.py', 'tests/test_blurred.py', 'try.toml']
    """
    values = {
        "plugin": names.plugin,
        "distribution": names.distribution,
        "module": names.module,
        "class_name": names.class_name,
        "a_kind": _WORDS[kind],
        "table": _TABLES[kind],
        "check": check_command(names, kind),
    }
    templates = resources.files(__package__) / "templates"
    return {
        path.format(module=names.module, stem=names.stem): Template(
            (templates / f"{template.format(kind=kind)}.tmpl").read_text(encoding="utf-8")
        ).substitute(values)
        for path, template in _FILES.items()
    }


def check_command(names: Names, kind: NewKind) -> str:
    """Return the command that puts the plugin to the conformance kit, with the options that have no default."""
    options = " --set path=samples" if kind == "dataset" else ""
    return f"sslkit plugins check {names.plugin}{options}"


def clashing_class(names: Names, files: dict[str, str]) -> str | None:
    """Return a class of the module whose name means something else there or in the tests; None where there is none."""
    sources = [ast.parse(files[path.format(module=names.module, stem=names.stem)]) for path in (MODULE, TESTS)]
    defined = [node.name for node in sources[0].body if isinstance(node, ast.ClassDef)]
    imported = {
        alias.name
        for source in sources
        for node in source.body
        if isinstance(node, ast.ImportFrom) and node.module != names.module
        for alias in node.names
    }
    return next((name for name in defined if name in imported or hasattr(builtins, name)), None)
