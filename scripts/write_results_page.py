"""Write the page of results from evaluations on synthetic people.

    facewright evaluate synthetic --n 200 --method rnet --out runs/refined
    facewright evaluate synthetic --n 200 --method rnet --refine 0 --out runs/network
    facewright evaluate synthetic --n 200 --method fit --out runs/fit
    python scripts/write_results_page.py --runs runs/refined runs/network runs/fit --out docs/results.md

The first run is shown whole, the others beside it.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from facewright.evaluate.report.markdown import table_lines
from facewright.evaluate.report.tables import tables_of
from facewright.evaluate.results import Figure, Result, read_result

COMPARED = (
    ("nme_68_yaw_[0,30]", "68 landmarks, yaw to 30 degrees"),
    ("nme_68_yaw_(30,60]", "to 60"),
    ("nme_68_yaw_(60,90]", "to 90"),
    ("nme_68_balanced", "mean of the three"),
    ("shape_mm", "shape with expression"),
    ("neutral_mm", "identity alone"),
    ("rotation_deg", "rotation, median"),
    ("expression_rms", "expression weights"),
    ("albedo_rms", "albedo"),
    ("photometric_l1", "rendering against photo (light and albedo)"),
    ("identity_gain", "recovered share of identity (1 is perfect)"),
    ("same_person_auc", "telling people apart (AUC)"),
    ("mirror_nme_68", "photo against its mirror image"),
    ("jitter_landmarks", "jitter on a clip"),
    ("faces_not_found", "faces not found"),
)
INTRODUCTION = """# Results

Figures of this version, made by `scripts/write_results_page.py` from the commands shown. What the metrics and protocols
mean: [Evaluation](evaluation.md). Photographs, and plain renders, are on [the flow's page](flow.md#what-it-measures);
how the network came to be is on [its own](network.md).

## Synthetic people, hard scenes

The scenes are hard on purpose: hair, glasses, masks, heads turned to 90 degrees, side light and darkness, small and
noisy pictures. Their seeds are held out: no network was trained on them. The network was trained on drawings of the
same kind, so it is at home here, as no method is on photographs; the fit has no such advantage."""


@dataclass(frozen=True)
class Arguments:
    """What the page shows."""

    runs: tuple[Path, ...]
    """Output folders of evaluations, the most important first."""
    out: Path
    """The page."""


def name_of(result: Result) -> str:
    """A method as a column's title."""
    if result.method != "rnet":
        return result.method
    rounds = result.settings.get("refine", 0)
    return f"network `{result.weights}`" + (f" + {rounds} round{'s' * (rounds > 1)} of the fit" if rounds else " alone")


def command_of(result: Result, run: Path) -> str:
    """What makes a run."""
    options = f" --method {result.method}"
    if result.method == "rnet":
        options += "" if result.weights == "open" else f" --weights {result.weights}"
        options += "" if result.settings.get("refine") else " --refine 0"
    return f"facewright evaluate synthetic --n {len(result.cases)}{options} --out runs/{run.name}"


def shown(figure: Figure | None) -> str:
    """A value with its unit."""
    if figure is None:
        return "-"
    return f"{figure.value:.3g}" + (f" {figure.unit}" if figure.unit != "1" else "")


def comparison(results: list[Result]) -> list[str]:
    """The chosen figures of all runs and of the mean head."""
    lines = ["| figure | " + " | ".join([*(name_of(result) for result in results), "mean head"]) + " |"]
    lines.append("|" + "---|" * (len(results) + 2))
    for key, title in COMPARED:
        cells = [shown(result.figures.get(key)) for result in results] + [shown(results[0].baseline.get(key))]
        lines.append("| " + " | ".join([title, *cells]) + " |")
    lines.append("| seconds in all | " + " | ".join([*(f"{result.seconds:.0f}" for result in results), "-"]) + " |")
    return lines


def main(arguments: Arguments) -> None:
    """Write the page."""
    results = [read_result(run / "result.json") for run in arguments.runs]
    commands = [command_of(result, run) for result, run in zip(results, arguments.runs, strict=True)]
    lines = [INTRODUCTION, "", "```bash", *commands, "```", ""]
    commits = sorted({result.commit[:12] for result in results})
    protocol = results[0].protocol["name"]
    lines += [f"Protocol `{protocol}`, commit {', '.join(f'`{commit}`' for commit in commits)}.", ""]
    lines += [*comparison(results), "", f"## All figures of {name_of(results[0])}", ""]
    for table in tables_of(results[0]):
        lines += [f"### {table.title}", "", *table_lines(table), ""]
    arguments.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
