from __future__ import annotations

import os
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from studies import tiny_tables

from sslkit.config import RunConfig, load_config, parse_config, to_toml
from sslkit.errors import ConfigError

NAMING = "name: string should match pattern '^[A-Za-z0-9]([A-Za-z0-9._ -]*[A-Za-z0-9_-])?$'; given: "

TOML = """\
[dataset]
name = "csv"
table = "labels.csv"
[backbone]
name = "densenet121"
[pretext]
name = "rotation"
[head]
name = "dr-grade"
"""


def tables() -> dict[str, Any]:
    return tomllib.loads(TOML)


def parse(*overrides: str, **changes: Any) -> RunConfig:
    return parse_config({**tables(), **changes}, root=Path("/data"), overrides=overrides)


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "study.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Files


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_with_its_defaults(tmp_path: Path, start: bytes, newline: str) -> None:
    config = load_config(written(tmp_path, start + TOML.replace("\n", newline).encode()))
    assert (config.dataset.name, config.dataset.options) == ("csv", {"table": "labels.csv"})
    assert config.evaluation.label_fractions == (0.05, 0.1, 0.25, 0.5, 1.0)
    assert config.evaluation.arms == ("pretrained", "scratch")
    assert (config.finetuning.updates, config.finetuning.head_updates) == (400, 60)
    assert config.root == tmp_path.resolve()


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    with pytest.raises(ConfigError, match=exactly(f"no configuration at {path}; give the path of a TOML file")):
        load_config(path)


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(tmp_path))} cannot be read as a TOML file: .*directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TOML.encode("utf-16"), "cannot be read as a TOML file: 'utf-8' codec can't decode byte 0xff in position 0"),
        ("name = 'Gefäß'\n".encode("latin-1"), "cannot be read as a TOML file: 'utf-8' codec can't decode byte 0xe4"),
        ("seed = \n", r"is not valid TOML: Invalid value \(at line 1, column 8\)"),
        ("seed = 0\nseed = 1\n", r"is not valid TOML: Cannot overwrite a value \(at line 2"),
        ("seed = " + "1" * 5000, "is not valid TOML: Exceeds the limit"),
        ("seed = " + "[" * 5000, "is not valid TOML: "),
    ],
    ids=["utf-16", "latin-1", "no value", "a key twice", "a number beyond measure", "a nesting beyond measure"],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} {message}"):
        load_config(path)


def test_a_file_without_an_end() -> None:
    with pytest.raises(
        ConfigError,
        match=exactly("/dev/zero has more than 1,048,576 bytes, so it is no configuration; give a TOML file"),
    ):
        load_config(Path("/dev/zero"))


def test_a_date_is_a_text_to_the_toolkit() -> None:
    assert parse(dataset={"name": "csv", "since": date(2024, 2, 29)}).dataset.options == {"since": "2024-02-29"}


def test_what_is_given_is_not_changed() -> None:
    given = tables()
    parse_config(given, root=Path("/data"), overrides=["dataset.table=other.csv", "images.size=32"])
    assert given == tables()


# Pretext tasks: a table or an array of tables


def test_one_pretext_task_may_be_a_table_or_an_array() -> None:
    one = {"name": "rotation", "angles": 4}
    assert parse(pretext=one) == parse(pretext=[one])
    assert parse(pretext=one).pretext[0].options == {"angles": 4}


def test_several_pretext_tasks_keep_their_order() -> None:
    config = parse(pretext=[{"name": "rotation"}, {"name": "jigsaw", "tiles": 9}])
    assert [(table.name, table.options) for table in config.pretext] == [("rotation", {}), ("jigsaw", {"tiles": 9})]


# Paths


def test_a_relative_path_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study").mkdir()
    path = written(tmp_path / "study", TOML + '[images]\ncache = "../cache"\n')
    monkeypatch.chdir(tmp_path)
    assert load_config(path.relative_to(tmp_path)).images.cache == (tmp_path / "cache").resolve()


