"""Training data on disk: Parquet shards in small row groups, and a manifest that knows their hashes.

``manifest.json`` (format, card, shards with rows and SHA-256) and ``shards/*.parquet``, a row per face: ``window``
(JPEG), ``skin`` (PNG; empty where unknown), ``parts`` (PNG, where the card has them) and points, weights and truth as
flat lists of fixed length (docs/training-data.md).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from facewright.errors import MissingExtraError, TrainingDataError
from facewright.export.json import write_json
from facewright.files import file_sha256
from facewright.records import CoefficientLayout
from facewright.train.samples import DataCard, TrainingSample
from facewright.untrusted import read_json, reading

FORMAT, VERSION = "facewright-training-data", 2
MANIFEST, SHARDS = "manifest.json", "shards"
MOST_MANIFEST_BYTES = 64 << 20
ROWS_PER_GROUP = 64
"""Faces that are read together: about a megabyte."""
MOST_ROWS_A_SHARD = 1_000_000
"""A manifest that says more is damaged; so many are ten gigabytes."""
JPEG_QUALITY = 95
"""Without chroma subsampling: thin coloured lines (lips, lids) keep their place."""

POINT_COLUMNS = {"landmarks": (68, 2), "landmark_weights": (68,), "points": (468, 2), "point_weights": (468,)}


@dataclass(frozen=True)
class Shard:
    """One file of samples.

    Attributes:
        name: of the file, without folder.
        rows: faces in it.
        sha256: of its bytes.
    """

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class StoredGroup:
    """The faces of one row group; pictures are still coded.

    Attributes:
        keys: of the samples.
        windows: JPEG files.
        skins: PNG files; empty where unknown.
        landmarks: crop px.
        landmark_weights: 0..1.
        points: crop px.
        point_weights: 0..1.
        truth: packed coefficients; None for photographs.
        persons: number of who each is; -1 where unknown.
        parts: PNG files; None where the card has none.
    """

    keys: list[str]
    windows: list[bytes]
    skins: list[bytes]
    landmarks: Float[ndarray, "N 68 2"]
    landmark_weights: Float[ndarray, "N 68"]
    points: Float[ndarray, "N 468 2"]
    point_weights: Float[ndarray, "N 468"]
    truth: Float[ndarray, "N K"] | None
    persons: Int[ndarray, " N"]
    parts: list[bytes] | None = None

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.keys)


@dataclass(frozen=True)
class DataSet:
    """Stored samples; nothing but the manifest is in memory.

    Attributes:
        folder: of the manifest.
        card: what the samples are.
        shards: in the order they were made.
        rows_per_group: faces of each row group but a shard's last.
    """

    folder: Path
    card: DataCard
    shards: tuple[Shard, ...]
    rows_per_group: int = ROWS_PER_GROUP

    def __len__(self) -> int:
        """Number of samples."""
        return sum(shard.rows for shard in self.shards)

    @cached_property
    def groups(self) -> list[tuple[int, int, int]]:
        """Shard number, number of the row group in it, and rows, of every row group."""
        size = self.rows_per_group
        return [
            (number, start // size, min(size, shard.rows - start))
            for number, shard in enumerate(self.shards)
            for start in range(0, shard.rows, size)
        ]

    def read_group(self, index: int) -> StoredGroup:
        """Read one row group, by its place in ``groups``.

        Raises:
            TrainingDataError: the shard is missing or damaged.
            MissingExtraError: pyarrow is not installed.
        """
        number, group, rows = self.groups[index]
        path = self.folder / SHARDS / self.shards[number].name
        parquet, arrow_error = _parquet(), _arrow_error()
        try:
            with parquet.ParquetFile(path) as file:
                table = file.read_row_group(group)
            columns = {name: table.column(name).combine_chunks() for name in table.column_names}
            stored = _group_from(columns, self.card)
        except (OSError, arrow_error, KeyError, ValueError) as error:
            raise _damaged(path, f"{rows} rows in row group {group}", f"{type(error).__name__}: {error}") from error
        if len(stored) != rows:
            raise _damaged(path, f"{rows} rows in row group {group}", f"{len(stored)}")
        return stored

    def columns(self, names: Sequence[str]) -> dict[str, ndarray]:
        """Some columns of all rows, in the stored order; pictures are not read.

        Raises:
            TrainingDataError: a shard is missing or damaged.
            MissingExtraError: pyarrow is not installed.
        """
        parts: dict[str, list[ndarray]] = {name: [] for name in names}
        shapes = POINT_COLUMNS | ({} if self.card.layout is None else {"truth": (self.card.layout.size,)})
        parquet, arrow_error = _parquet(), _arrow_error()
        for shard in self.shards:
            path = self.folder / SHARDS / shard.name
            try:
                table = parquet.read_table(path, columns=list(names))
                for name in names:
                    column = table.column(name).combine_chunks()
                    parts[name].append(
                        np.array(column.to_pylist(), object) if name == "key" else _numbers(column, shapes[name])
                    )
            except (OSError, arrow_error, KeyError, ValueError) as error:
                raise _damaged(path, f"the columns {', '.join(names)}", f"{type(error).__name__}: {error}") from error
        empty = {name: np.zeros((0, *shapes.get(name, ())), object if name == "key" else np.float32) for name in names}
        return {name: np.concatenate(some) if some else empty[name] for name, some in parts.items()}

    def samples(self) -> Iterator[TrainingSample]:
        """All samples in the stored order, decoded."""
        for index in range(len(self.groups)):
            stored = self.read_group(index)
            for row in range(len(stored)):
                yield sample_of_row(stored, row, self.card)


def load_data(path: str | os.PathLike[str], *, verify: bool = True) -> DataSet:
    """Open a folder of training data.

    Args:
        path: the folder, or its manifest.
        verify: compare every shard with its hash (about a second per gigabyte).

    Raises:
        TrainingDataError: no manifest, another format, or a shard that is missing or was changed; the first is named.
    """
    folder = Path(path).parent if Path(path).name == MANIFEST else Path(path)
    data = _dataset_from(folder, read_document(folder / MANIFEST, "training data"))
    for shard in data.shards:
        file = folder / SHARDS / shard.name
        if not file.is_file():
            raise _damaged(file, f"{shard.rows} samples", "no file")
        if verify and (received := shard_sha256(file)) != shard.sha256:
            raise _damaged(file, f"SHA-256 {shard.sha256}", received)
    return data


def write_manifest(folder: Path, card: DataCard, shards: list[Shard]) -> DataSet:
    """Declare shards that lie in ``folder/shards`` to be the data of ``folder``."""
    document = header_document(card) | {"rows_per_group": ROWS_PER_GROUP, "shards": [asdict(shard) for shard in shards]}
    document["rows"] = sum(shard.rows for shard in shards)
    write_json(folder / MANIFEST, document)
    return DataSet(folder, card, tuple(shards))


def header_document(card: DataCard) -> dict[str, Any]:
    """What every file about training data begins with: format, version and card."""
    return {"format": FORMAT, "version": VERSION, "card": asdict(card)}


def card_from(document: Mapping[str, Any]) -> DataCard:
    """The card in a document that ``header_document`` began.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    fields = dict(document["card"])
    layout = fields.pop("layout")
    sizes = [fields.get(name, 0) for name in ("crop_size", "margin", "face_model_edition")] + list(
        (layout or {}).values()
    )
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError(f"sizes that are no whole numbers, {sizes}")
    card = DataCard(**fields, layout=None if layout is None else CoefficientLayout(**layout))
    if card.kind not in ("photographs", "synthetic") or not 0 <= card.margin < card.crop_size <= 4096:
        raise ValueError(f"kind {card.kind!r}, crop of {card.crop_size} px, margin of {card.margin} px")
    return card


