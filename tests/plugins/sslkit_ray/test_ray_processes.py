from __future__ import annotations

import os
import subprocess
import sys
import time

from sslkit_ray.processes import end, is_there, this_process


def start(code: str) -> tuple[subprocess.Popen[str], tuple[int, str]]:
    code = f"from sslkit_ray.processes import this_process; print(*this_process(), flush=True); {code}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    number, started = process.stdout.readline().split()
    return process, (int(number), started)


def test_this_process_is_known() -> None:
    assert this_process() == this_process()
    assert this_process()[0] == os.getpid()
    assert is_there(os.getpid())


def test_processes_that_end_are_waited_for_and_others_killed() -> None:
    soon, one = start("import time; time.sleep(0.3)")
    never, other = start("import time; time.sleep(600)")
    with soon, never:
        began = time.monotonic()
        end([one], patience=60.0)
        assert soon.wait() == 0
        end([other], patience=0.5)
        assert never.wait() == -9
        assert time.monotonic() - began < 60  # a busy machine may be slow


def test_a_process_that_has_another_s_number_by_now_is_left_alone() -> None:
    process, (number, started) = start("import sys; sys.stdin.read()")
    with process:
        end([(number, f"{started}0"), (number, "")], patience=0.1)
        assert process.poll() is None
        process.kill()
