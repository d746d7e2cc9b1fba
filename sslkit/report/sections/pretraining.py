"""What is said of the pretrainings beside their curves."""

from __future__ import annotations

from sslkit.experiment.collapse import COLLAPSED, collapse_sentence, ended_collapsed
from sslkit.report.logs import folders_in, read_curve, read_kept_epoch, read_pretrainings
from sslkit.report.markup import NOTHING, Markup, element
from sslkit.report.tables import Run
from sslkit.report.text import share


def collapse_banner(run: Run, task: str) -> Markup:
    """Return the flag of a task whose representation has collapsed in a fold; nothing where it has not."""
    folds = [fold for fold, log in read_pretrainings(run, task).items() if ended_collapsed(log)]
    if not folds:
        return NOTHING
    said = collapse_sentence(task, folds)
    return element("div", element("p", element("strong", said)), class_="banner alarm", role="note")


def spread_note(run: Run, task: str) -> Markup:
    """Return how the curves of the spread are to be read; nothing where no pretraining was long enough for any."""
    if not any("feature_spread" in line for log in read_pretrainings(run, task).values() for line in log):
        return NOTHING
    said = (
        "The spread says how far the backbone tells images apart: 0 if it says the same of all, 1 if no direction is "
        f"preferred. A curve begins with the untrained network; a representation that ends below {share(COLLAPSED)} of "
        "that, at the dotted line, counts as collapsed. The effective rank is how many dimensions images fill."
    )
    return element("p", said, class_="note")


def kept_epochs(run: Run, task: str) -> Markup:
    """Return a note on the linear probe and on the epochs that were kept by it; nothing where there was no probe."""
    probed, earlier = False, []
    for folder in folders_in(run.directory / "pretraining" / task):
        log, kept = read_curve(folder / "metrics.jsonl"), read_kept_epoch(folder)
        probed |= any("probe_qwk" in line for line in log)
        if log and kept is not None and kept < log[-1].get("epoch", 0):
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
