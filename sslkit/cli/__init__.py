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
from sslkit.cli.completing.shells import VARIABLE
from sslkit.cli.completion import completion
from sslkit.cli.config import config
from sslkit.cli.doctor import doctor
from sslkit.cli.embed import embed
from sslkit.cli.export import export
from sslkit.cli.groups import ToolkitGroup
from sslkit.cli.ingest import ingest
from sslkit.cli.plugins import plugins
from sslkit.cli.predict import predict
from sslkit.cli.report import report
from sslkit.cli.run import run
from sslkit.cli.serve import serve
from sslkit.cli.terminal import LOG_HANDLER, TELL_STOPPING, say
from sslkit.errors import SslkitError
from sslkit.processes import STOPS
from sslkit.torchrun import follows


@click.group(cls=ToolkitGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sslkit")
def cli() -> None:
    """Self-supervised learning for images whose labels are scarce.

    What is pretraining worth, in labels? For example:

        sslkit run examples/dr_rotation.toml --output runs/dr
    """


for command in (run, doctor, ingest, bench, predict, serve, export, embed, report, plugins, config, completion):
    cli.add_command(command)


class _Stopped(KeyboardInterrupt):
    """The command was told to stop, by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def main() -> None:
    """Run the command line; a user's mistake is one message on standard error, never a traceback."""
    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):  # as standard error does: a name may be no text of the terminal's
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.getLogger("sslkit").addHandler(LOG_HANDLER)
    try:
        sys.exit(cli(standalone_mode=False, prog_name="sslkit", complete_var=VARIABLE))
    except (click.exceptions.Abort, KeyboardInterrupt) as error:  # an Abort is what click makes of the other
        stopped = error if isinstance(error, _Stopped) else error.__cause__
        _say_goodbye()
        sys.exit(128 + (stopped.number if isinstance(stopped, _Stopped) else signal.SIGINT))
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


def _stop(number: int, frame: FrameType | None) -> None:
    if _is_run():
        TELL_STOPPING[-1]()
    raise _Stopped(number)


def _say_goodbye() -> None:
    """Say that nothing is lost, and how to go on."""
    if _is_run():
        command = shlex.join(["sslkit", *sys.argv[1:]])
        say(f"Interrupted; every job that is done is kept. The same command goes on from here:\n  {command}", err=True)
    elif not follows():
        say("Interrupted.", err=True)


def _is_run() -> bool:
    return sys.argv[1:2] == ["run"] and "--dry-run" not in sys.argv and not follows()
