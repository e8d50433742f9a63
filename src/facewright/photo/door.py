"""A picture file or array in, an upright sRGB ``Photo`` out. Only this room knows of EXIF.

Sizes are read from the header and refused there; a file that decodes only in part is an error, never a grey patch.
Pixels stay bytes, in memory three times the picture's size; while one is read it takes about three times as much.
"""

import logging
import os
import stat
import struct
import threading
import zlib
from collections.abc import Callable
from io import BufferedReader, BytesIO
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from facewright.errors import PhotoError
from facewright.photo.completeness import load_whole
from facewright.records import Photo

MAX_PIXELS = 100_000_000
MAX_SIDE = 20_000

# Whitelisted because Pillow's other readers start programs (EPS), are vector formats, or are not photographs.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".arw", ".orf", ".rw2", ".pef", ".srw")  # TIFF outside, a thumbnail inside
# What Pillow's decoders raise on damaged files; each of them was seen, or is raised in their sources.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    TypeError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_BAND_ROWS = 256
_pillow_limit = threading.Lock()
_log = logging.getLogger(__name__)


@runtime_checkable
class ByteStream(Protocol):
    """An open file or anything else that gives bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; all of them by default."""
        ...


def read_photo(
    source: str | os.PathLike[str] | ByteStream,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int = MAX_SIDE,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Photo:
    """Read a picture: turned upright (EXIF), colours taken to sRGB (embedded ICC profile), alpha laid on a background.

    Of an animation or a file with several pages the first picture is taken, and the log says so. 16-bit pictures are
    rounded to 8 bits; grey becomes three equal channels; CMYK without a profile is converted by the plain formula.

    Args:
        source: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 or AVIF; a path, or a file opened for reading bytes.
        max_pixels: largest accepted width x height, checked in the header before anything is decoded.
        max_side: largest accepted width or height, px.
        background: sRGB, 0..1, seen through transparent pixels.

    Raises:
        PhotoError: no such file, no permission, empty, truncated, not a picture, too large, or an unsupported kind;
            or the source is neither a path nor a file.
    """
    name = _name_of(source)
    with _opened(source, name) as stream:
        _check_size(_header(stream, name), name, max_pixels, max_side)
        pixels = _decoded(stream, name, background)
    return Photo(pixels, path=os.fspath(source) if isinstance(source, str | os.PathLike) else "")


def photo_from_array(array: ndarray | Tensor, *, path: str = "") -> Photo:
    """Take pixels that are in memory already.

    Args:
        array: H W 3, sRGB-coded RGB (not BGR): uint8 0..255, or floating point 0..1.
        path: where it came from, for reports.

    Raises:
        PhotoError: no array, another shape or dtype, an empty picture, NaN, or values outside of the range.
    """
    if not isinstance(array, ndarray | Tensor):
        raise PhotoError(f"expected a numpy array or a tensor, received {_kind(array)}; read_photo opens files")
    if isinstance(array, ndarray) and array.dtype.kind not in "fu":
        raise PhotoError(f"expected uint8 or floating point, received {array.dtype}; convert to uint8 0..255")
    pixels = array.detach().cpu() if isinstance(array, Tensor) else torch.from_numpy(np.array(array, order="C"))
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise PhotoError(
            f"expected an array of shape (height, width, 3), received {tuple(pixels.shape)}; "
            "repeat grey three times, drop alpha, move channels last"
        )
    if pixels.dtype == torch.uint8:
        return Photo(pixels.clone().permute(2, 0, 1), path)
    if not pixels.is_floating_point():
        raise PhotoError(f"expected uint8 or floating point, received {pixels.dtype}; convert to uint8 0..255")
    if not bool(torch.isfinite(pixels).all()):
        raise PhotoError("expected finite values, received NaN or infinity; repair the array")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1e-6 or high > 1.0 + 1e-6:
        raise PhotoError(
            f"expected floating-point values in 0..1, received {low:.4g}..{high:.4g}; divide by the largest value of "
            "the coding (255 for 8 bits), or pass uint8"
        )
    return Photo((pixels.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(2, 0, 1), path)


def _kind(value: object) -> str:
    """How messages call a thing of the wrong kind."""
    return "None" if value is None else f"a {type(value).__name__}"


def _name_of(source: object) -> str:
    """How messages call the source: quoted, so that blanks and line breaks in a path stay visible."""
    if isinstance(source, str | os.PathLike):
        return repr(os.fspath(source))
    return repr(getattr(source, "name", "the given stream"))


def _opened(source: object, name: str) -> BufferedReader | BytesIO:
    """A seekable stream that has at least one byte."""
    if not isinstance(source, str | os.PathLike | ByteStream):
        raise PhotoError(
            f"expected a path or a file opened for bytes, received {_kind(source)}; put bytes into io.BytesIO, "
            "and arrays through photo_from_array"
        )
    if not isinstance(source, str | os.PathLike):
        try:
            content = source.read()
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            raise PhotoError(f"expected a readable file, received {error} from {name}; open it again") from error
        if not isinstance(content, bytes):
            raise PhotoError(f'expected a file opened for bytes, received text from {name}; open it with mode "rb"')
        if not content:
            raise PhotoError(f"expected a picture, received nothing from {name}; rewind the stream or check the upload")
        return BytesIO(content)
    try:
        mode = os.stat(source).st_mode
        if stat.S_ISDIR(mode):
            raise PhotoError(f"expected a picture file, received the folder {name}; name the files in it")
        if not stat.S_ISREG(mode):
            raise PhotoError(f"expected a regular file, received a device or pipe: {name}; copy it to a file first")
        if os.stat(source).st_size == 0:
            raise PhotoError(f"expected a picture, received the empty file {name} (0 bytes); copy it again")
        return open(source, "rb")
    except FileNotFoundError as error:
        raise PhotoError(f"expected a picture file, found nothing at {name}; check the path") from error
    except PermissionError as error:
        raise PhotoError(f"expected a readable file, received no permission for {name}; change its mode") from error
    except (OSError, ValueError) as error:
        raise PhotoError(f"expected a readable file, received {error} for {name}; check the path and disk") from error


def _header(stream: BufferedReader | BytesIO, name: str) -> Image.Image:
    """Open without decoding. Pillow's own size limit is a process-wide variable: lifted for this call, ours follows."""
    start = stream.read(16)
    stream.seek(0)
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        raise PhotoError(f"expected JPEG, PNG, WebP or TIFF, received HEIC/HEIF in {name}; export it as JPEG or PNG")
    try:
        image = _unlimited(stream)
    except _DECODER_ERRORS as error:
        raise PhotoError(
            f"expected a picture ({', '.join(_FORMATS)}), received something else or a damaged header in {name}; "
            "open it in a picture viewer and save it as JPEG or PNG"
        ) from error
    if image.format == "TIFF" and name.strip("'\"").lower().endswith(_RAW_SUFFIXES):
        raise PhotoError(f"expected a developed picture, received camera raw in {name}; export it as JPEG, PNG or TIFF")
    return image


def _unlimited(stream: BufferedReader | BytesIO) -> Image.Image:
    """A known format, opened, of whatever size."""
    Image.init()
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(stream, formats=[known for known in _FORMATS if known in Image.OPEN])
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(image: Image.Image, name: str, max_pixels: int, max_side: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise PhotoError(f"expected at least one pixel, received {width} x {height} in {name}; export it again")
    if width * height > max_pixels or max(width, height) > max_side:
        raise PhotoError(
            f"expected at most {max_pixels} pixels and {max_side} a side, received {width} x {height} in {name}; "
            "make it smaller, or raise max_pixels / max_side if the memory is there (12 bytes a pixel while it is read)"
        )


def _decoded(
    stream: BufferedReader | BytesIO, name: str, background: tuple[float, float, float]
) -> UInt8[Tensor, "3 H W"]:
    stream.seek(0)
    image = _unlimited(stream)
    size = image.size
    try:
        if getattr(image, "is_animated", False) and image.format != "MPO":
            _log.warning("%s holds several pictures; the first is taken", name)
        image = load_whole(image, stream, _unlimited)
        _turn_upright(image, name)
        if image.mode.startswith("I") or image.mode == "F":
            pixels = _in_bands(image, _bytes_of_deep_grey)
        else:
            image, alpha = _rgb_and_alpha(image, name)  # whatever it was before is let go
            pixels = _in_bands(image, np.asarray) if alpha is None else _laid_on(image, alpha, background)
    except MemoryError as error:
        raise PhotoError(f"expected memory for {size} pixels of {name}, received none; lower max_pixels") from error
    except _DECODER_ERRORS as error:
        raise PhotoError(
            f"expected a whole picture, received a truncated or damaged one in {name} ({error}); copy it again"
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _turn_upright(image: Image.Image, name: str) -> None:
    """Apply the EXIF orientation in place; a damaged EXIF block turns nothing."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except _DECODER_ERRORS:
        _log.warning("%s has a damaged EXIF block; it is read as it lies", name)


def _rgb_and_alpha(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None]:
    """Colours in sRGB, and how much they cover where they do not cover all."""
    if not image.has_transparency_data:
        return _in_srgb(image.convert("RGB") if image.mode in ("P", "1", "RGBX") else image, name), None
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = image.getchannel("A")
    return _in_srgb(image.convert("RGB"), name), alpha


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], ndarray]) -> UInt8[ndarray, "H W 3"]:
    """Bytes of a picture, some rows at a time: large ones are in memory once already."""
    pixels = np.zeros((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, image.height)
        pixels[top:bottom] = convert(image.crop((0, top, image.width, bottom)))
    return pixels


def _laid_on(image: Image.Image, alpha: Image.Image, background: tuple[float, float, float]) -> UInt8[ndarray, "H W 3"]:
    pixels = np.zeros((image.height, image.width, 3), np.uint8)
    behind = 255.0 * np.array(background, np.float32)
    for top in range(0, image.height, _BAND_ROWS):
        box = (0, top, image.width, min(top + _BAND_ROWS, image.height))
        cover = np.asarray(alpha.crop(box), np.float32)[..., None] / 255.0
        mixed = cover * np.asarray(image.crop(box)) + (1.0 - cover) * behind
        pixels[box[1] : box[3]] = np.clip(mixed + 0.5, 0.0, 255.0)
    return pixels


def _bytes_of_deep_grey(image: Image.Image) -> UInt8[ndarray, "H W 3"]:
    """16-bit grey by its full range; floating point if it is 0..1 already."""
    values = np.array(image).astype(np.float32)
    top = 1.0 if image.mode == "F" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise ValueError(f"{image.mode} pixels are expected in 0..{top:g}: save 8 or 16 bits a channel")
    return np.repeat((values * (255.0 / top) + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def _in_srgb(image: Image.Image, name: str) -> Image.Image:
    """Through the embedded ICC profile, unless that is sRGB itself (values then stay as they are, to the bit)."""
    profile_bytes = image.info.get("icc_profile")
    if profile_bytes:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(profile_bytes))
            if not _is_srgb(ImageCms.getProfileDescription(profile)):
                srgb = ImageCms.createProfile("sRGB")
                intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
                if image.mode == "RGB":  # large ones are not to be in memory twice
                    ImageCms.profileToProfile(image, profile, srgb, renderingIntent=intent, inPlace=True)
                    return image
                converted = ImageCms.profileToProfile(image, profile, srgb, renderingIntent=intent, outputMode="RGB")
                return image.convert("RGB") if converted is None else converted
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            _log.warning("%s has an unusable ICC profile; its colours are read as sRGB", name)
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_srgb(description: str) -> bool:
    return "srgb" in description.lower() and "linear" not in description.lower()
