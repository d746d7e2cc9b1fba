"""Objects in stores such as S3: where they are, what a listing tells of them, and their bytes.

Everything goes through fsspec, which is imported when a store is first asked; local files never come here.
"""

from sslkit.storage.access import file_system, open_object, read_all, read_object, reason
from sslkit.storage.listing import StoredFolders, list_objects
from sslkit.storage.objects import StoredObject
from sslkit.storage.url import StorageURL, is_url

__all__ = [
    "StorageURL",
    "StoredFolders",
    "StoredObject",
    "file_system",
    "is_url",
    "list_objects",
    "open_object",
    "read_all",
    "read_object",
    "reason",
]
