"""What every table of the configuration, the toolkit's and the plugins', is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


class PluginConfig(BaseModel):
    """Options of a plugin: strict types, no unknown keys, frozen once made.

    Example:
        >>> class MyConfig(PluginConfig):
        ...     num_tiles: int = 9
        >>> MyConfig(num_tiles=4).num_tiles
        4
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    root = (info.context or {}).get("root")
    if root is None:
        return path
    try:
        resolved = (Path(root) / path.expanduser()).resolve()
        str(resolved).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{str(resolved)!a} is not UTF-8 text, which no TOML can hold; rename the folder") from None
    except (OSError, RuntimeError) as error:  # nobody's home folder, or links in a circle
        raise ValueError(f"{str(path)!r} leads nowhere: {error}") from None
    return resolved


ConfigPath = Annotated[Path, AfterValidator(_resolve)]
"""A path in a configuration; a relative one is relative to the TOML file's folder."""
