"""What every plugin promises, of whatever kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sslkit.registry import reason_to_refuse
from sslkit.testing.outcome import CheckFailed, expect
from sslkit.testing.subjects import Subject

_UNKNOWN_OPTION = "an_option_that_no_plugin_has"


def check_is_usable(subject: Subject) -> None:
    """The registry takes the class: it has a name, a Config, an api_version of today, and leaves no method out.

    A class that is refused is set aside when plugins are discovered, and no configuration can name it.
    """
    reason = reason_to_refuse(subject.cls)
    expect(reason is None, f"sslkit sets the class aside: {reason}")


def check_api_version_is_stated(subject: Subject) -> None:
    """The class states the ``api_version`` that it was written for.

    One that inherits it claims to speak whatever version the installed sslkit speaks, and fails in the midst of a run
    where that is not so. Write ``api_version = 1`` beside its name.
    """
    stated = any("api_version" in vars(base) for base in _own_classes(subject.cls))
    expect(stated, f"{subject.cls.__name__} inherits its api_version from sslkit; state it beside its name")


def check_is_documented(subject: Subject) -> None:
    """The class says in a line what it is, and what each of its options means.

    ``sslkit plugins list`` shows the first line of the class's docstring. The options' descriptions are shown in the
    manual and, by the JSON schema, in editors.
    """
    own = subject.cls.__doc__ if "__doc__" in vars(subject.cls) else None
    expect(bool(own and own.strip()), f"{subject.cls.__name__} has no docstring; begin it with a line on what it is")
    options = subject.cls.Config.model_json_schema().get("properties", {})
    missing = [name for name, option in options.items() if not option.get("description")]
    expect(
        not missing,
        f"nothing says what {', '.join(missing)} of {subject.cls.Config.__name__} means; use Field(description=...), "
        "or a section 'Attributes:' of its docstring",
    )


def check_options_round_trip(subject: Subject) -> None:
    """Options that are written down and read again are the same options, and have a JSON schema.

    A run writes the options of its plugins to config.toml, and the same run is to come of that file. Validators must
    accept what they return, and return it unchanged.
    """
    config = subject.config
    written = json.dumps(config.model_dump(mode="json", exclude_none=True, by_alias=True))
    try:
        again = type(config).model_validate_json(written, context={"root": Path.cwd()})
    except ValidationError as error:
        raise CheckFailed(f"the options {written} cannot be read again: {error}") from error
    expect(again == config, f"the options {written} are read again as {again!r}, no longer {config!r}")
    type(config).model_json_schema()


def check_unknown_options_are_refused(subject: Subject) -> None:
    """An option that the plugin does not have is refused, so that a slip of the pen is not mistaken for a choice.

    [PluginConfig][sslkit.PluginConfig] sees to it, unless its ``model_config`` is changed.
    """
    options = {**subject.options, _UNKNOWN_OPTION: 1}
    try:
        subject.cls.Config.model_validate_json(json.dumps(options), context={"root": Path.cwd()})
    except ValidationError as error:
        refused = any(item["loc"][-1:] == (_UNKNOWN_OPTION,) for item in error.errors())
        expect(refused, f"an unknown option is refused, but not by its name: {error}")
    else:
        raise CheckFailed(f"{subject.cls.Config.__name__} takes options that it does not have; leave extra='forbid'")


def check_options_are_frozen(subject: Subject) -> None:
    """Options cannot be changed once they are read.

    All jobs of a run share them. [PluginConfig][sslkit.PluginConfig] sees to it, unless its ``model_config`` is
    changed.
    """
    expect(
        bool(subject.cls.Config.model_config.get("frozen")),
        f"{subject.cls.Config.__name__} can be changed after it is made; leave frozen=True",
    )


CHECKS: tuple[Callable[[Any], None], ...] = (
    check_is_usable,
    check_api_version_is_stated,
    check_is_documented,
    check_options_round_trip,
    check_unknown_options_are_refused,
    check_options_are_frozen,
)
"""In the order in which they are carried out."""


def _own_classes(cls: type[Any]) -> list[type[Any]]:
    """Return a class and those that it inherits from, without sslkit's own and Python's."""
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] not in ("sslkit", "torch", "builtins")]
