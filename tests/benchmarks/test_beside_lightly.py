"""Views a second of SimCLR and BYOL, beside the package lightly doing the same on the same images in the same run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightly", reason="the package lightly is not installed: pip install '.[bench]'")

sys.path.insert(0, str(Path(__file__).parent))  # the benchmarks are programs, which import one another

from lightly_updates import Method, lightly_updates
from measures import SECONDS, config_of, job_rate, prepared_of
from yardsticks import rate_of

from sslkit.engine.precision import resolve_compute

SIZE, BATCH = 64, 32


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), [("simclr", {}), ("byol", {"hidden_width": 1024})])
def test_ours_is_ahead(method: Method, options: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(
        SIZE,
        backbone={"name": "timm", "model": "resnet18"},
        pretext={"name": method, **options},
        pretraining={"epochs": 100_000, "batch_size": BATCH},
    )
    job = prepared_of(config, tmp_path).jobs.pretrainings[0]
    images = job.recipe.cache.open()[job.rows]
    precision = resolve_compute("cpu", "auto", False).precision
    ratios = []
    for _ in range(2):
        ours = job_rate(job, 2 * BATCH, SECONDS)
        by_workers = {n: rate_of(lightly_updates(method, images, BATCH, precision, n), SECONDS) for n in (0, 1, 2)}
        theirs = max(by_workers.values())
        ratios.append(ours / theirs)
        shown = ", ".join(f"{rate:.0f} with {n} workers" for n, rate in by_workers.items())
        print(f"\n{method}, {precision}: ours {ours:.0f} views/s; lightly {shown}; {ours / theirs:.2f} times the best")
    assert min(ratios) > 1
