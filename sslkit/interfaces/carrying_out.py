"""Carries out one job in the process that it is called in, as all executors do."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from typing import Any

from sslkit.errors import RunError, SslkitError
from sslkit.interfaces.executor import Job, Reporter

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""What the environment tells libraries that a job loads, of the threads that it computes in."""


def carry_out(job: Job, report: Reporter, *, slot: int = 0) -> str | None:
    """Execute a job in this process, which is to be one of its own, and tell how it went.

    A job computes in one thread, so that its result depends neither on the executor nor on what runs beside it; one
    that takes more fails. Where ``report`` raises SystemExit, the job ends between two updates, and so does this.

    Args:
        job: the job.
        report: takes its progress.
        slot: on a machine with several GPUs, which is its own, counted in groups of as many as it has processes: the
            lowest whose GPUs no job beside it has.

    Returns:
        None where its results stand; otherwise why it failed, for people: a sentence, or the traceback of a mistake.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from sslkit.testing.jobs import ordinary_jobs
        >>> log = Path(tempfile.mkdtemp(), "log")
        >>> bad, talker = (job for job in ordinary_jobs(log) if job.id in ("bad", "talker"))
        >>> carry_out(bad, print).splitlines()[-1]
        'LookupError: the stripes of this zebra are missing'
    """
    import torch
    from threadpoolctl import threadpool_info, threadpool_limits

    os.environ["SSLKIT_WORKER"] = str(slot)
    # For libraries that the job loads; those that are loaded already are told below.
    os.environ.update(ONE_THREAD)
    torch.set_num_threads(1)

    def report_from_one_thread(values: Mapping[str, Any]) -> None:
        refuse_threads(torch.get_num_threads(), allowed="a job has 1")
        report(values)

    try:
        with threadpool_limits(1):
            job.execute(report_from_one_thread)
            refuse_threads(*(library["num_threads"] for library in threadpool_info()), allowed="a job has 1")
    except SslkitError as error:
        return str(error) or type(error).__name__
    except Exception:  # anything a plugin raises is this job's failure, told with its traceback
        return traceback.format_exc()
    return None


def refuse_threads(*taken: int, allowed: str) -> None:
    """Refuse that more than one thread computes.

    Args:
        taken: threads, of each library that computes.
        allowed: whose one thread it is, as a clause: ``"a job has 1"``.

    Raises:
        RunError: with what to change.
    """
    if max(taken, default=0) > 1:
        raise RunError(
            f"a plugin computes in {max(taken)} threads where {allowed}, which slows the others and may change "
            "results; take the call that sets them, such as torch.set_num_threads, out of the plugin"
        )
