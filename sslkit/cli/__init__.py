"""The command line: thin commands over the functions of [sslkit.api][]."""

from __future__ import annotations

import io
import logging
import shlex
import signal
import sys
from types import FrameType

import click

from sslkit import __version__
from sslkit.cli.bench import bench
from sslkit.cli.config import config
from sslkit.cli.doctor import doctor
from sslkit.cli.plugins import plugins
from sslkit.cli.predict import predict
from sslkit.cli.report import report
from sslkit.cli.run import run
from sslkit.cli.terminal import LOG_HANDLER, say
from sslkit.errors import SslkitError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sslkit")
def cli() -> None:
    """Self-supervised learning for images whose labels are scarce.

    What is pretraining worth, in labels? For example:

        sslkit run examples/dr_rotation.toml --output runs/dr
    """


for command in (run, doctor, bench, predict, report, plugins, config):
    cli.add_command(command)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which a batch system sends before it takes the machine away."""


def main() -> None:
    """Run the command line; a user's mistake is one message on standard error, never a traceback."""
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):  # as standard error does: a name may be no text of the terminal's
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.getLogger("sslkit").addHandler(LOG_HANDLER)
    try:
        sys.exit(cli(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt) as error:  # an Abort is what click makes of the other
        terminated = isinstance(error, _Terminated) or isinstance(error.__cause__, _Terminated)
        _say_goodbye()
        sys.exit(128 + (signal.SIGTERM if terminated else signal.SIGINT))
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        say(shown.getvalue().rstrip("\n"), err=True)  # a shell may have put the names of files into the command
        sys.exit(error.exit_code)
    except SslkitError as error:
        say(f"Error: {error}", err=True)
        sys.exit(error.exit_status)
    except BrokenPipeError:  # the reader of our output, `head` say, has left
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # a full disk, a folder taken away: what is done is kept
        say(f"Error: {error}; mend this, and run the same command again", err=True)
        sys.exit(1)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _say_goodbye() -> None:
    """Say that nothing is lost, and how to go on."""
    if sys.argv[1:2] == ["run"]:
        command = shlex.join(["sslkit", *sys.argv[1:]])
        say(f"Interrupted; what is done is kept. The same command goes on from here:\n  {command}", err=True)
    else:
        say("Interrupted.", err=True)