def read_document(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON file of this format.

    Raises:
        TrainingDataError: it is missing, malformed, or of another format or version.
    """
    if not path.is_file():
        raise TrainingDataError(
            f"expected {what} at {path}, found none; a run that was interrupted has no manifest: give the same command "
            "again, it goes on where it stopped"
        )
    with reading(path, TrainingDataError, "JSON", "make the data again"):
        document = read_json(path, most=MOST_MANIFEST_BYTES)
    found = (document.get("format"), document.get("version")) if isinstance(document, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise TrainingDataError(
            f"expected {FORMAT} version {VERSION} in {path}, received {found[0]} version {found[1]}; "
            "make the data again with this version of facewright"
        )
    return document


def shard_sha256(path: Path) -> str:
    """SHA-256 of a shard's bytes.

    Raises:
        TrainingDataError: it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise _damaged(path, "a file that can be read", error.strerror or str(error)) from error


class ShardWriter:
    """Appends samples to a Parquet file, a row group at a time."""

    def __init__(self, path: Path, card: DataCard) -> None:
        self.card, self.rows = card, 0
        self._schema = _schema(card)
        self._file = _parquet().ParquetWriter(
            path, self._schema, compression={name: _codec(name) for name in self._schema.names}, use_dictionary=False
        )
        self._waiting: list[dict[str, Any]] = []

    def add(self, sample: TrainingSample) -> None:
        """Append one sample.

        Raises:
            TrainingDataError: it does not fit the card.
        """
        self._waiting.append(_row_of(sample, self.card))
        self.rows += 1
        if len(self._waiting) == ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is waiting, and the file's end."""
        if self._waiting:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        arrow = _arrow()
        columns = {name: [row[name] for row in self._waiting] for name in self._schema.names}
        arrays = [_arrow_array(columns[field.name], field.type) for field in self._schema]
        self._file.write_table(arrow.Table.from_arrays(arrays, schema=self._schema))
        self._waiting.clear()


@contextmanager
def shard_writer(path: Path, card: DataCard) -> Iterator[ShardWriter]:
    """A writer that is closed at the end of the block, however it ends."""
    writer = ShardWriter(path, card)
    try:
        yield writer
    finally:
        writer.close()


def sample_of_row(stored: StoredGroup, row: int, card: DataCard) -> TrainingSample:
    """Decode one face.

    Raises:
        TrainingDataError: its pictures are damaged.
    """
    side = card.crop_size + 2 * card.margin
    skin = stored.skins[row]
    return TrainingSample(
        stored.keys[row],
        decoded(stored.windows[row], side, stored.keys[row]),
        decoded(skin, side, stored.keys[row], channels=1) if skin else np.zeros((side, side), np.uint8),
        card.margin,
        stored.landmarks[row],
        stored.landmark_weights[row],
        stored.points[row],
        stored.point_weights[row],
        None if stored.truth is None else stored.truth[row],
        None if stored.persons[row] < 0 else int(stored.persons[row]),
        None if stored.parts is None else decoded(stored.parts[row], side, stored.keys[row], channels=4),
    )


_READ_AS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR_RGB, 4: cv2.IMREAD_UNCHANGED}


