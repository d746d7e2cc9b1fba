"""A reporting checklist after TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), filled from a run.

The items are told in our own words and by the statement's numbers. It is an aid for authors, not the official form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sslkit.report.cards.facts import NOT_PROVIDED, Facts
from sslkit.report.text import count, share

Status = Literal["filled from the run", "stated in [card]", "not provided", "not applicable"]


@dataclass(frozen=True)
class Answer:
    """One item of the checklist.

    Attributes:
        item: its number in TRIPOD+AI.
        topic: the heading that it stands under.
        asks: what is to be reported.
        status: where the answer comes from.
        answer: what is reported, or why nothing is.
    """

    item: str
    topic: str
    asks: str
    status: Status
    answer: str


Source = str | Callable[[Facts], str | None] | tuple[str, ...]
"""A key of ``[card]``; a function of the run; or, in a tuple, the reason why an item does not apply."""

_IN_PAPER = "authors write this in the paper"


def _title(facts: Facts) -> str | None:
    name, classes = facts.info.get("name"), facts.info.get("class_names")
    return f"{name}: development of a model of {len(classes)} grades" if name and classes else None


def _objective(facts: Facts) -> str | None:
    arms = facts.config.get("evaluation", {}).get("arms")
    if not arms:
        return None
    return f"Development, and internal evaluation by cross validation, of models from {', '.join(arms)} weights."


def _preparation(facts: Facts) -> str | None:
    images = facts.config.get("images", {})
    if "crop" not in images:
        return None
    return f"Every image alike: crop '{images['crop']}', {images['size']} x {images['size']} px, normalised."


def _outcome(facts: Facts) -> str | None:
    names = facts.info.get("class_names")
    return f"The grade of the image: {', '.join(map(str, names))}." if names else None


def _predictors(facts: Facts) -> str | None:
    backbone = facts.plugins("backbone")
    return f"The pixels of one image, by a network: {backbone}." if backbone else None


def _predictions(facts: Facts) -> str | None:
    folds = facts.config.get("evaluation", {}).get("folds")
    return f"Each labelled image was graded by the model of the one fold of {folds} that tests it." if folds else None


def _imbalance(facts: Facts) -> str | None:
    head = facts.config.get("head", {})
    if "name" not in head:
        return None
    fitted = [f"{key} {head[key]}" for key in ("cut_points", "temperature") if key in head]
    return f"Folds are stratified; classes are not resampled. {', '.join(fitted) or 'Nothing is recalibrated'}."


def _output(facts: Facts) -> str | None:
    names, lowest = facts.info.get("class_names"), facts.info.get("positive_from")
    if not names:
        return None
    referable = "" if lowest is None else f" Referable from {names[lowest]}, at a threshold fitted across folds."
    return f"A grade and the probability of each of {len(names)} grades.{referable}"


def _numbers(facts: Facts) -> str | None:
    cells = facts.run.cells
    if not cells:
        return None
    shares = {cell.fraction: cell.labels for cell in cells if cell.fold == 0}
    said = ", ".join(f"{share(part)}: {count(labels)} labels" for part, labels in shares.items())
    return f"{len(cells)} trained cells; in the first fold {said}."


def _specification(facts: Facts) -> str | None:
    versions = facts.versions()
    return (
        f"Weights and configuration stand in the run directory (cells, config.toml). {versions}." if versions else None
    )


def _limitations(facts: Facts) -> str | None:
    said = [*facts.cautions(), *filter(None, [facts.stated("limitations")])]
    return " ".join(said) if said else None


def _poor_input(facts: Facts) -> str | None:
    choice = facts.config.get("images", {}).get("on_unreadable")
    said = {"stop": "An unreadable image stops the run", "skip": "Unreadable images are named and left out"}.get(choice)
    return f"{said}; in prediction it is answered with the reason, and the others are graded." if said else None


ITEMS: tuple[tuple[str, str, str, Source], ...] = (
    ("1", "Title", "development or evaluation, population and outcome", _title),
    ("2", "Abstract", "a structured summary", (_IN_PAPER,)),
    ("3a", "Background", "the clinical context, and why a model is needed", "background"),
    ("3b", "Background", "whom it is for, and its place in care", "intended_use"),
    ("3c", "Background", "known inequalities between groups", "target_population"),
    ("4", "Objectives", "whether models are developed, evaluated or both", _objective),
    ("5a", "Data", "sources of data, and why they are representative", "data_source"),
    ("5b", "Data", "dates of collection", "data_dates"),
    ("6a", "Participants", "setting and centres", "setting"),
    ("6b", "Participants", "eligibility", "eligibility"),
    ("6c", "Participants", "treatments received", "eligibility"),
    ("7", "Data preparation", "cleaning and preprocessing, alike for all groups", _preparation),
    ("8a", "Outcome", "what is predicted and when", _outcome),
    ("8b", "Outcome", "who assessed the outcome, and how alike", "reference_standard"),
    ("8c", "Outcome", "blinding of the assessment", "reference_standard"),
    ("9a", "Predictors", "how predictors were chosen", _predictors),
    ("9b", "Predictors", "how and when they are measured", _preparation),
    ("9c", "Predictors", "who assessed them, where that takes judgement", ("pixels are read by a program",)),
    ("10", "Sample size", "how the size came about", Facts.data),
    ("11", "Missing data", "what was missing, and what was done", Facts.missing_labels),
    ("12a", "Analysis", "how data were divided for training and testing", Facts.splitting),
    ("12b", "Analysis", "how predictors enter the model", _preparation),
    ("12c", "Analysis", "type of model, how it was built and chosen", Facts.budget),
    ("12d", "Analysis", "differences between clusters and how they were treated", Facts.splitting),
    ("12e", "Analysis", "measures of performance", Facts.metrics),
    ("12f", "Analysis", "updating of a model", ("no earlier model was updated",)),
    ("12g", "Analysis", "how predictions were made for the evaluation", _predictions),
    ("13", "Class imbalance", "methods against it, and recalibration", _imbalance),
    ("14", "Fairness", "how fairness was sought", "fairness"),
    ("15", "Model output", "what it puts out, and thresholds", _output),
    ("16", "Training and evaluation", "how the two data sets differ", Facts.pretraining),
    ("17", "Ethics", "approval and consent", "ethics"),
    ("18a", "Open science", "funding", "funding"),
    ("18b", "Open science", "conflicts of interest", "conflicts"),
    ("18c", "Open science", "protocol", "protocol"),
    ("18d", "Open science", "registration", "registration"),
    ("18e", "Open science", "availability of data", "data_availability"),
    ("18f", "Open science", "availability of code", "code_availability"),
    ("19", "Patients and public", "how they took part", "patient_involvement"),
    ("20a", "Participants", "flow of participants, with and without the outcome", Facts.data),
    ("20b", "Participants", "their characteristics, by group", "target_population"),
    ("20c", "Participants", "how evaluation data compare with training data", Facts.splitting),
    ("21", "Model development", "numbers in each analysis", _numbers),
    ("22", "Model specification", "the whole model, so that others can use it", _specification),
    ("23a", "Performance", "estimates with intervals", Facts.performance),
    ("23b", "Performance", "differences between clusters", Facts.intervals),
    ("24", "Model updating", "results of an update", ("no earlier model was updated",)),
    ("25", "Interpretation", "the results beside other evidence", "interpretation"),
    ("26", "Limitations", "limits and biases", _limitations),
    ("27a", "Usability", "how poor or missing input is treated", _poor_input),
    ("27b", "Usability", "whether users must act or have expertise", "intended_use"),
    ("27c", "Usability", "next steps and generalisation", "interpretation"),
)


def checklist(facts: Facts) -> list[Answer]:
    """Return every item with what the run or its configuration says of it."""
    return [_answer(facts, *item) for item in ITEMS]


def _answer(facts: Facts, item: str, topic: str, asks: str, source: Source) -> Answer:
    if isinstance(source, tuple):
        return Answer(item, topic, asks, "not applicable", f"not applicable: {source[0]}")
    said = facts.stated(source) if isinstance(source, str) else source(facts)
    if said is None:
        return Answer(item, topic, asks, "not provided", NOT_PROVIDED)
    return Answer(item, topic, asks, "stated in [card]" if isinstance(source, str) else "filled from the run", said)
