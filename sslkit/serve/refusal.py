"""A request that is refused: its status, and a sentence that says why and what to do."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """Ends a request with an answer that is an error.

    Args:
        status: of HTTP, such as 413.
        sentence: for people; it quotes nothing that could steer a terminal.
        headers: to be sent with it.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})
