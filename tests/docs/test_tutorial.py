"""Does what docs/tutorial.md tells its readers to do, in its order, and compares what is said with what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "Not run by the test of this page: "
COSTLY = ("pytest", "sslkit doctor", "sslkit plugins check", "sslkit run")


@dataclass
class Step:
    """A file to write, or commands to run, their output and what the page shows of it."""

    line: int
    title: str = ""
    text: str = ""
    shown: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status that goes with what is shown."""
        shown = "".join(self.shown)
        return 2 if "Error: " in shown else 1 if " failed" in shown else 0


def steps() -> Iterator[Step]:
    page, step = PAGE.read_text(), None
    for match in BLOCK.finditer(page):
        language, title, text = match.groups()
        if language == "text":
            assert step is not None, "output is shown before any command"
            step.shown.append(text)
            continue
        if step is not None:
            yield step
        assert (language == "sh") != bool(title) or (title or "").startswith(NOT_RUN), f"{language} with {title!r}"
        step = Step(page.count("\n", 0, match.start()) + 1, title or "", text)
    assert step is not None
    yield step


STEPS = list(steps())
TO_FOLLOW = [step for step in STEPS if not step.title.startswith(NOT_RUN)]


def matches(shown: str, said: str) -> bool:
    """Whether output holds what is shown, in which ``...`` stands for anything; lines may be broken elsewhere."""
    pattern = r"\s+".join(map(re.escape, shown.split())).replace(r"\.\.\.", ".*?")
    return re.search(pattern, said, re.DOTALL) is not None


class Reader:
    """Someone who follows the page in an environment of their own, which sees the packages of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv = folder.parent / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        (own,) = venv.glob("lib/python*/site-packages")
        visible = [path for path in sys.path if path.endswith("site-packages")]
        (own / "visible.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in visible))
        for name in ("pip", "pytest", "sslkit"):
            add_command(venv / "bin" / name)
        others = [path for path in sys.path if path and path not in visible and "lib/python" not in path]
        self.environment = {
            **os.environ,
            "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(others),
            "COLUMNS": "200",
        }

    def follow(self, step: Step) -> None:
        if step.title:
            assert (self.folder / step.title).exists(), f"{step.title} is no file of the project"
            (self.folder / step.title).write_text(step.text)
            return
        done = self.run(step.text)
        assert done.returncode == step.status, f"line {step.line}:\n{step.text}\n{done.stdout}"
        for shown in step.shown:
            assert matches(shown, done.stdout), f"line {step.line} shows\n{shown}\nand the output is\n{done.stdout}"

    def run(self, commands: str) -> subprocess.CompletedProcess[str]:
        """Run commands where the ones before have led to."""
        place = self.folder.parent / "place"
        script = f"set -e\ntrap 'pwd > {place}' EXIT\n{commands}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.folder = Path(place.read_text().strip())
        return done


def add_command(path: Path) -> None:
    """Write a command into an environment that has none: it would begin by the name of this environment's Python."""
    # Nothing is fetched: what there is to build and to test with is there.
    offline = "--quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation"
    preparation = f'[ "$1" != install ] || set -- "$@" {offline}\n' if path.name == "pip" else ""
    # -P: as with a command that pip has installed, the working directory is not on the path.
    path.write_text(f'#!/bin/sh\n{preparation}exec {path.parent / "python"} -P -m {path.name} "$@"\n')
    path.chmod(0o755)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "empty").mkdir()
    return Reader(tmp_path / "empty")


@pytest.mark.slow
def test_all_that_the_tutorial_tells_to_do_works(reader: Reader) -> None:
    for step in TO_FOLLOW:
        reader.follow(step)


def test_what_does_not_train_works(reader: Reader) -> None:
    for step in TO_FOLLOW:
        reader.follow(quick(step))
    done = reader.run("pytest --quiet -k 'quarters or documented'")
    assert "2 passed" in done.stdout


def quick(step: Step) -> Step:
    """Leave out commands that train, and what is shown of them."""
    lines = [line for line in step.text.splitlines(keepends=True) if not line.startswith(COSTLY) or "--dry-run" in line]
    return step if step.title or "".join(lines) == step.text else Step(step.line, text="".join(lines))


def test_nothing_but_the_upload_is_not_run() -> None:
    (step,) = [step for step in STEPS if step.title.startswith(NOT_RUN)]
    assert step.text.splitlines()[-1] == "twine upload dist/*"
    assert step is STEPS[-1]


@pytest.mark.parametrize(
    ("shown", "said", "expected"),
    [
        ("3 passed, in ... s.", "✓ a\n\n3  passed,\nin 17 s.", True),
        ("3 passed, in ... s.", "4 passed, in 17 s.", False),
        ("a.b", "a-b", False),
    ],
)
def test_output_is_compared(shown: str, said: str, expected: bool) -> None:
    assert matches(shown, said) == expected
