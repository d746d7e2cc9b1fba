"""Rewrites pydantic's errors into one readable line each."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sslkit.config.plain import key_path
from sslkit.errors import did_you_mean
from sslkit.printable import abbreviate, listed, shown

MOST_MISTAKES = 20
"""That are described; a file of another program has thousands."""


def describe_validation_error(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """Return one line for each mistake: the key's path, what is wrong, what is accepted, the nearest key.

    Args:
        error: what pydantic raised.
        model: the model that was validated, asked for its keys.
        prefix: path of the table in the configuration, such as ``"pretext"``.
    """
    mistakes: dict[str, list[tuple[str, str]]] = {}
    omitted = ""
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # pydantic counts what is right of a list; what is wrong in it has a line of its own
        path = key_path((*([prefix] if prefix else []), *_locate(model, item["loc"])[0]))
        if path not in mistakes and len(mistakes) == MOST_MISTAKES:
            omitted = f"\nAnd more: {error.error_count()} problems in all; mend these first."
            break
        mistakes.setdefault(path, []).append(_describe(dict(item), model))
    lines = (
        # Where a key accepts several types, pydantic says of each why it is not that one.
        f"{path}: {', or '.join(dict.fromkeys(problem for problem, _ in found))}{found[-1][1]}"
        for path, found in mistakes.items()
    )
    return "\n".join(lines) + omitted


def _describe(item: dict[str, Any], model: type[BaseModel]) -> tuple[str, str]:
    """Return what is wrong, and the end of the line."""
    location = item["loc"]
    given = item["input"]
    given = f"a table with {listed(given) or 'no keys'}" if isinstance(given, dict) else shown(given)
    match item["type"]:
        case "extra_forbidden":
            table = _model_in(_locate(model, location[:-1])[1])
            keys = sorted(_fields(table)) if table else []
            accepted = ", ".join(keys) or "none"
            return f"unknown key{did_you_mean(str(location[-1]), keys) or '.'} Accepted here: {accepted}", "."
        case "missing":
            return "is required and missing", "."
        case "value_error" | "assertion_error":
            return abbreviate(str(item["ctx"]["error"]), 500), ""
        case "model_type" | "model_attributes_type" | "dict_type":
            return "should be a table", f"; given: {given}."
        case "too_short":
            return f"needs {item['ctx']['min_length']} or more values", f"; given: {given}."
    return f"{item['msg'][0].lower()}{item['msg'][1:]}", f"; given: {given}."


def _locate(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """Return the keys on the way to a location, without the names of a union's branches, and the type found there."""
    path: list[str] = []
    at: Any = model
    for part in location:
        table = _model_in(at)
        if table is not None and part in _fields(table):
            at = _fields(table)[str(part)]
        elif len(branches := _branches(at)) > 1 and isinstance(part, str):
            at = next((branch for branch in branches if getattr(branch, "__name__", None) == part), None)
            continue
        elif not isinstance(part, int):
            at = None
        path.append(str(part))
    return path, at


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _branches(annotation: Any) -> list[Any]:
    """Return what a union accepts beside None: of one branch alone pydantic does not give the name."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return []
    return [branch for branch in get_args(annotation) if branch is not types.NoneType]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list):
        return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
    return None
