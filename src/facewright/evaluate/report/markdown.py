"""The report as Markdown."""

import json

from facewright.evaluate.report.tables import TextTable, tables_of
from facewright.evaluate.results import Result
from facewright.export.json import plain

SHOWN_PROBLEMS = 40


def document(result: Result, pictures: list[str]) -> str:
    """The whole page.

    Args:
        result: what to show.
        pictures: file names beside the page.
    """
    lines = [f"# {result.title}: {result.method}", "", *provenance(result), ""]
    for table in tables_of(result):
        lines += [f"## {table.title}", "", *table_lines(table), ""]
    for name in pictures:
        lines += [f"![{name.removesuffix('.png').replace('_', ' ')}]({name})", ""]
    lines += _listed("Missing", result.missing) + _listed("Problems", result.problems)
    lines += ["## Protocol", "", "```json", json.dumps(plain(result.protocol), indent=1), "```", ""]
    return "\n".join(lines)


def provenance(result: Result) -> list[str]:
    """What was measured, on what, by which program."""
    facts = [
        f"protocol `{result.protocol['name']}`",
        f"method `{result.method}`" + (f", weights `{result.weights}`" if result.weights else ""),
        f"face model `{result.face_model}`" if result.face_model else "meshes from files",
        f"{len(result.cases)} cases, {sum(bool(case.problem) for case in result.cases)} not measured",
        f"data sha256 `{result.data_sha256[:16]}`",
        f"facewright {result.version}, commit `{result.commit}`",
        f"{result.seconds:.0f} s",
    ]
    return [f"- {fact}" for fact in facts]


def table_lines(table: TextTable) -> list[str]:
    """A table; bars in cells are escaped."""

    def row(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    lines = [row(table.columns), "|" + "---|" * len(table.columns), *map(row, table.rows)]
    return lines + (["", table.note] if table.note else [])


def _listed(title: str, entries: tuple[str, ...]) -> list[str]:
    if not entries:
        return []
    rest = [f"- and {len(entries) - SHOWN_PROBLEMS} more; result.json has all"] if len(entries) > SHOWN_PROBLEMS else []
    return [f"## {title}", "", *(f"- {entry}" for entry in entries[:SHOWN_PROBLEMS]), *rest, ""]
