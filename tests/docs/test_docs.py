from __future__ import annotations

import doctest
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import pytest
import timm
import torch
from manual import BLOCKS, FOLLOWED, HOOKS, PAGES, ROOT, Block, blocks_of, commands_in, install, load, rendered

import sslkit
from sslkit import hookspecs, metrics
from sslkit.cli import cli
from sslkit.config import RunConfig, parse_config
from sslkit.data.duplicates import LEAST_SIMILARITY, MAX_DISTANCE
from sslkit.experiment.conclusions import DIFFERENCE_COLUMNS
from sslkit.experiment.probes import LEAK_MARGIN, MAX_IMAGES
from sslkit.experiment.recipe import versions
from sslkit.experiment.results import summarise
from sslkit.experiment.running import RunResult
from sslkit.experiment.schema import json_schema
from sslkit.experiment.study import resolve
from sslkit.testing import CHECKS, Check

WHOLE = {"dataset", "backbone", "pretext", "head"}
MAIN_JOB = (
    "python3 -m venv .venv && .venv/bin/pip install --constraint constraints.txt . "
    "&& .venv/bin/sslkit run examples/dr_rotation.toml --output runs/dr"
)
TESTS = (
    "python3 -m venv .venv && .venv/bin/pip install --constraint constraints.txt '.[dev,docs]' "
    "&& .venv/bin/pytest -n auto"
)


