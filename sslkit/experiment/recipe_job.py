"""What all jobs of a run have in common: where they read and write, for executors that carry them out elsewhere."""

from __future__ import annotations

from pathlib import Path

from sslkit.experiment.recipe import Recipe


class RecipeJob:
    """A job whose places are those of its recipe: half of a [MovableJob][sslkit.MovableJob]."""

    recipe: Recipe

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.recipe.directory.root

    @property
    def cache(self) -> Path:
        """The folder of all caches of images."""
        return self.recipe.cache.root

    @property
    def images(self) -> tuple[Path, ...]:
        """Folders below the cache that it reads."""
        return self.recipe.cache.folders

    @property
    def processes(self) -> int:
        """How many it computes in."""
        return 1

    @property
    def device(self) -> str:
        """What it computes on."""
        return self.recipe.compute.device