def test_an_absolute_path_and_a_home_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert parse(images={"cache": "/tmp/x/../y"}).images.cache == Path("/tmp/y").resolve()
    assert parse(images={"cache": "~/cache"}).images.cache == Path("/home/ann/cache")


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^images\.cache: '~nobody-here/x' leads nowhere: Could not determine home"):
        parse(images={"cache": "~nobody-here/x"})
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match=r"^images\.cache: '.*/loop/x' leads nowhere: Symlink loop"):
        parse(images={"cache": str(tmp_path / "loop" / "x")})


def test_a_path_that_no_toml_can_hold(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    path = written(folder, TOML + '[images]\ncache = "cache"\n')
    message = r"images\.cache: '.*/caf\\udce9/cache' is not UTF-8 text, which no TOML can hold; rename the folder"
    with pytest.raises(ConfigError, match=message):
        load_config(path)


# --set


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("dataset.table=other.csv", "other.csv"),
        ("dataset.table = other file.csv ", "other file.csv"),
        ('dataset.table="true"', "true"),
        ("dataset.table=true", True),
        ("dataset.table=3", 3),
        ("dataset.table=1e-5", 1e-5),
        ("dataset.table=[1, 'a']", [1, "a"]),
        ("dataset.table={a = 1}", {"a": 1}),
        ("dataset.table=2024-02-29", "2024-02-29"),
        ("dataset.table=a=b", "a=b"),
        ("dataset.table=1\nb = 2", "1\nb = 2"),
        ("dataset.table=", ""),
        ("dataset.table=/no\\escape", "/no\\escape"),
    ],
)
def test_set_takes_what_toml_writes_and_bare_words(override: str, value: Any) -> None:
    assert parse(override).dataset.options == {"table": value}


def test_set_makes_tables_and_the_last_one_wins() -> None:
    config = parse("pretraining.epochs=3", "pretraining.epochs=4", "dataset.deep.er=1", "pretext.name=jigsaw", "seed=7")
    assert (config.pretraining.epochs, config.seed, config.pretext[0].name) == (4, 7, "jigsaw")
    assert config.dataset.options == {"table": "labels.csv", "deep": {"er": 1}}


@pytest.mark.parametrize("override", ["pretraining.epochs", "=3", "", ".=1", "a.=1", ".a=1", "a..b=1"])
def test_set_without_a_key_or_a_value(override: str) -> None:
    message = f"--set {override!r} is not KEY=VALUE, such as --set pretraining.epochs=20"
    with pytest.raises(ConfigError, match=exactly(message)):
        parse(override)


@pytest.mark.parametrize(
    ("override", "through"), [("dataset.name.x=1", "dataset.name"), ("dataset.name.x.y=1", "dataset.name")]
)
def test_set_through_what_is_no_table(override: str, through: str) -> None:
    with pytest.raises(ConfigError, match=exactly(f"--set {override!r}: {through} is not a table")):
        parse(override)


def test_set_into_an_array_of_tables() -> None:
    assert parse("pretext.name=jigsaw", pretext=[{"name": "rotation"}]).pretext[0].name == "jigsaw"
    with pytest.raises(ConfigError, match=exactly("--set 'pretext.name=x': pretext is not a table")):
        parse("pretext.name=x", pretext=[{"name": "rotation"}, {"name": "jigsaw"}])


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigError, match=r"^name: '.udcff' is not Unicode text; write it in UTF-8$"):
        parse("name=\udcff")


# What TOML cannot hold, or nothing can read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 10**400}, "seed: a whole number of some 401 digits; accepted: -2**63 to 2**63 - 1"),
        ({"seed": -(10**5000)}, "seed: a whole number of some 5001 digits; accepted: -2**63 to 2**63 - 1"),
        (
            {"backbone": {"name": "timm", "options": {"rates": [0.5, float("nan")]}}},
            "backbone.options.rates.1: input should be a finite number; given: nan.",
        ),
        ({"card": {"a\ud800": 1}}, "card: 'a\\ud800' is not Unicode text; write it in UTF-8"),
        ({"dataset": {3: 1}}, "dataset: the key 3 should be a text"),
        ({"dataset": {"": {b"": 1}}}, "dataset.\"\": the key b'' should be a text"),
        ({"dataset": {"table": b"a"}}, "dataset.table: TOML cannot hold a bytes; given: b'a'."),
    ],
)
def test_a_value_that_toml_cannot_hold(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=exactly(message)):
        parse(**changes)