def written_in(*languages: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


def parse_command(arguments: list[str]) -> str:
    """Parse a command line without carrying it out; return the name of the command."""
    command: click.Command = cli
    name = "sslkit"
    while isinstance(command, click.Group):
        word, *arguments = arguments
        if word not in command.commands:
            raise click.UsageError(f"No such command {word!r}")
        command, name = command.commands[word], f"{name} {word}"
    command.make_context(name, arguments)
    return name


def test_hooks_of_the_toolkit_have_a_section_each() -> None:
    text = rendered(ROOT / "docs" / "plugins.md")
    headings = re.findall(r"^### `(sslkit_\w+)\((.*)\)`$", text, re.MULTILINE)
    assert [name for name, _ in headings] == [name for name in vars(hookspecs) if name.startswith("sslkit_")]
    for name, arguments in headings:
        section = text.partition(f"### `{name}(")[2].partition("\n#")[0]
        assert arguments == ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
        assert all(f"- `{argument}`: " in section for argument in arguments.split(", ") if argument)


def test_sections_of_hooks_name_the_plugins_that_come_with_sslkit() -> None:
    section = HOOKS.render("hooks").partition("### `sslkit_pretext_tasks")[2].partition("\n#")[0]
    assert "[`colorization`](tasks/colorization.md)" in section


def test_a_hook_that_nothing_is_said_of_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing says what sslkit_silent is for; give it a docstring"):
        HOOKS._hook("sslkit_silent", lambda: None)


def test_interfaces_and_public_names_are_in_the_references() -> None:
    pages = (ROOT / "docs" / name for name in ("plugins.md", "reference.md"))
    shown = {name for page in pages for name in re.findall(r"^::: (.+)$", page.read_text(), re.MULTILINE)}
    missing = {f"sslkit.{name}" for name in sslkit.__all__ if name != "__version__"} - shown
    # The module of metrics is rendered whole.
    assert missing == {"sslkit.quadratic_weighted_kappa"}
    assert "sslkit.metrics" in shown


@pytest.mark.parametrize("kind", ["every-kind", *CHECKS])
def test_every_check_of_the_kit_has_a_section(kind: str) -> None:
    text = rendered(ROOT / "docs" / "checks.md")
    headings = re.findall(r"^### `(check_\w+)` \{ #([\w-]+) \}$", text, re.MULTILINE)
    found = [name for name, anchor in headings if anchor == f"{kind}-{name}"]
    assert found == [check.name for check in HOOKS.checks_of(kind)]


def test_the_sections_of_checks_are_those_of_all_checks() -> None:
    shown = {check.name for kind in ("every-kind", *CHECKS) for check in HOOKS.checks_of(kind)}
    assert shown == {check.name for checks in CHECKS.values() for check in checks}


def test_a_check_that_nothing_is_said_of_is_refused() -> None:
    def check_nothing(subject: object) -> None:
        """Nothing is promised."""

    with pytest.raises(ValueError, match="check_nothing lacks a docstring that says what is promised, and then why"):
        HOOKS._check(Check(check_nothing), "head")


def test_names_of_the_kit_are_in_the_reference_of_checks() -> None:
    shown = set(re.findall(r"^::: sslkit\.testing\.(\w+)$", (ROOT / "docs" / "checks.md").read_text(), re.MULTILINE))
    assert shown == set(sslkit.testing.__all__)


@pytest.mark.parametrize("name", ["run", *HOOKS.toolkit_tables()])
def test_keys_of_the_toolkit_are_in_the_configuration_reference(name: str) -> None:
    model = {"run": RunConfig, **HOOKS.toolkit_tables()}[name]
    fields = ("name", "seed", "observers") if model is RunConfig else tuple(model.model_fields)
    table = HOOKS.render("table", name)
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(fields)
    assert table in rendered(ROOT / "docs" / "configuration.md")


def test_every_table_of_a_configuration_has_a_section() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    tables = {name for name in RunConfig.model_fields if name not in ("name", "seed", "observers")}
    assert set(re.findall(r"^## `\[(\w+)\]`$", text, re.MULTILINE)) == tables


@pytest.mark.parametrize("plugin", HOOKS.own_plugins(), ids=lambda plugin: plugin.name)
def test_options_of_the_plugins_are_in_the_configuration_reference(plugin: Any) -> None:
    text = rendered(ROOT / "docs" / "configuration.md")
    section = text.partition(f"### `{plugin.name}` ")[2].partition("\n#")[0]
    assert plugin.summary in section
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(plugin.cls.Config.model_fields)


def test_reference_shows_bounds_choices_and_defaults() -> None:
    finetuning, images = HOOKS.render("table", "finetuning"), HOOKS.render("table", "images")
    assert "| `updates` | whole number, at least 1, at most 10000000 | `400` |" in finetuning
    assert '| `on_unreadable` | `"stop"`, `"skip"` | `"stop"` |' in images
    datasets = HOOKS.render("plugins", "dataset")
    assert "| `table` | path or URL | *required* |" in datasets
    assert "| `labels` | path | not set |" in datasets


@pytest.mark.parametrize(("what", "name"), [("table", "nothing"), ("plugins", "nothing"), ("nothing", "")])
def test_unknown_references_are_refused(what: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown reference '{what}' '{name}'"):
        HOOKS.render(what, name)


def test_a_key_that_nothing_describes_is_refused() -> None:
    class Bare(sslkit.PluginConfig):
        depth: int = 3

    with pytest.raises(ValueError, match="nothing says what 'depth' of Bare means"):
        HOOKS._table_of(Bare)


@pytest.mark.parametrize(("name", "command"), list(HOOKS.commands(cli)), ids=lambda value: str(value))
def test_commands_and_their_options_are_in_the_command_reference(name: str, command: click.Command) -> None:
    section = rendered(ROOT / "docs" / "cli.md").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert (command.help or "").splitlines()[0] in section
    for parameter in command.params:
        shown = (
            parameter.opts if isinstance(parameter, click.Option) else [parameter.make_metavar(click.Context(command))]
        )
        assert all(word in section for word in shown)


@pytest.mark.parametrize("block", written_in("sh"))
def test_commands_that_are_shown_exist(block: Block) -> None:
    known = dict(HOOKS.commands(cli))
    assert all(parse_command(arguments) in known for arguments in commands_in(block))


def test_a_command_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(click.UsageError, match="No such command"):
        parse_command(["rnu", "dr.toml"])
    with pytest.raises(click.UsageError, match="No such option"):
        parse_command(["run", "dr.toml", "--outptu", "runs"])
    shown = Block(
        ROOT / "README.md", 1, "sh", "", "cd x && .venv/bin/sslkit run a \\\n  --dry-run | tail  # sslkit b\n"
    )
    assert list(commands_in(shown)) == [["run", "a", "--dry-run"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_running_text_exist(page: Path) -> None:
    known = dict(HOOKS.commands(cli))
    groups = {name.rpartition(" ")[0] for name in known} | {"sslkit"}
    options = {
        option
        for command in known.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    prose = re.sub(r"^```.*?^```$", "", rendered(page), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", prose):
        words = code.split()
        if words[0] == "sslkit" and len(words) > 1 and not words[1].startswith("-"):
            assert any(" ".join(words[:length]) in {*known, *groups} for length in (3, 2)), code
        assert {word for word in words if word.startswith("--")} <= options | {"--help", "--version"}, code


@pytest.mark.parametrize("block", written_in("toml"))
def test_configurations_that_are_shown_are_accepted(block: Block) -> None:
    tables = tomllib.loads(block.text)
    if block.title == "pyproject.toml":
        modules = tables["project"]["entry-points"]["sslkit"].values()
        assert tables["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == [
            f"{name}.py" for name in modules
        ]
        return
    whole = {key: {"name": name} for key, name in zip(("dataset", "backbone"), ("csv", "densenet121"), strict=True)}
    whole |= {"pretext": {"name": "rotation"}, "head": {"name": "dr-grade"}}
    whole["dataset"]["table"] = "labels.csv"
    config = parse_config(tables if tables.keys() >= WHOLE else {**whole, **tables}, root=ROOT)
    resolve(config, sslkit.build_registry())


def test_the_schema_that_a_configuration_names_is_the_one_that_a_command_writes() -> None:
    page = ROOT / "docs" / "configuration.md"
    (named,) = [block for block in blocks_of(page) if block.text.startswith("#:schema ")]
    path = named.text.splitlines()[0].removeprefix("#:schema ./")
    assert f"```sh\nsslkit config schema > {path}\n```" in page.read_text()
    schema = json_schema(sslkit.build_registry())
    jsonschema.validate(tomllib.loads(named.text), schema)
    misspelt = tomllib.loads(named.text.replace("group_column", "grup_column"))
    with pytest.raises(jsonschema.ValidationError, match="'grup_column' was unexpected"):
        jsonschema.validate(misspelt, schema)


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, for modules and for what an installer would write of their entry points."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)  # not where a user's own runs/ may stand
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```py" in page.read_text() and page not in FOLLOWED], ids=lambda page: page.name
)
def test_python_that_is_shown_runs(page: Path, plugin_folder: Path) -> None:
    assert all(block.title for block in blocks_of(page) if block.language == "python")
    for module in install(page, plugin_folder):
        import_module(module)
    text = "".join(block.text for block in blocks_of(page) if block.language == "pycon")
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    said: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert results.failed == 0, "".join(said)


def test_names_of_sslkit_that_python_blocks_use_exist() -> None:
    used = {
        name for block in BLOCKS if block.language == "python" for name in re.findall(r"\bsslkit\.(\w+)", block.text)
    }
    assert used >= {"run", "predict"}
    assert used <= {*sslkit.__all__, "testing"}


@pytest.mark.parametrize("page", ["README.md", "docs/plugins.md"])
def test_the_pretext_task_that_is_shown_trains(page: str, plugin_folder: Path) -> None:
    install(ROOT / page, plugin_folder)
    plugin = sslkit.build_registry().find("pretext-task", "upside-down")
    assert plugin.origin == "sslkit-upside-down 0.1.0"
    torch.manual_seed(0)
    context = sslkit.TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    task = plugin.cls(plugin.cls.Config(), timm.create_model("resnet10t", num_classes=0), context)
    images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    images[:, :, :16] = 255
    views = task.make_views(images, torch.Generator().manual_seed(0))
    # The upper half is bright exactly where the image was not turned.
    assert torch.equal(views["images"][:, 0, 0, 0] == 0, views["labels"] == 1)
    assert set(views["labels"].tolist()) == {0, 1}
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        output = task(views)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[-1] < losses[0]


def test_the_readme_task_is_short() -> None:
    (block,) = [block for block in blocks_of(ROOT / "README.md") if block.language == "python"]
    assert sum(bool(line.strip()) for line in block.text.splitlines()) <= 25


def test_the_readme_has_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert MAIN_JOB in lines
    assert TESTS in lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", rendered(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            path = target.partition("#")[0]
            assert not path or (page.parent / path).exists(), f"{page.name} links to {target}"


def test_columns_of_the_tables_are_documented() -> None:
    scores = metrics.evaluate(np.array([0, 4]), np.array([0, 4]), np.eye(5)[[0, 4]], positive_from=2, num_classes=5)
    row = {"pretext": "", "arm": "scratch", "fraction": 1.0, "fold": 0, "repetition": 0, "labels": 2, "test_images": 2}
    (summary,) = summarise([{**row, **scores, "cell": ""}])
    text = (ROOT / "docs" / "report.md").read_text()
    results, _, rest = text.partition("### results.csv")[2].partition("### summary.csv")
    documented = [set(re.findall(r"`(\w+)`", part)) for part in (results, rest.partition("### predictions.csv")[0])]
    for shown, columns in zip(documented, ([*row, *scores, "cell"], [*summary, *DIFFERENCE_COLUMNS]), strict=True):
        assert {name for name in columns if not re.fullmatch(r"recall_[1-9]\w*", name)} <= shown


def test_files_of_a_run_are_documented(tiny_run: RunResult) -> None:
    tree = (ROOT / "docs" / "report.md").read_text().partition("## The run directory")[2].partition("### ")[0]
    root = tiny_run.directory.root
    figures = {path for path in (root / "report").iterdir() if path.suffix in (".svg", ".png")}
    names = {path.name for path in root.rglob("*") if path.is_file() and path not in figures}
    names = {re.sub(r"^(view|mistake)-\d+\.(jpg|png)$", r"\1-1.jpg", name) for name in names}
    assert names == {name for name in names if name in tree}
    assert {"results.csv", "backbone.safetensors", "predictions.csv", "index.html"} <= names


def test_keys_of_the_audit_are_documented(tiny_run: RunResult) -> None:
    section = (ROOT / "docs" / "report.md").read_text().partition("### audit.json")[2].partition("### ")[0]
    audit = json.loads(tiny_run.directory.audit.read_text())
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(audit)
    assert {*audit["duplicates"], *audit["groups"]} <= set(re.findall(r"`(\w+)`", section))


def test_keys_of_a_session_and_of_a_conclusion_are_documented(tiny_run: RunResult) -> None:
    section = (ROOT / "docs" / "report.md").read_text().partition("### run.json")[2].partition("### ")[0]
    info = json.loads(tiny_run.directory.run.read_text())
    assert {*info["sessions"][0], *info["conclusions"][0]} <= set(re.findall(r"`(\w+)`", section))


def test_thresholds_of_the_audit_are_those_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "your-images.md").read_text().split())
    assert f"within {MAX_DISTANCE} bits" in text
    assert f"correlates by {LEAST_SIMILARITY} or more" in text
    assert f"up to {MAX_IMAGES} preprocessed images" in text
    assert f"more than {LEAK_MARGIN} above chance" in text


def test_the_site_lists_every_page_of_the_manual() -> None:
    listed = re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = (page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md"))
    assert sorted(listed) == sorted(page.as_posix() for page in pages)


def test_docstrings_with_an_example_become_code() -> None:
    griffe = pytest.importorskip("griffe")
    docstring = "Do it.\n\nExample:\n    >>> 1\n    1\n"
    function = griffe.Function("f", docstring=griffe.Docstring(docstring))
    load("docstrings").ExampleSections().on_object(obj=function)
    assert [section.kind.value for section in function.docstring.parse("google")] == ["text", "examples"]


def test_the_versions_that_name_a_cell_are_documented() -> None:
    text = " ".join((ROOT / "docs" / "compatibility.md").read_text().split())
    *first, last = versions()
    assert f"the versions of {', '.join(first)} and {last}, those of the plugins" in text
