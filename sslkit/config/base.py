"""What every table of the configuration, the toolkit's and the plugins', is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
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


def _not_empty(value: object) -> object:
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
