"""``report.html``: the report of an output folder as one page that needs nothing else, for people.

What became of every input: a small picture, its files, or why it failed. It costs some 10 ms a picture, of which there
are at most ``MOST_PICTURES``; later inputs have a line without one.
"""

import base64
import logging
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from facewright.export.formats import FORMATS
from facewright.files import put
from facewright.pipeline.report import InputReport
from facewright.provenance import VERSION

PAGE = "report.html"
MARK = "<!-- report of facewright -->"
"""At the beginning of pages of ours, which alone are replaced."""
MOST_PICTURES = 100
PICTURE_PX = 200
QUALITY = 80
LARGEST_BYTES = 50_000_000
"""Of a file that a small picture is made of."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1d2330; background: #fff; }
h1 { font-size: 1.5rem; } .note { color: #5a6374; }
section { display: flex; gap: 1rem; border-top: 1px solid #dde2ea; padding: .8rem 0; align-items: flex-start; }
section img { width: 7rem; flex: none; border-radius: 6px; } section div { min-width: 0; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 0; } p { margin: .2rem 0; } .failed { color: #a1260d; }
@media (prefers-color-scheme: dark) { body { color: #dfe4ee; background: #14171d; } section { border-color: #2c3340; }
  a { color: #7db7ff; } .failed { color: #ff8f73; } .note { color: #9aa4b5; } }
"""
log = logging.getLogger(__name__)


def write_report_page(folder: Path, entries: Sequence[InputReport]) -> bool:
    """Write the page, in the place of the one before; whether it was: a file that is not ours is left alone.

    Args:
        folder: of the results.
        entries: of all inputs.

    Raises:
        ExportError: it cannot be written.
    """
    path = folder / PAGE
    if not _may_replace(path):
        log.warning("%s is not a report of ours and stays as it is", path)
        return False
    put(path, page_of(folder, entries).encode("utf-8", "backslashreplace"))
    return True


def page_of(folder: Path, entries: Sequence[InputReport]) -> str:
    """The whole page."""
    failed = sum(entry.status != "done" for entry in entries)
    faces = sum(entry.faces for entry in entries)
    order = sorted(entries, key=lambda entry: entry.status == "done")  # what went wrong first
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(folder.resolve().name)}: report</title><style>{_STYLE}</style>"
    )
    summary = f"{len(entries)} inputs, {faces} faces; {failed} with failures. facewright {VERSION}."
    body = [f"<h1>{escape(folder.resolve().name)}</h1>", f'<p class="note">{summary}</p>']
    body += [_section(folder, entry, pictured=k < MOST_PICTURES) for k, entry in enumerate(order)]
    return f'<!doctype html>{MARK}<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _section(folder: Path, entry: InputReport, *, pictured: bool) -> str:
    links = ", ".join(f'<a href="{quote(os.fsencode(name))}">{escape(name)}</a>' for name in entry.outputs)
    lines = [f"<h2>{escape(entry.input)}</h2>"]
    lines.append(f'<p class="note">{entry.status}, {entry.faces} faces, {sum(entry.seconds.values()):.1f} s</p>')
    for failure in entry.failures:
        place = "" if failure.face is None else f"face {failure.face}, "
        lines.append(f'<p class="failed">{escape(f"{place}{failure.stage}: {failure.error}")}</p>')
    if links:
        lines.append(f"<p>{links}</p>")
    picture = _small_picture(folder, entry) if pictured else None
    shown = "" if picture is None else f'<img alt="" src="data:image/jpeg;base64,{picture}">'
    return f"<section>{shown}<div>{''.join(lines)}</div></section>"


def _small_picture(folder: Path, entry: InputReport) -> str | None:
    """Of the overlay, else of the photo; None where neither can be read, or the photo's own door refused it."""
    overlays = [folder / name for name in entry.outputs if name.endswith(FORMATS["overlay"].suffix)]
    for path in [*overlays, *([Path(entry.input)] if entry.faces else [])]:
        try:
            if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
                continue
            coded = np.fromfile(path, np.uint8)
            picture = cv2.imdecode(coded, cv2.IMREAD_REDUCED_COLOR_2) if len(coded) else None
        except (OSError, cv2.error):
            continue
        if picture is None:
            continue
        scale = min(1.0, PICTURE_PX / max(picture.shape[:2]))
        size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        done, blob = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if done:
            return base64.b64encode(blob.tobytes()).decode()
    return None


def _may_replace(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(200)
    except FileNotFoundError:
        return True
    except OSError:
        return False
