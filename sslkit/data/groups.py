r"""Patients that are told by the names of their images: ``17_left.jpeg`` and ``17_right.jpeg`` are both of 17."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from sslkit.errors import DataError
from sslkit.printable import shown

_MOST_NAMED = 3


def _one_group(value: str | None) -> str | None:
    if not value:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of what another Python would read in another way
            groups = re.compile(value).groups
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise ValueError(f"{shown(value)} is not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"{shown(value)} has {groups} groups; put one pair of parentheses around the patient's name")
    return value


GroupPattern = Annotated[str | None, AfterValidator(_one_group)]
"""The type of an option that holds a regular expression with one group, or nothing: what
[groups_in_names][sslkit.groups_in_names] takes."""


def groups_in_names(names: Sequence[str], pattern: str | None) -> list[str | None]:
    r"""Return the group of each image, found in its file's name.

    Args:
        names: the images' paths; only what follows the last slash is searched.
        pattern: a regular expression with one group; None: no image has a group.

    Raises:
        sslkit.errors.DataError: if it finds no group in some of the names.

    Example:
        >>> groups_in_names(["a/17_left.jpeg", "b/17_right.jpeg"], r"^(\d+)_")
        ['17', '17']
    """
    if pattern is None:
        return [None] * len(names)
    matches = [re.search(pattern, name.rpartition("/")[2]) for name in names]
    groups = [match[1] if match else None for match in matches]
    lacking = [name for name, group in zip(names, groups, strict=True) if not group]
    if lacking:
        more = ", ..." if len(lacking) > _MOST_NAMED else ""
        raise DataError(
            f"group_pattern {pattern!r} finds no group in {len(lacking)} of {len(names)} file names: "
            f"{', '.join(lacking[:_MOST_NAMED])}{more}; every image needs one"
        )
    return groups
