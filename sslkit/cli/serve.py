"""``sslkit serve``."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path

import click

from sslkit.cli.completing import arms, pretext_tasks, runs
from sslkit.cli.terminal import say


@click.command(short_help="Open a page on which photographs are graded.", epilog="Example: sslkit serve runs/dr --open")
@click.argument("directory", metavar="RUN|DIR", type=click.Path(path_type=Path), shell_complete=runs)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others' machines need --auth.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option(
    "--auth",
    type=click.Path(path_type=Path),
    help="A file of one line: the password. Or set it by $SSLKIT_SERVE_PASSWORD.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name that browsers call the server by; may be repeated.",
)
@click.option("--arm", shell_complete=arms, help="Whose models to use; by default 'pretrained'.")
@click.option(
    "--pretext", shell_complete=pretext_tasks, help="Of which pretext task; needed only where the run has several."
)
@click.option(
    "--max-size",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    metavar="MB",
    help="Of a photograph's file.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep photographs and answers there; by default nothing is kept.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser.")
@click.option("--access-log", is_flag=True, help="Print a line a request, without names of files.")
def serve(
    directory: Path,
    host: str,
    port: int,
    auth: Path | None,
    names: tuple[str, ...],
    arm: str | None,
    pretext: str | None,
    max_size: int,
    keep: Path | None,
    open_browser: bool,
    access_log: bool,
) -> None:
    """Serve a page on which photographs are graded by the models of a run, or of an exported directory.

    Not a medical device. It listens to this machine alone; for others to reach it, a password is required. Ctrl-C ends
    it.
    """
    from sslkit.serve import make_app, open_model, require_packages

    require_packages()
    from sslkit.serve.hosts import names_of
    from sslkit.serve.keeping import prepare_folder
    from sslkit.serve.secret import read_secret
    from sslkit.serve.serving import address_of, bind, is_exposed, require_secret, serve_at
    from sslkit.serve.settings import MEGABYTE, Settings, unheard

    known = names_of(names)
    secret = read_secret(auth)
    bound = bind(host, port)
    with bound:
        exposed = is_exposed(bound)
        require_secret(secret, exposed=exposed, names=sorted(known))
        if keep is not None:
            prepare_folder(keep)
        say(f"Loading the models of {directory} ...", err=True)
        model = open_model(directory, arm=arm, pretext=pretext)
        settings = Settings(
            secret=secret,
            names=known,
            exposed=exposed,
            max_bytes=max_size * MEGABYTE,
            keep=keep,
            log=_log if access_log else unheard,
        )
        address = address_of(bound)
        if exposed:
            say(_UNENCRYPTED, err=True)

        def begun() -> None:
            say(f"{model.name} ({model.described}) grades at {address}")
            say("Not a medical device. Ctrl-C ends it.", err=True)
            if open_browser:
                # Some browsers are programs of the terminal, for which opening means waiting until they end.
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        serve_at(make_app(model, settings), bound, begun)


_UNENCRYPTED = (
    "Warning: other machines can reach this page, and nothing between them and it is encrypted, the password and the "
    "photographs included. Put a proxy with TLS in front of it."
)


def _log(line: str) -> None:
    say(line, err=True, one_line=True)
