from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import open_page
from command_line import sslkit as command
from PIL import Image
from serving import PASSWORD
from studies import tiny_config

import sslkit
from sslkit.errors import UsageError
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve
from sslkit.serve import serving
from sslkit.serve.secret import Secret

pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra: serve)")


@contextlib.contextmanager
def serving_run(*arguments: str | Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Start the command; yield it, the line that it said first, and the address in that."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sslkit", "serve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().rstrip("\n")
        found = re.search(r"http://\S+", line)
        assert found is not None, process.stderr and process.stderr.read()
        yield process, line, found[0]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def eye(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph as the tiny run was trained on."""
    path = tmp_path_factory.mktemp("photographs") / "Jane Doe.png"
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    Image.fromarray(dataset.read(dataset.records()[0])).save(path)  # type: ignore[arg-type]
    return path


def ask(address: str, content: bytes | None = None, kind: str = "application/octet-stream") -> Any:
    request = urllib.request.Request(address, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def test_a_run_is_served_until_it_is_interrupted(tiny_run: RunResult, eye: Path, tmp_path: Path) -> None:
    root = tiny_run.directory.root
    with serving_run(root, "--port", "0", "--arm", "scratch", "--access-log", "--keep", tmp_path / "kept") as started:
        process, line, address = started
        assert re.fullmatch(r"tiny \(the mean of 2 models \(scratch\)\) grades at http://127\.0\.0\.1:\d+/", line)
        assert not address.endswith(":0/")
        answer = ask(f"{address}api/grade?cam=1", eye.read_bytes())
        assert ask(f"{address}api/model")["arm"] == "scratch"
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(f"{address}api/grade", b"no form", "multipart/form-data; boundary=b")
        with open_page(address) as look:
            look.page.set_input_files("#file", str(eye))
            look.page.wait_for_selector(".answer", timeout=60_000)
            assert look.page.locator(".bars tbody tr").count() == 5
            assert look.page.locator(".pictures img").count() == 3
            assert (look.said, look.serious(), look.cut_off()) == ([], [], [])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    (expected,) = sslkit.predict(root, [eye], arm="scratch")
    assert (answer["grade"], answer["grade_name"]) == (expected.grade, expected.grade_name)
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
    assert answer["referable"]["probability"] == pytest.approx(expected.referable_probability, abs=1e-5)
    assert answer["referable"]["answer"] == expected.referable
    assert answer["pictures"]["overlay"].startswith("data:image/jpeg;base64,")
    assert (tmp_path / "kept" / f"{answer['kept']}.png").read_bytes() == eye.read_bytes()
    assert (process.returncode, out) == (130, "")
    assert f"Loading the models of {root} ..." in err
    assert "Not a medical device. Ctrl-C ends it." in err
    assert re.search(r"^127\.0\.0\.1 POST /api/grade 200 \d+ ms$", err, re.MULTILINE)
    assert "Jane" not in err
    said = [line.partition(" ")[0] for line in err.splitlines() if line]
    assert said == ["Loading", "Not", *["127.0.0.1"] * (len(said) - 3), "Interrupted."]


def test_the_browser_that_is_opened_does_not_inherit_the_password(tiny_run: RunResult, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\nenv > {seen}.part\necho "$1" >> {seen}.part\nmv {seen}.part {seen}\n')
    script.chmod(0o700)
    arguments = (tiny_run.directory.root, "--port", "0", "--open", "--host", "0.0.0.0")
    started = serving_run(*arguments, BROWSER=f"{script} %s", SSLKIT_SERVE_PASSWORD=PASSWORD)
    with started as (process, line, address):
        for _ in range(1000):
            if seen.exists():
                break
            time.sleep(0.02)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"{address}api/model")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    text = seen.read_text()
    assert text.splitlines()[-1] == address
    assert not any(PASSWORD in said for said in (text, line, err))
    assert "Warning: other machines can reach this page, and nothing between them and it is encrypted" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "0.0.0.0"), r"this --host lets other machines reach the page, and nothing says who may use it"),
        (("--allow-host", "eyes.example.org"), r"--allow-host eyes\.example\.org lets other machines reach the page"),
        (("--allow-host", "https://eyes.example.org"), r"--allow-host 'https://eyes\.example\.org' is no name"),
        (("--host", "no.such.host.invalid"), r"--host 'no\.such\.host\.invalid' is no name or address of this machine"),
        (("--host", "192.0.2.1"), r"--host 192\.0\.2\.1 is no address of this machine; by default it is 127\.0\.0\.1"),
        (("--auth", "none"), r"--auth none cannot be read: No such file or directory"),
        (("--max-size", "0"), r"0 is not in the range 1<=x<=1000"),
        (("--port", "65536"), r"65536 is not in the range 0<=x<=65535"),
        (("--pretext", "jigsaw"), r"keeps no model of pretext 'jigsaw'"),
    ],
)
def test_wrong_use_is_one_message(tiny_run: RunResult, arguments: tuple[str, ...], told: str) -> None:
    port = () if "--port" in arguments else ("--port", "0")
    outcome = command("serve", tiny_run.directory.root, *port, *arguments)
    assert outcome.status == 2
    assert re.search(told, outcome.err)
    assert outcome.out == ""


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    outcome = command("serve", tmp_path, "--port", "0")
    assert outcome.status == 2
    assert "neither a run (no config.toml) nor exported weights" in outcome.err


def test_a_port_that_is_taken_is_told(tiny_run: RunResult) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = command("serve", tiny_run.directory.root, "--port", str(port))
    assert outcome.status == 2
    assert outcome.err == (
        f"Error: port {port} of 127.0.0.1 is taken by another program; give another --port, or --port 0 for any\n"
    )


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, r"port 80 may not be used by this user; give a --port above 1023"),
        (errno.ENOBUFS, r"port 80 of localhost cannot be used: "),
    ],
)
def test_ports_that_cannot_be_used_are_told(number: int, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        raise UsageError(serving._why_not("localhost", 80, OSError(number, os.strerror(number))))


def test_whether_others_reach_a_socket_is_told_by_where_it_is() -> None:
    for host, exposed, address in (
        ("localhost", False, r"http://(127\.0\.0\.1|\[::1\]):\d+/"),
        ("127.0.0.9", False, r"http://127\.0\.0\.9:\d+/"),
        ("0.0.0.0", True, r"http://127\.0\.0\.1:\d+/"),
    ):
        with serving.bind(host, 0) as bound:
            assert serving.is_exposed(bound) is exposed
            assert re.fullmatch(address, serving.address_of(bound))


def test_a_secret_is_required_of_what_others_can_reach() -> None:
    serving.require_secret(None, exposed=False, names=["localhost"])
    serving.require_secret(Secret(PASSWORD), exposed=True, names=["eyes.example.org"])
    with pytest.raises(UsageError, match=r"Give --auth FILE, a file of one line .* or set \$SSLKIT_SERVE_PASSWORD"):
        serving.require_secret(None, exposed=True, names=[])
