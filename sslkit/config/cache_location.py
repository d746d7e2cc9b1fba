"""Where a configuration says that decoded images are: a folder, or a URL of object storage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import PlainSerializer, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from sslkit.config.base import ConfigPath
from sslkit.printable import shown

_URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)


def is_url(text: str) -> bool:
    """Tell whether a text names a place by its protocol, as ``s3://bucket/folder`` does.

    Example:
        >>> is_url("s3://bucket/folder"), is_url("/data/folder")
        (True, False)
    """
    return _URL.match(text) is not None


def check_url(url: str) -> str:
    """Return a URL of a folder without the slashes at its end.

    Raises:
        ValueError: if it names no folder, or holds a password, which would stand in the run's files and its report.
    """
    found = _URL.fullmatch(url)
    if found is None or not found["rest"].strip("/"):
        raise ValueError(f"{shown(url)} names no folder; write it as in 's3://bucket/folder'")
    if re.match("[^/]*:[^/]*@", found["rest"]):
        raise ValueError(
            "the URL holds a password before its '@', which would be written into the run's files; leave it out, and "
            "give it as the storage's own tools do, by the environment or a file in the home folder"
        )
    return url.rstrip("/")


def _path_or_url(value: Any, handler: ValidatorFunctionWrapHandler) -> Path | str:
    if isinstance(value, str) and is_url(value):
        return check_url(value)
    path: Path = handler(value)
    return path


if TYPE_CHECKING:
    CacheLocation: TypeAlias = Path | str
else:  # for pydantic it is a path that may be something else, not either of two
    CacheLocation = Annotated[
        ConfigPath,
        WrapValidator(_path_or_url),
        PlainSerializer(str),
        WithJsonSchema({"type": "string", "minLength": 1}),
    ]
"""A folder: a path, as [ConfigPath][sslkit.ConfigPath] has it, or a URL such as ``s3://bucket/folder``, a text."""
