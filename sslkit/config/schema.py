"""The TOML schema of a run: the toolkit's own tables; plugins bring the schema of theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    field_validator,
    model_validator,
)

from sslkit.config.base import PluginConfig
from sslkit.config.card import CardConfig
from sslkit.config.location import Location
from sslkit.config.report import ReportConfig
from sslkit.printable import shown

Arm = Literal["pretrained", "scratch", "frozen", "knn", "imagenet"]
# The upper ends are beyond any study: they tell a slip of the pen from a wish before it takes the machine down.
Positive = Annotated[int, Field(ge=1, le=10_000_000)]
BatchSize = Annotated[int, Field(ge=1, le=16_384)]
Rate = Annotated[float, Field(gt=0, le=10)]
Fraction = Annotated[float, Field(gt=0, le=1)]

MOST_CELLS = 100_000

MAX_PIXELS = 100_000_000
"""The most pixels of an image, where nothing else is said: those of 10,000 by 10,000."""

_WEIGHT_DECAY = Field(0.01, ge=0, description="Of AdamW; biases and normalisation layers are not decayed.")

_EACH_ONCE: dict[str, JsonValue] = {"uniqueItems": True}
"""For editors: what the validator of the field refuses."""


class PluginTable(BaseModel):
    """A plugin's name and, beside it, the plugin's own options.

    A pretext task whose options have ``parts: tuple[PluginTable, ...]``, or a subclass with more keys of its own, is
    made of other tasks: the toolkit finds them and hands them over in [TaskContext][sslkit.TaskContext].
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, JsonValue]

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The plugin's own options, without its name."""
        return dict(self.__pydantic_extra__ or {})


def parts_of(config: type[BaseModel]) -> type[PluginTable] | None:
    """Return what the tables of ``parts`` are, among the options of a task that is made of others; None of another."""
    field = config.model_fields.get("parts")
    kinds = get_args(field.annotation) if field is not None else ()
    return kinds[0] if kinds and isinstance(kinds[0], type) and issubclass(kinds[0], PluginTable) else None


class ImagesConfig(PluginConfig):
    """How images are brought to one size and shape."""

    size: int = Field(224, ge=1, le=4096, description="Side of the square images, in pixels.")
    crop: Literal["fundus", "center", "none"] = Field(
        "center",
        description="'fundus': the retina, squared, the same circle of every image kept; 'center': the central "
        "square; 'none': the whole image, squeezed into a square.",
    )
    on_unreadable: Literal["stop", "skip"] = Field(
        "stop", description="'skip': go on without the images that cannot be read, and say which."
    )
    max_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        description="The most pixels of an image as stored; a larger one counts as unreadable, before it is decoded.",
    )
    cache: Location | None = Field(
        None,
        description="Folder of the decoded images, a path or a URL such as 's3://bucket/cache'; by default "
        "$SSLKIT_CACHE, or sslkit in the user's cache folder.",
    )


class PretrainingConfig(PluginConfig):
    """How a pretext task trains the backbone."""

    epochs: Positive = Field(200, description="Passes over the images.")
    batch_size: BatchSize = Field(32, description="Images a batch; a task may make several views of each.")
    learning_rate: Rate = Field(1e-5, description="Peak of the learning rate, which then falls to zero by a cosine.")
    weight_decay: float = _WEIGHT_DECAY
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the updates over which the learning rate rises.")
    images: Literal["train-folds", "all"] = Field(
        "train-folds",
        description="'train-folds': one pretraining a fold, which never sees a test image; 'all': one pretraining "
        "on all images, test images too, reported as transductive.",
    )
    probe_every: int = Field(
        0,
        ge=0,
        description="Epochs between linear probes of the representation, which use the labels of the smallest share "
        "alone; 0: none.",
    )
    keep: Literal["last", "best"] = Field(
        "last",
        validate_default=True,
        description="Which epoch's weights are kept; 'best': that whose probe has the highest QWK, the earliest of "
        "several.",
    )

    @field_validator("keep")
    @classmethod
    def _can_choose(cls, value: str, info: Any) -> str:
        if value == "best" and not info.data.get("probe_every"):
            raise ValueError("the best epoch is found by probes; set pretraining.probe_every to 1 or more")
        if value == "best" and info.data.get("images") == "all":
            raise ValueError(
                "with images = 'all' the labels that choose an epoch would be test labels of other folds; "
                "keep the last, or set images = 'train-folds'"
            )
        return value


