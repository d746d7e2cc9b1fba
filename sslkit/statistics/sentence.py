"""The labels saved, in one sentence."""

from __future__ import annotations

from sslkit.statistics.label_savings import EquivalentShare, LabelsSaved


def labels_saved_sentence(saved: LabelsSaved, subject: str) -> str:
    """Return what pretraining saved in words, without a full stop.

    Args:
        saved: as [labels_saved][sslkit.statistics.labels_saved] returns it.
        subject: what did as well, such as "pretraining by rotation".

    Example:
        >>> needed, low, high = (EquivalentShare(x, "at", x * 3000 - 300) for x in (0.23, 0.14, 0.38))
        >>> saved = LabelsSaved(0.1, needed, low, high, 0.95, 5)
        >>> for part in labels_saved_sentence(saved, "pretraining by rotation").split(", "):
        ...     print(part)
        With 10 % of the labels
        pretraining by rotation does as well as training from scratch on 23 % (95 % interval 14 to 38): 390 labels saved
    """
    needed = saved.needed
    than = {
        "at": f"as well as training from scratch on {_percent(needed)} %",
        "above": f"better than training from scratch on {_percent(needed)} %",
        "below": f"no better than training from scratch on less than {_percent(needed)} %",
    }[needed.bound]
    does = f"With {100 * saved.share:.4g} % of the labels, {subject} does {than}{_interval(saved)}"
    return f"{does}: {saved_in_words(needed)}"


def _interval(saved: LabelsSaved) -> str:
    if saved.low is None or saved.high is None:
        return ""
    name = f"{100 * saved.confidence:.4g} % interval"
    ends = saved.low, saved.high
    if all(end.bound == "at" for end in ends):
        return f" ({name} {_percent(ends[0])} to {_percent(ends[1])})"
    signs = {"at": "", "below": "< ", "above": "> "}
    low, high = (f"{signs[end.bound]}{_percent(end)} %" for end in ends)
    return f" ({name} {low} to {high})"


def _percent(share: EquivalentShare) -> str:
    """Return an estimate in whole per cent, to a tenth below ten; the ends of the measured range as they are."""
    percent = 100 * share.value
    if share.bound != "at":
        return f"{percent:.4g}"
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}".removesuffix(".0")


def saved_in_words(needed: EquivalentShare) -> str:
    """Return how many labels are saved by an arm that training from scratch needs such a share for."""
    count = round(needed.labels_saved)
    if needed.bound == "above" and count < 1:
        return "how many labels that saves lies beyond what was measured"
    if needed.bound == "below" or count < 1:
        return "no labels saved"
    return f"{'more than ' if needed.bound == 'above' else ''}{count:,} label{'' if count == 1 else 's'} saved"
