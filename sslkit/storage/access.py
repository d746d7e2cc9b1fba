"""The bytes of objects, and clear errors where a store does not give them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from sslkit.errors import DataError
from sslkit.files import MAX_BYTES
from sslkit.printable import abbreviate, listed, printable
from sslkit.storage.objects import StoredObject
from sslkit.storage.url import StorageURL

_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}

_SECRET = re.compile(r"(SECRET|TOKEN|PASSWORD|CREDENTIAL|_KEY)", re.IGNORECASE)

CREDENTIALS = "credentials come from the environment, or from the store's own files, such as ~/.aws"


def read_object(stored: StoredObject, options: Mapping[str, Any]) -> bytes:
    """Return the bytes of an object that a listing told of.

    A store's library tries again by itself what failed in passing, with growing pauses.

    Args:
        stored: the object.
        options: what fsspec is given beside the URL.

    Raises:
        DataError: if it is gone, or has more than 1 GiB.
        OSError: if the store refuses it or does not answer, or gives something else than was listed; another try may
            succeed.
    """
    if stored.size == 0:
        return b""  # of which no range can be asked for
    if stored.size is not None:
        refuse_large(stored.url, stored.size)
    # By a range: a store is not asked for the size once more, and one byte beyond shows that the object has grown.
    limits = {} if stored.size is None else {"start": 0, "end": stored.size + 1}
    system = file_system(StorageURL(stored.url), options)
    with told(stored.url):
        content: bytes = system.cat_file(system._strip_protocol(stored.url), **limits)
    if stored.size is not None and len(content) != stored.size:
        raise OSError(f"{stored.url} has changed since it was listed with {stored.size:,} bytes; run again")
    return content


def read_all(url: StorageURL, options: Mapping[str, Any]) -> bytes:
    """Return the bytes of an object that nobody has listed, of at most 1 GiB.

    Raises:
        DataError: if there is none, or it is larger.
        OSError: if the store refuses it or does not answer.
    """
    system = file_system(url, options)
    with told(url), uncached(system):
        size = system.size(system._strip_protocol(url))
    return read_object(StoredObject(url, size), options)


@contextmanager
def open_object(url: StorageURL, options: Mapping[str, Any]) -> Iterator[BinaryIO]:
    """Open an object of which parts are read, each by a request of its own.

    Raises:
        DataError: if there is none.
        OSError: if the store refuses it or does not answer.
    """
    system = file_system(url, options)
    with told(url), uncached(system):
        file = cast("BinaryIO", system.open(system._strip_protocol(url), "rb", cache_type="none"))
    with file:
        yield file


def file_system(url: StorageURL, options: Mapping[str, Any]) -> Any:
    """Return fsspec's file system of a URL; each process has its own, and nothing of it is ever pickled.

    Raises:
        DataError: if a library is missing, or the options do not fit it.
    """
    try:
        import fsspec

        return fsspec.filesystem(url.scheme, **options)
    except ImportError as error:
        package = _PACKAGES.get(url.scheme, "'sslkit[storage]'")
        raise DataError(f"{url.scheme}:// needs another package: pip install {package} ({error})") from None
    except Exception as error:
        names = listed(options) or "none"
        raise DataError(f"{url.scheme}:// cannot be used: {reason(error)}; storage_options given: {names}") from None


@contextmanager
def uncached(system: Any) -> Iterator[None]:
    """Ask a store anew: fsspec remembers listings, sees no change, and there may be millions of entries."""
    system.invalidate_cache()
    try:
        yield
    finally:
        system.invalidate_cache()


def refuse_large(url: str, size: int) -> None:
    """Raise if an object has more bytes than a file may have.

    Raises:
        DataError: if so.
    """
    if size > MAX_BYTES:
        raise DataError(
            f"{url} is too large: {size:,} bytes; accepted: up to {MAX_BYTES:,}. Save it compressed or smaller"
        )


@contextmanager
def told(url: str, what: str = "read") -> Iterator[None]:
    """Turn what a store's library raises into one of two errors, in one line that names the URL.

    Args:
        url: of what is asked for.
        what: is done with it.

    Raises:
        DataError: where there is nothing.
        OSError: for all else, since the next try may succeed.
    """
    try:
        yield
    except (DataError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"there is no object {url}") from None
    except PermissionError as error:
        raise OSError(f"{url} may not be {what}: {reason(error)}; {CREDENTIALS}") from None
    except Exception as error:  # a store's library raises what the libraries below it raise
        advice = f"; {CREDENTIALS}" if "credentials" in type(error).__name__.lower() else ""
        raise OSError(f"{url} cannot be {what}: {reason(error)}{advice}") from None


def reason(error: Exception) -> str:
    """Return why something failed, in one line, without any secret of the environment."""
    text = " ".join(str(error.args[-1] if isinstance(error, OSError) and error.args else error).split())
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET.search(name):
            text = text.replace(value, "***")
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return abbreviate(printable(told, keep=""), 300).rstrip(".")
