"""What a run has come to, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sslkit.errors import JobError
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.table import Table


@dataclass(frozen=True)
class RunResult:
    """What a run has come to; returned by [run][sslkit.run], and by [open_run][sslkit.open_run] of a finished one.

    Attributes:
        directory: its files; ``directory.root`` is the folder.
        summary: the rows of summary.csv, one a pretext task, arm and share of labels.
        conclusions: a sentence on each arm that was compared with training from scratch.
        notices: what must be said of the data wherever its figures are shown.
        failures: each job that failed, in words, and the reason.
        results: the rows of results.csv, one a cell.
    """

    directory: RunDirectory
    summary: Table
    conclusions: list[str]
    notices: list[str]
    failures: list[tuple[str, str]]
    results: Table = field(default_factory=Table)

    @property
    def report(self) -> Path:
        """The report, one HTML file that opens anywhere."""
        return self.directory.root / "report" / "index.html"

    def raise_failures(self) -> None:
        """Raise if a job failed.

        Raises:
            JobError: naming the jobs and how to go on.
        """
        if self.failures:
            from sslkit.interfaces import NOT_RUN  # torch comes with them, which a finished run is read without

            own = [(job, reason) for job, reason in self.failures if not reason.startswith(NOT_RUN)]
            lines = [f"  {job}: {reason.strip()}" for job, reason in own]
            if len(own) < len(self.failures):
                lines.append(f"  {len(self.failures) - len(own)} more were not run, since they need one of these")
            raise JobError(
                f"{len(self.failures)} jobs failed; the others are kept in {self.directory.root}, "
                "and the same command does only what is missing:\n" + "\n".join(lines)
            )
