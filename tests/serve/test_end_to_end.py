"""The service as its page shows it: started by the command, asked by the page's own lines, ended by SIGTERM."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from facewright.assets import embedded_path
from tests.docs.test_commands import commands_of

pytest.importorskip("fastapi", reason="the extra serve is not installed")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "service.md"
QUICK = ("--port", "0", "--weights", "fast", "--refine", "0")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_page_s_commands_do_what_it_says(tmp_path: Path) -> None:
    first, *others = commands_of(PAGE.read_text(encoding="utf-8"))
    asking = [line for line in others if line.startswith("curl ")]
    assert first == "facewright serve"
    assert len(asking) == 4
    shutil.copy(embedded_path("photos/astronaut.jpg"), tmp_path / "me.jpg")
    service = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(first), *QUICK],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout is not None
        listening = re.match(r"listening on (http://127\.0\.0\.1:\d+)", service.stdout.readline())
        assert listening, service.communicate(timeout=10)
        for line in asking:
            if "edit.json" in line:
                (face,) = json.loads((tmp_path / "me.json").read_text())["faces"]
                (tmp_path / "edit.json").write_text(json.dumps({"face": face, "frontal": True}))
            words = shlex.split(line.replace("http://127.0.0.1:8000", listening.group(1)))
            if (line.endswith("/v1/faces") and "gltf" in line) or "format=zip" in line:  # a small texture is enough
                words[-1] += ("&" if "?" in words[-1] else "?") + "texture_px=64"
            done = subprocess.run([*words, "--silent"], cwd=tmp_path, check=False, timeout=60)
            assert done.returncode == 0, line
    finally:
        service.send_signal(signal.SIGTERM)
        said = service.communicate(timeout=60)
    assert (service.returncode, said) == (0, ("", ""))
    x0, y0, x1, y1 = face["box"]
    assert x0 < face["landmarks_68"][30][0] < x1
    assert y0 < face["landmarks_68"][30][1] < y1
    assert (tmp_path / "me.glb").read_bytes()[:4] == (tmp_path / "frontal.glb").read_bytes()[:4] == b"glTF"
    with zipfile.ZipFile(tmp_path / "me.zip") as archive:
        assert archive.namelist() == ["face.obj", "face.mtl", "face_texture.png", "face.json"]
