"""What the pages say runs: every Python block, and every command line is one that the program understands."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from facewright.cli import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PORTRAIT = ROOT / "src" / "facewright" / "assets" / "photos" / "astronaut.jpg"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^(facewright (?:[^\\\n]|\\\n)*)", re.MULTILINE)  # a line, and those that a backslash adds
INLINE = re.compile(r"`(facewright [^`\n]* --[^`\n]*)`")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands_of(text: str) -> list[str]:
    """Complete command lines: those on lines of their own, and those in backticks that have options."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in FENCED.findall(block)]
    return [line.replace("\\\n", " ").split(" #")[0] for line in [*lines, *INLINE.findall(text)]]


TEXTS = [*PAGES, *sorted((ROOT / "src").rglob("*.py"))]  # messages tell people what to type too
COMMANDS = [(name(text), line) for text in TEXTS for line in commands_of(text.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "conventions.md"], ids=name)
def test_python_blocks_run_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PORTRAIT, tmp_path / "me.jpg")  # the photo that the pages speak of
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": page.stem}
    for block in PYTHON.finditer(text):
        first_line = text.count("\n", 0, block.start(1))
        code = compile("\n" * first_line + block.group(1), str(page), "exec")  # errors name the page's own lines
        exec(code, namespace)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line[:60]}" for page, line in COMMANDS])
def test_commands_are_understood(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert parse(shlex.split(line)[1:])
    except SystemExit:
        pytest.fail(f"{page}: {line}\n{capsys.readouterr().err or capsys.readouterr().out}")


def test_commands_are_found() -> None:
    page = "`facewright model info`, `facewright decode a --out b`:\n```\nfacewright model \\\n sample --out x\n```\n"
    assert [shlex.split(line) for line in commands_of(page)] == [
        ["facewright", "model", "sample", "--out", "x"],
        ["facewright", "decode", "a", "--out", "b"],
    ]
    assert len(COMMANDS) > 15
