"""Fuzzes a reader of files with coverage as the guide: ``python tests/fuzz/run.py --seconds 300 --target toml``.

Needs atheris: ``pip install '.[fuzz]'``. A target is a module beside this one with ``seeds()``, files to begin with,
and ``attempt(data)``, which raises where a reader does anything but read its bytes or refuse them by a UsageError. Each
runs in a process of its own, which ends at the first input that breaks it, takes more than ten seconds, or takes more
memory than it may have; that input is kept and named.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, NoReturn

TARGETS = ("image", "table", "toml")

_INSTRUMENTED = ["sslkit", "sslkit_csv", "tomllib", "PIL"]
_MEMORY = Path("/dev/shm")  # a disk would be written to some thousand times a second
_LIMITS = ("-rss_limit_mb=3072", "-timeout=10", "-max_len=65536")


class Findings(NamedTuple):
    """What came of one target.

    Attributes:
        executions: inputs that were tried.
        edges: of the instrumented code's control flow, those that were taken.
        features: edges told apart by how often they were taken in one input.
        failure: what broke it, with the path of the input; empty where nothing did.
    """

    executions: int
    edges: int
    features: int
    failure: str


def fuzz(target: str, seconds: int, folder: Path) -> Findings:
    """Fuzz one target in a process of its own.

    Args:
        target: one of TARGETS.
        seconds: how long.
        folder: where its corpus grows, and an input that breaks it is kept.
    """
    corpus, broken = folder / target / "corpus", folder / target / "broken"
    for made in (corpus, broken):
        made.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--inside", target, "--"]
    options = [
        str(corpus),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={broken}/",
        "-print_final_stats=1",
        *_LIMITS,
    ]
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as scratch:
        process = subprocess.run(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": scratch},  # the fuzzer ends the process with no time to tidy up
            check=False,
        )
    log = process.stdout
    (folder / target / "log.txt").write_text(log, encoding="utf-8")
    executions = re.search(r"number_of_executed_units: (\d+)", log)
    told = re.findall(r"cov: (\d+) ft: (\d+)", log)
    failure = "" if process.returncode == 0 else f"status {process.returncode}\n{log[-4000:]}"
    edges, features = map(int, told[-1]) if told else (0, 0)
    return Findings(int(executions[1]) if executions else 0, edges, features, failure)


def _fuzz_here(target: str, options: list[str]) -> NoReturn:
    import atheris

    sys.path.append(str(Path(__file__).parents[1]))
    with atheris.instrument_imports(include=_INSTRUMENTED):
        module = importlib.import_module(f"{target}_target")
    corpus = Path(options[0])
    for number, seed in enumerate(module.seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *options], module.attempt)
    atheris.Fuzz()
    raise AssertionError("the fuzzer ends the process itself")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--target", choices=TARGETS, action="append", help="by default all, one after another")
    parser.add_argument("--folder", type=Path, help="for corpora, logs and what breaks; by default a temporary one")
    parser.add_argument("--inside", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        _fuzz_here(given.inside, given.options)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="sslkit-fuzz-"))
    failed = False
    for target in given.target or TARGETS:
        found = fuzz(target, given.seconds, folder)
        print(f"{target}: {found.executions} executions, {found.edges} edges, {found.features} features", flush=True)
        if found.failure:
            failed = True
            print(f"{found.failure}\nsee {folder / target}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
