"""The photo door: every kind of good and bad file, made here."""

import inspect
import io
import logging
import os
import stat
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from facewright.errors import PhotoError
from facewright.photo import photo_from_array, read_photo
from facewright.records import Photo


@pytest.fixture
def pixels() -> np.ndarray:
    """A small picture that no flip, turn or channel swap leaves as it is."""
    rows, columns = np.mgrid[0:24, 0:40]
    return np.stack([rows * 10, columns * 6, (rows * columns) % 251], -1).astype(np.uint8)


def as_bytes(photo: Photo) -> np.ndarray:
    assert photo.pixels.dtype == torch.uint8
    assert photo.srgb.is_contiguous()
    assert photo.srgb.dtype == torch.float32
    assert torch.equal((photo.srgb * 255).round().byte(), photo.pixels)
    return photo.pixels.permute(1, 2, 0).numpy()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises a size; its pixels are a few bytes that would never fill it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


# ------------------------------------------------------------------------------------------------- good files


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "jp2"])
def test_lossless_formats_come_back_to_the_bit(tmp_path: Path, pixels: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    options: dict[str, Any] = {"webp": {"lossless": True}, "jp2": {"irreversible": False}}.get(suffix, {})
    Image.fromarray(pixels).save(path, **options)
    photo = read_photo(path)
    assert (photo.width, photo.height, photo.path) == (40, 24, str(path))
    np.testing.assert_array_equal(as_bytes(photo), pixels)


def test_lossy_formats_come_back_nearly(tmp_path: Path) -> None:
    smooth = np.stack([*np.meshgrid(np.linspace(0, 255, 64), np.linspace(255, 0, 48)), np.full((48, 64), 90.0)], -1)
    for suffix in ("jpg", "webp"):
        path = tmp_path / f"photo.{suffix}"
        Image.fromarray(smooth.astype(np.uint8)).save(path, quality=95)
        assert np.abs(as_bytes(read_photo(path)).astype(float) - smooth).mean() < 3


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16"])
def test_every_pixel_mode_becomes_rgb(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    path = tmp_path / "photo.png"
    source = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else source.convert(mode)
    image.save(path)
    expected = np.asarray(source.convert(mode if mode != "I;16" else "RGB").convert("RGB"))
    if mode == "I;16":
        expected = np.repeat(pixels[..., :1], 3, -1)
    np.testing.assert_array_equal(as_bytes(read_photo(path)), expected)


def test_sixteen_bit_grey_is_rounded_to_the_nearest_byte(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    for suffix in ("png", "tiff"):
        path = tmp_path / f"deep.{suffix}"
        Image.fromarray(values).save(path)
        expected = np.repeat((values / 257).round().astype(np.uint8)[None], 3, 0)
        np.testing.assert_array_equal(read_photo(path).pixels, expected)


def test_sixteen_bit_rgb_is_read(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "deep.png"
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 40, 24, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    np.testing.assert_array_equal(as_bytes(read_photo(path)), pixels)


def test_floating_point_tiff_in_range_is_read_and_out_of_range_refused(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / "good.tiff")
    np.testing.assert_array_equal(read_photo(tmp_path / "good.tiff").pixels[1], (values * 255).round())
    for name, bad in {"bright": values * 300, "nan": np.where(values > 0.5, np.nan, values)}.items():
        Image.fromarray(bad.astype(np.float32)).save(tmp_path / f"{name}.tiff")
        with pytest.raises(PhotoError, match="8 or 16 bits"):
            read_photo(tmp_path / f"{name}.tiff")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, pixels: np.ndarray, orientation: int) -> None:
    upright = pixels
    # How a camera stores the upright picture under each orientation tag (EXIF 2.3, 4.6.4).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "tiff", "webp"):
        path = tmp_path / f"turned.{suffix}"
        options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
        np.testing.assert_array_equal(as_bytes(read_photo(path)), upright)


def test_damaged_exif_turns_nothing(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffgarbage")
    with pytest.warns(UserWarning, match="EXIF"):  # Pillow's own words
        photo = read_photo(path)
    np.testing.assert_array_equal(as_bytes(photo), pixels)


def test_alpha_is_laid_on_the_background(tmp_path: Path) -> None:
    rgba = np.zeros((2, 3, 4), dtype=np.uint8)
    rgba[..., 0], rgba[..., 3] = 200, [0, 51, 255]
    path = tmp_path / "cut.png"
    Image.fromarray(rgba).save(path)
    on_white, on_blue = read_photo(path).srgb, read_photo(path, background=(0.0, 0.0, 1.0)).srgb
    torch.testing.assert_close(on_white[:, 0, 0], torch.ones(3))
    torch.testing.assert_close(on_blue[:, 0, 0], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(on_blue[:, 0, 1], torch.tensor([0.2 * 200 / 255, 0.0, 0.8]))  # whole bytes: 40, 0, 204
    torch.testing.assert_close(on_white[:, 0, 2], on_blue[:, 0, 2])


def test_palette_and_rgb_with_a_transparent_colour(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 2), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0] + [0] * 762)
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "palette.png", transparency=0)
    rgb = Image.new("RGB", (4, 2), (0, 255, 0))
    rgb.putpixel((0, 0), (255, 0, 0))
    rgb.save(tmp_path / "rgb.png", transparency=(255, 0, 0))
    for name in ("palette.png", "rgb.png"):
        srgb = read_photo(tmp_path / name, background=(0.0, 0.0, 0.0)).srgb
        assert srgb[:, 0, 0].tolist() == [0.0, 0.0, 0.0], name
        assert srgb[:, 0, 1].tolist() == [0.0, 1.0, 0.0], name


def test_cmyk_without_profile(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    for suffix in ("jpg", "tiff"):
        path = tmp_path / f"ink.{suffix}"
        cmyk.save(path)
        red, green, blue = read_photo(path).srgb[:, 8, 8].tolist()
        assert red > 0.95, suffix
        assert max(green, blue) < 0.05, suffix


def s15(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc_profile(kind: bytes, colours: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4, of the given tags and those that every profile has (ICC.1:2010, 7.2 and 7.3)."""
    text = b"made by a test"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + s15(0.9642, 1.0, 0.8249),
        **tags,
    }
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", offset + len(body), b"", 0x02400000, kind, colours, connection)
    return header + b"\0" * 12 + b"acsp" + b"\0" * 28 + s15(0.9642, 1.0, 0.8249) + b"\0" * 48 + table + body


def linear_rgb_profile() -> bytes:
    """RGB with the primaries of sRGB and no curve."""
    columns = {b"r": (0.4361, 0.2225, 0.0139), b"g": (0.3851, 0.7169, 0.0971), b"b": (0.1431, 0.0606, 0.7142)}
    primaries = {name + b"XYZ": b"XYZ \0\0\0\0" + s15(*column) for name, column in columns.items()}
    curve = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", 256) + b"\0\0"
    return icc_profile(b"mntr", b"RGB ", b"XYZ ", {**primaries, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_ink_profile() -> bytes:
    """CMYK whose inks are all grey: lightness falls from 100 by 40 per full cyan and 20 per each other ink."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), -1).reshape(-1, 4)
    lightness = 100 - corners @ [40, 20, 20, 20]
    grid = np.column_stack([lightness * 2.55, np.full(16, 128), np.full(16, 128)]).round().astype(np.uint8)
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + grid.tobytes() + ramp * 3
    return icc_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def test_cmyk_goes_through_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "ink.tiff"
    Image.new("CMYK", (4, 4), (255, 0, 0, 0)).save(path, icc_profile=grey_ink_profile())
    luminance = ((60 + 16) / 116) ** 3  # CIE lightness 60
    expected = 1.055 * luminance ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(read_photo(path).srgb[:, 2, 2], expected, atol=1.5 / 255)


def test_profile_of_another_colour_space_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ink.tiff"
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(path, icc_profile=linear_rgb_profile())
    assert read_photo(path).srgb[:, 2, 2].tolist() == [1.0, 0.0, 0.0]
    assert "unusable ICC profile" in caplog.text


def test_icc_profile_is_applied(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(pixels).save(path, icc_profile=linear_rgb_profile())
    linear = pixels / 255.0
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(read_photo(path).srgb.permute(1, 2, 0).numpy() - expected).max() < 2.5 / 255


def test_srgb_profile_changes_not_one_bit(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "plain.png"
    Image.fromarray(pixels).save(path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    np.testing.assert_array_equal(as_bytes(read_photo(path)), pixels)


@pytest.mark.parametrize("profile", [b"not a profile", linear_rgb_profile()[:200]])
def test_unusable_icc_profile_is_said_and_ignored(
    tmp_path: Path, pixels: np.ndarray, profile: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "odd.png"
    Image.fromarray(pixels).save(path, icc_profile=profile)
    np.testing.assert_array_equal(as_bytes(read_photo(path)), pixels)
    assert "unusable ICC profile" in caplog.text


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_first_of_several_pictures_is_taken_and_said(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"many.{suffix}"
    red, blue = Image.new("RGB", (12, 8), (255, 0, 0)), Image.new("RGB", (12, 8), (0, 0, 255))
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    red.save(path, save_all=True, append_images=[blue], **options)
    with caplog.at_level(logging.WARNING):
        assert read_photo(path).srgb[:, 4, 4].tolist() == [1.0, 0.0, 0.0]
    assert "several pictures" in caplog.text


@pytest.mark.parametrize(
    "name",
    ["a photo.png", "фото.png", "写真 😀.png", "line\nbreak.png", "png.jpg.PNG", "-n.png", "a'b\"c.png", "%s{0}.png"],
)
def test_odd_names_are_only_names(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(pixels).save(path, format="PNG")
    assert read_photo(path).path == str(path)
    assert read_photo(str(path)).width == 40


def test_file_objects_and_wrong_suffix(tmp_path: Path, pixels: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    stream.seek(0)
    photo = read_photo(stream)
    assert photo.path == ""
    np.testing.assert_array_equal(as_bytes(photo), pixels)
    misnamed = tmp_path / "really_png.jpg"
    misnamed.write_bytes(stream.getvalue())
    np.testing.assert_array_equal(as_bytes(read_photo(misnamed)), pixels)
    with misnamed.open("rb") as opened:
        assert read_photo(opened).height == 24


def test_one_pixel_is_a_photo(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (255, 0, 51)).save(tmp_path / "dot.png")
    assert read_photo(tmp_path / "dot.png").srgb.flatten().tolist() == pytest.approx([1.0, 0.0, 0.2])


# -------------------------------------------------------------------------------------------------- bad files


def test_a_huge_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(30000, 30000))
    with pytest.raises(PhotoError, match=r"30000 x 30000.*max_pixels"):
        read_photo(path)
    # With the limit raised such a file gets as far as its pixels, which are not there.
    path.write_bytes(png_header(10100, 10000))
    with pytest.raises(PhotoError, match="10100 x 10000"):
        read_photo(path)
    with pytest.raises(PhotoError, match="truncated or damaged"):
        read_photo(path, max_pixels=10**9)


def test_limits_are_options(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    assert read_photo(path, max_pixels=960, max_side=40).width == 40
    with pytest.raises(PhotoError, match="40 x 24"):
        read_photo(path, max_pixels=959)
    with pytest.raises(PhotoError, match="40 x 24"):
        read_photo(path, max_side=39)


def test_pillows_own_limit_is_left_as_it_was(tmp_path: Path, pixels: np.ndarray) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    read_photo(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(PhotoError):
        read_photo(tmp_path / "text.png")
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0)])
def test_no_pixels(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "nothing.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(PhotoError):
        read_photo(path)
    path.write_bytes(f"P6 {width} {height} 255\n".encode())
    with pytest.raises(PhotoError):
        read_photo(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp", "gif", "ppm", "jp2", "avif"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_truncated_file_is_an_error_not_a_grey_patch(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    path = tmp_path / f"whole.{suffix}"
    Image.init()
    if f".{suffix}" not in Image.registered_extensions():
        pytest.skip(f"this Pillow was built without {suffix}")
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(PhotoError, match="whole\\.") as caught:
        read_photo(path)
    assert "expected" in str(caught.value)


def smooth_picture(width: int = 300, height: int = 200) -> Image.Image:
    steps = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.cumsum(steps, 1) + 120, 2, 250).astype(np.uint8))


JPEG_KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "fine": {"subsampling": 0, "quality": 95},
    "progressive": {"progressive": True},
    "restarts in rows": {"restart_marker_rows": 1},
    "restarts in blocks": {"restart_marker_blocks": 3},
}


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_jpeg_that_ends_early_is_refused_though_it_has_its_end_marker(kind: str) -> None:
    for mode in ("RGB", "L", "CMYK"):
        stream = io.BytesIO()
        smooth_picture().convert(mode).save(stream, "JPEG", **JPEG_KINDS[kind])
        content = stream.getvalue()
        whole = read_photo(io.BytesIO(content)).pixels
        for odd in (content[:-2], content + b"hello" * 50, content[:-2] + b"\0\0\xff\xd9"):
            assert torch.equal(read_photo(io.BytesIO(odd)).pixels, whole)  # all of it is there, whatever follows
        for kept in (0.3, 0.5, 0.8, 0.97):
            for end in (b"", b"\xff\xd9"):
                with pytest.raises(PhotoError, match="truncated"):
                    read_photo(io.BytesIO(content[: int(kept * len(content))] + end))


def test_a_jpeg_may_end_in_the_grey_of_missing_blocks() -> None:
    image = smooth_picture()
    image.paste((128, 128, 128), (0, 100, 300, 200))
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    assert read_photo(io.BytesIO(stream.getvalue())).pixels[:, -1, -1].tolist() == [128, 128, 128]


def scanlines(image: Image.Image) -> list[bytes]:
    """Unfiltered rows of a PNG."""
    return [b"\0" + row.tobytes() for row in np.asarray(image)]


def png_file(image: Image.Image, rows: list[bytes]) -> bytes:
    color = {"L": 0, "RGB": 2, "P": 3, "RGBA": 6}[image.mode]
    header = struct.pack(">IIBBBBB", *image.size, 8, color, 0, 0, 0)
    palette = png_chunk(b"PLTE", bytes(image.getpalette() or [])) if image.mode == "P" else b""
    body = png_chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + palette + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("rows", [1, 100, 199])
def test_a_png_whose_stream_ends_early_is_refused(mode: str, rows: int) -> None:
    image = smooth_picture().convert(mode)
    lines = scanlines(image)
    np.testing.assert_array_equal(
        read_photo(io.BytesIO(png_file(image, lines))).pixels.permute(1, 2, 0), image.convert("RGB")
    )
    with pytest.raises(PhotoError, match="truncated"):
        read_photo(io.BytesIO(png_file(image, lines[:rows])))


def test_a_tiff_without_one_of_its_strips_is_refused(tmp_path: Path) -> None:
    smooth_picture().save(tmp_path / "whole.tiff", compression="tiff_deflate", strip_size=300 * 3 * 40)
    content = bytearray((tmp_path / "whole.tiff").read_bytes())
    entry = content.index(struct.pack("<HHI", 279, 4, 5))  # StripByteCounts, five longs at an offset
    (at,) = struct.unpack_from("<I", content, entry + 8)
    struct.pack_into("<I", content, at + 8, 0)
    (tmp_path / "holed.tiff").write_bytes(content)
    assert read_photo(tmp_path / "whole.tiff").height == 200
    with pytest.raises(PhotoError):
        read_photo(tmp_path / "holed.tiff")


@pytest.mark.parametrize("transparency", [None, 0])
def test_a_gif_whose_data_end_early_is_refused(transparency: int | None) -> None:
    palette = smooth_picture().convert("P", palette=Image.Palette.ADAPTIVE)
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    whole, half = io.BytesIO(), io.BytesIO()
    palette.save(whole, "GIF", interlace=0, **options)
    # The upper half's data in a file that says it holds all rows.
    palette.crop((0, 0, 300, 100)).save(half, "GIF", interlace=0, **options)
    content = half.getvalue()
    frame = content.index(struct.pack("<BHHHH", 0x2C, 0, 0, 300, 100))
    longer = content[:8] + struct.pack("<H", 200) + content[10:frame] + struct.pack("<BHHHH", 0x2C, 0, 0, 300, 200)
    assert read_photo(io.BytesIO(whole.getvalue())).height == 200
    with pytest.raises(PhotoError, match="truncated"):
        read_photo(io.BytesIO(longer + content[frame + 9 :]))


@pytest.mark.filterwarnings("ignore")  # Pillow remarks on damaged metadata
@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "ppm", "webp"])
def test_damaged_bytes_give_a_photo_or_a_photo_error(pixels: np.ndarray, suffix: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=suffix)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        content = np.frombuffer(stream.getvalue(), np.uint8).copy()
        content[rng.integers(0, min(len(content), 200), 3)] = rng.integers(0, 256, 3)
        try:
            assert torch.isfinite(read_photo(io.BytesIO(content.tobytes())).srgb).all()
        except PhotoError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is text\n",
        b"\x00" * 64,
        b"%PDF-1.4 " + b"x" * 99,
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"BM",
        b"GIF89a",
    ],
)
def test_not_a_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "claims.png"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match="expected"):
        read_photo(path)


def test_formats_that_run_programs_or_are_no_photographs_are_refused(tmp_path: Path) -> None:
    postscript = tmp_path / "page.png"
    postscript.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(PhotoError):
        read_photo(postscript)
    Image.new("RGB", (32, 32)).save(tmp_path / "icon.ico")
    with pytest.raises(PhotoError):
        read_photo(tmp_path / "icon.ico")


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_names_the_remedy(tmp_path: Path, brand: bytes) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(struct.pack(">I", 24) + b"ftyp" + brand + b"\0" * 64)
    with pytest.raises(PhotoError, match="export it as JPEG"):
        read_photo(path)


def test_camera_raw_is_not_taken_for_its_thumbnail(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "shot.NEF", format="TIFF")
    with pytest.raises(PhotoError, match="camera raw"):
        read_photo(tmp_path / "shot.NEF")


def test_empty_missing_folder_pipe_and_null(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    cases = {
        "empty.jpg": "0 bytes",
        "missing.jpg": "found nothing",
        ".": "folder",
        "pipe.jpg": "pipe",
        "empty.jpg/inside.jpg": "check the path",
        "nul\0l.jpg": "check the path",
        "x" * 300: "check the path",
    }
    for name, message in cases.items():
        with pytest.raises(PhotoError, match=message):
            read_photo(f"{tmp_path}/{name}")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_no_permission(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "secret.png"
    Image.fromarray(pixels).save(path)
    path.chmod(0)
    with pytest.raises(PhotoError, match="no permission"):
        read_photo(path)
    path.chmod(stat.S_IRUSR)
    assert read_photo(path).width == 40


def test_permission_error_is_translated(tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    Image.fromarray(pixels).save(path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PhotoError, match="no permission"):
        read_photo(path)


def test_bad_streams() -> None:
    with pytest.raises(PhotoError, match="received nothing"):
        read_photo(io.BytesIO())
    with pytest.raises(PhotoError, match='mode "rb"'):
        read_photo(io.StringIO("text"))  # pyright: ignore[reportArgumentType]


def test_names_in_messages_keep_line_breaks_visible(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"two\\nlines"):
        read_photo(tmp_path / "two\nlines.jpg")


@pytest.mark.parametrize("source", [None, b"\xff\xd8\xff", 7, ["me.jpg"]])
def test_what_is_neither_a_path_nor_a_file_is_refused_by_name(source: Any) -> None:
    kind = "None" if source is None else type(source).__name__
    # Unwrapped of the suite's runtime checks, which a user does not have.
    with pytest.raises(PhotoError, match=f"expected a path or a file opened for bytes, received (a )?{kind}"):
        inspect.unwrap(read_photo)(source)
    with pytest.raises(PhotoError, match=f"expected a numpy array or a tensor, received (a )?{kind}"):
        inspect.unwrap(photo_from_array)(source)
    with pytest.raises(PhotoError, match="photo_from_array"):
        inspect.unwrap(Photo.__post_init__)(SimpleNamespace(pixels=source))


def test_a_photo_is_made_of_bytes() -> None:
    for pixels in (torch.full((3, 4, 5), torch.nan), torch.zeros(4, 5, 3, dtype=torch.uint8)):
        with pytest.raises(PhotoError, match="photo_from_array"):
            inspect.unwrap(Photo.__post_init__)(SimpleNamespace(pixels=pixels))


def test_a_closed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with (tmp_path / "a.png").open("rb") as stream:
        pass
    with pytest.raises(PhotoError, match="closed"):
        read_photo(stream)


# ----------------------------------------------------------------------------------------------------- arrays


def test_arrays_and_files_agree(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    from_file = read_photo(tmp_path / "photo.png").srgb
    floats = pixels.astype(np.float32) / 255
    for array in (pixels, torch.from_numpy(pixels), floats, floats.astype(np.float64), pixels[::-1].copy()[::-1]):
        torch.testing.assert_close(photo_from_array(array).srgb, from_file, rtol=0, atol=1e-7)


def test_read_only_arrays_are_taken(pixels: np.ndarray) -> None:
    """As ``numpy.asarray`` gives for Pillow's pictures; without a warning (the suite's are errors)."""
    array = pixels[:, ::-1]
    array.flags.writeable = False
    np.testing.assert_allclose(photo_from_array(array).srgb.permute(1, 2, 0), array / 255.0, atol=1e-6)


def test_the_array_is_copied(pixels: np.ndarray) -> None:
    floats = pixels.astype(np.float32) / 255
    photo = photo_from_array(floats)
    before = photo.srgb.clone()
    floats[:] = 0
    assert torch.equal(photo.srgb, before)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5), np.uint8), "shape"),
        (np.zeros((4, 5, 4), np.uint8), "shape"),
        (np.zeros((3, 4, 5), np.uint8), "shape"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (np.zeros((4, 5, 3), np.int64), "int64"),
        (np.zeros((4, 5, 3), bool), "bool"),
        (np.zeros((4, 5, 3), np.uint16), "uint16"),
        (np.zeros((4, 5, 3), complex), "complex"),
        (np.full((4, 5, 3), "a"), "<U1"),
        (np.full((4, 5, 3), None), "object"),
        (np.full((4, 5, 3), np.nan), "NaN"),
        (np.full((4, 5, 3), np.inf), "NaN"),
        (np.full((4, 5, 3), 200.0), "0..1"),
        (np.full((4, 5, 3), -0.5), "0..1"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        photo_from_array(array)
