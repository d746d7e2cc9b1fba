"""Whatever a configuration says: it is valid, or one clear message and status 2, and nothing is begun."""

from __future__ import annotations

import copy
import datetime
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import sslkit as command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studies import tiny_tables

import sslkit
from sslkit import registry
from sslkit.config import RunConfig
from sslkit.printable import printable

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
REGISTRY = sslkit.build_registry()

Tables = dict[str, Any]
KeyPath = tuple[str, ...]


@pytest.fixture(autouse=True)
def _one_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discover the plugins once and not for every command."""
    # In this order: a module that is first imported here would keep what the other was given.
    monkeypatch.setattr("sslkit.api.given.build_registry", lambda **_: REGISTRY)
    monkeypatch.setattr(registry, "build_registry", lambda: REGISTRY)


# What is written

ODD = [
    *("", " ", "..", ".", "/", "~", "~nobody-here/x", "auto", "nan", "None", "{0}", "%s", "[red]x[/red]", "<b>x</b>"),
    *("\0", "a\0b", "\x1b[2J", "\x1b]0;owned\x07", "\r\n", "a\nb", "\t", "\x7f", "\u202ea", "\u2028", "名"),
    *("\U0001f600", "(a){99999999999999}", "[[a]", "a\ud800", "\udcff"),
]
REPEATED = [("a", 300), ("a/", 3000), ("é", 200), ("x", 20_000), ("(", 3000), ("名", 500), ("\x1b[2J", 100)]


def repeat(text_and_times: tuple[str, int]) -> str:
    text, times = text_and_times
    return text * times


TEXTS = st.sampled_from(ODD) | st.sampled_from(REPEATED).map(repeat)
NUMBERS = st.sampled_from(
    [
        *(0, -1, 1, 2, 31, 10**4, 10**9, 2**31, 2**32, 2**63 - 1, -(2**63), 2**63, 10**400, -(10**400)),
        *(0.0, -0.0, 0.5, 1.0, -1.5, 5e-324, 1e308, float("nan"), float("inf"), float("-inf")),
    ]
)
PLAIN = (
    TEXTS
    | NUMBERS
    | st.text(max_size=20)
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes(timezones=st.just(datetime.UTC) | st.none())
    | st.times()
)
NAMES = st.sampled_from([*RunConfig.model_fields, "name", "model", "options", "table", "epochs", "arms"]) | TEXTS
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
) | st.sampled_from([[], {}, [[]], [{}], {"": {}}, ["a"] * 500, {f"key{number}": 0 for number in range(500)}])


@st.composite
def nested(draw: st.DrawFn) -> Any:
    """Draw a value within many tables and arrays."""
    value = draw(PLAIN)
    for _ in range(draw(st.sampled_from([1, 2, 15, 16, 17, 40]))):
        value = [value] if draw(st.booleans()) else {"a": value}
    return value


def toml(value: Any) -> str:
    """Return a value as TOML writes it, be it one that sslkit's own writer never meets."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            return f"{{{', '.join(f'{toml(key)} = {toml(inner)}' for key, inner in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
    return str(value)


def file_of(tables: Tables) -> bytes:
    text = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in tables.items())
    return text.encode("utf-8", "surrogatepass")


# A configuration that is right but for a few of its keys

PLUGINS = {
    "dataset": {
        "csv": {"table": "labels.csv"},
        "dicom": {"path": "studies", "labels": "labels.csv"},
        "image-folder": {"path": "photographs"},
        "npz": {"path": "images.npz"},
        "synthetic-fundus": {"patients": 24, "size": 48},
    },
    "backbone": {"timm": {"model": "test_resnet"}, "densenet121": {}},
    "pretext": {
        "barlow-twins": {},
        "byol": {},
        "colorization": {},
        "combine": {"parts": [{"name": "rotation"}, {"name": "jigsaw", "tile_size": 32}]},
        "cpc": {"patch_size": 32},
        "dino": {},
        "exemplar": {},
        "inpainting": {},
        "jigsaw": {"tile_size": 32},
        "mae": {},
        "moco": {},
        "relative-patch": {"patch_size": 32},
        "rotation": {},
        "rotation-invariant": {},
        "saliency": {},
        "simclr": {},
        "simsiam": {},
        "vicreg": {},
    },
    "head": {"dr-grade": {}},
}
KINDS: dict[str, registry.Kind] = {
    "dataset": "dataset",
    "backbone": "backbone",
    "pretext": "pretext-task",
    "head": "head",
}


