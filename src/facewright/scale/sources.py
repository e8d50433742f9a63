"""Where photos lie: folders, lists, Parquet, WebDataset's archives, here or at any address that fsspec knows.

What is listed is where bytes are; they are read where they are needed. Nothing here holds more than a folder's names.
"""

import posixpath
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from facewright.errors import MissingExtraError, PhotoError, SettingsError
from facewright.files import natural_order
from facewright.untrusted import reading

MOST_BYTES = 1 << 29
"""Of one photo."""

BYTES_COLUMNS, PATH_COLUMNS = ("bytes", "image", "jpg", "content"), ("path", "file", "url", "image_path")
"""Columns of a Parquet file that are looked for, in this order."""

_TAR_BLOCK = 512

IsPhoto = Callable[[str], bool]


@dataclass(frozen=True)
class PhotoEntry:
    """One photo that is to be read.

    Attributes:
        name: what its rows call it; each once in a source.
        address: of the file that it is, or is in.
        offset: of its bytes in an archive; None: it is no part of one.
        size: of those.
        group: row group of a Parquet file; None: it is in none.
        row: in that.
        column: of that.
    """

    name: str
    address: str
    offset: int | None = None
    size: int = 0
    group: int | None = None
    row: int = 0
    column: str = ""


def entries_in(source: str, *, is_photo: IsPhoto, without: str = "", column: str | None = None) -> Iterator[PhotoEntry]:
    """The photos of a source, in its own order; folders and names in natural order.

    Args:
        source: a folder, whose folders are searched too; a ``.txt`` with an address a line; a ``.parquet`` with a
            column of bytes or of addresses; or a ``.tar``. A path, or an address that fsspec knows.
        is_photo: whether a file's name is one of a photo: in folders and archives.
        without: folder that is not searched.
        column: of a Parquet file; looked for if None.

    Raises:
        SettingsError: there is no such source, or it is of no known kind.
        PhotoError: it is damaged; raised where that is seen, after what is before.
        MissingExtraError: a package that it needs is not installed.
    """
    files, path = _file_system(source)
    kinds = {".txt": _in_list, ".parquet": _in_parquet, ".tar": _in_archive}
    kind = next((kind for suffix, kind in kinds.items() if path.lower().endswith(suffix)), None)
    try:
        if files.isdir(path):
            return _in_folder(files, path, source, is_photo, without)
        if not files.exists(path):
            raise SettingsError(f"expected photos at {source}, found nothing there")
    except (OSError, ValueError) as error:
        raise SettingsError(f"expected photos at {source}, which cannot be reached: {error}") from error
    if kind is None:
        known = ", ".join(kinds)
        raise SettingsError(f"expected a folder or a file that ends in one of {known}, received {source}")
    if column is not None and kind is not _in_parquet:
        raise SettingsError(f"expected a column only with a Parquet file, received {source}; it would be ignored")
    return kind(source, is_photo, column)


class EntryReader:
    """Reads photos; keeps the row group that it read last."""

    def __init__(self) -> None:
        self._held: tuple[Any, Any] = (None, None)

    def read(self, entry: PhotoEntry) -> bytes:
        """A photo's bytes.

        Raises:
            PhotoError: they cannot be read, or are too many.
        """
        with _told(entry.name):
            if entry.group is not None:
                return self._of_row(entry)
            with opened(entry.address) as file:
                if entry.offset is None:
                    content = file.read(MOST_BYTES + 1)
                else:
                    file.seek(entry.offset)
                    content = file.read(entry.size)
                    if len(content) < entry.size:
                        raise PhotoError(f"{entry.name}: expected {entry.size} bytes, its archive ends before them")
        if len(content) > MOST_BYTES:
            raise PhotoError(f"{entry.name}: expected a photo of at most {MOST_BYTES} bytes")
        return content

    def _of_row(self, entry: PhotoEntry) -> bytes:
        key = (entry.address, entry.group, entry.column)
        if self._held[0] != key:
            with opened(entry.address) as file:
                self._held = key, _parquet().ParquetFile(file).read_row_group(entry.group, [entry.column])[0]
        value = self._held[1][entry.row].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise PhotoError(f"{entry.name}: expected bytes in column {entry.column}, found none")
        return value


