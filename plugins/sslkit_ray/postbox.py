"""What jobs tell on their way to the driver: an actor that keeps it in its order until it is fetched."""

from __future__ import annotations

from typing import Any

Letter = tuple[str, list[dict[str, Any]], dict[str, Any] | None]
"""Some of what a job has told: which try of which job it is, what it has told in its order, and, in the first letter,
its place: ``node``, the node's id; ``name``, what the machine is called; and ``process``.
"""


def open_postbox() -> Any:
    """Start an actor on the driver's own node: it dies with that node, and with no other.

    Its class is defined in a function so that Ray sends it by value, and its process need not load sslkit.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class Postbox:
        """Keeps letters; those of one sender arrive in the order in which they were sent, as Ray's calls do."""

        def __init__(self) -> None:
            import asyncio

            self._letters: list[Letter] = []
            self._news = asyncio.Event()

        async def post(self, letter: Letter) -> None:
            """Take a letter."""
            self._letters.append(letter)
            self._news.set()

        async def wake(self) -> None:
            """Let who waits for letters have what there is."""
            self._news.set()

        async def fetch(self) -> list[Letter]:
            """Return what has come, once something has, or once woken."""
            await self._news.wait()
            self._news.clear()
            letters, self._letters = self._letters, []
            return letters

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(num_cpus=0, max_restarts=0)(Postbox)
    return actor.options(scheduling_strategy=here).remote()