def test_every_reference_plugin_is_in_reach() -> None:
    for table, kind in KINDS.items():
        installed = {
            plugin.name for plugin in REGISTRY.plugins if (plugin.kind, plugin.distribution) == (kind, "sslkit")
        }
        assert PLUGINS[table].keys() == installed


def option_paths(table: str, plugin: str) -> list[KeyPath]:
    fields = REGISTRY.find(KINDS[table], plugin).cls.Config.model_fields
    return [(table, field.alias or name) for name, field in fields.items()]


def table_paths() -> Iterator[KeyPath]:
    """Yield the path of each key of the toolkit's own tables."""
    for name, field in RunConfig.model_fields.items():
        yield (name,)
        if name not in KINDS and hasattr(field.annotation, "model_fields"):
            yield from ((name, key) for key in field.annotation.model_fields)


TABLE_PATHS = tuple(table_paths())


@st.composite
def mistaken(draw: st.DrawFn) -> tuple[Tables, list[KeyPath]]:
    """Draw a valid configuration with one to four keys replaced, removed, misspelt, nested or flattened."""
    tables = tiny_tables()
    paths = [*TABLE_PATHS]
    for table, plugins in PLUGINS.items():
        plugin = draw(st.sampled_from(sorted(plugins)))
        tables[table] = {"name": plugin, **plugins[plugin]}
        paths += [(table, "name"), *option_paths(table, plugin)]
    tables = copy.deepcopy(tables)
    changed = draw(st.lists(st.sampled_from(paths), min_size=1, max_size=4, unique=True))
    return tables, [_mistake(draw, tables, path) for path in changed]


def _mistake(draw: st.DrawFn, tables: Tables, path: KeyPath) -> KeyPath:
    """Do something wrong to a key, or beside it, and return the path of what was changed."""
    *parents, key = path
    table = tables
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            return path  # an earlier mistake has made another thing of it
    match draw(st.sampled_from(["replace", "replace", "replace", "remove", "misspell", "nest", "add"])):
        case "replace":
            table[key] = copy.deepcopy(draw(VALUES | nested()))  # a value may be drawn twice, and changed once
        case "remove":
            table.pop(key, None)
        case "misspell":
            table[f"{key[:-1]}{draw(st.sampled_from(['', 'x', 'é', '.', ' ']))}"] = table.pop(key, 1)
        case "nest":
            table[key] = draw(st.sampled_from([{key: table.get(key, 1)}, [table.get(key, 1)]]))
        case "add":
            added = draw(st.sampled_from(["epochs", "name", "seed", "table", "unknown"]))
            table[added] = draw(PLAIN)
            return (*parents, added)
    return path


# What must hold

MOST_LINES, LONGEST_LINE = 25, 1500


class Checked:
    """Writes configurations to one file, checks them by command, and counts how they end."""

    def __init__(self, folder: Path) -> None:
        self.path, self.output = folder / "study.toml", folder / "run"
        self.ends: Counter[str] = Counter()

    def check(self, content: bytes, overrides: tuple[str, ...] = ()) -> str | None:
        """Return the message of a configuration, or None if it is valid; fail unless it ends as it should."""
        self.path.write_bytes(content)
        options = tuple(part for override in overrides for part in ("--set", override))
        checked = command("config", "check", self.path, *options)
        if checked.status == 0:
            assert checked.out == f"{self.path} is a valid configuration.\n"
            self.ends["valid"] += 1
            return None
        assert checked.status == 2, checked.err
        assert checked.out == ""
        assert checked.err.startswith("Error: ")
        lines = checked.err.splitlines()
        assert len(lines) <= MOST_LINES
        assert max(map(len, lines)) <= LONGEST_LINE
        assert printable(checked.err) == checked.err
        assert "Traceback" not in checked.err
        # A run refuses it by the same words, and leaves nothing behind.
        assert command("run", self.path, "--output", self.output, *options) == checked
        assert not self.output.exists()
        self.ends["refused"] += 1
        return checked.err

    def tree(self, tables: Tables) -> None:
        assert self.check(file_of(tables)) is not None  # the four tables that are required are not drawn by chance

    def mistaken(self, drawn: tuple[Tables, list[KeyPath]]) -> None:
        tables, changed = drawn
        message = self.check(file_of(tables))
        if message is not None and len(changed) == 1:
            assert str(self.path) in message or any(part in message for part in changed[0])

    def override(self, overrides: tuple[str, ...]) -> None:
        self.check(TINY, overrides)


