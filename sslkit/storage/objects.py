"""What a listing tells of one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a store, as one listing told of it.

    Attributes:
        url: where it is.
        size: in bytes; None where the store does not tell.
        digest: names the content, by the checksum that the store keeps; empty where it keeps none.
    """

    url: str
    size: int | None = None
    digest: str = ""


_CHECKSUMS = ("ETag", "md5Hash")
"""What S3 and Google call a checksum of 128 bits.

S3's is the MD5 of the content, or of the parts it was uploaded in, or of it as it was encrypted: equal ones are equal
content, and another writing of the same content may have another one.
"""

_VERSIONS = ("etag", "generation", "crc32c")
"""What tells one content of an object from the next, but no object from another: the URL stands beside it."""


def digest_of(info: Mapping[str, Any], url: str) -> str:
    """Return what names an object's content, from its entry in a listing by fsspec; empty if nothing there does.

    Example:
        >>> digest_of({"ETag": '"9b2c"', "size": 120}, "s3://bucket/a.png")
        'ETag 9b2c 120'
        >>> digest_of({"etag": "CJ=", "generation": "17", "size": 120}, "gs://bucket/a.png")
        'gs://bucket/a.png etag CJ= generation 17 120'
        >>> digest_of({"size": 120}, "memory://a.png")
        ''
    """
    for key in _CHECKSUMS:
        if value := _text(info, key):
            return f"{key} {value} {info.get('size')}"
    versions = [f"{key} {value}" for key in _VERSIONS if (value := _text(info, key))]
    return " ".join([url, *versions, str(info.get("size"))]) if versions else ""


def _text(info: Mapping[str, Any], key: str) -> str:
    value = info.get(key)
    return "" if value is None else str(value).strip('"')
