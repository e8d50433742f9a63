"""The site's menu names every page once, and its API page every public name."""

import re
from pathlib import Path

import facewright

ROOT = Path(__file__).resolve().parents[2]
MENU = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]


def test_the_menu_names_every_page_once() -> None:
    named = re.findall(r"([\w/-]+\.md)$", MENU, re.MULTILINE)
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(named) == sorted(pages)


def test_the_api_page_describes_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^::: (facewright\S+)$", page, re.MULTILINE))
    for name in facewright.__all__:
        of = getattr(facewright, name)
        assert {f"{of.__module__}.{of.__qualname__}", of.__module__} & described, name
