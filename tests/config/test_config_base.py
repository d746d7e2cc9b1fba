from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sslkit.config import ConfigPath, PluginConfig


class Options(PluginConfig):
    num_tiles: int = 9
    table: ConfigPath = Path("labels.csv")
    folders: tuple[ConfigPath, ...] = ()
    cache: ConfigPath | None = None


@pytest.mark.parametrize("json", ['{"num_tiles": "4"}', '{"num_tiles": 4.0}', '{"num_tiles": true}', '{"tiles": 4}'])
def test_types_are_strict_and_keys_known(json: str) -> None:
    with pytest.raises(ValidationError, match=r"tiles"):
        Options.model_validate_json(json)


def test_options_are_frozen() -> None:
    options = Options(num_tiles=4)
    with pytest.raises(ValidationError, match="frozen"):
        options.num_tiles = 5  # type: ignore[misc]
    assert options.num_tiles == 4


def test_paths_are_relative_to_the_root(tmp_path: Path) -> None:
    json = '{"table": "a/../b.csv", "folders": ["c", "/d"], "cache": null}'
    options = Options.model_validate_json(json, context={"root": tmp_path})
    assert options.table == tmp_path.resolve() / "b.csv"
    assert options.folders == (tmp_path.resolve() / "c", Path("/d"))
    assert options.cache is None


def test_without_a_root_paths_stay_as_they_are() -> None:
    assert Options(table=Path("a/../b.csv")).table == Path("a/../b.csv")
