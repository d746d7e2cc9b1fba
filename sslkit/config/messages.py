"""Rewrites pydantic's errors into one readable line each."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sslkit.errors import did_you_mean


def describe_validation_error(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """Return one line for each mistake: the key's path, what is wrong, what is accepted, the nearest key.

    Args:
        error: what pydantic raised.
        model: the model that was validated, asked for its keys.
        prefix: path of the table in the configuration, such as ``"pretext"``.
    """
    return "\n".join(_describe(dict(item), model, prefix) for item in error.errors(include_url=False))


def _describe(item: dict[str, Any], model: type[BaseModel], prefix: str) -> str:
    path = [prefix, *(str(part) for part in item["loc"])] if prefix else [str(part) for part in item["loc"]]
    key = ".".join(part for part in path if part) or "configuration"
    match item["type"]:
        case "extra_forbidden":
            keys = sorted(_keys_at(model, item["loc"][:-1]))
            accepted = ", ".join(keys) or "none"
            return f"{key}: unknown key{did_you_mean(str(item['loc'][-1]), keys) or '.'} Accepted here: {accepted}."
        case "missing":
            return f"{key}: is required and missing."
        case "value_error" | "assertion_error":
            return f"{key}: {item['ctx']['error']}"
    given = item["input"]
    given = f"a table with {', '.join(map(str, given)) or 'no keys'}" if isinstance(given, dict) else repr(given)
    return f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}; given: {given}."


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return set()
        model = inner
    return {field.alias or name for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list):
        return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
    return None
