"""A configuration's file: its bytes to TOML, to a checked configuration, to plugins with their options."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from refusal import check_refusal

import sslkit
from sslkit.config import load_config
from sslkit.errors import UsageError
from sslkit.registry import KINDS, Registry

_FOLDER = Path(tempfile.mkdtemp(prefix="sslkit-fuzz-"))
_REGISTRY: Registry = sslkit.build_registry()
_EXAMPLES = Path(__file__).parents[2] / "examples"


def seeds() -> Iterator[bytes]:
    for path in sorted(_EXAMPLES.glob("*.toml")):
        yield path.read_bytes()
    required = '[dataset]\nname = "{}"\n[backbone]\nname = "{}"\n[pretext]\nname = "{}"\n[head]\nname = "{}"\n'
    for dataset in _REGISTRY.names("dataset"):
        for backbone in _REGISTRY.names("backbone"):
            yield required.format(dataset, backbone, "rotation", "dr-grade").encode()
    for plugin in _REGISTRY.plugins:
        options = "".join(f"{name} = 1\n" for name in plugin.cls.Config.model_fields)
        yield f'[{plugin.kind}]\nname = "{plugin.name}"\n{options}'.encode()
    yield b'"a\\u0000" = 1979-05-27T07:32:00Z\n[[a.b]]\nc = {d = [0x1, 1e5, nan, -inf], e.f = """\n"""}\n'


def attempt(data: bytes) -> None:
    path = _FOLDER / "study.toml"
    path.write_bytes(data)
    try:
        config = load_config(path)
        tables = [("dataset", config.dataset), ("backbone", config.backbone), ("head", config.head)]
        tables += [("pretext-task", table) for table in config.pretext]
        for kind, table in tables:
            assert kind in KINDS
            _REGISTRY.configure(kind, table.name, table.options, root=config.root, key=kind)
    except UsageError as error:
        check_refusal(error)
