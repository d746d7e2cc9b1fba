"""Options that lead to local files or into a store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, JsonValue, ValidatorFunctionWrapHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sslkit.config.base import ConfigPath
from sslkit.printable import shown
from sslkit.storage import StorageURL, is_url

_SECRETS = re.compile(
    r"^key$|^sas|secret|pass(word|wd|phrase)|token|credential|(access|account|api|private|sse_customer)_?key|"
    r"connection_string|username|authorization|cookie",
    re.IGNORECASE,
)
_NAMES_OF_WAYS = ("anon", "browser", "cache", "cloud", "google_default")
"""What gcsfs takes as ``token`` and is none: ways to come by one."""

_USER_IN_URL = re.compile("://[^/]*@")


class _Leading:
    """Makes a text with a scheme a URL, and any other a path, for pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            _path_or_url,
            handler.generate_schema(ConfigPath),
            serialization=core_schema.to_string_ser_schema(when_used="json-unless-none"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "path-or-url", "minLength": 1}


def _path_or_url(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, StorageURL):
        return value
    if not isinstance(value, str) or not is_url(value):
        return handler(value)
    url = StorageURL.parse(value)
    if url.scheme not in ("file", "local"):
        return url
    path = url.partition("://")[2]
    if not path.startswith("/"):
        raise ValueError(f"{shown(value)} is no file; the URL of one has three slashes, such as 'file:///data/scans'")
    return handler(path)


Location: TypeAlias = Annotated[Path | StorageURL, _Leading()]
"""A path in a configuration, as [ConfigPath][sslkit.ConfigPath] is one, or a URL such as ``s3://bucket/train``.

A URL stays as it is, but for slashes at its end; one of scheme ``file`` is a path. Among the options of plugins it is
for data sets, whose images have fingerprints: the content of an object at a URL is no part of the identity that other
plugins' results have.
"""


def _without_secrets(options: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in options.items():
        allowed = name == "token" and value in _NAMES_OF_WAYS
        if (_SECRETS.search(name) and not allowed) or (isinstance(value, str) and _USER_IN_URL.search(value)):
            raise ValueError(
                f"{shown(name)} may hold a secret, which the run would write into its config.toml; leave it out, and "
                "give credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
                "GOOGLE_APPLICATION_CREDENTIALS)"
            )
        if isinstance(value, Mapping):
            _without_secrets(value)
    return options


StorageOptions: TypeAlias = Annotated[dict[str, JsonValue], AfterValidator(_without_secrets)]
"""What is given to fsspec beside a URL, such as ``{anon = true}``; keys whose values may be secrets are refused."""
