"""A store that speaks S3, on this machine: moto's server, with credentials that open nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
def running_store() -> Iterator[ObjectStore]:
    """Run a server on a free port of this machine, and point the environment at it; skip the test without moto."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'sslkit[storage]'")
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        try:
            host, port = running.get_host_and_port()
            yield ObjectStore(f"http://{host}:{port}")
        finally:
            running.stop()
