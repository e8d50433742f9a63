"""Every kind of files in its published size: imported within a minute and 2 GB, loaded again within seconds."""

from pathlib import Path

import pytest

from benchmarks.bench_import import measure
from facewright.morphable.container import load_face_model
from tests.morphable.readers.full_size import WRITERS

EXPECTED = {
    "bfm2009": (35709, 80, 64, 80),
    "bfm-front": (35709, 80, 64, 80),
    "bfm2019": (47439, 199, 101, 199),
    "flame": (5023, 300, 103, 0),
    "gnm": (17821, 253, 383, 0),
    "ict": (24591, 100, 53, 0),
}
"""Vertices, identity, expression and albedo modes."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", list(WRITERS))
def test_full_size(kind: str, tmp_path: Path) -> None:
    result = measure(kind, tmp_path)
    assert result["import_s"] < 60.0
    assert result["memory_gb"] < 2.0
    assert result["load_s"] < 3.0  # 0.2 to 0.6 s on an idle machine
    model = load_face_model(tmp_path / "imported.npz")
    layout = model.layout
    assert (len(model.mean_shape), layout.id, layout.exp, layout.tex) == EXPECTED[kind]
    mesh = model.decode(layout.zeros())
    assert mesh.vertices.isfinite().all()
    assert mesh.vertices.abs().max() < 4.0  # a head, in dm