class FinetuningConfig(PluginConfig):
    """How labels train the network; the same for every arm."""

    updates: Positive = Field(400, description="Updates in all; the same for every share of labels.")
    head_updates: int = Field(60, ge=0, validate_default=True, description="Of them, those that train the head alone.")
    batch_size: BatchSize = Field(32, description="Images a batch, from an endless shuffled stream of the labels.")
    learning_rate: Rate = Field(5e-5, description="Peak of the learning rate while the whole network is trained.")
    head_learning_rate: Rate = Field(1e-3, description="Peak of the learning rate while the head is trained alone.")
    weight_decay: float = _WEIGHT_DECAY
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of a phase's updates over which the learning rate rises.")
    augment: Literal["flips-turns", "flips", "none"] = Field("flips-turns", description="Augmentation of each batch.")
    evaluations: int = Field(
        10,
        ge=1,
        le=1000,
        description="Points of the convergence curve, the last at the end; nothing is chosen by them.",
    )

    @field_validator("head_updates")
    @classmethod
    def _within_updates(cls, value: int, info: Any) -> int:
        updates = info.data.get("updates")
        if updates is not None and value > updates:
            raise ValueError(f"{value} head updates are more than the {updates} updates in all; lower head_updates")
        return value


class EvaluationConfig(PluginConfig):
    """Which cells are computed."""

    label_fractions: tuple[Fraction, ...] = Field(
        (0.05, 0.1, 0.25, 0.5, 1.0),
        min_length=1,
        description="Shares of each fold's labels; put in ascending order.",
        json_schema_extra=_EACH_ONCE,
    )
    folds: int = Field(5, ge=2, description="Parts that the groups are dealt to; each is tested once.")
    repetitions: Positive = Field(1, description="Orders of labels, and seeds of training, drawn for each fold.")
    largest_group: Fraction = Field(
        0.05, description="A group of more than this share of the images, and of more than ten, stops the run."
    )
    arms: tuple[Arm, ...] = Field(
        ("pretrained", "scratch"),
        min_length=1,
        description="Where the encoder's initial weights come from.",
        json_schema_extra=_EACH_ONCE,
    )

    @field_validator("label_fractions", "arms")
    @classmethod
    def _unique(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if repeated := _repeated(values):
            raise ValueError(f"{min(repeated)!r} stands there twice; name each once")
        return values

    @field_validator("label_fractions")
    @classmethod
    def _in_order(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(values))

    @model_validator(mode="after")
    def _few_enough(self) -> EvaluationConfig:
        cells = len(self.label_fractions) * len(self.arms) * self.folds * self.repetitions
        if cells > MOST_CELLS:
            raise ValueError(
                f"{len(self.label_fractions)} label_fractions, {len(self.arms)} arms, {self.folds} folds and "
                f"{self.repetitions} repetitions make {cells:,} cells; lower one of them: a run has up to "
                f"{MOST_CELLS:,}"
            )
        return self


class ComputeConfig(PluginConfig):
    """Where and how it is computed; workers, executor and, by default, processes never change a result."""

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$",
        description="'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'; 'auto' takes an accelerator where there is one.",
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="'auto': bf16 where the hardware has it, fp16 on older CUDA devices, else fp32."
    )
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto", description="Jobs at a time; 'auto': one a core, and no more than memory is known to hold."
    )
    processes: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="Processes that carry out one pretraining together, each with its part of every batch."
    )
    sync_batchnorm: bool = Field(
        True,
        description="Where there are several processes: BatchNorm takes the statistics of the whole batch; false: each "
        "process those of its own part, which is another network, and on a CPU twice as fast.",
    )
    checkpoint_seconds: float = Field(
        30.0, ge=0, allow_inf_nan=False, description="Between checkpoints of a pretraining; what a crash costs at most."
    )
    executor: str = Field(
        "local", description="The executor plugin that carries out the jobs; its options are the table [executor]."
    )
    compile: bool = Field(
        False,
        description="Put pretraining through torch.compile; 'sslkit bench --compile' tells whether it pays.",
    )


def _repeated(values: Iterable[Hashable]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _as_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class RunConfig(PluginConfig):
    """A whole run, as a TOML file describes it."""

    name: str = Field(
        "study",
        max_length=100,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._ -]*[A-Za-z0-9_-])?$",
        description="Heads the report, and names the run directory where none is given.",
    )
    seed: int = Field(0, ge=0, description="Every draw of the run derives from it.")
    observers: Annotated[tuple[str, ...], BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...])] = (
        Field((), description="Names of observers that are to hear of the run, such as 'tensorboard' and 'mlflow'.")
    )
    dataset: PluginTable
    images: ImagesConfig = ImagesConfig()
    backbone: PluginTable
    pretext: Annotated[tuple[PluginTable, ...], BeforeValidator(_as_list), Field(min_length=1)]
    head: PluginTable
    pretraining: PretrainingConfig = PretrainingConfig()
    finetuning: FinetuningConfig = FinetuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    compute: ComputeConfig = ComputeConfig()
    executor: dict[str, JsonValue] = Field({}, description="The options of the executor that compute.executor names.")
    report: ReportConfig = ReportConfig()
    card: CardConfig = CardConfig()
    _root: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def root(self) -> Path:
        """The folder that relative paths of the plugins' options are relative to."""
        return self._root

    @field_validator("pretext")
    @classmethod
    def _one_of_each(cls, tables: tuple[PluginTable, ...]) -> tuple[PluginTable, ...]:
        if repeated := _repeated(table.name for table in tables):
            raise ValueError(f"the pretext task {shown(repeated[0])} stands there twice; name each once")
        return tables
