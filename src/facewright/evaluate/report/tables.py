"""The tables of a report, as rows of text: figures beside the mean head and published systems, and by stratum."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facewright.evaluate.published import published_beside
from facewright.evaluate.results import Case, Figure, Metric, Result

Row = tuple[str, ...]
MADE = {
    "blink": "both eyes shut",
    "wink": "one eye shut",
    "wide_mouth": "jaw wide open",
    "pout": "lips pursed",
}
LABELS = {
    "gain_over_mean_head": "how much smaller the first metric is than the mean head's",
    "faces_not_found": "pictures in which the detector found no face at the true place",
    "nme_68_balanced": "unweighted mean of the yaw bins",
    "identity_slope": "recovered on true identity energy: 1 is perfect, 0 gives everyone the same",
    "identity_correlation": "of identity energies",
    "identity_energy_ratio": "below 1, faces regress to the mean head",
    "identity_gain": "least-squares factor from true to recovered identity",
    "identity_explained": "variance of true identity explained",
    "mirror_nme_68": "photo against its mirror image, over the box",
    "mirror_neutral_mm": "the same, of the neutral shape",
    "same_person_auc": "chance that two photos of one person are closer than photos of two",
    "same_person_d_prime": "distance of the two kinds of pairs over their spread",
    "within_over_between": "mean distance within over between persons",
    "expression_leak_variance": "identity variance when only the expression changes, over that between persons",
    "expression_leak_r2": "share of that variance which the true expression predicts",
    "expression_fid": "Frechet distance of all found to all true expressions",
    **{f"{name}_error": f"{what}, error of its weights" for name, what in MADE.items()},
    **{f"{name}_where_none_is": f"{what}, weight that is found where none is" for name, what in MADE.items()},
    "identity_drift_turned_30_to_60": "the same, turned further",
    "identity_drift_turned_60_to_90": "the same, in profile",
    "identity_drift_turned_to_30": "identity change when the head turns, over that to another person",
    "jitter_landmarks": "acceleration of landmarks on a clip beyond the true one, over the box, per frame squared",
    "jitter_expression": "the same of expression weights",
    "identity_wander": "spread of identity on a clip, per coefficient",
}
"""What figures say that do not come from one metric of the cases."""


@dataclass(frozen=True)
class TextTable:
    """A titled table.

    Attributes:
        title: above it.
        columns: heads.
        rows: cells.
        note: below it; empty for none.
    """

    title: str
    columns: Row
    rows: tuple[Row, ...]
    note: str = ""


def tables_of(result: Result) -> list[TextTable]:
    """All tables of a result."""
    tables = [figure_table(result), *strata_tables(result)]
    published = published_table(result)
    return [tables[0], *([published] if published else []), *tables[1:]]


def figure_table(result: Result) -> TextTable:
    """Every figure with its interval, and the mean head's."""
    labels = LABELS | {metric.key: metric.label for metric in result.metrics}
    rows = tuple(
        (name, labels.get(name, ""), shown(figure), interval(figure), shown(result.baseline.get(name)), str(figure.n))
        for name, figure in result.figures.items()
    )
    return TextTable(
        "Figures",
        ("figure", "what", result.method, "95 % interval", "mean head", "n"),
        rows,
        "Intervals: percentile bootstrap over persons. Means leave out what could not be measured; see the problems.",
    )


def published_table(result: Result) -> TextTable | None:
    """Systems that were measured by the same protocol; None if none are known."""
    rows = published_beside(result.benchmark, str(result.protocol["name"]))
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    ours = [("this run: " + result.method, *(shown(result.figures.get(name)) for name in names), "result.json")]
    constant = [("this run: mean head", *(shown(result.baseline.get(name)) for name in names), "result.json")]
    theirs = [(row.system, *(_digits(row.figures.get(name)) for name in names), row.source) for row in rows]
    return TextTable(
        f"Published under protocol {result.protocol['name']}",
        ("system", *names, "source"),
        tuple(ours + constant + theirs),
        "Published figures are their authors' or leaderboards' statements, not runs of ours.",
    )


def strata_tables(result: Result) -> list[TextTable]:
    """The ranked metric and those with curves, class by class."""
    metrics = [metric for k, metric in enumerate(result.metrics) if k == 0 or metric.curve_limit is not None]
    names = list(dict.fromkeys(name for case in result.cases for name in case.strata))
    return [_stratum_table(result, metrics, name) for name in names]


def _stratum_table(result: Result, metrics: list[Metric], stratum: str) -> TextTable:
    classes = sorted({case.strata[stratum] for case in result.cases if stratum in case.strata}, key=_class_order)
    rows = []
    for name in classes:
        chosen = [case for case in result.cases if case.strata.get(stratum) == name]
        constant = [case for case in result.baseline_cases if case.strata.get(stratum) == name]
        cells = [cell for m in metrics for cell in (_mean(chosen, m.key), _mean(constant, m.key))]
        missed = sum(bool(case.problem) for case in chosen)
        rows.append((name, str(len(chosen)), str(missed), *cells))
    heads = [head for m in metrics for head in (f"{m.key} ({m.unit})", "mean head")]
    return TextTable(f"By {stratum}", (stratum, "n", "not measured", *heads), tuple(rows))


def _class_order(name: str) -> tuple[int, str]:
    order = (
        "[0,30]",
        "(30,60]",
        "(60,90]",
        "clear",
        "partly",
        "heavy",
        "small",
        "medium",
        "large",
        "selfie",
        "portrait",
        "far",
    )
    return (order.index(name) if name in order else len(order), name)


def _mean(cases: Sequence[Case], key: str) -> str:
    values = [case.values[key] for case in cases if key in case.values]
    return _digits(float(np.mean(values))) if values else "-"


def shown(figure: Figure | None) -> str:
    """Value and unit."""
    if figure is None or figure.value is None:
        return "-"
    unit = "" if figure.unit == "1" else f" {figure.unit}"
    return _digits(figure.value) + unit


def interval(figure: Figure) -> str:
    """Low to high."""
    return "-" if figure.low is None else f"{_digits(figure.low)} to {_digits(figure.high)}"


def _digits(value: float | None) -> str:
    """Three significant digits at least, two decimals at most for large numbers."""
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
