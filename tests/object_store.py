"""A store that speaks S3, on this machine: moto's server, with credentials that open nothing else."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sslkit.storage import StorageURL, read_all
from sslkit.testing.samples import sample_pixels

SECRET = "wJalrXUtnFEMI-dummy-of-the-tests"
"""What must stand in no file of a run, and in no message."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIADUMMYOFTHETESTS",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "no_proxy": "127.0.0.1",
}


@dataclass(frozen=True)
class ObjectStore:
    """A running server.

    Attributes:
        endpoint: its URL.
    """

    endpoint: str

    @property
    def options(self) -> dict[str, Any]:
        """What a data set is given as ``storage_options``."""
        return {"endpoint_url": self.endpoint}

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Make a bucket, if it is not there, and put objects into it."""
        import boto3  # type: ignore[import-untyped]

        client = boto3.client("s3", endpoint_url=self.endpoint)
        client.create_bucket(Bucket=bucket)
        for name, content in objects.items():
            client.put_object(Bucket=bucket, Key=name, Body=content)

    def put_folder(self, bucket: str, folder: Path, below: str = "") -> None:
        """Put all files of a folder into a bucket, named as below the folder."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self.put(bucket, {f"{below}{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files})

    def remove(self, bucket: str, name: str) -> None:
        """Remove an object."""
        import boto3

        boto3.client("s3", endpoint_url=self.endpoint).delete_object(Bucket=bucket, Key=name)


@contextmanager
def running_store(port: int = 0) -> Iterator[ObjectStore]:
    """Run a server on this machine, on a free port if none is given; conftest.py gives the environment its credentials.

    Skips the test where moto is not installed.
    """
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'sslkit[storage]'")
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield ObjectStore(f"http://{host}:{port}")
    finally:
        running.stop()


def photographs(count: int, side: int = 96) -> list[bytes]:
    """Return different photographs, computed, each the bytes of a PNG file."""
    files = []
    for pixels in sample_pixels(count, side):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return files


def parquet(**columns: list[Any]) -> bytes:
    """Return the bytes of a table in Parquet."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'sslkit[parquet]'")
    from pyarrow.parquet import write_table

    file = io.BytesIO()
    write_table(pyarrow.table(columns), file)
    return file.getvalue()


def read_into(queue: Any, place: str, options: dict[str, Any]) -> None:
    """Put the bytes of an object into a queue: what a process of its own is to do."""
    queue.put(read_all(StorageURL(place), options))
