"""A grader that computes nothing, and the real server around it, in a thread of this process."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sslkit.data.preprocessing import Preprocessing
from sslkit.errors import DataError
from sslkit.experiment.graded import Graded, GradedImage
from sslkit.serve import make_app
from sslkit.serve.model import ServedModel
from sslkit.serve.settings import Settings

CLASSES = ("None", "Mild <b>", "Severe")
PASSWORD = "correct horse battery"


@dataclass
class FakeGrader:
    """Grades by the mean of the red channel, and remembers what it was asked."""

    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(32, "none", max_pixels=10_000))
    threshold: float | None = 0.5
    class_names: tuple[str, ...] = CLASSES
    referable_name: str | None = "referable"
    mask: npt.NDArray[np.bool_] | None = None
    names: list[str] = field(default_factory=list)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    trouble: Exception | None = None
    no_heat: Exception | None = None
    most_heat: float = 1.0

    def __post_init__(self) -> None:
        self.may_go_on.set()

    def grade(self, content: bytes, name: str, *, cam: bool = False) -> Graded:
        self.names.append(name)
        assert self.may_go_on.wait(20)
        if self.trouble is not None:
            raise self.trouble
        try:
            square = self.preprocessing.apply(content)
        except DataError as error:
            return Graded(GradedImage(name, error=str(error)))
        if cam and self.no_heat is not None:
            raise self.no_heat
        shares = (0.25, 0.125, 0.625) if square[..., 0].mean() > 100 else (0.75, 0.125, 0.125)
        grade = int(np.argmax(shares))
        referable = None if self.threshold is None else shares[2] >= self.threshold
        by_name = dict(zip(self.class_names, shares, strict=True))
        answer = GradedImage(name, grade, self.class_names[grade], by_name, referable, shares[2])
        heat = np.linspace(0, self.most_heat, 32 * 32, dtype=np.float32).reshape(32, 32)
        return Graded(answer, square, heat if cam else None)


def photograph(red: int = 200, side: int = 40, kind: str = "PNG") -> bytes:
    """Return the bytes of a small image."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), (red, 60, 20), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass
class Site:
    """A server that runs, and how to ask it."""

    address: str
    port: int
    grader: FakeGrader

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request as a program does; the names of headers have underscores for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            given = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, given, response.read())
        finally:
            connection.close()

    def grade(self, content: bytes, query: str = "", **headers: str) -> Reply:
        return self.ask("POST", f"/api/grade{query}", content, **headers)


@contextmanager
def site(grader: FakeGrader | None = None, **settings: Any) -> Iterator[Site]:
    """Serve until the block is over; skips the test where the extra is not installed."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra: serve)")
    from sslkit.serve import serving

    grader = grader or FakeGrader()
    app = make_app(ServedModel(grader, "runs <i>dr</i>", 2, "pretrained", "rotation"), Settings(**settings))
    bound = serving.bind("127.0.0.1", 0)
    server = serving.server_of(app)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield Site(serving.address_of(bound), bound.getsockname()[1], grader)
    finally:
        grader.may_go_on.set()
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive()