def decoded(blob: bytes, side: int, key: str, *, channels: int = 3) -> UInt8[ndarray, "W W *C"]:
    """Pixels of a stored picture: one channel, RGB, or the four shares of parts.

    Raises:
        TrainingDataError: it is no picture of this size.
    """
    shape = (side, side) if channels == 1 else (side, side, channels)
    picture = cv2.imdecode(np.frombuffer(blob, np.uint8), _READ_AS[channels]) if blob else None
    if picture is None or picture.shape != shape or picture.dtype != np.uint8:
        received = "no picture" if picture is None else f"{picture.shape[1]} x {picture.shape[0]} px"
        raise TrainingDataError(
            f"expected a picture of {side} x {side} px for {key!r}, received {received}; "
            "the data is damaged: load it with verify=True to find the shard, and make it again"
        )
    return picture


def _row_of(sample: TrainingSample, card: DataCard) -> dict[str, Any]:
    if (sample.crop_size, sample.margin) != (card.crop_size, card.margin):
        raise TrainingDataError(
            f"expected a window of {card.crop_size} px with {card.margin} px around for {sample.key!r}, received "
            f"{sample.crop_size} px with {sample.margin} px; make all samples of one card alike"
        )
    size = None if card.layout is None else card.layout.size
    if size != (None if sample.truth is None else len(sample.truth)):
        raise TrainingDataError(
            f"expected truth of {size} coefficients for {sample.key!r}, received "
            f"{None if sample.truth is None else len(sample.truth)}; the card's layout and the samples must agree"
        )
    row = {name: getattr(sample, name) for name in POINT_COLUMNS} | {"key": sample.key, "truth": sample.truth}
    row["person"] = -1 if sample.person is None else sample.person
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    full_chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    bgr = np.ascontiguousarray(sample.window_srgb[..., ::-1])
    row["window"] = cv2.imencode(".jpg", bgr, [*quality, *full_chroma])[1].tobytes()
    if card.parts:
        if sample.parts is None:
            raise TrainingDataError(f"expected the parts of {sample.key!r}, as the card says, received none")
        row["parts"] = cv2.imencode(".png", sample.parts, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
    row["skin"] = cv2.imencode(".png", sample.skin)[1].tobytes() if sample.skin.any() else b""
    return row


def _group_from(columns: Mapping[str, Any], card: DataCard) -> StoredGroup:
    keys = columns["key"].to_pylist()

    return StoredGroup(
        keys=keys,
        windows=columns["window"].to_pylist(),
        skins=columns["skin"].to_pylist(),
        **{name: _numbers(columns[name], shape) for name, shape in POINT_COLUMNS.items()},
        truth=None if card.layout is None else _numbers(columns["truth"], (card.layout.size,)),
        persons=columns["person"].to_numpy().astype(np.int64),
        parts=columns["parts"].to_pylist() if card.parts else None,
    )


def _numbers(column: Any, shape: tuple[int, ...]) -> ndarray:
    """Lists of fixed length, as they are stored, in their own shape."""
    return column.flatten().to_numpy().astype(np.float32).reshape(len(column), *shape)


def _schema(card: DataCard) -> Any:
    arrow = _arrow()
    fields = [("key", arrow.string()), ("person", arrow.int64()), ("window", arrow.binary()), ("skin", arrow.binary())]
    if card.parts:
        fields.append(("parts", arrow.binary()))
    for name, shape in POINT_COLUMNS.items():
        number = arrow.float16() if name.endswith("weights") else arrow.float32()
        fields.append((name, arrow.list_(number, int(np.prod(shape)))))
    if card.layout is not None:
        fields.append(("truth", arrow.list_(arrow.float32(), card.layout.size)))
    return arrow.schema([arrow.field(name, kind, nullable=False) for name, kind in fields])


def _arrow_array(values: list[Any], kind: Any) -> Any:
    arrow = _arrow()
    if not arrow.types.is_fixed_size_list(kind):
        return arrow.array(values, kind)
    flat = np.concatenate([np.ravel(value) for value in values]).astype(kind.value_type.to_pandas_dtype())
    return arrow.FixedSizeListArray.from_arrays(arrow.array(flat, kind.value_type), type=kind)


def _codec(column: str) -> str:
    """Pictures are compressed already."""
    return "NONE" if column in ("window", "skin", "parts") else "ZSTD"


def _dataset_from(folder: Path, document: Mapping[str, Any]) -> DataSet:
    try:
        shards = tuple(Shard(str(s["name"]), int(s["rows"]), str(s["sha256"])) for s in document["shards"])
        data = DataSet(folder, card_from(document), shards, int(document["rows_per_group"]))
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingDataError(
            f"expected a card and a list of shards in {folder / MANIFEST}, received {type(error).__name__}: {error}; "
            "make the data again"
        ) from error
    outside = [s.name for s in shards if Path(s.name).name != s.name or not 0 <= s.rows <= MOST_ROWS_A_SHARD]
    if outside or data.rows_per_group < 1:
        raise TrainingDataError(
            f"expected plain file names and at most {MOST_ROWS_A_SHARD} rows each in {folder / MANIFEST}, received "
            f"{outside or data.rows_per_group}"
        )
    return data


def _damaged(path: Path, expected: str, received: str) -> TrainingDataError:
    return TrainingDataError(
        f"expected {expected} in {path}, received {received}; the shard is damaged: "
        "give the command that made the data again (it makes only what is missing), or copy the file again"
    )


def _arrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(
            "training data needs pyarrow, which is not installed: pip install 'facewright[train]'"
        ) from error
    return pyarrow


def _parquet() -> ModuleType:
    _arrow()
    import pyarrow.parquet

    return pyarrow.parquet


def _arrow_error() -> type[Exception]:
    return _arrow().ArrowException
