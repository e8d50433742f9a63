import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facewright.errors import BenchmarkError
from facewright.evaluate.compare import compare, comparison_lines
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, HeatMap, WorstCases
from facewright.evaluate.published import ALL_PUBLISHED, published_beside
from facewright.evaluate.report import write_report
from facewright.evaluate.report.curves import curve_svg
from facewright.evaluate.report.pictures import close_up, error_map
from facewright.evaluate.report.tables import figure_table, published_table, strata_tables
from facewright.evaluate.results import (
    Case,
    Curve,
    DataDigest,
    Figure,
    Metric,
    Result,
    deviation_of,
    figures_of,
    gain_over,
    read_result,
    write_result,
)
from facewright.evaluate.surfaces import Surface

METRICS = (Metric("error", "an error", "mm", curve_limit=4.0), Metric("score", "a score", "%", "median", "higher"))


def cases(errors: list[float], *, people: int = 0) -> list[Case]:
    return [
        Case(f"c{k}", {"error": e, "score": 10.0 * e}, f"p{k % people}" if people else "", {"yaw": "[0,30]"})
        for k, e in enumerate(errors)
    ]


def result(
    errors: list[float], *, baseline: list[float] | None = None, method: str = "ours", people: int = 0
) -> Result:
    recorder = CaseRecorder("realy", "Test", {"name": "realy-frontal"}, METRICS)
    recorder.cases += cases(errors, people=people)
    recorder.baseline_cases += cases(baseline or [])
    return recorder.close(method=method).result


def test_figures_are_statistics_of_the_cases() -> None:
    figures = figures_of(cases([1.0, 2.0, 6.0]), METRICS)
    assert figures["error"].value == pytest.approx(3.0)
    assert figures["score"].value == pytest.approx(20.0)
    assert figures["error"].low is not None
    assert figures["error"].high is not None
    assert 1.0 <= figures["error"].low <= 3.0 <= figures["error"].high <= 6.0
    assert figures["error"].n == 3


