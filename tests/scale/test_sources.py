"""Photos wherever they lie: what is named, in which order, and which bytes that are."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the extra scale is not installed")
pytest.importorskip("fsspec", reason="the extra scale is not installed")

import fsspec
import pyarrow as pa
from pyarrow import parquet

from facewright.errors import PhotoError, SettingsError
from facewright.scale.sources import EntryReader, PhotoEntry, entries_in
from tests.scale.toy_photo_work import is_photo


def named(source: str | Path, **options: Any) -> dict[str, bytes]:
    reader = EntryReader()
    entries = list(entries_in(str(source), is_photo=is_photo, **options))
    found = {entry.name: reader.read(entry) for entry in entries}
    assert len(found) == len(entries)
    return found


def test_folders_are_searched_whole_in_natural_order(tmp_path: Path) -> None:
    for name in ("b/10.jpg", "b/2.jpg", "a.jpg", "b/c/x.jpg", ".hidden.jpg", "note.txt", "out/made.jpg", ".d/y.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "b" / "round").symlink_to(tmp_path, target_is_directory=True)
    found = named(tmp_path, without=str(tmp_path / "out"))
    assert list(found) == ["a.jpg", "b/2.jpg", "b/10.jpg", "b/c/x.jpg"]
    assert all(content == name.encode() for name, content in found.items())


def test_addresses_of_other_file_systems_are_taken_too() -> None:
    files = fsspec.filesystem("memory")
    files.pipe({"/photos/2.jpg": b"two", "/photos/deep/1.jpg": b"one", "/photos/list.txt": b"2.jpg\n\ndeep/1.jpg\n"})
    assert named("memory://photos") == {"2.jpg": b"two", "deep/1.jpg": b"one"}
    assert named("memory://photos/list.txt") == {"2.jpg": b"two", "deep/1.jpg": b"one"}


def test_lists_name_photos_beside_them_or_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "b.anything").write_bytes(b"b")
    (tmp_path / "list.txt").write_text(f"\ufeffa.jpg\n{tmp_path / 'b.anything'}\nmissing.jpg\n", encoding="utf-8")
    a, b, missing = entries_in(str(tmp_path / "list.txt"), is_photo=is_photo)
    assert [EntryReader().read(entry) for entry in (a, b)] == [b"a", b"b"]
    with pytest.raises(PhotoError, match=r"missing\.jpg"):
        EntryReader().read(missing)


def test_parquet_holds_bytes_structures_or_addresses(tmp_path: Path) -> None:
    contents = [b"one", b"two", None, b"four", b"five"]
    table = {"note": ["x"] * 5, "image": [None if c is None else {"bytes": c, "path": "p"} for c in contents]}
    parquet.write_table(pa.table(table), tmp_path / "rows.parquet", row_group_size=2)
    entries = list(entries_in(str(tmp_path / "rows.parquet"), is_photo=is_photo))
    assert [entry.name for entry in entries] == [f"rows.parquet#{k}" for k in range(5)]
    reader = EntryReader()
    assert [reader.read(entries[k]) for k in (0, 1, 3, 4)] == [b"one", b"two", b"four", b"five"]
    with pytest.raises(PhotoError, match=r"rows\.parquet#2: expected bytes"):
        reader.read(entries[2])
    (tmp_path / "a.jpg").write_bytes(b"a")
    parquet.write_table(pa.table({"where": ["a.jpg"], "mine": [b"m"]}), tmp_path / "paths.parquet")
    assert named(tmp_path / "paths.parquet", column="where") == {"a.jpg": b"a"}
    assert named(tmp_path / "paths.parquet", column="mine") == {"paths.parquet#0": b"m"}
    with pytest.raises(SettingsError, match="found where, mine"):
        named(tmp_path / "paths.parquet")


def test_archives_are_read_in_place_and_a_cut_one_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name, content in (("1.jpg", b"one"), ("1.json", b"{}"), ("deep/2.jpg", b"x" * 5000)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert named(tmp_path / "shard.tar") == {"shard.tar#1.jpg": b"one", "shard.tar#deep/2.jpg": b"x" * 5000}
    (tmp_path / "cut.tar").write_bytes((tmp_path / "shard.tar").read_bytes()[:1500])
    entries = entries_in(str(tmp_path / "cut.tar"), is_photo=is_photo)
    assert next(entries).name == "cut.tar#1.jpg"
    with pytest.raises(PhotoError, match=r"cut\.tar"):
        list(entries)
    with pytest.raises(PhotoError, match="ends before"):
        EntryReader().read(PhotoEntry("x", str(tmp_path / "cut.tar"), 1000, 10_000))


def test_what_is_no_source_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "list.txt").write_text("a.jpg\n")
    for source, options in (
        (tmp_path / "nothing", {}),
        (tmp_path / "nothing.txt", {}),
        (tmp_path / "a.jpg", {}),
        ("nosuch://bucket/x.tar", {}),
        (tmp_path / "list.txt", {"column": "bytes"}),
    ):
        with pytest.raises(SettingsError):
            entries_in(str(source), is_photo=is_photo, **options)
