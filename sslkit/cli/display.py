"""What the commands show in a terminal: progress on standard error, results on standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import rich.progress
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sslkit.interfaces import FAMILIES
from sslkit.printable import printable

if TYPE_CHECKING:
    from sslkit.experiment.audit import Audit
    from sslkit.experiment.bench import Bench
    from sslkit.experiment.dry_run import DryRun
    from sslkit.experiment.prediction import GradedImage
    from sslkit.experiment.running import RunResult
    from sslkit.interfaces import Job
    from sslkit.registry import ObserverInfo, PluginInfo, Registry

_KINDS = {
    "pretext-task": "Pretext tasks",
    "backbone": "Backbones",
    "head": "Heads",
    "dataset": "Data sets",
    "executor": "Executors",
    "observer": "Observers",
}

_STAGES = {"ingest": "Decoding images", "jobs": "Pretraining and fine-tuning"}


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that takes every string for what it is: no markup, no emoji codes, no colours of its own."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def line(text: object) -> str:
    """Return text as one line, with whatever would steer the terminal spelt out."""
    return printable(str(text), keep="")


class Progress:
    """Shows a run as it goes: bars in a terminal, a plain line a stage and a failure elsewhere."""

    def __init__(self) -> None:
        self.console = make_console(stderr=True)
        self._bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=30),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._stage: rich.progress.TaskID | None = None
        self._stage_name = ""
        self._jobs: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """Begin a bar."""
        self._stage_name = _STAGES[name]
        unit = "images" if name == "ingest" else "jobs"
        if not self.console.is_terminal:
            self.console.print(f"{self._stage_name}: {total} {unit}")
        self._stage = self._bars.add_task(self._stage_name, total=total)

    def advanced(self, done: int) -> None:
        """Move the stage's bar."""
        if self._stage is not None:
            self._bars.update(self._stage, completed=done)

    def job_started(self, job: Job) -> None:
        """Add a bar for a job."""
        self._jobs[job.id] = self._bars.add_task(f"  {_words(job)}", total=None)

    def job_progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """Move a job's bar."""
        if "done" in values and job.id in self._jobs:
            self._bars.update(self._jobs[job.id], completed=values["done"], total=values.get("total"))

    def job_finished(self, job: Job) -> None:
        """Take a job's bar away."""
        self._bars.remove_task(self._jobs.pop(job.id))

    def job_failed(self, job: Job, reason: str) -> None:
        """Say at once that a job failed."""
        if job.id in self._jobs:
            self._bars.remove_task(self._jobs.pop(job.id))
        said = f" {_words(job)}: {line(_gist(reason))}"
        self.console.print(Text.assemble(("failed:", "red"), said), soft_wrap=True)

    def warned(self, text: str) -> None:
        """Say at once what is not as it should be."""
        self.console.print(Text.assemble(("warning:", "yellow"), f" {printable(text)}"), soft_wrap=True)


def _words(job: Job) -> str:
    from sslkit.experiment.observation import name_job

    return line(name_job(job))


def _gist(reason: str) -> str:
    """Return the line of a failure's reason that says the most: of a traceback the last, of a message the first."""
    lines = reason.strip().splitlines() or [""]
    return lines[-1 if lines[0].startswith("Traceback") else 0]


def show_plan(plan: DryRun) -> None:
    """Print what a run would do."""
    console = make_console()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts = ", ".join(f"{name} {count}" for name, count in plan.class_counts.items())
    labels = ", ".join(f"{share:.0%}: {count}" for share, count in plan.labels.items())
    for key, value in {
        "output": str(plan.output),
        "images": f"{plan.num_images} in {plan.num_groups} groups, {plan.num_unlabelled} of them without a label",
        "classes": counts,
        "labels (fold 0)": labels,
        "jobs": f"{plan.num_pretrainings} pretrainings, {plan.num_cells} cells, {plan.workers} at a time",
        "compute": f"{plan.compute.device}, {plan.compute.precision}",
    }.items():
        table.add_row(key, line(value))
    console.print(table)
    for sentence in plan.missing_classes:
        console.print(f"note: {line(sentence)}")
    if plan.bench is None:
        console.print("How long it will take on this machine: sslkit bench CONFIG")
    else:
        console.print(f"As measured by 'sslkit bench': {_estimate(plan.bench)}.")
    console.print("Nothing was computed.")


