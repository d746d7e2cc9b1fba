"""Lists, splits and plans a study of so many synthetic images: python tests/benchmarks/planning.py CONFIG IMAGES

Prints JSON: images, jobs, missing classes, seconds, and the peak of memory in bytes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from process_memory import memory


def main(path: Path, count: int) -> None:
    """Go through all that a run does before it decodes and after it has decoded, but for the pixels."""
    started = time.perf_counter()
    import sslkit
    from sslkit.config import load_config
    from sslkit.data.cache import ImageCache
    from sslkit.experiment.plan import draw_splits, make_jobs, make_manifest
    from sslkit.experiment.recipe import Recipe
    from sslkit.experiment.run_directory import RunDirectory
    from sslkit.experiment.study import resolve

    config = load_config(path, [f"dataset.patients={count // 2}", "evaluation.arms=['pretrained','scratch','knn']"])
    study = resolve(config, sslkit.build_registry())
    manifest = make_manifest(study)
    splits = draw_splits(study, manifest)
    shares = config.evaluation.label_fractions
    missing = splits.missing_classes(study.make_head().class_names, shares)
    ids = tuple(record.id for record in manifest.records)
    json.dumps(splits.to_json(ids, shares))
    manifest.digest()
    recipe = Recipe(
        directory=RunDirectory(Path("run")),
        seed=0,
        backbone=study.backbone,
        head=study.head,
        preprocessing=study.preprocessing,
        cache=ImageCache(Path("cache"), {}),
        grades=manifest.grades,
        ids=ids,
        groups=tuple(manifest.group_names[group] for group in manifest.groups),
        pretraining=config.pretraining,
        finetuning=config.finetuning,
        compute=study.resolve_compute(),
    )
    jobs = make_jobs(study, recipe, manifest, splits)
    names = {cell.cell_id for cell in jobs.cells} | {job.identity for job in [*jobs.pretrainings, *jobs.features]}
    print(
        json.dumps(
            {
                "images": len(manifest),
                "jobs": len(names),
                "missing": missing,
                "seconds": time.perf_counter() - started,
                "bytes": memory("VmHWM"),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
