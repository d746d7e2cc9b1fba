from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import CLASSES, FakeGrader, Site, photograph, site

import sslkit
from sslkit import serve as serve_of
from sslkit.errors import PluginError, StorageError, UsageError
from sslkit.experiment.heat import NO_EVIDENCE, overlay
from sslkit.experiment.running import RunResult
from sslkit.serve import make_app, require_packages
from sslkit.serve.keeping import keep, prepare_folder
from sslkit.serve.model import ServedModel


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    with site() as running:
        yield running


def test_an_answer_is_that_of_the_grader(served: Site) -> None:
    reply = served.grade(photograph())
    assert reply.status == 200
    answer = reply.json
    assert answer.pop("seconds") >= 0
    assert answer == {
        "grade": 2,
        "grade_name": "Severe",
        "probabilities": dict(zip(CLASSES, (0.25, 0.125, 0.625), strict=True)),
        "referable": {"name": "referable", "answer": True, "probability": 0.625, "threshold": 0.5},
        "run": "runs <i>dr</i>",
        "models": "the mean of 2 models (pretrained on rotation)",
        "disclaimer": "Not a medical device. For research only: nobody may be diagnosed or treated by these answers.",
        "kept": None,
    }
    assert served.grade(photograph(red=10)).json["grade"] == 0


def test_no_name_reaches_the_grader(served: Site) -> None:
    served.grade(photograph())
    assert set(served.grader.names) == {"photograph"}


def test_pictures_come_when_they_are_asked_for(served: Site) -> None:
    answer = served.grade(photograph(), "?cam=1").json
    assert answer["why_no_heat"] is None
    drawn = {}
    for name, uri in answer["pictures"].items():
        head, _, content = uri.partition(",")
        assert head == "data:image/jpeg;base64"
        drawn[name] = np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(float)
    graded = served.grader.grade(photograph(), "", cam=True)
    assert graded.square is not None
    assert graded.heat is not None
    expected = overlay(graded.square, graded.heat)
    assert drawn["prepared"].shape == drawn["overlay"].shape == expected.shape
    assert np.abs(drawn["overlay"] - expected).mean() < 3
    assert np.abs(drawn["prepared"] - (200, 60, 20)).mean() < 3
    assert "pictures" not in served.grade(photograph(), "?cam=0").json


def test_models_without_a_heat_map_grade_all_the_same() -> None:
    with site(FakeGrader(no_heat=PluginError("vit has no map\x1b"))) as running:
        answer = running.grade(photograph(), "?cam=1").json
    assert answer["grade"] == 2
    assert answer["pictures"]["overlay"] is None
    assert answer["pictures"]["prepared"].startswith("data:image/jpeg")
    assert answer["why_no_heat"] == "vit has no map\\x1b"


def test_heat_that_is_nowhere_is_told_and_not_drawn() -> None:
    with site(FakeGrader(most_heat=0.0)) as running:
        answer = running.grade(photograph(), "?cam=1").json
    assert answer["pictures"]["overlay"] is None
    assert answer["why_no_heat"] == NO_EVIDENCE


def test_without_a_threshold_no_call_is_made() -> None:
    with site(FakeGrader(threshold=None)) as running:
        referable = running.grade(photograph()).json["referable"]
    assert referable == {"name": "referable", "answer": None, "probability": 0.625, "threshold": None}


def test_the_model_tells_of_itself(served: Site) -> None:
    facts = served.ask("GET", "/api/model").json
    assert facts["versions"].keys() == {"sslkit", "python", "torch", "torchvision", "timm", "numpy", "pillow"}
    assert facts["versions"]["sslkit"] == sslkit.__version__
    assert {
        key: facts[key] for key in ("run", "arm", "pretext", "models", "classes", "referable", "preprocessing")
    } == {
        "run": "runs <i>dr</i>",
        "arm": "pretrained",
        "pretext": "rotation",
        "models": 2,
        "classes": list(CLASSES),
        "referable": {"name": "referable", "threshold": 0.5},
        "preprocessing": {"size": 32, "crop": "none", "max_pixels": 10_000},
    }
    assert (facts["max_bytes"], facts["kept"]) == (50_000_000, False)


def test_every_response_has_the_headers(served: Site) -> None:
    replies = [
        served.ask("GET", "/"),
        served.ask("GET", "/page.js"),
        served.ask("GET", "/page.css"),
        served.ask("GET", "/health"),
        served.ask("GET", "/nothing"),
        served.grade(photograph()),
        served.grade(b"no image"),
        served.ask("GET", "/", Host="evil.example"),
    ]
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 404, 200, 422, 400]
    for reply in replies:
        policy = dict(part.strip().partition(" ")[::2] for part in reply.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["img-src"] == "'self' blob: data:"
        assert policy["frame-ancestors"] == "'none'"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "same-origin"
        assert reply.headers["cache-control"] == "no-store"
        assert "server" not in reply.headers
        assert not any(name.startswith("access-control") for name in reply.headers)


def test_health_is_told(served: Site) -> None:
    assert served.ask("GET", "/health").json == {"status": "ok"}


def test_addresses_that_are_not_there(served: Site) -> None:
    assert served.ask("GET", "/etc/passwd").error == "Not Found."
    assert served.ask("GET", "/api/grade").error == "Method Not Allowed."
    assert served.ask("GET", "/api/grade").headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no image", r"The photograph cannot be read: not an image, or cut off in its header"),
        (photograph()[:80], r"The photograph cannot be read: the file is (truncated|damaged)"),
        (photograph(side=101), r"The photograph cannot be read: .*10,201 pixels"),
    ],
)
def test_photographs_that_cannot_be_read_are_answered_with_a_sentence(served: Site, content: bytes, told: str) -> None:
    reply = served.grade(content, "?cam=1")
    assert reply.status == 422
    assert re.match(told, reply.error)
    assert reply.error.isprintable()


