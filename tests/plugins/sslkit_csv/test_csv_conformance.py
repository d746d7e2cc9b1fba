from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from sslkit.testing import parametrize_with_checks
from sslkit.testing.samples import sample_pixels
from sslkit_csv import Csv


def write_table(folder: Path) -> dict[str, str]:
    rows = ["image,label,patient"]
    for number, pixels in enumerate(sample_pixels(6, 96)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number},{number % 5},patient {number // 2}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return {"table": "labels.csv", "group_column": "patient"}


@parametrize_with_checks(Csv, options=write_table)
def test_csv_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
