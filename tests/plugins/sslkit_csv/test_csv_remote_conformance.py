from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore, parquet, photographs

from sslkit.testing import parametrize_with_checks
from sslkit_csv import Csv

STORES: list[ObjectStore] = []


@pytest.fixture(autouse=True)
def _store(object_store: ObjectStore) -> None:
    STORES[:] = [object_store]


def put_table(folder: Path) -> dict[str, Any]:
    bucket = f"conformance-{abs(hash(folder))}"
    files = {f"{number}.png": content for number, content in enumerate(photographs(6))}
    table = parquet(image=list(files), label=[n % 5 for n in range(6)], patient=[f"patient {n // 2}" for n in range(6)])
    STORES[0].put(bucket, {**files, "labels.parquet": table})
    table_url = f"s3://{bucket}/labels.parquet"
    return {"table": table_url, "group_column": "patient", "storage_options": STORES[0].options}


@parametrize_with_checks(Csv, options=put_table)
def test_csv_keeps_its_promises_in_a_store(check: Callable[[], None], request: pytest.FixtureRequest) -> None:
    if "holds_no_pixels" in request.node.name:
        pytest.skip("the server of the tests is in this process, and its memory would be counted")
    check()
