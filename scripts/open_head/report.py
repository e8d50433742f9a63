"""The table of head measurements: published, of the drawn people, and of the model's own Gaussian."""

from pathlib import Path
from typing import Any

import numpy as np
from open_head.measurements import MEASUREMENTS, Calipers
from open_head.topology import HeadTopology

from facewright.morphable.linear import FaceModel

GAUSSIAN_SAMPLES, SEED = 2000, 7
BEGIN, END = "<!-- measurements: begin -->", "<!-- measurements: end -->"


def write_report(path: Path, model: FaceModel, topology: HeadTopology, heads: np.ndarray, male: np.ndarray) -> None:
    """Put two tables between the marks of a Markdown page: by sex, published and drawn; and of samples of the modes.

    Raises:
        ValueError: the page lacks the marks.
    """
    page = path.read_text(encoding="utf-8")
    start, end = page.find(BEGIN), page.find(END)
    if start < 0 or end < start:
        raise ValueError(f"expected the marks {BEGIN} and {END} in {path}, found none; restore them")
    tables = "\n".join(["", *_tables(model, topology, heads, male), ""])
    path.write_text(page[: start + len(BEGIN)] + tables + page[end:], encoding="utf-8")


def _tables(model: FaceModel, topology: HeadTopology, heads: np.ndarray, male: np.ndarray) -> list[str]:
    size = len(topology.vertices)  # the refined model's new vertices follow behind
    mean = model.mean_shape[:size].double().numpy()
    calipers = Calipers(topology, mean)
    drawn = calipers(heads) * 100.0
    people = [drawn[male], drawn[~male]]
    scores = np.random.default_rng(SEED).standard_normal((GAUSSIAN_SAMPLES, model.id_basis.shape[2]))
    samples = mean + np.einsum("vck,nk->nvc", model.id_basis[:size].double().numpy(), scores, optimize=True)
    gaussian = calipers(samples) * 100.0
    lines = [
        "| mm | men: published | men: drawn | women: published | women: drawn | source |",
        "|---|---|---|---|---|---|",
    ]
    for k, m in enumerate(MEASUREMENTS):
        own = [_cell(a[:, k].mean(), a[:, k].std()) for a in people]
        lines.append(f"| {m.name} | {_cell(*m.male)} | {own[0]} | {_cell(*m.female)} | {own[1]} | {m.source} |")
    lines += ["", "| mm | both sexes: published | samples of the shipped modes |", "|---|---|---|"]
    for k, m in enumerate(MEASUREMENTS):
        own_pooled = _cell(gaussian[:, k].mean(), gaussian[:, k].std())
        lines.append(f"| {m.name} | {_cell(*pooled(m.male, m.female))} | {own_pooled} |")
    return lines


def _cell(mean: float, sd: float) -> str:
    return f"{mean:.1f} ({sd:.1f})"


def published_measurements(topology: HeadTopology, mean: np.ndarray) -> dict[str, dict[str, Any]]:
    """Name -> vertices, and published mean and standard deviation by sex, mm: how to measure a decoded head.

    ``between`` are pairs of vertices whose distances are averaged; ``along`` is the unit vector on which they are
    projected, in the model frame, or None for straight distances.
    """
    calipers = Calipers(topology, mean)
    return {
        m.name: calipers.definition(k) | {"male_mm": list(m.male), "female_mm": list(m.female), "source": m.source}
        for k, m in enumerate(MEASUREMENTS)
    }


def pooled(male: tuple[float, float], female: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation of an even mixture of both sexes."""
    spread = 0.5 * (male[1] ** 2 + female[1] ** 2) + 0.25 * (male[0] - female[0]) ** 2
    return 0.5 * (male[0] + female[0]), float(np.sqrt(spread))
