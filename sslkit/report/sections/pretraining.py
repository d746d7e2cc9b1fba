"""What is said of the pretrainings beside their curves."""

from __future__ import annotations

from sslkit.report.logs import read_curve, read_kept_epoch
from sslkit.report.markup import NOTHING, Markup, element
from sslkit.report.tables import Run


def kept_epochs(run: Run, task: str) -> Markup:
    """Return a note on the linear probe and on the epochs that were kept by it; nothing where there was no probe."""
    probed, earlier = False, []
    for folder in sorted(path for path in (run.directory / "pretraining" / task).iterdir() if path.is_dir()):
        log, kept = read_curve(folder / "metrics.jsonl"), read_kept_epoch(folder)
        probed |= any("probe_qwk" in line for line in log)
        if log and kept is not None and kept < log[-1]["epoch"]:
            earlier.append(f"{kept} of {folder.name}")
    if not probed:
        return NOTHING
    said = (
        "The linear probe learns the grades from the present representation, with the labels of the smallest share "
        "alone: whether it still rises is telling, how high it stands is not."
    )
    if earlier:
        said += f" Kept by the probe in place of the last epoch: {', '.join(earlier)}."
    return element("p", said, class_="note")
