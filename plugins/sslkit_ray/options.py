"""The options of the executor: which cluster, what a job asks of a node, and how it gets at what it reads."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from sslkit import Job, MovableJob, PluginConfig


class RayConfig(PluginConfig):
    """Options of the ``ray`` executor, in the table ``[executor]``.

    Attributes:
        address: of the cluster: ``"auto"`` for the one that this machine belongs to, ``"host:port"`` of its head node
            as ``ray start`` prints it, ``"ray://host:10001"`` through Ray's client, or ``"local"`` for one that is
            started on this machine and stopped with the run. By default $RAY_ADDRESS, or ``"local"`` where that is
            not set.
        storage: ``"shared"``: all nodes see the run directory and the cache of images, by the same paths;
            ``"object-store"``: they do not, and all that a job reads or writes travels through Ray.
        gpus: GPUs of each of a job's processes; 0.5 lets two jobs of one process share one. By default one where the
            run computes on CUDA, and none otherwise.
        memory: GiB of memory that a job is taken to need: a node is given no more jobs than it has memory for.
        resources: custom resources that a job asks for, by name, as nodes announce them.
        max_node_failures: how often a job begins anew because its node died.
        node_wait: seconds that a job waits for a node to join that has what it asks for, as one of a cluster that
            grows by itself may; by default a job that no node has room for fails at once.
        scratch: with ``storage = "object-store"``, the folder on each node that images and results pass through; by
            default the system's folder for temporary files.
        runtime_env: what Ray sets up on the nodes before the first job, as its documentation of runtime environments
            says: ``{pip = ["..."]}``, say.
    """

    address: str | None = Field(default=None, min_length=1)
    storage: Literal["shared", "object-store"] = "shared"
    gpus: float | None = Field(default=None, ge=0)
    memory: float | None = Field(default=None, gt=0)
    resources: dict[str, float] = Field(default_factory=dict)
    max_node_failures: int = Field(default=3, ge=0)
    node_wait: float = Field(default=0.0, ge=0)
    scratch: str | None = Field(default=None, min_length=1)
    runtime_env: dict[str, Any] = Field(default_factory=dict)

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(
                f"{gpus:g} is more than one GPU, but not a whole number of them; Ray shares out parts of one"
            )
        return gpus

    @field_validator("resources")
    @classmethod
    def _custom(cls, resources: dict[str, float]) -> dict[str, float]:
        for name, amount in resources.items():
            if name in ("CPU", "GPU", "memory"):
                raise ValueError(f"{name} is not a custom resource; see compute.processes, gpus and memory")
            if amount <= 0:
                raise ValueError(f"{name} is {amount:g}; ask for more than nothing, or leave it out")
        return resources

    def request(self, job: Job, cores: int) -> dict[str, float]:
        """Return what a job asks of a node, by Ray's names of resources.

        Example:
            >>> from types import SimpleNamespace as Job
            >>> RayConfig(gpus=0.5, memory=2).request(Job(processes=1), cores=1)
            {'CPU': 1, 'GPU': 0.5, 'memory': 2147483648}
        """
        gpus = self.gpus
        if gpus is None:
            gpus = 1.0 if isinstance(job, MovableJob) and job.device.startswith("cuda") else 0.0
        if gpus and job.processes > 1:
            gpus = max(gpus, 1.0)  # NCCL refuses two processes on one GPU
        asked: dict[str, float] = {"CPU": cores}
        if gpus:
            asked["GPU"] = gpus * job.processes
        if self.memory is not None:
            asked["memory"] = round(self.memory * 2**30)
        return asked | self.resources
