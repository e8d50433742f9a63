"""The conventions page runs: every statement on it is followed by Python that asserts it."""

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conventions.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_runs_from_top_to_bottom() -> None:
    text = PAGE.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "conventions"}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) > 10
    for block in blocks:
        first_line = text.count("\n", 0, block.start(1))
        code = compile("\n" * first_line + block.group(1), str(PAGE), "exec")  # errors name the page's own lines
        exec(code, namespace)


def test_every_section_asserts() -> None:
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        assert "assert " in "".join(BLOCK.findall(section)), section.splitlines()[0]
