"""The JSON schema of a configuration, with the options of the installed plugins."""

from __future__ import annotations

from typing import Any

from sslkit.config import RunConfig
from sslkit.registry import Kind, Registry

_TABLES: dict[str, Kind] = {"dataset": "dataset", "backbone": "backbone", "pretext": "pretext-task", "head": "head"}


def json_schema(registry: Registry) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) that accepts what ``sslkit run`` accepts, for editors."""
    schema = RunConfig.model_json_schema()
    definitions = schema["$defs"]
    definitions.pop("PluginTable")
    for key, kind in _TABLES.items():
        options = []
        for name in registry.names(kind):
            plugin = registry.find(kind, name)
            options.append({"$ref": f"#/$defs/{_define(definitions, kind, name, plugin.cls.Config, plugin.summary)}"})
        table: dict[str, Any] = {"anyOf": options}
        if key == "pretext":
            table = {"anyOf": [*options, {"type": "array", "items": {"anyOf": options}, "minItems": 1}]}
        schema["properties"][key] = table
    definitions["ComputeConfig"]["properties"]["executor"]["enum"] = registry.names("executor")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _define(definitions: dict[str, Any], kind: str, name: str, config: Any, summary: str) -> str:
    own = config.model_json_schema(ref_template=f"#/$defs/{kind}.{name}.{{model}}")
    definitions.update({f"{kind}.{name}.{model}": value for model, value in own.pop("$defs", {}).items()})
    own["properties"] = {"name": {"const": name}, **own.get("properties", {})}
    own["required"] = ["name", *own.get("required", [])]
    own["description"] = summary
    key = f"{kind}.{name}"
    definitions[key] = own
    return key
