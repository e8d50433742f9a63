"""Every function and test that the page of equations names exists; every equation of the paper is on it."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "maths.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 5 and "::" in line]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def defined_in(path: Path) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    }


def resolved(name: str) -> object:
    """The object behind ``room.module.Class.method``, below ``facewright``."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(["facewright", *parts[:length]]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: cells(row)[2].strip("`"))
def test_the_function_and_its_test_exist(row: str) -> None:
    function, test = (cell.strip("`") for cell in cells(row)[2:])
    if "::" in function:
        path, name = function.split("::")
        assert name in defined_in(ROOT / path)
    else:
        assert callable(resolved(function))
    path, name = test.split("::")
    assert name in defined_in(ROOT / "tests" / path)


def test_every_table_row_is_checked_or_not_yet() -> None:
    tables = [line for line in PAGE.split("## Decoding")[1].splitlines() if line.startswith("|")]
    rest = [row for row in tables if row not in ROWS and "not yet" not in row]
    assert len(ROWS) > 60
    assert all(re.match(r"\| equation \||\|---", row) for row in rest), rest


@pytest.mark.parametrize("number", range(1, 9))
def test_every_equation_of_the_paper_is_named(number: int) -> None:
    assert f"**D{number}**" in PAGE.split("## Decoding")[1]
