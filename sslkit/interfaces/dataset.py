"""The contract of a data set: a manifest, and a lazy way to each image."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sslkit.config.schema import MAX_PIXELS
from sslkit.files import read_file
from sslkit.interfaces.plugin import ConfigT, Plugin
from sslkit.storage import read_object
from sslkit.types import Record


class Dataset(Plugin[ConfigT], ABC):
    """Lists records and reads one image at a time; instances travel to worker processes by pickle.

    Once its records are listed, several threads may read and fingerprint images at once.

    Args:
        config: the data set's own options; its paths are absolute by then.
    """

    notice: ClassVar[str] = ""
    """A sentence that every report made from this data set carries (that it is synthetic, say)."""

    max_pixels: int = MAX_PIXELS
    """The most pixels of an image, which the toolkit sets to ``images.max_pixels``; see `read`."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files that `decode` reads, such as ``".dcm"``, beside those of photographs."""

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """What fsspec is given beside the URLs of records whose images lie in a store. Optional."""
        return {}

    @abstractmethod
    def records(self) -> Sequence[Record]:
        """Return one record an image, in a stable order, with unique ids; reads no pixels.

        Raises:
            sslkit.errors.DataError: if the source is missing or malformed; the message names file, line and column.
        """

    def unlisted(self, records: Sequence[Record]) -> Sequence[str]:
        """Return the images that lie among those of the records and that none of them names. Optional.

        The audit tells of them, since a row may be missing; no pixel is read.
        """
        return ()

    def read(self, record: Record) -> bytes | npt.NDArray[np.uint8]:
        """Return one image: the bytes of an image file, or uint8 pixels (H, W, 3) or (H, W).

        A data set that opens files by itself does so by [read_file][sslkit.read_file], which no pipe or device stops.
        One that decodes them refuses more than ``max_pixels`` before it does.

        Raises:
            OSError: if the image cannot be read; it is tried again by the next run.
            sslkit.errors.DataError: if no other try will read it.
        """
        if record.stored is not None:
            return self.decode(read_object(record.stored, self.storage_options), self.max_pixels)
        if record.path is None:
            raise NotImplementedError(f"{type(self).__name__} has records without a path and must override read()")
        return self.decode(read_file(record.path), self.max_pixels)

    @classmethod
    def decode(cls, content: bytes, max_pixels: int) -> bytes | npt.NDArray[np.uint8]:
        """Return what a file holds that is in a format of its own: pixels, or the bytes of a photograph. Optional.

        Images that belong to no data set, as ``sslkit predict`` grades them, come to the models through it as the data
        set's own do; it belongs to the class, since exported weights know no data set. Content of any other format is
        returned as it is.

        Args:
            content: the bytes of the file.
            max_pixels: the most pixels of an image.

        Raises:
            sslkit.errors.DataError: if it is damaged.
        """
        return content

    def fingerprint(self, record: Record) -> str:
        """Return a digest of the image's content, which names it in the cache of decoded images.

        Of an object in a store it is the checksum that came with the listing, where the store keeps one.
        """
        if record.stored is not None and record.stored.digest:
            return record.stored.digest
        content = self.read(record)
        data = content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
        return hashlib.sha256(data).hexdigest()