def test_a_nesting_that_nothing_reads(tmp_path: Path) -> None:
    inner: dict[str, Any] = {"name": "csv"}
    inner["again"] = inner
    message = r"^dataset(\.again){15}\.name: is nested deeper than 16 tables or arrays; flatten it$"
    with pytest.raises(ConfigError, match=message):
        parse(dataset=inner)
    dotted = ".".join("a" * 2000)
    message = r"^a(\.a){16}: is nested deeper than 16 tables or arrays; flatten it$"
    with pytest.raises(ConfigError, match=message):
        parse(f"{dotted}=1")
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path, f"[{dotted}]\n"))


def test_paths_in_place_of_texts() -> None:
    assert parse(dataset={"name": "csv", "table": Path("a/b.csv")}).dataset.options == {"table": "a/b.csv"}


# Mistakes

KEYS = (
    "backbone, card, compute, dataset, evaluation, executor, finetuning, head, images, name, observers, pretext, "
    "pretraining, report, seed"
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bakbone": {}}, f"bakbone: unknown key; did you mean 'backbone'? Accepted here: {KEYS}."),
        ({"qqq": 1}, f"qqq: unknown key. Accepted here: {KEYS}."),
        (
            {"images": {"sise": 32}},
            "images.sise: unknown key; did you mean 'size'? Accepted here: "
            "cache, crop, max_pixels, on_unreadable, size.",
        ),
        ({"pretraining": {"epochs": "3"}}, "pretraining.epochs: input should be a valid integer; given: '3'."),
        ({"pretraining": {"epochs": 3.0}}, "pretraining.epochs: input should be a valid integer; given: 3.0."),
        ({"compute": {"compile": 1}}, "compute.compile: input should be a valid boolean; given: 1."),
        ({"name": 3}, "name: input should be a valid string; given: 3."),
        (
            {"name": "a/b"},
            NAMING + "'a/b'.",
        ),
        ({"seed": -1}, "seed: input should be greater than or equal to 0; given: -1."),
        ({"images": {"size": 0}}, "images.size: input should be greater than or equal to 1; given: 0."),
        ({"pretraining": {"learning_rate": 0}}, "pretraining.learning_rate: input should be greater than 0; given: 0."),
        (
            {"pretraining": {"learning_rate": float("inf")}},
            "pretraining.learning_rate: input should be a finite number; given: inf.",
        ),
        ({"pretraining": {"warmup": 1.0}}, "pretraining.warmup: input should be less than 1; given: 1.0."),
        ({"images": {"crop": "fundos"}}, "images.crop: input should be 'fundus', 'center' or 'none'; given: 'fundos'."),
        (
            {"compute": {"device": "gpu"}},
            "compute.device: string should match pattern '^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$'; given: 'gpu'.",
        ),
        (
            {"compute": {"workers": 0}},
            "compute.workers: input should be greater than or equal to 1, or input should be 'auto'; given: 0.",
        ),
        (
            {"compute": {"workers": "all"}},
            "compute.workers: input should be a valid integer, or input should be 'auto'; given: 'all'.",
        ),
        ({"evaluation": {"folds": 1}}, "evaluation.folds: input should be greater than or equal to 2; given: 1."),
        (
            {"evaluation": {"arms": ["scratch", "imagnet"]}},
            "evaluation.arms.1: input should be 'pretrained', 'scratch', 'frozen', 'knn' or 'imagenet'; "
            "given: 'imagnet'.",
        ),
        (
            {"evaluation": {"arms": ["imagnet"]}},
            "evaluation.arms.0: input should be 'pretrained', 'scratch', 'frozen', 'knn' or 'imagenet'; "
            "given: 'imagnet'.",
        ),
        ({"evaluation": {"arms": []}}, "evaluation.arms: needs 1 or more values; given: []."),
        (
            {"evaluation": {"arms": "scratch"}},
            "evaluation.arms: input should be a valid array; given: 'scratch'.",
        ),
        (
            {"evaluation": {"arms": ["scratch", "scratch"]}},
            "evaluation.arms: 'scratch' stands there twice; name each once",
        ),
        (
            {"evaluation": {"label_fractions": [0.5, 1, 0.5]}},
            "evaluation.label_fractions: 0.5 stands there twice; name each once",
        ),
        (
            {"evaluation": {"label_fractions": [1, 1.0]}},
            "evaluation.label_fractions: 1.0 stands there twice; name each once",
        ),
        (
            {"evaluation": {"label_fractions": [0.5, 5]}},
            "evaluation.label_fractions.1: input should be less than or equal to 1; given: 5.",
        ),
        (
            {"pretraining": {"keep": "best"}},
            "pretraining.keep: the best epoch is found by probes; set pretraining.probe_every to 1 or more",
        ),
        (
            {"pretraining": {"keep": "best", "probe_every": 1, "images": "all"}},
            "pretraining.keep: with images = 'all' the labels that choose an epoch would be test labels of other "
            "folds; keep the last, or set images = 'train-folds'",
        ),
        (
            {"finetuning": {"updates": 10, "head_updates": 11}},
            "finetuning.head_updates: 11 head updates are more than the 10 updates in all; lower head_updates",
        ),
        (
            {"name": "a "},
            NAMING + "'a '.",
        ),
        (
            {"name": ".."},
            NAMING + "'..'.",
        ),
        (
            {"name": "a" * 101},
            f"name: string should have at most 100 characters; given: '{'a' * 101}'.",
        ),
        ({"images": {"size": 10**9}}, "images.size: input should be less than or equal to 4096; given: 1000000000."),
        (
            {"images": {"cache": ""}},
            "images.cache: a path is empty; leave the key out, or write '.' for the folder of the TOML file",
        ),
        (
            {"compute": {"workers": 10**9}},
            "compute.workers: input should be less than or equal to 1024, or input should be 'auto'; "
            "given: 1000000000.",
        ),
        (
            {"compute": {"device": "cuda:" + "9" * 5000}},
            "compute.device: string should match pattern '^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$'; "
            f"given: 'cuda:{'9' * 74} ... {'9' * 39}'.",
        ),
        (
            {"evaluation": {"folds": 10**9}},
            "evaluation: 5 label_fractions, 2 arms, 1000000000 folds and 1 repetitions make 10,000,000,000 cells; "
            "lower one of them: a run has up to 100,000",
        ),
        (
            {"evaluation": {"label_fractions": [0.5] * 50_000}},
            "evaluation.label_fractions: 0.5 stands there twice; name each once",
        ),
        (
            {"finetuning": {"updates": 10}},
            "finetuning.head_updates: 60 head updates are more than the 10 updates in all; lower head_updates",
        ),
        ({"dataset": {"table": "a.csv"}}, "dataset.name: is required and missing."),
        ({"dataset": {"name": 3}}, "dataset.name: input should be a valid string; given: 3."),
        ({"dataset": 3}, "dataset: should be a table; given: 3."),
        ({"dataset": "csv"}, "dataset: should be a table; given: 'csv'."),
        ({"evaluation": []}, "evaluation: should be a table; given: []."),
        (
            {"images": {"size": {"w": 3, "h": 4}}},
            "images.size: input should be a valid integer; given: a table with w, h.",
        ),
        ({"seed": {}}, "seed: input should be a valid integer; given: a table with no keys."),
        ({"pretext": 3}, "pretext.0: should be a table; given: 3."),
        ({"pretext": ["rotation"]}, "pretext.0: should be a table; given: 'rotation'."),
        ({"pretext": []}, "pretext: needs 1 or more values; given: []."),
        ({"pretext": [{"name": "a"}, {"nme": "b"}]}, "pretext.1.name: is required and missing."),
        (
            {"pretext": [{"name": "a"}, {"name": "b"}, {"name": "a"}]},
            "pretext: the pretext task 'a' stands there twice; name each once",
        ),
    ],
)
def test_a_mistake_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=exactly(message)):
        parse(**changes)


