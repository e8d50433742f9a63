"""The Khronos validator's verdict. Runs where node and its package are: ``make validate-glb`` says how to get them."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from facewright.export.formats import export_mesh
from facewright.records import MeshAsset

SCRIPT = Path(__file__).parents[2] / "scripts" / "validate_glb.mjs"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["textured", "coloured", "bare"])
def test_no_error_and_no_warning(asset: MeshAsset, tmp_path: Path, kind: str) -> None:
    node, modules = shutil.which("node"), os.environ.get("GLTF_VALIDATOR_DIR", "")
    if node is None or not (Path(modules) / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("set GLTF_VALIDATOR_DIR to a folder where `npm install gltf-validator` was run")
    chosen = {
        "textured": asset,
        "coloured": replace(asset, texture=None),
        "bare": replace(asset, uv=None, faces_uv=None, texture=None, colors=None, morph_targets={}, morph_weights={}),
    }[kind]
    export_mesh(chosen, tmp_path / "face.glb")
    done = subprocess.run([node, SCRIPT, tmp_path / "face.glb"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (verdict,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (verdict["errors"], verdict["warnings"]) == (0, 0)