TINY = file_of(tiny_tables())
TREES = st.dictionaries(NAMES, VALUES | nested(), max_size=5)
SPLINTERS = (b"", b"[[", b"]]", b"[a]\n", b"=", b'"', b"'''", b"\n", b"\0", b".", b"{", b"#")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw an example's file with a few stretches cut out, doubled, or written over."""
    content = draw(st.sampled_from([path.read_bytes() for path in EXAMPLES]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.sampled_from([0, 1, 2, 5, 20, 200]))
        written = draw(
            st.sampled_from([content[start:end] * 2, *SPLINTERS])
            | st.binary(max_size=8)
            | PLAIN.map(lambda value: toml(value).encode("utf-8", "surrogatepass"))
        )
        content = content[:start] + written + content[end:]
    return content


ODD_KEYS = [
    "",
    ".",
    "a..b",
    '"dataset"."name"',
    "pretext[0].name",
    "dataset .name",
    "dataset.patients",
    "pretext.turns",
]
KEYS = (
    st.sampled_from([".".join(path) for path in TABLE_PATHS])
    | st.sampled_from(ODD_KEYS)
    | st.lists(NAMES | st.text(max_size=6), min_size=1, max_size=4).map(".".join)
    | st.just(("a.", 500)).map(repeat).map("{}a".format)
)
ODD_VALUES = [
    *("1e400", "-1e400", "1_", "1 # one", "1\n[dataset]", "{a = 1, a = 2}", "{a.b = 1, a.c = 2}", "'''a"),
    *("2024-02-30", "2024-02-29T25:00:00Z", "24:00:00", '"\\ud800"', '"\\u0000"'),
]
TYPED = (
    (VALUES | nested()).map(toml)
    | TEXTS
    | st.text(max_size=20)
    | st.sampled_from(ODD_VALUES)
    | st.sampled_from([("1", 5000), ("[", 3000), ("{a=", 500), ("a.", 500)]).map(repeat)
)
OVERRIDES = st.lists(st.builds("{}={}".format, KEYS, TYPED) | st.text(max_size=20) | KEYS, min_size=1, max_size=3).map(
    tuple
)

SEARCHES = {
    "trees": (TREES, Checked.tree),
    "mistakes": (mistaken(), Checked.mistaken),
    "damaged files": (damaged(), Checked.check),
    "overrides": (OVERRIDES, Checked.override),
}


def search(name: str, folder: Path, num: int) -> Counter[str]:
    """Try so many examples and return how they ended."""
    strategy, check = SEARCHES[name]
    checked = Checked(folder)

    @given(strategy)
    @settings(max_examples=num, deadline=None, suppress_health_check=list(HealthCheck))
    def try_each(drawn: Any) -> None:
        check(checked, drawn)

    try_each()
    return checked.ends


@pytest.mark.parametrize("name", SEARCHES)
def test_a_configuration_is_valid_or_refused_in_a_message(name: str, tmp_path: Path) -> None:
    ends = search(name, tmp_path, 150)
    assert ends["refused"] >= 50
    assert ends.total() >= 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "num"), [("trees", 1500), ("mistakes", 3500), ("damaged files", 1500), ("overrides", 2500)]
)
def test_so_are_thousands(name: str, num: int, tmp_path: Path) -> None:
    started = time.monotonic()
    ends = search(name, tmp_path, num)
    print(f"{name}: {ends.total()} tried, {dict(ends)}, {time.monotonic() - started:.0f} s")
    assert ends.total() >= num
    assert ends["refused"] >= num // 3
