"""The model card of an exported directory: what the weights are, how they are loaded, what images must go through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslkit.errors import RunDirectoryError
from sslkit.printable import printable
from sslkit.report.cards.facts import NO_DEVICE, NOT_PROVIDED, Facts
from sslkit.report.cards.model_card import model_card
from sslkit.report.tables import read_run

_CROPS = {
    "fundus": "Find the visible retina (the bounding box of what is not black background), and cut out the largest "
    "square that is centred in that box. After resizing, make every pixel black that lies farther from the centre than "
    "0.48 of the side.",
    "center": "Cut out the central square.",
    "none": "Take the whole image; it is squeezed into a square, and its aspect is not kept.",
}
_LEADS = {
    "pretrained": "An image encoder, pretrained without labels",
    "finetuned": "An image encoder and its grading head, trained on labels",
}


def weights_card(run_directory: Path, config: Mapping[str, Any], name: str, files: Mapping[str, str]) -> str:
    """Return the text of README.md, in Markdown.

    Args:
        run_directory: where the weights come from; a run that is still under way has little to tell.
        config: config.json of the exported directory.
        name: of the exported directory.
        files: names of the files that there are, and what each is.
    """
    about = config["sslkit"]
    parts = [
        _front_matter(about),
        f"# {_escaped(about['run'])}: {about['weights']} weights",
        f"> **{_escaped(NO_DEVICE)}**",
        _lead(config),
        f"## Load\n\n{_loading(about, name)}",
        f"## Before the network\n\n{_preprocessing(about)}",
        "## Files\n\n" + "\n".join(f"- `{file}`: {what}" for file, what in files.items()),
        *_of_the_run(run_directory),
        "---\n\nWritten by `sslkit export` from the files of the run; what neither they nor the table `[card]` of its "
        "configuration say is said to be not provided.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(about: Mapping[str, Any]) -> str:
    library = "sslkit" if about["not_for_timm"] else "timm"
    tags = ["sslkit", "self-supervised-learning", *([] if about["not_for_timm"] else ["timm"])]
    return "---\nlibrary_name: {}\npipeline_tag: {}\ntags:\n{}\n---".format(
        library,
        "image-classification" if about["head"] else "image-feature-extraction",
        "\n".join(f"- {tag}" for tag in tags),
    )


def _lead(config: Mapping[str, Any]) -> str:
    about, size = config["sslkit"], config["pretrained_cfg"]["input_size"][1]
    architecture = "a network of its own" if about["not_for_timm"] else f"timm's `{config['architecture']}`"
    task = f" Pretext task: {_escaped(about['pretext'])}." if about["pretext"] else ""
    if about["fold"] is None:
        seen = "The pretraining saw all images of the run, though no label: scores on any of them would flatter it."
    else:
        seen = (
            f"Fold {about['fold']}: neither the pretraining nor the training saw the images that this fold tests. Of "
            "the other folds' images they saw the pixels, and where they were trained on labels, the labels."
        )
    arm = f" Arm: {_escaped(about['arm'])}." if about["arm"] else ""
    return (
        f"{_LEADS[about['weights']]}: {architecture}, {config['num_features']} features of an RGB image of {size} x "
        f"{size} px.{task}{arm}\n\n{seen}"
    )


def _loading(about: Mapping[str, Any], name: str) -> str:
    path = f"path/to/{name}"
    plain = (
        f"Plain timm cannot load these weights: {_escaped(about['not_for_timm'])}.\n\n"
        if about["not_for_timm"]
        else "With timm alone (1.0.16 or later), without sslkit:\n\n```python\nimport timm\n\n"
        f'encoder = timm.create_model("local-dir:{path}", pretrained=True).eval()\n'
        "h = encoder.forward_head(encoder.forward_features(x), pre_logits=True)  "
        f"# x: normalised, float (N, 3, H, W)\n```\n\n`num_classes=5` gives it a new classifier.\n\n"
    )
    grading = (
        f"\n\nIt grades images: `sslkit predict {path} PHOTOGRAPH.jpg`, into "
        f"{', '.join(map(_escaped, about['class_names']))}."
        if about["head"]
        else ""
    )
    backbone = about["backbone"]
    needs = f"{_escaped(backbone['distribution'])} {_escaped(backbone['version'])}"
    return (
        f"{plain}With sslkit (the backbone `{backbone['name']}` is a plugin of {needs}):\n\n"
        f'```python\nimport sslkit\n\nencoder = sslkit.load_backbone("{path}")\n'
        "h = sslkit.representation(encoder, x)\n```\n\n"
        f"`sslkit embed {path} IMAGES/ --output features.npz` does all that follows to image files, too.{grading}"
    )


def _preprocessing(about: Mapping[str, Any]) -> str:
    size, crop = about["preprocessing"]["size"], about["preprocessing"]["crop"]
    mean, std = (", ".join(f"{value:g}" for value in about[name]) for name in ("mean", "std"))
    python = (
        "```python\nfrom pathlib import Path\n\nimport torch\n\nimport sslkit\n\n"
        f'prepare = sslkit.Preprocessing(size={size}, crop="{crop}")\n'
        'pixels = torch.from_numpy(prepare.apply(Path("photograph.jpg").read_bytes()))  # uint8 (H, W, 3)\n'
        f"x = sslkit.normalize(pixels.permute(2, 0, 1)[None], mean=({mean}), std=({std}))\n```"
    )
    return (
        "Neither timm nor the network does this; features of images that were prepared otherwise are others.\n\n"
        f"1. {_CROPS[crop]}\n2. Resize the square to {size} x {size} px, bicubic and antialiased, RGB.\n"
        f"3. Divide by 255, take the mean off each channel ({mean}), and divide by its standard deviation ({std}).\n\n"
        f"{python}"
    )


def _of_the_run(run_directory: Path) -> list[str]:
    try:
        facts = Facts(read_run(run_directory))
    except RunDirectoryError:
        return ["## Of the run\n\nThe run had not finished when this was written, so its results are not told here."]
    sections = []
    for title, entries in model_card(facts):
        lines = [f"- {name}: {_escaped(said)}" for name, said in entries if said != NOT_PROVIDED]
        missing = [name for name, said in entries if said == NOT_PROVIDED]
        lines += [f"- {NOT_PROVIDED}: {', '.join(missing)}"] if missing else []
        sections.append(f"## {title}\n\n" + "\n".join(lines))
    return sections


def _escaped(text: object) -> str:
    """Return text as one line of Markdown that is nothing but text, whoever wrote it."""
    line = printable(str(text), keep="")
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", line)
