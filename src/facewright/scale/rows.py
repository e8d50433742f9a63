"""The table that a batch makes: one row a face, or a row that says why there is none."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from facewright.errors import MissingExtraError
from facewright.provenance import VERSION

Status = Literal["done", "failed", "lost"]
"""``failed``: so it will be again; ``lost``: the process that worked on it ended, which may have been its fault."""

_NUMBERS = {
    "box": 4,
    "landmarks_68": 136,
    "landmarks_68_3d": 204,
    "translation_dm": 3,
    "id": None,
    "exp": None,
    "tex": None,
    "sh": 27,
}
"""Columns of several numbers -> how many; None: as many as the face model has."""


def arrow() -> Any:
    """The package pyarrow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(
            "Parquet expects the package pyarrow, which is not installed: pip install 'facewright[scale]'"
        ) from error
    return pyarrow


def schema() -> Any:
    """Of the parts, as docs/scale.md describes it; all numbers are those of the ``.json``."""
    pa = arrow()
    single = pa.float32()

    def numbers(name: str) -> Any:
        count = _NUMBERS[name]
        return pa.field(name, pa.list_(single) if count is None else pa.list_(single, count))

    return pa.schema(
        [
            pa.field("input", pa.string(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("version", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("face", pa.int32()),
            pa.field("stage", pa.string()),
            pa.field("error", pa.string()),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("score", single),
            *(numbers(name) for name in ("box", "landmarks_68", "landmarks_68_3d")),
            *(pa.field(name, single) for name in ("yaw_deg", "pitch_deg", "roll_deg")),
            numbers("translation_dm"),
            *(pa.field(name, single) for name in ("focal_px", "cx", "cy", "distance_dm")),
            *(numbers(name) for name in ("id", "exp", "tex", "sh")),
            pa.field("face_model", pa.string()),
            pa.field("method", pa.string()),
            pa.field("weights", pa.string()),
            pa.field("files", pa.list_(pa.string())),
        ],
        metadata={"facewright": VERSION, "layout": json.dumps({"sh": "9 x 3", "landmarks_68": "68 x 2"})},
    )


def table_of(rows: Sequence[dict[str, Any]]) -> Any:
    """Rows as a table; columns that a row does not name are null in it."""
    return arrow().Table.from_pylist(list(rows), schema=schema())


def packed(table: Any) -> bytes:
    """A table as bytes for another process."""
    pa = arrow()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def unpacked(blob: bytes) -> Any:
    """The inverse."""
    with arrow().ipc.open_stream(blob) as reader:
        return reader.read_all()


def why_not(entry: str, sha256: str, version: str, status: Status, stage: str, error: str) -> dict[str, Any]:
    """The row of a photo of which nothing came."""
    return {"input": entry, "sha256": sha256, "version": version, "status": status, "stage": stage, "error": error}
