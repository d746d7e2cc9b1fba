"""The model card: Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, arXiv 1810.03993."""

from __future__ import annotations

from sslkit.report.cards.facts import NO_DEVICE, NOT_PROVIDED, Facts

Section = tuple[str, list[tuple[str, str]]]
"""A title, and names with what is known under each."""


def model_card(facts: Facts) -> list[Section]:
    """Return the sections of a run's model card; what nobody has said is said to be not provided."""
    info, stated = facts.info, facts.stated
    sections: list[tuple[str, list[tuple[str, str | None]]]] = [
        (
            "Model details",
            [
                ("name", info.get("name")),
                ("backbone", facts.plugins("backbone")),
                ("head", facts.plugins("head")),
                ("pretext task", facts.plugins("pretext-task")),
                ("made", info.get("finished")),
                ("software", facts.versions()),
                ("licence", stated("license")),
                ("citation", stated("citation")),
                ("contact", stated("contact")),
            ],
        ),
        (
            "Intended use",
            [
                ("for", stated("intended_use")),
                ("not for", stated("out_of_scope")),
                ("always", NO_DEVICE),
            ],
        ),
        (
            "Factors",
            [
                ("population", stated("target_population")),
                ("setting and cameras", stated("setting")),
                ("groups looked at", stated("fairness")),
            ],
        ),
        (
            "Data",
            [
                ("images", facts.data()),
                ("source", stated("data_source")),
                ("dates", stated("data_dates")),
                ("grading", stated("reference_standard")),
                ("left out", facts.missing_labels()),
                ("training and test", facts.splitting()),
                ("pretraining", facts.pretraining()),
            ],
        ),
        (
            "Training and metrics",
            [
                ("training", facts.budget()),
                ("metrics", facts.metrics()),
            ],
        ),
        (
            "Results",
            [
                ("scores", facts.performance()),
                ("figure to beat", facts.to_beat()),
            ],
        ),
        ("Ethical considerations", [("approval and consent", stated("ethics"))]),
        (
            "Caveats",
            [
                ("known to the run", " ".join(facts.cautions()) or None),
                ("stated", stated("limitations")),
            ],
        ),
    ]
    return [(title, [(name, str(value or NOT_PROVIDED)) for name, value in entries]) for title, entries in sections]
