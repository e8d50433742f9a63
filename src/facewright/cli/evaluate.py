"""``facewright evaluate``: measure a method as the benchmarks do; compare two results."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from facewright.bounds import Use, bounded, only
from facewright.cli.console import DONE, CommandError, complain, progress_bar, say
from facewright.cli.threads import MOST_THREADS
from facewright.evaluate.album_meshes import AlbumMeshes
from facewright.evaluate.benchmarks.aflw2000 import FileLandmarks, MethodLandmarks, evaluate_aflw2000
from facewright.evaluate.benchmarks.bu3dfe import evaluate_bu3dfe
from facewright.evaluate.benchmarks.drawn_recognition import LEAST_PEOPLE, DrawnKind, evaluate_drawn_recognition
from facewright.evaluate.benchmarks.facewarehouse import Region, evaluate_facewarehouse
from facewright.evaluate.benchmarks.florence_prnet import evaluate_florence_prnet
from facewright.evaluate.benchmarks.ijba import evaluate_ijba
from facewright.evaluate.benchmarks.lfw import evaluate_lfw
from facewright.evaluate.benchmarks.likeness import LikenessPlan
from facewright.evaluate.benchmarks.micc import Preset, evaluate_micc
from facewright.evaluate.benchmarks.now import Split, evaluate_now
from facewright.evaluate.benchmarks.realy import View, evaluate_realy
from facewright.evaluate.benchmarks.recognition import FileCoefficients, MethodCoefficients, Parts
from facewright.evaluate.benchmarks.synthetic import SceneKind, evaluate_synthetic
from facewright.evaluate.benchmarks.ytf import evaluate_ytf
from facewright.evaluate.compare import comparison_lines
from facewright.evaluate.evaluation import Evaluation, Progress
from facewright.evaluate.methods import MEAN, FlowMethod, baseline_of, load_method
from facewright.evaluate.predictions import FileMeshes, MeanHead, MeshSource, MethodMeshes
from facewright.evaluate.report import write_report
from facewright.evaluate.report.markdown import table_lines
from facewright.evaluate.report.tables import figure_table, published_table
from facewright.evaluate.results import read_result
from facewright.morphable.container import load_face_model
from facewright.pipeline.album.weighing import load_weighing
from facewright.pipeline.methods import AUTO, MOST_ROUNDS

FILES = "files"
FROM_FILES = Use("beside --predictions", lambda o: o["predictions"] is not None)
FROM_PICTURES = Use("without --predictions", lambda o: o.get("predictions") is None)
BY_A_NETWORK = Use(
    f"without --predictions, and not with --method {MEAN}",
    lambda o: o.get("predictions") is None and o["method"] != MEAN,
)
WITH_PEOPLE = Use("with --people above 0", lambda o: o["people"] != 0)
LEAST_SIZE = 64


@dataclass(frozen=True)
class _Measured:
    """What all benchmarks take."""

    out: Path
    """Folder for ``result.json``, ``report.md`` and ``report.html``."""
    method: str = only(FROM_PICTURES, AUTO)
    """``rnet``, ``3dmm-cnn``, ``fit``, ``guided``, ``auto`` (R-Net where there are weights for the face model, else
    ``guided``), or ``mean``: the mean head, which is measured beside any method anyway."""
    weights: str | None = only(BY_A_NETWORK, None)
    """R-Net weights: a file (.safetensors), or ``open`` or ``fast``: embedded, for the open head."""
    refine: int | None = bounded(None, most=MOST_ROUNDS, use=BY_A_NETWORK)
    """Rounds of the fit after R-Net. Default: 1 after embedded weights, 0 after others."""
    face_model: str = "open"
    """``open`` or the file of an imported model."""
    device: str = only(BY_A_NETWORK, "cpu")
    """Torch device."""
    threads: int = bounded(1, least=1, most=MOST_THREADS)
    """Of the processor. One gives the same numbers on every machine."""

    def check(self) -> None:
        """Refuse what cannot be, before anything is loaded."""

    def flow(self) -> FlowMethod:
        """The method, loaded."""
        return load_method(
            self.method, face_model=self.face_model, weights=self.weights, refine=self.refine, device=self.device
        )

    def finish(self, what: str, measure: Callable[[Progress], Evaluation]) -> int:
        """Measure, write the report, print the table."""
        with progress_bar(what) as progress:
            evaluation = measure(progress)
        written = write_report(evaluation, self.out)
        result = evaluation.result
        published = published_table(result)
        for table in (figure_table(result), *([published] if published else [])):
            say(f"{table.title}\n" + "\n".join(table_lines(table)))
        for note in result.missing:
            complain("missing:", note)
        for problem in result.problems:
            complain("not measured as it should be:", problem)
        say(f"written: {', '.join(str(path) for path in written)}")
        return DONE


@dataclass(frozen=True)
class LikenessPictures:
    """How much is photographed for the likeness tests. What is not given goes with the number of scenes."""

    mirrored: int | None = None
    """Scenes that are measured again in a mirror. Default: 30."""
    people: int | None = None
    """Persons of the albums. Default: 10 beside 200 scenes or more, in proportion beside fewer."""
    album: int | None = bounded(None, use=WITH_PEOPLE)
    """Pictures of each, everything but the person drawn anew. Default: 4."""
    expressions: int | None = bounded(None, use=WITH_PEOPLE)
    """Pictures of each with different expressions alone. Default: 4."""
    turns: bool = only(WITH_PEOPLE, True)
    """Turn each person's head to 0, 30, 55 and 80 degrees."""
    clips: int | None = None
    """Clips, each of another person. Default: 2 beside 200 scenes or more, in proportion beside fewer."""
    frames: int | None = bounded(None, use=Use("with --clips above 0", lambda o: o["clips"] != 0))
    """Of a clip. Default: 16."""

    def plan(self, scenes: int) -> LikenessPlan:
        """The pictures beside so many scenes."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(LikenessPlan.beside(scenes), **given)


@dataclass(frozen=True)
class Synthetic(_Measured):
    """People who do not exist: complete truth, nothing to obtain. A few minutes for --n 200."""

    n: int = bounded(200, least=1)
    """Scenes."""
    scenes: SceneKind = "full"
    """``full``: whatever photographs bring; ``plain``: large, sharp, bare, fairly frontal faces."""
    size: int = bounded(0, most=4096)
    """Side of the pictures, px; 0: 640, or 400 for plain scenes."""
    likeness: LikenessPictures = field(default_factory=LikenessPictures)
    """Pictures for the likeness tests."""

    def check(self) -> None:
        """Refuse pictures in which no face could be found."""
        super().check()
        if 0 < self.size < LEAST_SIZE:
            raise CommandError(f"expected --size of 0 or at least {LEAST_SIZE}, received {self.size}")

    def run(self) -> int:
        """Measure."""
        likeness = self.likeness.plan(self.n)
        method = self.flow()
        return self.finish(
            "synthetic",
            lambda progress: evaluate_synthetic(
                method, count=self.n, size=self.size, scenes=self.scenes, likeness=likeness, progress=progress
            ),
        )


@dataclass(frozen=True, kw_only=True)
class _OnData(_Measured):
    """What benchmarks with data take."""

    data: Path
    """The benchmark's folder, in its official layout."""
    predictions: Path | None = None
    """Folder of another program's results; --method is not run then."""
    label: str = only(FROM_FILES, FILES)
    """Name of the method that made the predictions."""

    def meshes(self, *, mm_per_unit: float = 1.0) -> MeshSource:
        """From files or from the method."""
        if self.predictions is not None:
            return FileMeshes(self._folder(), self.label, mm_per_unit)
        return MeanHead(load_face_model(self.face_model)) if self.method == MEAN else MethodMeshes(self.flow())

    def _folder(self) -> Path:
        if self.predictions is None or not self.predictions.is_dir():
            raise CommandError(f"expected a folder of predictions, found none at {self.predictions}")
        return self.predictions


