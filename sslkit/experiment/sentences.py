"""The sentences of conclusions, as people are told them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

BY = "pretraining by "
"""What a task's name follows in a sentence."""


def sentences(conclusions: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the sentences of conclusions, where they say the same of several pretext tasks as one.

    Args:
        conclusions: as [conclude][sslkit.experiment.conclusions.conclude] returns them.

    Example:
        >>> said = "No difference shown: pretraining by {} against training from scratch."
        >>> sentences({"pretext": name, "sentence": said.format(name)} for name in ("jigsaw", "rotation", "moco"))
        ['No difference shown: pretraining by jigsaw, rotation and moco against training from scratch.']
    """
    tasks: dict[str, list[str]] = {}
    for conclusion in conclusions:
        task = conclusion.get("pretext", "")
        form = conclusion["sentence"].replace(f"{BY}{task}", BY, 1) if task else conclusion["sentence"]
        tasks.setdefault(form, []).append(task)
    return [form.replace(BY, f"{BY}{together(names)}", 1) if all(names) else form for form, names in tasks.items()]


def together(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    Example:
        >>> together(["jigsaw"]), together(["jigsaw", "rotation", "moco"])
        ('jigsaw', 'jigsaw, rotation and moco')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
