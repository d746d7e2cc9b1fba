"""A data set to be checked, and a few of its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslkit.errors import UsageError
from sslkit.interfaces import Dataset
from sslkit.testing.outcome import expect
from sslkit.testing.subjects.subject import Subject
from sslkit.types import Record


class DatasetSubject(Subject):
    """A data set, of which a few images are looked at."""

    kind = "dataset"
    cls: type[Dataset[Any]]
    num_images = 6

    def require(self) -> None:
        """Refuse what is wrong of the options, and a source that the data set itself refuses.

        Raises:
            ConfigError: if the options are wrong, or one is missing.
            DataError: if there is nothing, or nothing that it can read, where they lead.
        """
        super().require()
        try:
            self.make().records()
        except UsageError:
            raise
        except Exception:  # a fault of the plugin's, of which its checks tell
            return

    @property
    def paths(self) -> dict[str, Path]:
        """The paths among the options."""
        values = {name: getattr(self.config, name, None) for name in self.options}
        return {name: value for name, value in values.items() if isinstance(value, Path)}

    def make(self) -> Dataset[Any]:
        """Return the data set as a run makes it."""
        return self.cls(self.config)

    def listed(self) -> tuple[Dataset[Any], list[Record]]:
        """Return a data set, and a few of its records from its beginning to its end."""
        dataset = self.make()
        return dataset, self.few(dataset.records())

    def few(self, records: Sequence[Record]) -> list[Record]:
        """Return a few of the records, evenly drawn."""
        expect(len(records) > 0, "there is no record to look at")
        count = min(self.num_images, len(records))
        return [records[place * len(records) // count] for place in range(count)]

    def afresh(self) -> DatasetSubject:
        """Return the same once more, with files of its own where the options write some."""
        return type(self)(self.cls, self._given)
