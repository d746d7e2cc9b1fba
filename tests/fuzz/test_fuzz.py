from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TARGETS = sorted(path.stem.removesuffix("_target") for path in HERE.glob("*_target.py"))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def load(name: str) -> Any:
    return importlib.import_module(name)


def test_the_script_knows_every_target() -> None:
    assert list(load("run").TARGETS) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_no_seed_breaks_a_reader(target: str) -> None:
    module = load(f"{target}_target")
    seeds = list(module.seeds())
    assert len(seeds) >= 20
    for seed in (b"", b"\0", *seeds, *(seed[: len(seed) // 2] for seed in seeds)):
        module.attempt(seed)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_guided_search_breaks_no_reader(target: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="fuzzing needs the extra: pip install 'sslkit[fuzz]'")
    found = load("run").fuzz(target, int(os.environ.get("SSLKIT_FUZZ_SECONDS", "60")), tmp_path)
    print(found)
    assert not found.failure, found.failure
    assert found.executions >= 1000
    assert found.edges >= 50
