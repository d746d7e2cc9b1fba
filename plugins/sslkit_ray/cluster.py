"""The Ray cluster of a run: joining it, what its nodes have, and leaving it as it was."""

from __future__ import annotations

import importlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sslkit.errors import ConfigError, RunError
from sslkit_ray.options import RayConfig

_PATIENCE = 10.0
"""Seconds that the head node of a cluster may take to answer a first call."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""A cluster that is started here tells nobody of its use. The second keeps GPUs from jobs that ask for none, as now."""


class Cluster:
    """A connection to a cluster.

    Attributes:
        config: the options.
        ours: whether it was started for this run.
        joined: whether this run has connected to it, rather than the program that runs it.
    """

    def __init__(self, config: RayConfig, *, ours: bool, joined: bool) -> None:
        self.config, self.ours, self.joined = config, ours, joined

    def nodes(self) -> dict[str, Mapping[str, float]]:
        """Return what each living node has in all, used or not, by the node's id."""
        ray: Any = _import()
        return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}

    def room(self, device: str) -> int:
        """Return how many jobs of one process all nodes have room for at a time."""
        gpus = self.config.gpus
        if gpus is None:
            gpus = 1.0 if device.startswith("cuda") else 0.0
        return sum(
            int(min(has.get("CPU", 0), has.get("GPU", 0) / gpus if gpus else float("inf")))
            for has in self.nodes().values()
        )

    def why_no_room(self, request: Mapping[str, float]) -> str | None:
        """Return why no node could carry out a job even if it did nothing else, or None if one could."""
        nodes = list(self.nodes().values())
        if any(all(has.get(name, 0) >= amount for name, amount in request.items()) for has in nodes):
            return None
        asked = ", ".join(_amount(name, amount) for name, amount in request.items())
        most = ", ".join(_amount(name, max((has.get(name, 0) for has in nodes), default=0)) for name in request)
        return f"it asks for {asked} on one node, and no node has all that: of each, the most that one has is {most}"

    def leave(self) -> None:
        """Stop a cluster that was started for this run, or hang up."""
        import ray

        if self.joined:
            ray.shutdown()


def where(config: RayConfig) -> str | None:
    """Return the address of the cluster; None where it is to be started on this machine."""
    address = config.address or os.environ.get("RAY_ADDRESS") or "local"
    return None if address == "local" and not _connected() else address


def connect(config: RayConfig, cores: int | None = None) -> Cluster:
    """Join a cluster, or start one of so many cores on this machine.

    Raises:
        ConfigError: if Ray is not installed.
        RunError: if the cluster cannot be reached, or has other versions of Ray or Python.
    """
    ray = _import()
    if _connected():
        return Cluster(config, ours=False, joined=False)
    address = where(config)
    options: dict[str, Any] = {
        "log_to_driver": False,  # the run's progress is on the screen, and Ray keeps the logs
        "logging_level": "ERROR",
        "runtime_env": config.runtime_env or None,
    }
    if address is None:
        options |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
    else:
        options["address"] = address
        _knock(address)
    try:
        with _own_signals(), _quietly():
            ray.init(**options)
        _keep_off_the_screen()
    except (ConnectionError, RuntimeError, ValueError, OSError, ImportError) as error:
        raise RunError(_refusal(address, str(error))) from error
    return Cluster(config, ours=address is None, joined=True)


@contextmanager
def sentences_for_errors() -> Iterator[None]:
    """Turn what Ray raises of the cluster as a whole into an error that says what to do.

    Raises:
        RunError: if nodes cannot be set up, or the cluster is gone.
    """
    from ray import exceptions

    try:
        yield
    except exceptions.RuntimeEnvSetupError as error:
        raise RunError(f"Ray cannot set up what executor.runtime_env asks for: {error}") from error
    except exceptions.RayError as error:
        raise RunError(
            f"the Ray cluster does not answer any more: {error}\nWhat is finished is kept: once it does, "
            "the same command goes on from here"
        ) from error


def _import() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"the executor 'ray' needs Ray, which is not here: pip install 'sslkit[ray]' ({error})"
        ) from None
    return ray


def _connected() -> bool:
    return bool(_import().is_initialized())


def _knock(address: str) -> None:
    """Refuse an address that nobody answers at: Ray itself may try for minutes, or end the program."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise RunError(_refusal(address, str(error))) from error


def _refusal(address: str | None, reason: str) -> str:
    if address is None:
        return f"Ray cannot be started on this machine: {reason}"
    advice = "executor.address and $RAY_ADDRESS say which one; 'ray status' says whether it runs"
    return (
        f"the Ray cluster {address!r} cannot be used: {reason.strip()}\n{advice}. Nothing is lost: once it can, "
        "the same command goes on from here"
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what is done about signals as it is: Ray would end the program where the run wants to stop its jobs."""
    kept = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        if (handler := signal.getsignal(number)) is not None:
            kept[number] = handler
    try:
        yield
    finally:
        for number, handler in kept.items():
            try:
                signal.signal(number, handler)
            except ValueError:  # not in the main thread, where Ray sets none either
                break


@contextmanager
def _quietly() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update({name: value for name, value in _QUIET.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _keep_off_the_screen() -> None:
    """Let what Ray says of processes that die pass: the run tells of each by itself, and its screen is its own.

    Ray prints it from a thread, to wherever the program prints, and has no option that says otherwise.
    """
    worker: Any = importlib.import_module("ray._private.worker")
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *data, **options: None


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 2**30:.3g} GiB of memory"
    return f"{amount:g} {name}" if name in ("CPU", "GPU") else f"{amount:g} of {name}"
