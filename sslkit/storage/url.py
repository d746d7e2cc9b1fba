"""The URL of an object, or of what begins alike with it, in a store: ``s3://bucket/train``."""

from __future__ import annotations

import re
import unicodedata

from sslkit.errors import did_you_mean
from sslkit.printable import listed, shown

# One letter alone is a drive of Windows.
_URL = re.compile(r"(?P<chain>(?:[a-z][\w+.-]+::)*)(?P<scheme>[a-z][\w+.-]+)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_USER = re.compile("://[^/]*:[^/]*@")
_SIGNED = re.compile(r"[?&](x-(amz|goog)-|(aws|google)access|sig(nature)?=)", re.IGNORECASE)

STORES = ("abfs", "file", "gs", "memory", "s3")
"""Schemes that a message names; all others that fsspec knows are accepted, too."""

_UNLISTED = ("http", "https")


class StorageURL(str):
    """The URL of an object or a folder in a store, as fsspec takes it: what follows the scheme is the name as it is.

    A ``%``, ``#`` or ``?`` in it is that character; nothing is decoded.

    Example:
        >>> url = StorageURL.parse("s3://bucket/study/labels.csv")
        >>> url.name, url.parent, url.parent / "a b.png"
        ('labels.csv', 's3://bucket/study', 's3://bucket/study/a b.png')
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> StorageURL:
        """Return a text as a URL, without slashes at its end.

        Raises:
            ValueError: if it is none that images or tables can be read from; the message never quotes a secret.
        """
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError(f"{shown(text)} is no URL; accepted are such as 's3://bucket/folder'")
        scheme, rest = match["scheme"].lower(), match["rest"].rstrip("/")
        if _USER.search(text) or _SIGNED.search(rest):  # before any message quotes the text
            raise ValueError("the URL holds credentials, which a run would write down; give them in the environment")
        if match["chain"]:
            raise ValueError(f"{shown(text)} leads through several file systems; give the URL of the store alone")
        _check_scheme(scheme)
        if not rest.strip("/"):
            raise ValueError(f"{shown(text)} names no bucket; accepted are such as '{scheme}://bucket/folder'")
        if {".", ".."} & set(rest.split("/")):
            raise ValueError(f"{shown(text)} has a part '.' or '..', which a store does not follow; write the URL out")
        if "?versionId=" in rest or any(unicodedata.category(letter) == "Cc" for letter in rest):
            raise ValueError(f"{shown(text)} has a control character or a '?versionId=', which no name of an image has")
        return cls(f"{scheme}://{rest}")

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return self.partition("://")[0]

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.rpartition("/")[2]

    @property
    def parent(self) -> StorageURL:
        """The URL up to the last slash; a bucket is its own parent."""
        scheme, _, rest = self.partition("://")
        return StorageURL(f"{scheme}://{rest.rpartition('/')[0] or rest}")

    def __truediv__(self, name: str) -> StorageURL:
        return StorageURL(f"{self}/{name}")


def is_url(text: str) -> bool:
    r"""Tell a URL from a path: it has a scheme of two letters or more, and ``://``.

    Example:
        >>> is_url("s3://bucket/a.png"), is_url("C:\\scans"), is_url("c://scans"), is_url("scans/a.png")
        (True, False, False, False)
    """
    return _URL.fullmatch(text) is not None


def _check_scheme(scheme: str) -> None:
    if scheme in STORES:
        return
    if scheme in _UNLISTED:
        raise ValueError(
            f"{scheme}:// has no listing, so that images and their checksums cannot be found there; download them, or "
            f"give one of {listed(STORES)}"
        )
    try:
        from fsspec import available_protocols
    except ImportError:
        known: list[str] = []
    else:
        known = available_protocols()
    if scheme not in known:
        raise ValueError(
            f"unknown scheme {shown(scheme)}{did_you_mean(scheme, [*STORES, *known]) or '.'} Accepted: "
            f"{listed(STORES)}, and what else the installed fsspec knows"
        )
