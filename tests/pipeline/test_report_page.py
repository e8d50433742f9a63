"""``report.html``: whole, escaped, replaced by later runs, and no file of somebody else's."""

import re
from pathlib import Path

import pytest
import torch

from facewright.export.png import write_png
from facewright.pipeline import report_page
from facewright.pipeline.report import FaceFailure, InputReport
from facewright.pipeline.report_page import PAGE, write_report_page

NASTY = "<script>alert(1)</script>&\"'.png"


def test_every_input_is_on_one_page_that_needs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_png(tmp_path / "me_overlay.png", torch.rand(3, 900, 600))
    write_png(tmp_path / "photo.png", torch.rand(3, 30, 40))
    entries = [
        InputReport("me.jpg", "me", "done", faces=1, outputs=("me.glb", "me_overlay.png"), seconds={"fit": 1.5}),
        InputReport(str(tmp_path / "photo.png"), "photo", "partial", "x", 1, (FaceFailure(1, "fit", "<b>no</b>"),)),
        InputReport(NASTY, "bad", "failed", failures=(FaceFailure(None, "read", f"PhotoError: {NASTY}"),)),
        InputReport("bad\udcff.jpg", "bad2", "failed", failures=(FaceFailure(None, "read", "cut"),)),
    ]
    assert write_report_page(tmp_path, entries)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert page.count("<section>") == 4
    assert "<script" not in page
    assert "<b>no" not in page
    assert "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 2  # the overlay, and a photo without one; not what was refused
    assert page.index("bad") < page.index("me.jpg")  # what went wrong comes first
    assert not re.search(r'(?:src|href)="(?!data:|me\.glb|me_overlay)', page)
    assert len(page) < 60_000
    monkeypatch.setattr(report_page, "MOST_PICTURES", 1)
    assert write_report_page(tmp_path, entries[:1])  # a later run's page takes its place
    assert (tmp_path / PAGE).read_text(encoding="utf-8").count("<section>") == 1
    (tmp_path / PAGE).write_text("mine")
    assert not write_report_page(tmp_path, entries)
    assert (tmp_path / PAGE).read_text() == "mine"
