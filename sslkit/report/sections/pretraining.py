"""What is said of the pretrainings beside their curves."""

from __future__ import annotations

from sslkit.report.logs import read_curve, read_kept_epoch
from sslkit.report.markup import NOTHING, Markup, element
from sslkit.report.tables import Run


def kept_epochs(run: Run, task: str) -> Markup:
    """Return a note on the linear probe and on the epochs that were kept by it; nothing where there was no probe."""
    folders = sorted(path for path in (run.directory / "pretraining" / task).iterdir() if path.is_dir())
    logs = {folder: read_curve(folder / "metrics.jsonl") for folder in folders}
    if not any("probe_qwk" in line for log in logs.values() for line in log):
        return NOTHING
    said = (
        "The linear probe learns the grades from the present representation, with the labels of the smallest share "
        "alone: whether it still rises is telling, how high it stands is not."
    )
    kept = {folder.name: read_kept_epoch(folder) for folder in folders}
    earlier = {
        fold: epoch
        for (fold, epoch), log in zip(kept.items(), logs.values(), strict=True)
        if epoch is not None and log and epoch < log[-1]["epoch"]
    }
    if earlier:
        epochs = ", ".join(f"{epoch} of {fold}" for fold, epoch in earlier.items())
        said += f" Kept by the probe in place of the last epoch: {epochs}."
    return element("p", said, class_="note")
