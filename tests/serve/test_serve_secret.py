from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslkit.errors import UsageError
from sslkit.serve import secret as secrets_of
from sslkit.serve.secret import VARIABLE, Secret, read_secret


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_secret_matches_itself_alone_and_does_not_show() -> None:
    secret = Secret("correct horse battery")
    assert secret.matches("correct horse battery")
    assert not any(secret.matches(given) for given in ("", "correct horse", "correct horse batteries", "\ud800"))
    assert "horse" not in repr(secret) + str(vars(secret))


def test_compare_digest_decides_and_sees_digests_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return len(compared) == 1

    secret = Secret("correct horse battery")
    monkeypatch.setattr(secrets_of.hmac, "compare_digest", compare)
    assert secret.matches("anything")
    assert not secret.matches("correct horse battery")
    assert {len(digest) for pair in compared for digest in pair} == {32}


@pytest.mark.parametrize(("text", "told"), [("", "is empty"), ("eleven char", "has 11 characters")])
def test_short_secrets_are_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=rf"the secret {told}; accepted: 12 or more\. Make one: python -c"):
        Secret(text)


def test_a_file_gives_its_one_line(tmp_path: Path) -> None:
    for content in (b"correct horse battery", b"correct horse battery\n", b"correct horse battery\r\n"):
        secret = read_secret(write(tmp_path / "secret", content), {})
        assert secret is not None
        assert secret.matches("correct horse battery")


def test_the_environment_gives_it_once() -> None:
    environment = {VARIABLE: "correct horse battery", "PATH": "/bin"}
    secret = read_secret(None, environment)
    assert secret is not None
    assert secret.matches("correct horse battery")
    assert environment == {"PATH": "/bin"}
    assert read_secret(None, environment) is None


def test_a_short_secret_of_the_environment_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the secret in \$SSLKIT_SERVE_PASSWORD is empty"):
        read_secret(None, {VARIABLE: ""})


def test_two_secrets_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "secret", b"correct horse battery")
    with pytest.raises(UsageError, match=r"two secrets were given, by --auth .*secret and by \$SSLKIT_SERVE_PASSWORD"):
        read_secret(file, {VARIABLE: "correct horse battery"})


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path / "secret", b"correct horse battery", mode)
    with pytest.raises(UsageError, match=rf"read or changed by others \(mode {mode:04o}\); .* chmod 600 .*secret"):
        read_secret(file, {})


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
def test_a_credential_of_systemd_is_read_whose_access_list_looks_like_a_group(tmp_path: Path) -> None:
    file = write(tmp_path / "secret", b"correct horse battery", 0o440)
    assert read_secret(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is not None
    with pytest.raises(UsageError, match=r"read or changed by others \(mode 0440\)"):
        read_secret(file, {"CREDENTIALS_DIRECTORY": "/run/credentials/other.service"})
    file.chmod(0o444)
    with pytest.raises(UsageError, match=r"read or changed by others \(mode 0444\)"):
        read_secret(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"one line of text\nanother line\n", "holds more than one line"),
        (b"x" * 5000, "holds more than one line"),
        (b"\xff\xfe\x00\x01", "is no UTF-8 text"),
        (b"", "the secret in .*secret is empty"),
        (b"\nthe second line\n", "holds more than one line"),
        (b"short\n", "the secret in .*secret has 5 characters"),
    ],
)
def test_files_that_hold_no_secret_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_secret(write(tmp_path / "secret", content), {})


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--auth .*none cannot be read: No such file"):
        read_secret(tmp_path / "none", {})
    with pytest.raises(UsageError, match=r"cannot be read: not a file but a folder"):
        read_secret(tmp_path, {})