def show_bench(bench: Bench) -> None:
    """Print what was measured, and what a run will take."""
    console = make_console()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {"decoding": f"{bench.ingest['images_per_s']:,.1f} images/s"}
    if bench.pretraining:
        rows["pretraining"] = (
            f"{bench.pretraining['views_per_s']:,.1f} views/s, {bench.pretraining['data_time_share']:.1%} of the time "
            "for data"
        )
    rows["cells"] = f"{bench.cells['per_hour']:,.1f} an hour"
    rows["prediction"] = f"{bench.predict['images_per_s']:,.1f} images/s"
    rows["a whole run"] = _estimate(bench)
    if bench.compiled:
        rows["compiled"] = _compiled(bench)
    for key, value in rows.items():
        table.add_row(key, line(value))
    console.print(table)


def show_estimate(bench: Bench) -> None:
    """Print what a run will take."""
    console = make_console()
    console.print(
        f"A run: {bench.estimate['pretrainings']:.0f} pretrainings and {bench.estimate['cells']:.0f} cells; "
        f"{_estimate(bench)}."
    )


def _compiled(bench: Bench) -> str:
    before, after = bench.estimate["hours"], bench.compiled["hours"]
    gain = bench.compiled["views_per_s"] / bench.pretraining["views_per_s"]
    verdict = "it pays: set compute.compile = true" if after < 0.95 * before else "it does not pay in this run"
    return (
        f"pretraining at {gain:.2f} of its speed after {bench.compiled['startup_s']:.0f} s of compiling a job, "
        f"{_span(after)} for the whole run; {verdict}"
    )


def _span(hours: float) -> str:
    return f"{60 * hours:.1f} minutes" if hours < 1 else f"{hours:.1f} hours"


def _estimate(bench: Bench) -> str:
    estimate = bench.estimate
    return (
        f"about {_span(estimate['hours'])} for {estimate['jobs']:.0f} jobs, {estimate['workers']:.0f} at a time, and "
        f"{estimate['disk_gib']:.2f} GiB of disk"
    )


