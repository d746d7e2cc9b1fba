"""The model card and the reporting checklist of a run, as JSON and as pages."""

from sslkit.report.cards.writing import write_cards

__all__ = ["write_cards"]
