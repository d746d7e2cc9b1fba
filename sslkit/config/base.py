"""What every table of the configuration, the toolkit's and the plugins', is made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sslkit.config.descriptions import documented
from sslkit.files import absolute
from sslkit.printable import abbreviate, shown


class PluginConfig(BaseModel):
    """Options of a plugin: strict types, no unknown keys, frozen once made.

    Example:
        >>> class MyConfig(PluginConfig):
        ...     num_tiles: int = 9
        >>> MyConfig(num_tiles=4).num_tiles
        4
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON schema; an option that its field does not describe is described as the docstring does."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        described = documented(cls)
        for name, field in cls.model_fields.items():
            if name in described and (key := field.alias or name) in properties:
                properties[key].setdefault("description", described[name])
        return schema


ValueT = TypeVar("ValueT")


def _resolve(path: Path, info: ValidationInfo) -> Path:
    root = (info.context or {}).get("root")
    if root is None:
        return path
    try:
        resolved = absolute(Path(root) / path.expanduser())
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{shown(str(path))} leads nowhere: {abbreviate(str(error))}") from None
    try:
        str(resolved).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{str(resolved)!a} is not UTF-8 text, which no TOML can hold; rename the folder") from None
    return resolved


def _not_empty(value: ValueT) -> ValueT:
    if value == "":
        raise ValueError("a path is empty; leave the key out, or write '.' for the folder of the TOML file")
    return value


ConfigPath = Annotated[
    Path,
    BeforeValidator(_not_empty),
    AfterValidator(_resolve),
    WithJsonSchema({"type": "string", "format": "path", "minLength": 1}),
]
"""A path in a configuration; a relative one is relative to the TOML file's folder."""


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
    if "@" in found["rest"].partition("/")[0]:
        raise ValueError(
            "the URL holds a name or a password before its '@', which would be written into the run's files; leave "
            "them out, and give them as the storage's own tools do, by the environment or a file in the home folder"
        )
    return url.rstrip("/")


def _path_or_url(value: object, info: ValidationInfo) -> Path | str:
    if isinstance(value, str) and is_url(value):
        return check_url(value)
    if not isinstance(value, str | Path):
        raise ValueError(f"{shown(value)} is neither a path nor a URL; give a text")
    return _resolve(Path(_not_empty(value)), info)


ConfigLocation = Annotated[
    Path | str,
    PlainValidator(_path_or_url),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""A folder in a configuration: a path, as [ConfigPath][sslkit.ConfigPath] has it, or a URL such as ``s3://bucket/x``."""
