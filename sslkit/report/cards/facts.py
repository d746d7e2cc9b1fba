"""What a run knows of itself, in sentences; each is None where the run does not know it."""

from __future__ import annotations

from typing import Any

from sslkit.report.tables import Run
from sslkit.report.text import commit, number, plural, share, signed

NOT_PROVIDED = "not provided"

NO_DEVICE = "For research only: not a medical device, and not validated for the care of patients."


class Facts:
    """Sentences on a run, for the model card and the checklist alike.

    Args:
        run: what was read of a run directory.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.info, self.audit = run, run.info, run.audit
        self.config = run.tables

    def stated(self, key: str) -> str | None:
        """Return what the configuration's table ``[card]`` says under a key."""
        said = self.info.get("card", {}).get(key)
        return str(said) if said else None

    def plugins(self, *kinds: str) -> str | None:
        """Return the names and origins of the plugins of some kinds."""
        found = [plugin for plugin in self.info.get("plugins", []) if str(plugin.get("kind")) in kinds]
        return ", ".join(f"{p['name']} ({p['distribution']} {p['version']})" for p in found) or None

    def versions(self) -> str | None:
        """Return the versions of the software, and the commit of the study."""
        versions = ", ".join(f"{name} {version}" for name, version in self.info.get("versions", {}).items())
        git = self.info.get("git")
        if not versions:
            return None
        return f"{versions}; git commit {commit(git)}" if git else versions

    def data(self) -> str | None:
        """Return how many images, labels and groups there are."""
        data = self.info.get("data", {})
        if not {"images", "groups", "labelled"} <= data.keys():
            return None
        names, counts = self.info.get("class_names", []), data.get("class_counts", [])
        classes = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=False))
        return (
            f"{data['images']:,} images in {data['groups']:,} groups, {data['labelled']:,} of them labelled: {classes}."
        )

    def missing_labels(self) -> str | None:
        """Return what became of images that are unlabelled or unreadable."""
        data = self.info.get("data", {})
        if not {"images", "labelled"} <= data.keys():
            return None
        return (
            f"{plural(data['images'] - data['labelled'], 'image')} without a label served pretraining alone; "
            f"{plural(len(data.get('unreadable', [])), 'image')} could not be read and took no part."
        )

    def splitting(self) -> str | None:
        """Return how the images were dealt to folds."""
        evaluation = self.config.get("evaluation", {})
        if "folds" not in evaluation or not self.audit:
            return None
        groups = self.audit["groups"]
        return (
            f"{evaluation['folds']} folds of test images, stratified by grade; no group (such as a patient) and no set "
            f"of duplicates is divided: {groups['given']:,} given groups became {groups['joined']:,}."
        )

    def pretraining(self) -> str | None:
        """Return which images the pretraining saw."""
        if "transductive" not in self.info:
            return None
        if self.info["transductive"]:
            return "Transductive: pretraining saw all images, those of the test folds included, though no label."
        return "Pretraining saw no test image of its fold, and no label."

    def budget(self) -> str | None:
        """Return how the networks were trained."""
        settings = self.config.get("finetuning", {})
        if "updates" not in settings:
            return None
        return (
            f"{settings['updates']} updates of {settings['batch_size']} images at every share of the labels, of them "
            f"{settings['head_updates']} for the head alone; AdamW, learning rate {settings['learning_rate']:g}. All "
            "arms alike: they differ in the encoder's initial weights alone. Nothing was chosen by a test score."
        )

    def metrics(self) -> str | None:
        """Return what is measured, and how its uncertainty is."""
        if not self.run.cells:
            return None
        asked = self.info.get("positive_from") is not None
        referable = ", and AUROC, sensitivity and specificity of the referable grades" if asked else ""
        return (
            "Quadratic weighted kappa by fold; paired differences to training from scratch with the corrected "
            "resampled t over folds (Nadeau and Bengio 2003), adjusted over shares by Holm; beside it a bootstrap of "
            "test groups with the models fixed. Accuracy, recall by grade, calibration (ECE, Brier)"
            f"{referable}."
        )

    def performance(self) -> str | None:
        """Return the scores with the largest share of the labels, and the verdicts."""
        lines = []
        for row in self.run.summaries:
            if row.fraction != self.run.fractions[-1] or row.scores.get("qwk_mean") is None:
                continue
            scores = row.scores
            low, mean, high = (number(scores.get(f"qwk_{name}")) for name in ("min", "mean", "max"))
            ends = [scores.get("ci_low"), scores.get("ci_high")]
            sampling = "" if None in ends else f"; {number(ends[0])} to {number(ends[1])} by test sampling only"
            lines.append(f"{row.line.label}: QWK {mean} ({low} to {high} over folds{sampling})")
        if not lines:
            return None
        verdicts = " ".join(str(item["sentence"]) for item in self.info.get("conclusions", []))
        return f"With {share(self.run.fractions[-1])} of the labels, {'; '.join(lines)}. {verdicts}".strip()

    def to_beat(self) -> str | None:
        """Return what global statistics of the images score."""
        probe = self.audit.get("label_probe")
        if not probe or probe.get("qwk") is None:
            return None
        return f"QWK {number(probe['qwk'])} from global statistics of the images alone, on the same folds."

    def cautions(self) -> list[str]:
        """Return what the run itself knows to be wrong or doubtful."""
        found = [str(notice) for notice in self.info.get("notices", [])]
        if self.info.get("transductive"):
            found.append("Pretraining was transductive; scores on images that it has never seen may be lower.")
        found += [str(sentence) for sentence in self.info.get("missing_classes", [])]
        if self.audit:
            if conflicts := len(self.audit["duplicates"]["conflicts"]):
                found.append(f"{plural(conflicts, 'set')} of duplicate images whose grades disagree.")
            for task, probes in self.audit["pretext_probes"].items():
                if any(probe["leak"] for probe in probes):
                    found.append(
                        f"The answers of the pretext task {task} can be told from the edges of its views alone."
                    )
        if failed := self.info.get("failed_jobs"):
            found.append(f"{plural(len(failed), 'job')} failed.")
        return found

    def differences(self) -> list[dict[str, Any]]:
        """Return one row an arm and share: scores, intervals, differences and verdict."""
        kept = ("qwk_min", "qwk_mean", "qwk_max", "ci_low", "ci_high", "delta", "delta_low", "delta_high", "p_holm")
        return [
            {"arm": row.line.label, "share": row.fraction, "labels": row.labels}
            | {name: row.scores.get(name) for name in kept}
            | {name: value for name, value in row.scores.items() if name.startswith(("recall_", "referable_", "ece_"))}
            | {"verdict": row.verdict or None}
            for row in self.run.summaries
        ]

    def intervals(self) -> str | None:
        """Return the paired differences with their intervals, share by share."""
        said = [
            f"{row['arm']} at {share(row['share'])}: {signed(row['delta'])} "
            f"({signed(row['delta_low'])} to {signed(row['delta_high'])}), {row['verdict']}"
            for row in self.differences()
            if row["delta"] is not None
        ]
        return "; ".join(said) + "." if said else None
