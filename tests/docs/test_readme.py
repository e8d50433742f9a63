"""What the README promises: its order, commands, figures, links, and the sources of what is embedded.

Its Python and its ``facewright`` commands are run and parsed with those of all pages (``test_pages``).
"""

import json
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from facewright.cli import parse
from facewright.cli.reconstruct import Reconstruct

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = README.split("<!-- results -->")[1].split("<!-- /results -->")[0]
ROWS = [row for row in RESULTS.strip().splitlines()[2:] if row.startswith("|")]
TARGETS = sorted(set(re.findall(r"^make (\w+)", README, re.MULTILINE)))


def commands_of_make(target: str) -> list[str]:
    """What ``make`` would run, without what makes the virtual environment."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    return [line.removeprefix("@") for line in done.stdout.splitlines()]


def test_a_picture_comes_first_and_the_rest_in_order() -> None:
    marks = [
        "docs/images/demo.png",
        "make demo",
        "```python",
        "<!-- results -->",
        "<!-- tree -->",
        "## Licence",
        "## Links",
    ]
    places = [README.index(mark) for mark in marks]
    assert places == sorted(places)
    assert (ROOT / "docs/images/demo.png").stat().st_size < 400_000


def test_python_is_five_lines() -> None:
    block = README.split("```python\n")[1].split("```")[0]
    assert len([line for line in block.splitlines() if line]) == 5


def test_both_commands_are_targets() -> None:
    assert TARGETS == ["demo", "test"]
    assert any("pytest" in line for line in commands_of_make("test"))


def test_demo_reconstructs_the_bundled_portraits(tmp_path: Path) -> None:
    (line,) = [line for line in commands_of_make("demo") if "facewright reconstruct" in line]
    command = parse(shlex.split(line)[1:])
    assert isinstance(command, Reconstruct)
    photos = [ROOT / photo for photo in command.photos]
    assert len(photos) == 2
    assert all(photo.is_file() for photo in photos)
    assert set(command.formats) >= {"glb", "obj", "json", "mesh"}
    quick = replace(command, photos=(photos[0],), out=tmp_path / "out", formats=("json", "overlay"), quiet=True)
    assert quick.run() == 0
    (face,) = json.loads((tmp_path / "out" / "astronaut.json").read_text(encoding="utf-8"))["faces"]
    assert len(face["landmarks_68"]) == 68
    assert abs(face["pose"]["yaw_deg"]) < 10  # she looks at the camera
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["done"] == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.strip("| ").split(" | ")[0][:40])
def test_every_figure_stands_beside_its_command(row: str) -> None:
    what, measured, command = row.strip("| ").split(" | ")
    assert what
    assert re.search(r"\d", measured)
    words = shlex.split(command.strip("`"))
    if words[0] == "facewright":
        parse([word.replace("FOLDER", str(ROOT)) for word in words[1:]])  # leaves the program if it is no command
        return
    assert words[0] == "python"
    script = ROOT / words[1]
    options = [word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")]
    source = script.read_text(encoding="utf-8")
    assert all(re.search(rf"\b{option}\b", source) for option in options)


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if not link.startswith("http")]
    assert len(links) > 10
    assert not [link for link in links if not (ROOT / link.split("#")[0]).exists()]


def test_every_embedded_file_names_its_source() -> None:
    named = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    folders = [ROOT / "src/facewright/assets", ROOT / "docs/images"]
    files = [
        path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    embedded = [str(path.relative_to(ROOT)) for path in files if path.suffix != ".py"]
    assert len(embedded) >= 6
    assert not [path for path in embedded if f"`{path}`" not in named]
