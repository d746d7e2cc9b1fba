from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from studies import tiny_config
from torch import nn

import sslkit
from sslkit.engine.networks import build_encoder
from sslkit.engine.precision import Compute
from sslkit.errors import PluginError, WeightsError
from sslkit.experiment import onnx_export
from sslkit.experiment.onnx_export import require_onnx, write_onnx
from sslkit.experiment.run_weights import RunWeights
from sslkit.experiment.study import resolve

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: onnx)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: onnx)")


def weights_of(backbone: dict[str, Any], head: dict[str, Any] | None = None, size: int = 32) -> RunWeights:
    """Return a network as a run would have left it, with a head where one is given."""
    tables = {"backbone": backbone, "images": {"size": size, "crop": "center"}, **({"head": head} if head else {})}
    study = resolve(tiny_config(**tables), sslkit.build_registry())
    encoder = build_encoder(study.backbone.make(), Compute("cpu", "fp32"), seed=2).eval()
    made = None if head is None else study.make_head(encoder.backbone.head_hidden_size).eval()  # type: ignore[arg-type]
    if made is not None:
        nn.init.normal_(made.linear.weight, std=0.3)
        made.temperature.fill_(1.7)
    return RunWeights(study, encoder, made, None, "finetuned" if head else "pretrained", "rotation", 0, None, 1)


def run_onnx(path: Path, pixels: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": pixels.numpy()})[0])


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        pytest.param({"name": "timm", "model": "test_resnet"}, 32, marks=pytest.mark.slow),
        ({"name": "timm", "model": "test_vit", "options": {"img_size": 32}}, 32),
        pytest.param({"name": "densenet121"}, 32, marks=pytest.mark.slow),
    ],
    ids=["resnet", "vit", "densenet121"],
)
def test_features_are_those_of_torch_at_any_batch_size(
    backbone: dict[str, Any], size: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = weights_of(backbone, size=size)

    output, difference = write_onnx(chosen, tmp_path / "model.onnx")

    assert (output, difference < 1e-4) == ("features", True)
    for count in (1, 4):
        pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
        with torch.inference_mode():
            wanted = chosen.encoder(pixels)
        torch.testing.assert_close(run_onnx(tmp_path / "model.onnx", pixels), wanted, atol=1e-4, rtol=1e-4)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    assert [part.dim_param or part.dim_value for part in model.graph.input[0].type.tensor_type.shape.dim] == [
        *("N", 3, size, size)
    ]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "encoding", ["ordinal", *(pytest.param(name, marks=pytest.mark.slow) for name in ("softmax", "regression"))]
)
def test_probabilities_are_those_of_the_calibrated_head(encoding: str, tmp_path: Path) -> None:
    chosen = weights_of({"name": "timm", "model": "test_resnet"}, {"name": "dr-grade", "encoding": encoding})

    output, _ = write_onnx(chosen, tmp_path / "model.onnx")

    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    assert chosen.head is not None
    with torch.inference_mode():
        wanted = chosen.head.predict(chosen.head(chosen.encoder(pixels))).probabilities
    assert output == "probabilities"
    torch.testing.assert_close(run_onnx(tmp_path / "model.onnx", pixels), wanted, atol=1e-5, rtol=0)
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(metadata["class_names"])[0] == "No DR"
    assert metadata["crop"] == "center"


def test_where_decoding_cannot_be_expressed_there_are_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = weights_of({"name": "timm", "model": "test_resnet"}, {"name": "dr-grade"})
    assert chosen.head is not None

    def predict(logits: torch.Tensor) -> Any:
        raise NotImplementedError if float(logits.sum()) > 0 else ValueError

    monkeypatch.setattr(chosen.head, "predict", predict)
    output, _ = write_onnx(chosen, tmp_path / "model.onnx")
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        wanted = chosen.head(chosen.encoder(pixels))
    assert output == "logits"
    torch.testing.assert_close(run_onnx(tmp_path / "model.onnx", pixels), wanted, atol=1e-4, rtol=0)


def test_a_network_that_cannot_be_exported_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = weights_of({"name": "timm", "model": "test_resnet"})
    forward = chosen.encoder.backbone.forward_features

    def branches(x: torch.Tensor) -> torch.Tensor:
        return forward(x) if float(x.sum()) > 0 else -forward(x)  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(chosen.encoder.backbone, "forward_features", branches)
    with pytest.raises(
        WeightsError, match=r"(?s)cannot export the backbone 'timm' to ONNX, .*Export it without --onnx"
    ):
        write_onnx(chosen, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disagrees_is_refused(tiny_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = onnx.TensorProto
    images = onnx.helper.make_tensor_value_info("images", kind.UINT8, ["N", 3, 32, 32])
    features = onnx.helper.make_tensor_value_info("features", kind.FLOAT, ["N", 3, 32, 32])
    nodes = [onnx.helper.make_node("Cast", ["images"], ["features"], to=kind.FLOAT)]
    graph = onnx.helper.make_graph(nodes, "another", [images], [features])
    opsets = [onnx.helper.make_opsetid("", 18)]
    other = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    monkeypatch.setattr(onnx_export, "_convert", lambda *_: other)
    with pytest.raises(
        WeightsError, match=r"model\.onnx gives features that differ from torch's by up to .*, more than"
    ):
        sslkit.export(tiny_run.directory.root, tmp_path / "out", onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(PluginError, match=r"--onnx needs onnxruntime, .*: pip install 'sslkit\[onnx\]'"):
        require_onnx()
