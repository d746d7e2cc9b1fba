"""``sslkit ingest``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from sslkit.cli.config_options import config_argument, set_option
from sslkit.cli.terminal import say


@click.command(
    short_help="Decode the images ahead of a run.",
    epilog="Example: sslkit ingest examples/dr_rotation.toml --set images.size=224",
)
@config_argument
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
def ingest(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Decode the images of CONFIG into the cache, and do nothing else.

    'sslkit run' begins by doing the same. Several machines that see the same cache may do it at once: each decodes a
    part, and all end when the whole is there.
    """
    from sslkit import api
    from sslkit.cli.display import follow_run

    with follow_run() as progress:
        found = api.ingest(config, overrides=overrides, observer=progress)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    for image, reason in found.unreadable.items():
        say(f"unreadable: {image}: {reason}", one_line=True)
    shards = "1 shard" if found.shards == 1 else f"{found.shards:,} shards"
    size = f"{found.bytes / 2**30:,.1f} GiB" if found.bytes >= 2**30 else f"{found.bytes / 2**20:,.1f} MiB"
    say(f"{found.place}: {found.images:,} images in {shards}, {size}; {found.decoded:,} decoded now", one_line=True)