@pytest.mark.parametrize("key", ["dataset", "backbone", "pretext", "head"])
def test_a_missing_table(key: str) -> None:
    lacking = tables()
    del lacking[key]
    with pytest.raises(ConfigError, match=exactly(f"{key}: is required and missing.")):
        parse_config(lacking, root=Path("/data"))


def test_several_mistakes_are_told_together() -> None:
    expected = (
        "head: is required and missing.\n"
        "pretraining.epochs: input should be a valid integer; given: 'many'.\n"
        "pretraining.lerning_rate: unknown key; did you mean 'learning_rate'? Accepted here: batch_size, epochs, "
        "images, keep, learning_rate, probe_every, warmup, weight_decay.\n"
        "evaluation.folds: input should be greater than or equal to 2; given: 1."
    )
    lacking = tables()
    del lacking["head"]
    overrides = ["pretraining.epochs=many", "pretraining.lerning_rate=1e-4", "evaluation.folds=1"]
    with pytest.raises(ConfigError, match=exactly(expected)):
        parse_config(lacking, root=Path("/data"), overrides=overrides)


# What holds for whatever is written


def attempt(*overrides: str, **changes: Any) -> RunConfig | ConfigError:
    try:
        return parse(*overrides, **changes)
    except ConfigError as error:
        return error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*RunConfig.model_fields, "name", "epochs", "updates", "label_fractions", "arms", "workers"])
