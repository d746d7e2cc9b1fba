"""The one secret that opens the page, and where it may come from: a file of the owner's alone, or the environment."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import MutableMapping
from pathlib import Path

from sslkit.errors import UsageError
from sslkit.files import open_file

VARIABLE = "SSLKIT_SERVE_PASSWORD"
"""The environment variable that may hold the secret."""

LEAST_LENGTH = 12
"""Characters; shorter secrets are guessed in spite of the limit on failures."""

_MOST_BYTES = 4096


class Secret:
    """A secret that can be compared and never be read back.

    Args:
        text: at least twelve characters.
        source: where it came from, for the error.

    Raises:
        UsageError: if it is empty or too short.

    Example:
        >>> secret = Secret("correct horse battery")
        >>> secret.matches("correct horse battery"), secret.matches("guess"), secret
        (True, False, Secret(...))
    """

    def __init__(self, text: str, source: str = "the secret") -> None:
        if len(text) < LEAST_LENGTH:
            given = f"has {len(text)} characters" if text else "is empty"
            raise UsageError(
                f"{source} {given}; accepted: {LEAST_LENGTH} or more. Make one: "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        self._key = secrets.token_bytes(32)
        self._digest = self._of(text)

    def matches(self, given: str) -> bool:
        """Return whether a text is the secret, in a time that depends on neither."""
        return hmac.compare_digest(self._of(given), self._digest)

    def _of(self, text: str) -> bytes:
        """Return a digest: those of two texts have one length, and say nothing of where the texts differ."""
        return hmac.digest(self._key, text.encode(errors="surrogatepass"), hashlib.sha256)

    def __repr__(self) -> str:
        return "Secret(...)"


def read_secret(file: Path | None, environment: MutableMapping[str, str] = os.environ) -> Secret | None:
    """Return the secret of a file or of the environment; None where neither is given.

    It is taken out of the environment, so that no program that is started from here, such as a browser, inherits it.

    Raises:
        UsageError: if both are given, the file can be read by others, or the secret is no good.
    """
    text = environment.pop(VARIABLE, None)
    if file is None:
        return None if text is None else Secret(text, f"the secret in ${VARIABLE}")
    if text is not None:
        raise UsageError(f"two secrets were given, by --auth {file} and by ${VARIABLE}; give one")
    return Secret(_first_line(file, environment.get("CREDENTIALS_DIRECTORY")), f"the secret in {file}")


def _first_line(file: Path, credentials: str | None) -> str:
    """Return the secret in a file.

    Those of systemd's credentials folder seem readable by a group: the mask of the access list, which names the service
    alone, stands there.
    """
    try:
        with open_file(file) as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--auth {file} cannot be read: {error.strerror or error}") from error
    if os.name == "posix" and mode & (0o037 if credentials and file.parent == Path(credentials) else 0o077):
        raise UsageError(
            f"--auth {file} can be read or changed by others (mode {mode:04o}); make it yours alone: chmod 600 {file}"
        )
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--auth {file} is no UTF-8 text; it should hold the secret in one line") from None
    if len(content) > _MOST_BYTES or len(lines) > 1:
        raise UsageError(f"--auth {file} holds more than one line; it should hold the secret, and nothing else")
    return lines[0] if lines else ""
