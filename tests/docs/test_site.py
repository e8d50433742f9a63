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


def test_cited_pages_and_sections_exist() -> None:
    facts = (ROOT / "docs" / "deep3d.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^##+ ([\d.]+?)\.? ", facts, re.MULTILINE))
    quirks = set(re.findall(r"\*\*(D\d+)", facts))
    cited = set()
    for folder in ("src", "tests", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for page in re.findall(r"\bdocs/[\w/-]+\.md\b", text):
                assert (ROOT / page).exists(), f"{path}: {page}"
            for numbers in re.findall(r"docs/deep3d\.md sections? ((?:[\dD][\d.]*(?:, | and | to )?)+)", text):
                cited |= set(re.findall(r"D?\d+(?:\.\d+)?", numbers))
    assert len(cited) > 10
    assert cited <= sections | quirks, cited - sections - quirks
