"""The table of head measurements: published, of the drawn people, and of the model's own Gaussian."""

from pathlib import Path
from typing import Any

import numpy as np
from open_head.measurements import MEASUREMENTS, Calipers
from open_head.topology import HeadTopology

from facewright.morphable.linear import FaceModel

GAUSSIAN_SAMPLES, SEED = 2000, 7


def write_report(path: Path, model: FaceModel, topology: HeadTopology, heads: np.ndarray, male: np.ndarray) -> None:
    """Write Markdown tables: by sex, published and drawn; and both sexes together, for samples of the modes."""
    mean = model.mean_shape.double().numpy()
    calipers = Calipers(topology, mean)
    drawn = calipers(heads) * 100.0
    people = [drawn[male], drawn[~male]]
    scores = np.random.default_rng(SEED).standard_normal((GAUSSIAN_SAMPLES, model.id_basis.shape[2]))
    samples = mean + np.einsum("vck,nk->nvc", model.id_basis.double().numpy(), scores, optimize=True)
    gaussian = calipers(samples) * 100.0
    lines = [
        "| measurement, mm | men: published | men: drawn | women: published | women: drawn | source |",
        "|---|---|---|---|---|---|",
    ]
    for k, m in enumerate(MEASUREMENTS):
        cells = [f"{a[:, k].mean():.1f} ({a[:, k].std():.1f})" for a in people]
        known = [f"{mean:.1f} ({sd:.1f})" for mean, sd in (m.male, m.female)]
        lines.append(f"| {m.name} | {known[0]} | {cells[0]} | {known[1]} | {cells[1]} | {m.source} |")
    lines += [
        "",
        "| measurement, mm | both sexes: published | samples of the model |",
        "|---|---|---|",
    ]
    for k, m in enumerate(MEASUREMENTS):
        average, sd = pooled(m.male, m.female)
        own = f"{gaussian[:, k].mean():.1f} ({gaussian[:, k].std():.1f})"
        lines.append(f"| {m.name} | {average:.1f} ({sd:.1f}) | {own} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


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
