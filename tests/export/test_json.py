"""JSON: readable, finite, rounded, in the order given."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.errors import ExportError
from facewright.export.json import format_json, write_json


@dataclass(frozen=True)
class Pose:
    yaw_deg: float
    flat: bool


def test_every_kind_of_value(tmp_path: Path, rng: torch.Generator) -> None:
    landmarks = torch.rand(68, 2, generator=rng) * 400
    content = {
        "photo": {"path": Path("folder/größe.jpg"), "width": np.int64(423)},
        "landmarks_68": landmarks,
        "pose": Pose(-12.25, True),
        "score": np.float32(0.1),
        "tiny": -1e-30,
        "zero": -0.0,
        "none": None,
        "empty": {},
        "mixed": (1, "a", [2.5]),
    }
    write_json(tmp_path / "face.json", content)
    text = (tmp_path / "face.json").read_text(encoding="utf-8")
    read = json.loads(text)
    assert list(read) == list(content)
    assert read["photo"] == {"path": "folder/größe.jpg", "width": 423}
    assert read["pose"] == {"yaw_deg": -12.25, "flat": True}
    assert "größe" in text
    assert text.endswith("}\n")
    np.testing.assert_allclose(read["landmarks_68"], landmarks.numpy(), rtol=1e-6)
    assert '"score": 0.1' in text
    assert '"zero": 0.0' in text
    assert read["mixed"] == [1, "a", [2.5]]
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize(
    "content", [{}, {"a": []}, {"a": [[], {}]}, {"a": list(range(500))}, {"x" * 200: {"b": "c" * 200}}]
)
def test_layout_never_changes_the_content(content: dict[str, Any]) -> None:
    assert json.loads(format_json(content)) == content


def test_rows_of_numbers_stay_on_one_line() -> None:
    rows = format_json({"points": [[float(i), i + 0.5] for i in range(68)]}).splitlines()
    assert rows[2].strip() == "[0.0, 0.5],"
    assert len(rows) == 68 + 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), torch.tensor([0.0, -float("inf")])])
def test_what_is_not_finite_is_named(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(ExportError, match=r"\$\.faces\[0\]\.score"):
        write_json(tmp_path / "face.json", {"faces": [{"score": bad}]})
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_json_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"\$\.thing.*object"):
        write_json(tmp_path / "face.json", {"thing": object()})
