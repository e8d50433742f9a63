"""What the pages say runs: every Python block. Commands in messages are ones that the program understands."""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facewright.cli import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PORTRAIT = ROOT / "src" / "facewright" / "assets" / "photos" / "astronaut.jpg"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"`facewright ([a-z][a-z-]*(?: [a-z][a-z-]*)?)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def texts_in(path: Path) -> Iterator[str]:
    """Strings of a module, pieces of one message as one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def named_commands() -> dict[str, set[str]]:
    """Commands that messages and docstrings name in backticks, and the modules that do."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for words in {words for text in texts_in(path) for words in COMMAND.findall(text)}:
            found.setdefault(words, set()).add(name(path))
    return found


NAMED = named_commands()


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


def is_command(words: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether its help is that of the command itself, not of a group that knows no such one."""
    with pytest.raises(SystemExit):
        parse([*words.split(), "--help"])
    return f"usage: facewright {words} " in capsys.readouterr().out


@pytest.mark.parametrize("words", sorted(NAMED))
def test_messages_name_commands_that_exist(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_command(words, capsys), NAMED[words]


def test_messages_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"model import", "weights import", "reconstruct"} <= NAMED.keys()
    assert not is_command("model convert", capsys)
