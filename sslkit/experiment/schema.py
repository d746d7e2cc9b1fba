"""The JSON schema of a configuration, with the options of the installed plugins."""

from __future__ import annotations

from typing import Any

from sslkit.blame import blame
from sslkit.config import RunConfig
from sslkit.config.schema import ComputeConfig, parts_of
from sslkit.registry import Kind, PluginInfo, Registry

_TABLES: dict[str, Kind] = {"dataset": "dataset", "backbone": "backbone", "pretext": "pretext-task", "head": "head"}


def json_schema(registry: Registry) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) that accepts what ``sslkit run`` accepts, for editors.

    What is wrong is told at the key that is wrong: the options of a plugin are checked where the table names it, and
    not tried one plugin after the other.

    Raises:
        PluginError: if two plugins have one name, or the options of one cannot be put into a schema.
    """
    schema = RunConfig.model_json_schema()
    definitions = schema["$defs"]
    definitions.pop("PluginTable")
    for key, kind in _TABLES.items():
        plugins = [registry.find(kind, name) for name in registry.names(kind)]
        table = _table(plugins, [_define(definitions, plugin) for plugin in plugins])
        for plugin in plugins:
            _define_parts(definitions, plugin, plugins)
        schema["properties"][key] = {"type": "object", **table}
        if key == "pretext":
            several = {"items": {"type": "object", **table}, "minItems": 1}
            schema["properties"][key] = {"type": ["object", "array"], **table, **several}
    executors = [registry.find("executor", name) for name in registry.names("executor")]
    definitions["ComputeConfig"]["properties"]["executor"]["enum"] = [executor.name for executor in executors]
    schema["allOf"] = [_options_of_executor(definitions, executor) for executor in executors]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_null(schema)}


def _options_of_executor(definitions: dict[str, Any], plugin: PluginInfo) -> dict[str, Any]:
    """Return what the table ``[executor]`` must be where ``compute.executor``, which has a default, names a plugin."""
    key = _define(definitions, plugin, named=False)
    compute: dict[str, Any] = {"properties": {"executor": {"const": plugin.name}}}
    named: dict[str, Any] = {"properties": {"compute": compute}}
    if plugin.name != ComputeConfig().executor:
        compute["required"], named["required"] = ["executor"], ["compute"]
    return {"if": named, "then": {"properties": {"executor": {"$ref": f"#/$defs/{key}"}}}}


def _table(plugins: list[PluginInfo], keys: list[str]) -> dict[str, Any]:
    """Return what a table must have whose key ``name`` says which plugin the other keys are options of.

    Args:
        plugins: those that it may name.
        keys: those of the definitions of their options.
    """
    options = {plugin.name: {"$ref": f"#/$defs/{key}"} for plugin, key in zip(plugins, keys, strict=True)}
    summaries = (f"{plugin.name!r}: {plugin.summary}" for plugin in plugins)
    return {
        "properties": {"name": {"enum": list(options), "description": " ".join(summaries)}},
        "required": ["name"],
        "allOf": [
            {"if": {"type": "object", "properties": {"name": {"const": name}}, "required": ["name"]}, "then": then}
            for name, then in options.items()
        ],
        # Always true: some editors, taplo among them, look for completions and descriptions here, and not under "then".
        "anyOf": [{}, *options.values()],
    }


def _define(definitions: dict[str, Any], plugin: PluginInfo, *, named: bool = True) -> str:
    """Add the options of a plugin to the definitions; return the key that they stand under.

    Args:
        definitions: where to.
        plugin: the plugin.
        named: whether the table names the plugin beside its options.
    """
    key = _key(plugin)
    with blame(plugin.provenance, "the schema of its options"):
        own = plugin.cls.Config.model_json_schema(ref_template=f"#/$defs/{key}:{{model}}")
    nested = own.pop("$defs", {})
    definitions.update({f"{key}:{model}": value for model, value in nested.items()})
    if "$ref" in own:  # options that hold options of their own kind
        own = dict(nested[own["$ref"].rpartition(":")[2]])
    own.setdefault("properties", {})
    if named:
        own["properties"] = {"name": True, **own["properties"]}  # which the table has checked
        own["required"] = ["name", *own.get("required", [])]
    own["description"] = plugin.summary
    definitions[key] = own
    return key


def _define_parts(definitions: dict[str, Any], plugin: PluginInfo, tasks: list[PluginInfo]) -> None:
    """Let the parts of a plugin be tables that each name a pretext task, with the keys that a part has beside."""
    table = parts_of(plugin.cls.Config)
    if table is None:
        return
    added = table.model_json_schema()["properties"]
    keys = [f"{_key(plugin)}:part.{task.name}" for task in tasks]
    for key, task in zip(keys, tasks, strict=True):
        own = definitions[_key(task)]
        definitions[key] = {**own, "properties": {**added, **own["properties"]}}
    definitions[_key(plugin)]["properties"]["parts"]["items"] = {"type": "object", **_table(tasks, keys)}
    definitions.pop(f"{_key(plugin)}:{table.__name__}", None)


def _key(plugin: PluginInfo) -> str:
    return f"{plugin.kind}.{plugin.name}"


def _without_null(schema: Any) -> Any:
    """Return a schema without null, which TOML cannot hold, so that a wrong value fails one type and not two."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_null(value) for key, value in schema.items() if value is not None}
    branches = kept.get("anyOf")
    if not isinstance(branches, list) or {"type": "null"} not in branches:  # no list: an option of that name
        return kept
    del kept["anyOf"]
    branches.remove({"type": "null"})
    return {**branches[0], **kept} if len(branches) == 1 else {"anyOf": branches, **kept}