TOML_INTEGERS = st.integers(-(2**63), 2**63 - 1)
WRITABLE = st.text(st.characters(codec="utf-8"))
VALID = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("a study"),
        "seed": st.integers(0, 2**63 - 1),
        "dataset": st.dictionaries(WRITABLE, WRITABLE | st.floats(0, 1) | st.lists(TOML_INTEGERS), max_size=3).map(
            lambda t: t | {"name": "csv"}
        ),
        "images": st.fixed_dictionaries(
            {}, optional={"size": st.integers(1, 4096), "crop": st.sampled_from(["fundus", "none"])}
        ),
        "pretraining": st.fixed_dictionaries({"learning_rate": st.floats(1e-9, 1)}),
        "evaluation": st.fixed_dictionaries({"label_fractions": st.lists(st.floats(1e-3, 1), min_size=1, unique=True)}),
        "compute": st.fixed_dictionaries({"workers": st.just("auto") | st.integers(1, 1024)}),
    },
)
LIKELY = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES | st.text(), JSON, max_size=4), max_size=5)


@given(LIKELY)
@example({"dataset": 3})
@example({"evaluation": []})
@example({"pretext": [[]]})
@example({"images": {"cache": "\0"}})
@example({"images": {"cache": "~~"}})
@example({"name": "\ud800"})
@settings(deadline=None, max_examples=300)
def test_any_values_are_a_configuration_or_a_configuration_error(changes: dict[str, Any]) -> None:
    assert isinstance(attempt(**changes), RunConfig | ConfigError)


@given(st.text() | st.builds("{}.{}={}".format, NAMES, NAMES, st.text()))
@example("seed=" + "1" * 5000)
@example("seed=" + "[" * 3000)
@example("name=\udcff")
@settings(deadline=None, max_examples=300)
def test_any_override_is_used_or_refused(override: str) -> None:
    assert isinstance(attempt(override), RunConfig | ConfigError)


@given(VALID)
@settings(deadline=None)
def test_a_configuration_survives_being_written(changes: dict[str, Any]) -> None:
    config = parse(**changes)
    plain = config.model_dump(mode="json", exclude_none=True)
    assert parse_config(tomllib.loads(to_toml(plain)), root=Path("/data")) == config


def test_a_path_may_be_a_text_and_the_root_is_here_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study.toml").write_text(to_toml(tiny_tables(images={"cache": "decoded"})))
    monkeypatch.chdir(tmp_path)
    for config in (load_config("study.toml"), parse_config(tiny_tables(images={"cache": "decoded"}))):
        assert (config.root, config.images.cache) == (tmp_path, tmp_path / "decoded")
