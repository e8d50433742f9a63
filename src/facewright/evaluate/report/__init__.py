"""Results for people: ``result.json``, a Markdown page, and one self-contained HTML page with curves and pictures."""

from pathlib import Path

from facewright.evaluate.evaluation import Evaluation
from facewright.evaluate.report.html import page
from facewright.evaluate.report.markdown import document
from facewright.evaluate.report.pictures import error_map, worst_sheet
from facewright.evaluate.results import write_result
from facewright.export.png import write_png
from facewright.files import written_whole


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write ``result.json``, ``report.md``, ``report.html`` and their pictures.

    Returns:
        What was written.

    Raises:
        ExportError: the folder cannot be written.
    """
    pictures = {}
    if evaluation.worst:
        pictures["worst.png"] = worst_sheet(evaluation.worst)
    if evaluation.heat is not None:
        pictures["error_map.png"] = error_map(evaluation.heat)
    result = evaluation.result
    write_result(result, folder / "result.json")
    for name, picture in pictures.items():
        write_png(folder / name, picture)
    texts = {"report.md": document(result, sorted(pictures)), "report.html": page(result, pictures)}
    for name, text in texts.items():
        with written_whole(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in ("result.json", *texts, *pictures)]
