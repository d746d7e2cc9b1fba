"""``sslkit completion``."""

from __future__ import annotations

import click

from sslkit.cli.completing import script_for
from sslkit.cli.terminal import say


@click.command(
    short_help="Print the script for completion in a shell.", epilog='Example: eval "$(sslkit completion bash)"'
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options, keys, files and plugins.

    Bash and zsh evaluate it from ~/.bashrc or ~/.zshrc; fish reads it from ~/.config/fish/completions/sslkit.fish.
    """
    say(script_for(shell, context.find_root().command))
