"""Weights from outside: loaded strictly, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from sslkit.errors import WeightsError

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_MOST_NAMES = 10


def load_weights(module: nn.Module, path: Path, *, ignore: tuple[str, ...] = ()) -> None:
    """Load a file of weights into a module: every tensor must match by name, shape and kind, or nothing is changed.

    BatchNorm's ``num_batches_tracked`` may be absent, as it is in files that are older than that counter.

    Args:
        module: the network to fill.
        path: a ``.safetensors`` file, or a state dict saved by ``torch.save`` (``.pth``, ``.pt``, ``.bin``), which is
            read with ``weights_only=True`` and so runs no code.
        ignore: names of submodules or tensors whose tensors in the file are dropped: ``("classifier",)``, say.

    Raises:
        sslkit.errors.WeightsError: if the file cannot be read, holds anything but tensors by name, or does not fit;
            the message lists what is missing, unexpected and of another shape or kind.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "linear.pth"
        >>> torch.save(nn.Linear(2, 3).state_dict(), path)
        >>> load_weights(nn.Linear(2, 3), path)
    """
    load_state(module, read_weights(path), ignore=ignore, source=str(path))


def load_timm_weights(module: nn.Module, model: str, *, ignore: tuple[str, ...] = (), **options: Any) -> None:
    """Load the weights that timm publishes for a model, from its hub or the hub's cache, with the same strictness.

    timm itself drops what does not fit when a model is built without its classifier; here it is built whole, which
    timm loads strictly, and then copied by name.

    Args:
        module: the network to fill: timm's model, built with ``num_classes=0``.
        model: timm's name of it, with or without a tag.
        ignore: names of submodules, as for [load_weights][sslkit.load_weights]: the classifier's.
        **options: what else the network was built with.

    Raises:
        sslkit.errors.WeightsError: if the weights cannot be had or do not fit.
    """
    # timm is large, and most users of this module have a file.
    import timm

    try:
        with torch.random.fork_rng(devices=[]):
            published = timm.create_model(model, pretrained=True, **options)
    except Exception as error:  # the hub's client raises whatever its HTTP library does, which varies with versions
        raise WeightsError(
            f"the weights that timm publishes for {model!r} cannot be had: {error} "
            f'Where the hub is out of reach, give the [backbone] table a file: weights = "{model}.safetensors".'
        ) from error
    load_state(module, published.state_dict(), ignore=ignore, source=f"timm's published {model!r}")


def load_state(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], *, source: str, ignore: tuple[str, ...] = ()
) -> None:
    """Copy tensors by name into a module, or change nothing; ``source`` names them in the error's message.

    Raises:
        sslkit.errors.WeightsError: if they do not fit.
    """
    given = {
        name: tensor for name, tensor in tensors.items() if not f"{name}.".startswith(tuple(f"{i}." for i in ignore))
    }
    wanted = module.state_dict()
    refuse_misfits(given, wanted, network=module, source=source)
    module.load_state_dict(wanted | given)


def refuse_misfits(
    given: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
    *,
    network: nn.Module,
    source: str,
    partial: bool = False,
) -> None:
    """Refuse tensors that do not fit those of a network by name, shape and kind.

    Args:
        given: the tensors.
        wanted: the network's own.
        network: whose they are, for the message.
        source: where the tensors come from, for the message.
        partial: whether some may be missing.

    Raises:
        sslkit.errors.WeightsError: listing what is missing, unexpected and of another shape or kind.
    """
    shared = {name: (tensor, wanted[name]) for name, tensor in given.items() if name in wanted}
    problems = {
        "missing": [
            name for name in wanted if name not in given and not (partial or name.endswith("num_batches_tracked"))
        ],
        "unexpected": [str(name) for name in given if name not in wanted],
        "of another shape": [
            f"{name} {tuple(tensor.shape)} (the network's is {tuple(own.shape)})"
            for name, (tensor, own) in shared.items()
            if tensor.shape != own.shape
        ],
        "of another kind": [
            f"{name}, {kind} (the network's is {_kind(own)})"
            for name, (tensor, own) in shared.items()
            if (kind := _kind(tensor)) != _kind(own)
        ],
    }
    if any(problems.values()):
        listed = "\n".join(f"  {len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)
        raise WeightsError(
            f"the weights in {source} do not fit this {type(network).__name__}, and nothing was loaded:\n{listed}\n"
            "Give weights of the same architecture, saved with the same names."
        )


def _kind(tensor: torch.Tensor) -> str:
    """Return what must agree beside the shape: a copy from one kind to another fails, or loses what the tensor says."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        return f"{tensor.layout}, {tensor.dtype}, on {tensor.device}"
    return "complex" if tensor.is_complex() else "real"


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name; no code in it is run.

    Raises:
        sslkit.errors.WeightsError: if it cannot be read, or holds anything but tensors by name.
    """
    if path.suffix not in _SUFFIXES:
        raise WeightsError(f"{path} is no file of weights that can be read; accepted are {', '.join(_SUFFIXES)}")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except FileNotFoundError as error:
        raise WeightsError(f"the file of weights {path} does not exist") from error
    except Exception as error:  # whatever a damaged or forged file makes the parsers of torch and safetensors raise
        raise WeightsError(f"the file of weights {path} cannot be read: {error}") from error
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds {type(content).__name__}, not tensors by name; save a module's state_dict()")
    named = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    others = [str(name) for name in content if name not in named]
    if others:
        raise WeightsError(f"{path} holds more than tensors: {_some(others)}; save a module's state_dict() alone")
    return named