def test_trouble_of_the_grader_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with site(FakeGrader(trouble=RuntimeError("CUDA in /home/somebody"))) as running:
        reply = running.grade(photograph())
        running.grader.trouble = None
        assert running.grade(photograph()).status == 200
    assert (reply.status, reply.error) == (500, "The photograph could not be graded; the server's log says why.")
    assert "RuntimeError: CUDA in /home/somebody" in caplog.text


def test_one_is_graded_at_a_time_and_those_beyond_the_places_come_back() -> None:
    with site(most_waiting=2) as running, ThreadPoolExecutor(3) as pool:
        running.grader.may_go_on.clear()
        waiting = {pool.submit(running.grade, photograph()) for _ in range(3)}
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        (refused,) = (future.result() for future in done)
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert refused.error == "Too many photographs are waiting; send this one again in a moment."
        assert running.ask("GET", "/health").status == 200  # the page stays answerable
        while not running.grader.names:
            time.sleep(0.01)
        assert running.grader.names == ["photograph"]
        running.grader.may_go_on.set()
        assert [future.result().status for future in waiting] == [200, 200]
        assert running.grade(photograph()).status == 200


def test_what_is_kept_is_named_by_its_digest(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    prepare_folder(folder)
    with site(keep=folder) as running:
        replies = [running.grade(photograph(), "?cam=1") for _ in range(2)]
        running.grade(b"no image")
    digest = replies[0].json["kept"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{digest}.json", f"{digest}.png"]
    assert (folder / f"{digest}.png").read_bytes() == photograph()
    answer = json.loads((folder / f"{digest}.json").read_text())
    assert answer == {key: replies[1].json[key] for key in answer}
    assert {"grade", "probabilities", "run", "disclaimer"} <= answer.keys()
    assert "pictures" not in answer
    assert [path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())] == [0, 0, 0]


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (photograph(kind="JPEG"), ".jpg"),
        (photograph(kind="TIFF"), ".tif"),
        (photograph(kind="BMP"), ".bmp"),
        (b"?", ".image"),
    ],
)
def test_endings_of_what_is_kept_come_from_the_bytes(tmp_path: Path, content: bytes, ending: str) -> None:
    assert (tmp_path / f"{keep(tmp_path, content, {})}{ending}").read_bytes() == content


def test_what_cannot_be_kept_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with site(keep=tmp_path / "gone") as running:
        reply = running.grade(photograph())
    assert (reply.status, reply.error) == (507, "The answer could not be kept; the server's log says why.")
    assert "gone, in which uploads are kept, was taken away" in caplog.text


def test_a_folder_that_cannot_be_written_to_is_found_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/kept"):
        prepare_folder(tmp_path / "file" / "kept")


def test_the_log_has_a_line_a_request_and_no_names() -> None:
    lines: list[str] = []
    with site(log=lines.append) as running:
        form = (
            b'--b\r\nContent-Disposition: form-data; name="i"; filename="Jane.png"\r\n\r\n'
            + photograph()
            + b"\r\n--b--\r\n"
        )
        assert running.grade(form, "?name=Jane", Content_Type="multipart/form-data; boundary=b").status == 200
        running.ask("GET", "/" + "x" * 300)
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        "127.0.0.1 POST /api/grade 200",
        f"127.0.0.1 GET /{'x' * 79} 404",
    ]


def test_the_thread_that_grades_ends_with_the_server() -> None:
    def grading() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("grading")}

    before = grading()
    with site() as running:
        running.grade(photograph())
        (thread,) = grading() - before
    thread.join(10)
    assert not thread.is_alive()


def test_an_exported_model_is_called_by_its_run(tiny_run: RunResult, tmp_path: Path) -> None:
    sslkit.export(tiny_run.directory.root, tmp_path / "exported", weights="finetuned")
    model = ServedModel.open(tmp_path / "exported")
    assert (model.name, model.described) == ("tiny", "1 model (pretrained on rotation)")
    assert model.facts()["preprocessing"]["size"] == 32


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_of.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(UsageError, match=r"serving needs uvicorn, not installed here: pip install 'sslkit\[serve\]'"):
        require_packages()
    with pytest.raises(UsageError, match=r"serving needs uvicorn"):
        make_app(ServedModel(FakeGrader(), "dr", 1))