def test_cases_of_one_person_count_once() -> None:
    """Twenty copies of five people are no more than five people: the interval stays as wide."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    alone, copied = (figures_of(cases(v, people=5), METRICS)["error"] for v in (values, values * 20))
    assert copied.n == 5
    assert copied.low == pytest.approx(alone.low, abs=0.15)
    free = figures_of(cases(values * 20), METRICS)["error"]
    assert free.high is not None
    assert copied.high is not None
    assert free.high < copied.high - 0.5


def test_cases_without_values_change_nothing() -> None:
    some = cases([1.0, 3.0])
    assert figures_of([*some, Case("gone", problem="no face")], METRICS)["error"] == figures_of(some, METRICS)["error"]
    assert figures_of([Case("gone", problem="no face")], METRICS) == {}


def test_gain_is_paired_with_the_baseline() -> None:
    gain = gain_over(cases([1.0, 2.0, 30.0]), [*cases([2.0, 4.0]), Case("other", {"error": 1.0})], "error")
    assert gain is not None
    assert gain.value == pytest.approx(50.0)
    assert gain.low == pytest.approx(50.0)
    assert gain_over(cases([1.0]), [], "error") is None


def test_deviations_are_the_samples() -> None:
    figures = deviation_of([Case("a", {"error_mm": 1.0}), Case("b", {"error_mm": 3.0})], "error_mm", "mm")
    assert figures["error_std_mm"].value == pytest.approx(np.sqrt(2.0))
    assert deviation_of([Case("a", {"error_mm": 1.0})], "error_mm", "mm") == {}


def test_results_read_back(tmp_path: Path) -> None:
    before = result([1.0, 2.0, 3.5], baseline=[2.0, 2.0, 4.0])
    write_result(before, tmp_path / "result.json")
    after = read_result(tmp_path / "result.json")
    assert after.figures["error"].value == pytest.approx(before.figures["error"].value)
    assert after.curves["error"].shares == before.curves["error"].shares
    assert after.metrics == before.metrics
    assert after.cases == before.cases
    content = json.loads((tmp_path / "result.json").read_text())
    for name in ("protocol", "data_sha256", "method", "weights", "commit", "figures", "cases"):
        assert name in content
    assert content["figures"]["error"].keys() >= {"value", "low", "high", "unit", "n"}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"metrics": 3}', "[" * 100_000])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BenchmarkError, match=r"result\.json"):
        read_result(tmp_path / "a.json")
    with pytest.raises(BenchmarkError, match="cannot read"):
        read_result(tmp_path / "nowhere.json")


def test_a_change_beyond_chance_is_told_from_chance() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(1.0, 3.0, 60)
    first, better, same = (
        result((base + shift).tolist(), method=name)
        for shift, name in (
            (0.0, "a"),
            (rng.normal(-0.2, 0.1, 60), "b"),
            (rng.normal(0.0, 0.1, 60), "c"),
        )
    )
    rows = {row.metric.key: row for row in compare(first, better)}
    assert rows["error"].verdict == "better"
    assert rows["error"].change.value == pytest.approx(-0.2, abs=0.03)
    assert rows["score"].verdict == "worse"  # for scores more is better
    assert compare(first, same)[0].verdict == "no difference beyond chance"
    assert "better" in comparison_lines(first, better)[1]


def test_only_common_cases_are_compared() -> None:
    first, second = result([1.0, 2.0, 50.0]), result([1.5, 2.5])
    row = compare(first, second)[0]
    assert row.change.n == 2
    assert row.first == pytest.approx(1.5)
    assert row.change.value == pytest.approx(0.5)


@pytest.mark.parametrize("changed", [{"protocol": {"name": "x"}}, {"data_sha256": "0"}, {"benchmark": "now"}])
def test_different_measurements_are_not_compared(changed: dict[str, object]) -> None:
    first = result([1.0, 2.0])
    with pytest.raises(BenchmarkError, match=next(iter(changed))):
        compare(first, replace(first, **changed))  # pyright: ignore[reportArgumentType]
    with pytest.raises(BenchmarkError, match="in common"):
        compare(first, replace(first, cases=()))


def test_published_figures_stand_under_their_own_protocol_only() -> None:
    table = published_table(result([1.0]))
    assert table is not None
    systems = [row[0] for row in table.rows]
    assert systems[:2] == ["this run: ours", "this run: mean head"]
    assert "Deep3D, PyTorch" in systems
    assert published_beside("realy", "realy-side") != published_beside("realy", "realy-frontal")
    assert published_table(replace(result([1.0]), protocol={"name": "another"})) is None
    for row in ALL_PUBLISHED:
        assert row.source
        assert row.figures


def test_published_figures_are_named_as_ours_are() -> None:
    names = {(row.benchmark, name) for row in ALL_PUBLISHED for name in row.figures}
    assert ("aflw2000", "nme_68_balanced") in names
    assert ("now", "median_mm") in names
    assert {name for benchmark, name in names if benchmark == "lfw"} == {"accuracy", "eer", "auc", "tar_10", "tar_1"}


def test_tables_show_intervals_strata_and_the_mean_head() -> None:
    found = result([1.0, 2.0], baseline=[3.0, 4.0])
    table = figure_table(found)
    row = next(row for row in table.rows if row[0] == "error")
    assert row[2] == "1.500 mm"
    assert row[4] == "3.500 mm"
    assert " to " in row[3]
    (yaw,) = strata_tables(found)
    assert yaw.rows[0][:3] == ("[0,30]", "2", "0")
    assert yaw.rows[0][3:5] == ("1.500", "3.500")


def test_worst_cases_keep_the_worst_and_draw_no_others() -> None:
    import torch

    drawn, worst = [], WorstCases(limit=3)
    for k, error in enumerate([1.0, 5.0, 2.0, 4.0, 0.5, 3.0, float("nan")]):
        worst.offer(error, f"case {k}", lambda k=k: (drawn.append(k), torch.zeros(3, 4, 4))[1])
    assert [title for title, _ in worst.tiles()] == ["case 1", "case 3", "case 5"]
    assert drawn == [0, 1, 2, 3, 5]


def test_error_maps_average_per_vertex() -> None:
    square = Surface(np.array([[0.0, 0, 0], [100, 0, 0], [0, 100, 0], [100, 100, 0]]), np.array([[0, 1, 2], [1, 3, 2]]))
    heat = HeatMap(square)
    assert heat.empty
    heat.add(np.array([0, 0, 1]), np.array([1.0, 3.0, 5.0]))
    np.testing.assert_allclose(heat.mean_mm[:2], [2.0, 5.0])
    assert np.isnan(heat.mean_mm[2:]).all()
    picture = error_map(heat)
    assert picture.shape[0] == 3
    assert float(picture.std()) > 0.05


def test_close_ups_frame_the_landmarks_at_one_size() -> None:
    import torch

    picture = torch.zeros(3, 100, 100)
    picture[:, 40:60, 40:60] = 1.0
    marks = torch.rand(68, 2, generator=torch.Generator().manual_seed(0)) * 19 + 40
    for factor in (1, 4):
        big = torch.nn.functional.interpolate(picture[None], scale_factor=factor)[0]
        shown = close_up(big, (marks + 0.5) * factor - 0.5, size=128)
        assert shown.shape == (3, 128, 128)
        assert float(shown[:, :6].max()) < 0.1
        assert float(shown[:, 60:68, 60:68].mean()) > 0.4


def test_curves_draw_both_lines() -> None:
    curve = Curve("error <mm>", "mm", (0.0, 1.0, 2.0), (0.0, 0.5, 1.0), (0.0, 0.2, 0.6))
    svg = curve_svg(curve, "ours & theirs")
    assert svg.count("<polyline") == 2
    assert "error &lt;mm&gt;" in svg
    assert "ours &amp; theirs" in svg


def test_digests_depend_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"xy")
    digests = []
    for name, content in (("a", b"xy"), ("a", tmp_path / "a"), ("b", b"xy"), ("a", b"yx")):
        digest = DataDigest()
        digest.add(name, content)
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_report_without_pictures(tmp_path: Path) -> None:
    written = write_report(Evaluation(result([1.0, 2.0], baseline=[2.0, 3.0])), tmp_path)
    assert {path.name for path in written} == {"result.json", "report.md", "report.html"}
    text = (tmp_path / "report.md").read_text()
    assert "Published under protocol realy-frontal" in text


def test_figures_that_are_not_finite_are_none() -> None:
    assert Figure.bare(float("inf"), "mm", 3).value is None