def _in_folder(files: Any, path: str, source: str, is_photo: IsPhoto, without: str) -> Iterator[PhotoEntry]:
    here = "://" not in source
    skipped = None if not without else _file_system(without)[1].rstrip("/")

    def below(folder: str) -> Iterator[PhotoEntry]:
        with _told(folder):
            inside = {posixpath.basename(each["name"].rstrip("/")): each for each in files.ls(folder, detail=True)}
        for name in natural_order([name for name in inside if name and not name.startswith(".")]):
            each = inside[name]
            full = each["name"].rstrip("/")
            if each["type"] == "directory":
                if not (here and (full == skipped or each.get("islink"))):
                    yield from below(full)
            elif is_photo(full):
                yield PhotoEntry(full[len(path.rstrip("/")) + 1 :], full if here else files.unstrip_protocol(full))

    return below(path)


def _in_list(source: str, is_photo: IsPhoto, column: str | None) -> Iterator[PhotoEntry]:
    with _told(source), opened(source) as file:
        for line in file:
            if name := line.decode("utf-8-sig").strip():
                yield PhotoEntry(name, _beside(source, name))


def _in_parquet(source: str, is_photo: IsPhoto, column: str | None) -> Iterator[PhotoEntry]:
    packed = _parquet()
    with _told(source), opened(source) as stream:
        file = packed.ParquetFile(stream)
        names = file.schema_arrow.names
        known = [column] if column else [*BYTES_COLUMNS, *PATH_COLUMNS]
        chosen = next((name for name in known if name in names), None)
        if chosen is None:
            raise SettingsError(f"expected one of the columns {', '.join(known)} in {source}, found {', '.join(names)}")
        of_text = str(file.schema_arrow.field(chosen).type) in ("string", "large_string")
        number = 0
        for group in range(file.num_row_groups):
            if of_text:
                for each in file.read_row_group(group, [chosen])[0].to_pylist():
                    name = each or f"row {number}"
                    yield PhotoEntry(name, _beside(source, name))
                    number += 1
                continue
            for row in range(file.metadata.row_group(group).num_rows):
                name = f"{posixpath.basename(source)}#{number}"
                yield PhotoEntry(name, source, group=group, row=row, column=chosen)
                number += 1


def _in_archive(source: str, is_photo: IsPhoto, column: str | None) -> Iterator[PhotoEntry]:
    import tarfile

    with _told(source), opened(source) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        while (member := archive.next()) is not None:
            vars(archive)["members"] = []  # else it keeps all
            if member.isreg() and not member.issparse() and is_photo(member.name):
                name = f"{posixpath.basename(source)}#{member.name}"
                yield PhotoEntry(name, source, member.offset_data, member.size)
        stream.seek(archive.offset)
        if stream.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):  # where a header is cut off, tarfile takes it for the end
            raise PhotoError(f"{source}: expected a whole archive, its end is missing; copy it again")


def _beside(source: str, name: str) -> str:
    """The address that a name in a list or a table means: relative ones are beside it."""
    return name if "://" in name or name.startswith("/") else posixpath.join(posixpath.dirname(source), name)


@contextmanager
def opened(address: str) -> Iterator[IO[bytes]]:
    """A file at a path or an address.

    Raises:
        OSError: it cannot be opened.
        MissingExtraError: fsspec, or what an address needs besides, is not installed.
    """
    if "://" not in address:
        with open(address, "rb") as file:
            yield file
        return
    files, path = _file_system(address)
    with files.open(path, "rb") as file:
        yield file


def _file_system(address: str) -> tuple[Any, str]:
    """What lists and opens files, and the path that it knows this address by."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(
            "many photos expect the package fsspec, which is not installed: pip install 'facewright[scale]'"
        ) from error
    try:
        return url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise SettingsError(f"expected an address that can be reached, received {address}: {error}") from error


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            "Parquet expects the package pyarrow, which is not installed: pip install 'facewright[scale]'"
        ) from error
    return pyarrow.parquet


def _told(name: str) -> AbstractContextManager[None]:
    """Whatever a library throws at what lies there is an error of ours."""
    return reading(name, PhotoError, "photos", "fetch it again")
