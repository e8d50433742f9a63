"""The report as one HTML file that needs nothing else: style, curves (SVG) and pictures are inside."""

import base64
from html import escape

import cv2
import numpy as np
from jaxtyping import Float
from torch import Tensor

from facewright.evaluate.report.curves import curve_svg
from facewright.evaluate.report.markdown import provenance
from facewright.evaluate.report.tables import TextTable, tables_of
from facewright.evaluate.results import Result
from facewright.export.asset import to_uint8
from facewright.export.json import format_json, plain

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1d2330; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #dde2ea; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .what { text-align: left; }
th { background: #f3f5f9; } img { max-width: 100%; border-radius: 6px; } pre { background: #f3f5f9; padding: 1rem; }
figure { margin: 1rem 0; } .note { color: #5a6374; } ul { padding-left: 1.2rem; }
"""


def page(result: Result, pictures: dict[str, Float[Tensor, "3 H W"]]) -> str:
    """The whole page.

    Args:
        result: what to show.
        pictures: by file name, sRGB 0..1.
    """
    parts = [f"<h1>{escape(result.title)}: {escape(result.method)}</h1>", _list(provenance(result))]
    parts += [_table(table) for table in tables_of(result)]
    for curve in result.curves.values():
        parts.append(f"<h2>Cumulative curve: {escape(curve.label)}</h2>{curve_svg(curve, result.method)}")
    titles = {"worst.png": "Worst cases", "error_map.png": "Where the error is"}
    for name, picture in sorted(pictures.items()):
        parts.append(f"<h2>{titles.get(name, name)}</h2><figure>{_picture(picture, name)}</figure>")
    for title, entries in (("Missing", result.missing), ("Problems", result.problems)):
        if entries:
            parts.append(f"<h2>{title}</h2>{_list(list(entries))}")
    parts.append(f"<h2>Protocol</h2><pre>{escape(format_json(plain(result.protocol)))}</pre>")
    head = f"<meta charset='utf-8'><title>{escape(result.title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _table(table: TextTable) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    note = f"<p class='note'>{escape(table.note)}</p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2><table><tr>{heads}</tr>{rows}</table>{note}"


def _list(entries: list[str]) -> str:
    return (
        "<ul>" + "".join(f"<li>{escape(entry.removeprefix('- ')).replace('`', '')}</li>" for entry in entries) + "</ul>"
    )


def _picture(picture: Float[Tensor, "3 H W"], name: str) -> str:
    pixels = np.ascontiguousarray(to_uint8(picture).transpose(1, 2, 0)[..., ::-1])
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])
    data = base64.b64encode(code.tobytes()).decode()
    return f"<img alt='{escape(name)}' src='data:image/jpeg;base64,{data}'>"