@dataclass(frozen=True, kw_only=True)
class Aflw2000(_OnData):
    """AFLW2000-3D: 68 landmarks, original labels, three bins of yaw; any subset of the 2,000 pairs."""

    yaw_list: Path | None = None
    """One yaw per picture (.npy or text) to bin by; the fitted pose of the labels otherwise."""
    limit: int = 0
    """At most so many pictures; 0 for all."""

    def run(self) -> int:
        """Measure."""
        method = self.flow()
        source = MethodLandmarks(method)
        chosen = source if self.predictions is None else FileLandmarks(self._folder(), self.label)
        constant = None if self.method == MEAN and chosen is source else MethodLandmarks(baseline_of(method))
        return self.finish(
            "aflw2000",
            lambda progress: evaluate_aflw2000(
                self.data, chosen, constant, yaw_list=self.yaw_list, limit=self.limit, progress=progress
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Now(_OnData):
    """NoW: neutral meshes against scans, all vertices pooled."""

    split: Split = "validation"
    """The test scans are hidden: only their owners can measure them."""
    metrical: bool = False
    """Keep the predicted scale."""
    unit_mm: float = bounded(1.0, above=0, most=1e6, use=FROM_FILES)
    """Millimetres per unit of the predictions' files."""
    limit: int = 0
    """At most so many pictures; 0 for all."""

    def run(self) -> int:
        """Measure."""
        source, head = self.meshes(mm_per_unit=self.unit_mm), load_face_model(self.face_model)
        return self.finish(
            "now",
            lambda progress: evaluate_now(
                self.data,
                source,
                head,
                split=self.split,
                metrical=self.metrical,
                limit=self.limit,
                progress=progress,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Realy(_OnData):
    """REALY: four regions, each aligned alone, with expression."""

    view: View = "frontal"
    """Which pictures."""
    limit: int = 0
    """At most so many cases; 0 for all."""

    def run(self) -> int:
        """Measure."""
        source, head = self.meshes(), load_face_model(self.face_model)
        return self.finish(
            "realy",
            lambda progress: evaluate_realy(
                self.data, source, head, view=self.view, limit=self.limit, progress=progress
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Micc(_OnData):
    """MICC Florence: a mesh per video against a frontal scan."""

    preset: Preset = "deng2019"
    """Whose protocol; figures of two presets are never comparable."""
    frames: int = bounded(20, use=FROM_PICTURES)
    """Per video, evenly spread; 0 for all."""
    album: bool = only(BY_A_NETWORK, False)
    """Join the frames of a video as ``reconstruct --album`` does, instead of averaging their shapes."""
    unit_mm: float = bounded(1.0, above=0, most=1e6, use=FROM_FILES)
    """Millimetres per unit of the predictions' files."""

    def run(self) -> int:
        """Measure."""
        head = load_face_model(self.face_model)
        source: MeshSource
        if self.album:
            method = self.flow()
            source = AlbumMeshes(method, load_weighing(method.flow.estimator))
        else:
            source = self.meshes(mm_per_unit=self.unit_mm)
        return self.finish(
            "micc",
            lambda progress: evaluate_micc(
                self.data, source, head, preset=self.preset, frames=self.frames, progress=progress
            ),
        )


@dataclass(frozen=True, kw_only=True)
class FaceWarehouse(_OnData):
    """FaceWarehouse-180: vertex by vertex, in the topology of the truth."""

    region: Region = "small"
    """Which vertices count."""
    own_scale: bool = False
    """Similarity instead of rigid alignment."""
    unit_mm: float = bounded(1.0, above=0, most=1e6)
    """Millimetres per unit of truth and predictions."""

    def run(self) -> int:
        """Measure."""
        source, head = self.meshes(mm_per_unit=self.unit_mm), load_face_model(self.face_model)
        return self.finish(
            "facewarehouse",
            lambda progress: evaluate_facewarehouse(
                self.data,
                source,
                head,
                region=self.region,
                own_scale=self.own_scale,
                mm_per_unit=self.unit_mm,
                progress=progress,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Bu3dfe(_OnData):
    """BU-3DFE: point-to-plane RMSE as in Deng 2019."""

    unit_mm: float = bounded(1.0, above=0, most=1e6, use=FROM_FILES)
    """Millimetres per unit of the predictions' files."""
    limit: int = 0
    """At most so many scans; 0 for all."""

    def run(self) -> int:
        """Measure."""
        source, head = self.meshes(mm_per_unit=self.unit_mm), load_face_model(self.face_model)
        return self.finish(
            "bu3dfe",
            lambda progress: evaluate_bu3dfe(self.data, source, head, limit=self.limit, progress=progress),
        )


@dataclass(frozen=True, kw_only=True)
class FlorencePrnet(_OnData):
    """Florence by PRNet's protocol: scans rendered at many poses. Needs a method: it sees the renderings."""

    def run(self) -> int:
        """Measure."""
        if self.predictions is not None:
            raise CommandError("expected a --method: the pictures of this benchmark are rendered while it runs")
        method = self.flow()
        return self.finish(
            "florence-prnet",
            lambda progress: evaluate_florence_prnet(self.data, method, baseline_of(method), progress=progress),
        )


@dataclass(frozen=True, kw_only=True)
class _Recognition(_OnData):
    """What face recognition takes."""

    parts: Parts = "shape-texture"
    """Coefficients that describe a person: identity, or identity and albedo."""

    def coefficients(self) -> FileCoefficients | MethodCoefficients:
        """From files or from the method."""
        if self.predictions is not None:
            return FileCoefficients(self._folder(), self.label)
        return MethodCoefficients(self.flow(), self.parts)


@dataclass(frozen=True, kw_only=True)
class Lfw(_Recognition):
    """LFW, view 2: 3D face recognition from coefficients."""

    def run(self) -> int:
        """Measure."""
        source = self.coefficients()
        return self.finish("lfw", lambda progress: evaluate_lfw(self.data, source, parts=self.parts, progress=progress))


@dataclass(frozen=True, kw_only=True)
class Ytf(_Recognition):
    """YouTube Faces: the same on videos."""

    frames: int = 20
    """Per video, evenly spread; 0 for all."""

    def run(self) -> int:
        """Measure."""
        source = self.coefficients()
        return self.finish(
            "ytf",
            lambda progress: evaluate_ytf(self.data, source, parts=self.parts, frames=self.frames, progress=progress),
        )


@dataclass(frozen=True, kw_only=True)
class Ijba(_Recognition):
    """IJB-A: the same on templates, 1:1 and 1:N."""

    splits: tuple[int, ...] = bounded(tuple(range(1, 11)), least=1, most=10)
    """Numbers of the splits."""

    def run(self) -> int:
        """Measure."""
        source = self.coefficients()
        return self.finish(
            "ijba",
            lambda progress: evaluate_ijba(self.data, source, parts=self.parts, splits=self.splits, progress=progress),
        )


@dataclass(frozen=True)
class Recognition(_Measured):
    """Who is who among people who do not exist, by coefficients: nothing to obtain."""

    people: int = bounded(50, least=LEAST_PEOPLE, most=5000)
    """Persons."""
    photos: int = bounded(10, least=2, most=100)
    """Pictures of each."""
    scenes: DrawnKind = "turned"
    """``turned``: heads turned up to 60 degrees in another light each; ``full``: whatever photographs bring."""

    def check(self) -> None:
        """Refuse the mean head, which tells nobody apart."""
        super().check()
        if self.method == MEAN:
            raise CommandError(f"expected a --method that sees who it is, received {MEAN}")

    def run(self) -> int:
        """Measure."""
        method = self.flow()
        return self.finish(
            "recognition",
            lambda progress: evaluate_drawn_recognition(
                method, people=self.people, photos=self.photos, scenes=self.scenes, progress=progress
            ),
        )


@dataclass(frozen=True)
class Compare:
    """Two results of one protocol on the same data: paired differences with intervals."""

    first: Annotated[Path, tyro.conf.Positional]
    """A.json"""
    second: Annotated[Path, tyro.conf.Positional]
    """B.json"""

    def check(self) -> None:
        """Nothing to refuse before they are read."""

    def run(self) -> int:
        """Print the differences."""
        for line in comparison_lines(read_result(self.first), read_result(self.second)):
            say(line)
        return DONE


Benchmark = (
    Annotated[Synthetic, tyro.conf.subcommand("synthetic")]
    | Annotated[Aflw2000, tyro.conf.subcommand("aflw2000")]
    | Annotated[Now, tyro.conf.subcommand("now")]
    | Annotated[Realy, tyro.conf.subcommand("realy")]
    | Annotated[Micc, tyro.conf.subcommand("micc")]
    | Annotated[FaceWarehouse, tyro.conf.subcommand("facewarehouse")]
    | Annotated[Bu3dfe, tyro.conf.subcommand("bu3dfe")]
    | Annotated[FlorencePrnet, tyro.conf.subcommand("florence-prnet")]
    | Annotated[Lfw, tyro.conf.subcommand("lfw")]
    | Annotated[Ytf, tyro.conf.subcommand("ytf")]
    | Annotated[Ijba, tyro.conf.subcommand("ijba")]
    | Annotated[Recognition, tyro.conf.subcommand("recognition")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
)


@dataclass(frozen=True)
class Evaluate:
    """Measure a method as the benchmarks do, with intervals, the mean head and published figures beside it."""

    benchmark: Benchmark

    @property
    def threads(self) -> int:
        """Of the processor."""
        return getattr(self.benchmark, "threads", 1)

    def run(self) -> int:
        """Run the chosen benchmark."""
        self.benchmark.check()
        return self.benchmark.run()
