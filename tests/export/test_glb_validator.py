"""The Khronos validator's verdict. Runs where node and its package are: ``make validate-glb`` says how to get them."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facewright.export.formats import export_mesh
from facewright.export.glb import moving_glb_bytes
from facewright.export.moving import MovingFace
from facewright.records import MeshAsset
from tests.export.test_moving import motion_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "validate_glb.mjs"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["textured", "coloured", "bare", "moving"])
def test_no_error_and_no_warning(asset: MeshAsset, tmp_path: Path, kind: str) -> None:
    node, modules = shutil.which("node"), os.environ.get("GLTF_VALIDATOR_DIR", "")
    if node is None or not (Path(modules) / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("set GLTF_VALIDATOR_DIR to a folder where `npm install gltf-validator` was run")
    chosen = {
        "textured": asset,
        "moving": asset,
        "coloured": replace(asset, texture=None),
        "bare": replace(asset, uv=None, faces_uv=None, texture=None, colors=None, morph_targets={}, morph_weights={}),
    }[kind]
    if kind == "moving":
        (tmp_path / "face.glb").write_bytes(moving_glb_bytes(MovingFace(asset, motion_of(tuple(asset.morph_targets)))))
    else:
        export_mesh(chosen, tmp_path / "face.glb")
    done = subprocess.run([node, SCRIPT, tmp_path / "face.glb"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (verdict,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (verdict["errors"], verdict["warnings"]) == (0, 0)


PLAYER = """
<canvas id="c" width="320" height="320"></canvas>
<script type="importmap">{"imports": {"three": "/three/build/three.module.js"}}</script>
<script type="module">
import * as THREE from "three";
import { GLTFLoader } from "/three/examples/jsm/loaders/GLTFLoader.js";
const renderer = new THREE.WebGLRenderer({ canvas: document.getElementById("c"), preserveDrawingBuffer: true });
const scene = new THREE.Scene();
scene.add(new THREE.AmbientLight(0xffffff, 3));
const file = await new GLTFLoader().loadAsync("/face.glb");
scene.add(file.scene);
const mixer = new THREE.AnimationMixer(file.scene);
mixer.clipAction(file.animations[0]).play();
let mesh;
file.scene.traverse((node) => { if (node.isMesh) mesh = node; });
window.at = (time) => {
  mixer.setTime(time);
  renderer.render(scene, file.cameras[0]);
  return { weights: [...mesh.morphTargetInfluences], turn: mesh.quaternion.toArray(), move: mesh.position.toArray(),
    seconds: file.animations[0].duration, picture: document.getElementById("c").toDataURL() };
};
window.ready = true;
</script>
"""


@pytest.mark.slow
def test_three_js_plays_it(asset: MeshAsset, tmp_path: Path) -> None:
    """In Chromium: weights, pose and picture between two frames are those of the motion."""
    sync = pytest.importorskip("playwright.sync_api")
    chromium, folder = shutil.which("chromium"), os.environ.get("GLTF_VALIDATOR_DIR", "")
    modules = Path(folder) / "node_modules" / "three"
    if chromium is None or not modules.is_dir():
        pytest.skip("needs chromium, and GLTF_VALIDATOR_DIR to be a folder where `npm install three` was run")
    motion = motion_of(tuple(asset.morph_targets))
    motion = replace(motion, translations=0.1 * motion.translations)
    glb = moving_glb_bytes(MovingFace(asset, motion))
    said: list[str] = []

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix("http://player.test")
        if path.startswith("/three/"):
            route.fulfill(path=modules / path.removeprefix("/three/"), content_type="text/javascript")
        elif path == "/face.glb":
            route.fulfill(body=glb, content_type="model/gltf-binary")
        else:
            route.fulfill(body=PLAYER if path == "/" else "", content_type="text/html")

    with sync.sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-background-networking"]
        window = play.chromium.launch_persistent_context(
            tmp_path / "user", executable_path=chromium, headless=True, args=flags
        )
        tab = window.pages[0]
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.route("**/*", answer)
        tab.goto("http://player.test/")
        tab.wait_for_function("window.ready === true", timeout=120_000)
        first, middle, last = (tab.evaluate(f"window.at({time})") for time in (0.0, 0.15, 0.2499))
        window.close()
    assert not said
    assert first["seconds"] == pytest.approx(0.25)
    halfway = (motion.weights[2] + motion.weights[3]) / 2
    assert middle["weights"] == pytest.approx(halfway.tolist(), abs=1e-4)
    place = 0.1 * (motion.translations[2] + motion.translations[3]) / 2
    assert middle["move"] == pytest.approx(place.tolist(), abs=1e-4)
    assert len({first["picture"], middle["picture"], last["picture"]}) == 3
