"""What of the images stands in the report."""

from __future__ import annotations

from pydantic import Field

from sslkit.config.base import PluginConfig


class ReportConfig(PluginConfig):
    """Which pictures the report has. They change no result, and may be changed whenever a run is gone on with."""

    pictures: bool = Field(
        True,
        description="Show images: what the pretext tasks see, and the worst mistakes. `false`: no photograph is in "
        "the report or among the run's files, and earlier ones are removed.",
    )
    sample_images: int = Field(
        4, ge=0, le=16, description="Training images whose views are shown, spread over the grades; 0: none."
    )
    mistakes: int = Field(12, ge=0, le=48, description="Test images shown that were graded worst; 0: none.")
