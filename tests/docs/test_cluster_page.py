"""The page on clusters: its batch script comes to a safe point when Slurm tells it that the time is nearly up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from manual import BLOCKS

SCRIPT = next(block.text for block in BLOCKS if block.title == "study.sbatch")

SSLKIT = """#!/bin/sh
trap 'echo stopped > told; exit 0' TERM
echo > begun
while :; do sleep 0.05; done
"""


def test_the_signal_that_slurm_sends_to_the_script_reaches_the_run(tmp_path: Path) -> None:
    (tmp_path / "study.sbatch").write_text(SCRIPT)
    (tmp_path / "sslkit").write_text(SSLKIT)
    (tmp_path / "sslkit").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "2"}
    shell = subprocess.Popen(["bash", "study.sbatch"], cwd=tmp_path, env=environment, start_new_session=True)
    try:
        while not (tmp_path / "begun").exists():
            assert shell.poll() is None
        assert "--signal=B:TERM@" in SCRIPT  # to the shell alone
        shell.terminate()
        assert shell.wait(timeout=20) == 0
        assert (tmp_path / "told").read_text() == "stopped\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # what the shell has left