def show_audit(audit: Audit) -> None:
    """Print what the audit of a data set found."""
    console = make_console()
    images, duplicates, groups = audit.images, audit.duplicates, audit.groups
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts = (_counts(images[key]) for key in ("formats", "modes", "bit_depths"))
    sizes = (f"{images[key]['min']:.0f} to {images[key]['max']:.0f}" for key in ("width", "height"))
    for key, value in {
        "images": "; ".join((*counts, f"{' x '.join(sizes)} px")),
        "odd": f"{len(images['tiny'])} smaller than they are brought to, {len(images['constant'])} of one colour, "
        f"{len(images['truncated'])} cut off, {images['unlisted_count']} without a row",
        "unreadable": str(len(audit.unreadable)),
        "duplicates": f"{len(duplicates['identical'])} sets identical, {len(duplicates['near'])} pairs near-identical "
        f"({duplicates['compared']} pairs compared, {duplicates['rejected']} refuted by their pixels)",
        "conflicts": f"{len(duplicates['conflicts'])} of them with different grades",
        "groups": f"{groups['given']} given, {groups['joined']} once duplicates are joined; the largest has "
        f"{groups['largest']} images; {groups['with_several_grades']} have several grades",
    }.items():
        table.add_row(key, line(value))
    console.print(table)
    for conflict in duplicates["conflicts"]:
        console.print(line(f"conflict: {', '.join(conflict['images'])} have grades {conflict['grades']}"))
    for item in audit.unreadable:
        console.print(line(f"unreadable: {item['id']}: {item['reason']}"))
    for sentence in audit.classes["missing"]:
        console.print(line(f"note: {sentence}"))
    for task, probes in audit.pretext_probes.items():
        for probe in probes:
            said = (
                f"{line(task)}: {probe['region']} alone finds {probe['accuracy']:.1%} of the answers "
                f"({probe['low']:.1%} to {probe['high']:.1%}; chance {probe['chance']:.1%})"
            )
            console.print(Text.assemble(("LEAK ", "red"), said) if probe["leak"] else said)
    if audit.label_probe is not None and audit.label_probe["qwk"] is not None:
        console.print(f"Global statistics alone grade with QWK {audit.label_probe['qwk']:.3f}: the figure to beat.")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def show_result(result: RunResult) -> None:
    """Print the table of a run, and where to look next."""
    console = make_console()
    table = Table(title="Quadratic weighted kappa on test folds", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("arm")
    for name in ("labels", "share", "min", "mean", "max"):
        table.add_column(name, justify="right")
    for number, row in enumerate(result.summary):
        first_of_arm = number and _arm(row) != _arm(result.summary[number - 1])
        if first_of_arm:
            table.add_section()
        kappas = (row["qwk_min"], row["qwk_mean"], row["qwk_max"])
        cells = [_arm(row), f"{row['labels']:.0f}", f"{row['fraction']:.0%}", *map(_number, kappas)]
        table.add_row(*map(line, cells))
    if result.summary:
        console.print(table)
    for sentence in (*result.conclusions, *result.notices):
        console.print(line(sentence), end="\n\n")
    console.print(f"Report: {line(result.directory.root / 'report' / 'index.html')}", soft_wrap=True)
    if not result.failures:
        console.print(f"Next:   sslkit predict {line(result.directory.root)} PHOTOGRAPH.jpg", soft_wrap=True)


def show_grades(images: Sequence[GradedImage]) -> None:
    """Print a table of graded images."""
    graded = [image for image in images if image.probabilities is not None]
    if not graded:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("image", overflow="fold", ratio=1)
    table.add_column("grade", no_wrap=True)
    for grade in range(len(graded[0].probabilities or {})):
        table.add_column(f"p({grade})", justify="right", no_wrap=True)
    referable = any(image.referable_probability is not None for image in graded)
    if referable:
        table.add_column("referable", justify="right", no_wrap=True)
    for image in graded:
        shares = (image.probabilities or {}).values()
        cells = [image.image, f"{image.grade} {image.grade_name}", *(f"{share:.2f}" for share in shares)]
        table.add_row(*map(line, [*cells, _referable(image)] if referable else cells))
    make_console().print(table)


def _referable(image: GradedImage) -> str:
    """Return whether an image is referable, where that is known, and the probability."""
    called = {True: "yes ", False: "no ", None: ""}[image.referable]
    return f"{called}{image.referable_probability or 0:.2f}"


def show_plugins(registry: Registry) -> None:
    """Print the installed plugins, and those set aside."""
    console = make_console()
    listed: list[PluginInfo | ObserverInfo] = [*registry.plugins, *registry.observers]
    width = max((len(plugin.name) for plugin in listed), default=0)
    for kind in dict.fromkeys(plugin.kind for plugin in listed):
        console.print(Text(f"\n{_KINDS[kind]}", style="bold"))
        if kind != "pretext-task":
            console.print(_plugins_table([plugin for plugin in listed if plugin.kind == kind], width))
            continue
        for family, learnt in FAMILIES.items():
            if own := [plugin for plugin in registry.plugins if (plugin.kind, plugin.family) == (kind, family)]:
                console.print(Text.assemble(f"\n  {family}", (f": {learnt}", "dim")))
                console.print(_plugins_table(own, width))
    console.print()
    for text in filter(None, (plugin.deprecation for plugin in registry.plugins)):
        console.print(Text.assemble(("warning:", "yellow"), f" {line(text)}"), soft_wrap=True)
    for observer in registry.observers:
        if observer.lacks:
            console.print(f"The observer {line(observer.name)} cannot work yet: {line(observer.lacks)}")
    for broken in registry.broken:
        who = line(f"{broken.entry_point} of {broken.distribution} {broken.version}")
        console.print(Text.assemble(("set aside:", "red"), f" {who}"))
        console.print(printable(broken.traceback.rstrip() or broken.reason))


def _plugins_table(plugins: Sequence[PluginInfo | ObserverInfo], width: int) -> Table:
    """Return a line for each plugin, with the source of its method below it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False, expand=True)
    table.add_column(width=4)
    table.add_column(width=width, style="cyan", no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", style="dim", no_wrap=True)
    for plugin in plugins:
        paper = getattr(plugin, "paper", "")
        what = Text(line(plugin.summary))
        if paper:
            what.append(f"\n{line(paper)}", style="dim")
        table.add_row("", line(plugin.name), what, line(plugin.origin))
    return table


def _arm(row: Mapping[str, Any]) -> str:
    return f"{row['pretext']} {row['arm']}".strip()


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
