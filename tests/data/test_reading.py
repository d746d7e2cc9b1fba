from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from hostile_images import UPRIGHT
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from sslkit.data.reading import read_image
from sslkit.errors import DataError

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
SMOOTH = np.array(Image.fromarray(RNG.integers(0, 256, (8, 12, 3), dtype=np.uint8)).resize((96, 64), Image.BICUBIC))


def decode(data: bytes | np.ndarray, **options: int) -> np.ndarray:
    return read_image(data, **options).pixels


def encoded(image: Image.Image | np.ndarray, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, format, **options)
    return buffer.getvalue()


def oriented(image: np.ndarray, format: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, format, exif=exif, **options)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_orientation_is_applied_once(format: str, options: dict[str, object], orientation: int) -> None:
    pixels = decode(oriented(NOISE, format, orientation, **options))
    np.testing.assert_array_equal(pixels, UPRIGHT[orientation](NOISE))
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_of_a_jpeg_is_what_pillow_makes_of_it(orientation: int) -> None:
    data = oriented(SMOOTH, "JPEG", orientation)
    np.testing.assert_array_equal(decode(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


@pytest.mark.parametrize("orientation", [0, 9, 4711])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    np.testing.assert_array_equal(decode(oriented(NOISE, "PNG", orientation)), NOISE)


def test_exif_that_cannot_be_parsed_does_not_make_an_image_unreadable() -> None:
    data = encoded(SMOOTH, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\x07" * 20)
    assert decode(data).shape == SMOOTH.shape
    np.testing.assert_array_equal(decode(encoded(NOISE, "PNG", exif=b"no TIFF header")), NOISE)


def test_grey_is_repeated() -> None:
    grey = NOISE[..., 0]
    np.testing.assert_array_equal(decode(encoded(grey)), np.stack([grey] * 3, axis=2))


def test_one_bit_is_black_and_white() -> None:
    bits = NOISE[..., 0] > 127
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(bits))), np.where(bits[..., None], 255, [0, 0, 0]))


def on_black(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.round(colours * (alpha[..., None] / 255)).astype(np.uint8)


def test_rgba_is_laid_on_black() -> None:
    alpha = RNG.integers(0, 256, NOISE.shape[:2], dtype=np.uint8)
    rgba = np.dstack([NOISE, alpha])
    np.testing.assert_array_equal(decode(encoded(rgba)), on_black(NOISE, alpha))
    np.testing.assert_array_equal(decode(rgba), on_black(NOISE, alpha))


def test_grey_with_alpha_is_laid_on_black() -> None:
    grey, alpha = NOISE[..., 0], NOISE[..., 1]
    expected = on_black(np.stack([grey] * 3, axis=2), alpha)
    np.testing.assert_array_equal(decode(encoded(np.dstack([grey, alpha]))), expected)


def test_palette_without_and_with_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 255, 255, 255])
    image.putdata([0, 1, 2])
    colours = np.array([[[10, 20, 30], [200, 100, 50], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(decode(encoded(image)), colours)
    transparent = encoded(image, transparency=bytes([255, 128, 0]))
    np.testing.assert_array_equal(decode(transparent), on_black(colours, np.array([[255, 128, 0]])))
    key = encoded(image, "GIF", transparency=1)
    np.testing.assert_array_equal(decode(key), on_black(colours, np.array([[255, 0, 255]])))


def test_a_transparent_colour_of_an_rgb_image_is_black() -> None:
    pixels = np.full((2, 2, 3), 90, np.uint8)
    pixels[0, 0] = [255, 255, 255]
    expected = pixels.copy()
    expected[0, 0] = 0
    np.testing.assert_array_equal(decode(encoded(pixels, transparency=(255, 255, 255))), expected)


def test_cmyk() -> None:
    cmyk = Image.fromarray(RNG.integers(0, 256, (5, 6, 4), dtype=np.uint8), "CMYK")
    c, k = np.asarray(cmyk)[..., :3].astype(float), np.asarray(cmyk)[..., 3:].astype(float)
    ideal = (255 - c) * (255 - k) / 255
    assert np.abs(decode(encoded(cmyk, "TIFF")) - ideal).max() <= 1


def test_ycbcr_and_lab_give_back_the_colours_they_were_made_of() -> None:
    colours = Image.fromarray(SMOOTH)
    assert np.abs(decode(encoded(colours.convert("YCbCr"), "TIFF", compression=None)).astype(int) - SMOOTH).max() <= 3
    lab = ImageCms.profileToProfile(
        colours, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(decode(encoded(lab, "TIFF")).astype(int) - SMOOTH).mean() < 3


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_greys_are_scaled_from_their_full_range(format: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    decoded = decode(encoded(Image.fromarray(values), format))
    np.testing.assert_array_equal(decoded[0, :, 0], np.round(values[0] / 257))
    assert decoded[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]
    assert (decoded == decoded[..., :1]).all()


def test_big_endian_16_bit_greys() -> None:
    values = np.array([[0, 257, 65535]], np.uint16)
    data = bytearray(encoded(Image.fromarray(values.astype(">u2")), "TIFF"))
    assert decode(bytes(data))[0, :, 0].tolist() == [0, 1, 255]


def test_32_bit_greys_within_16_bits_are_scaled_and_others_refused() -> None:
    assert decode(encoded(Image.fromarray(np.array([[0, 65535]], np.int32)), "TIFF"))[0, :, 0].tolist() == [0, 255]
    for values in ([[0, 65536]], [[-1, 5]]):
        data = encoded(Image.fromarray(np.array(values, np.int32)), "TIFF")
        with pytest.raises(DataError, match=r"integer pixels from -?\d+ to \d+; accepted: 0 to 65535"):
            decode(data)


def test_floats_are_scaled_from_their_own_range() -> None:
    values = np.array([[-2.0, 0.0, 3.0]], np.float32)
    assert decode(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 102, 255]
    assert not decode(encoded(Image.fromarray(np.full((2, 2), 7.5, np.float32)), "TIFF")).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="float pixels that are infinite or not a number"):
        decode(encoded(Image.fromarray(np.array([[0.0, value]], np.float32)), "TIFF"))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_several_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(decode(data), np.broadcast_to([255, 0, 0], (4, 6, 3)))


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    at_least=st.integers(1, 500),
    orientation=st.integers(1, 8),
    progressive=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_draft_keeps_at_least_what_is_asked_for(
    width: int, height: int, at_least: int, orientation: int, progressive: bool
) -> None:
    data = oriented(np.zeros((height, width, 3), np.uint8), "JPEG", orientation, progressive=progressive)
    drafted, whole = decode(data, at_least=at_least).shape, decode(data).shape
    assert min(drafted[:2]) >= min(at_least, height, width)
    assert (drafted[0] > drafted[1]) <= (whole[0] > whole[1])
    if min(height, width) >= 2 * at_least:
        assert drafted[0] * drafted[1] < whole[0] * whole[1]


def test_draft_is_the_image_made_smaller() -> None:
    large = np.array(Image.fromarray(SMOOTH).resize((768, 512), Image.BICUBIC))
    drafted = decode(encoded(large, "JPEG", quality=95), at_least=64)
    assert drafted.shape == (64, 96, 3)
    assert np.abs(drafted.astype(int) - np.asarray(Image.fromarray(large).reduce(8))).mean() < 2


KINDS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}),
    ("BMP", {}),
    ("GIF", {}),
    ("WEBP", {}),
    ("PPM", {}),
]


@pytest.mark.parametrize(("format", "options"), KINDS, ids=[f"{name}-{'-'.join(map(str, o))}" for name, o in KINDS])
def test_a_truncated_file_is_refused_unless_every_pixel_is_there(format: str, options: dict[str, object]) -> None:
    data = encoded(SMOOTH, format, **options)
    whole = decode(data)
    for length in [*range(1, len(data) - 40, 61), *range(len(data) - 40, len(data))]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                pixels = decode(data[:length])
            except DataError:
                continue
        # What follows the last pixel of a PNG or GIF may be lost without harm.
        assert length > len(data) - 30
        np.testing.assert_array_equal(pixels, whole)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_truncation_is_called_by_its_name(format: str, share: float) -> None:
    data = encoded(SMOOTH, format)
    with pytest.raises(DataError, match="the file is truncated"):
        decode(data[: int(len(data) * share)])


def test_a_damaged_file_is_refused_in_one_line() -> None:
    data = bytearray(encoded(SMOOTH, "PNG"))
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    with pytest.raises(DataError, match=r"the file is (damaged|truncated): ") as caught:
        decode(bytes(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"hello", "not an image, or cut off in its header; the formats that are read: PNG, JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer; .*'git lfs pull'"),
        (bytes(128) + b"DICM" + bytes(9), "a DICOM file, which .* 'dicom'; else export it as PNG or TIFF"),
        (b"\n<!DOCTYPE html><html>", "a web page or XML file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_is_not_an_image(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        decode(data)


@pytest.mark.parametrize("side", [11, 20])
def test_more_pixels_than_accepted_are_refused(side: int) -> None:
    assert decode(encoded(np.zeros((10, 10), np.uint8)), max_pixels=100).shape == (10, 10, 3)
    message = rf"too large: {side**2} pixels; accepted: up to 100\. If it is no decompression bomb, raise images\.max_"
    for data in (encoded(np.zeros((side, side), np.uint8)), np.zeros((side, side), np.uint8)):
        with pytest.raises(DataError, match=message):
            decode(data, max_pixels=100)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_arrays_are_taken_as_they_are(shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode(pixels), np.broadcast_to(pixels.reshape(4, 5, -1), (4, 5, 3)))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float32", (4, 4, 3)), ("uint16", (4, 4)), ("uint8", (4,)), ("uint8", (4, 4, 2)), ("uint8", (0, 4, 3))],
)
def test_arrays_that_are_no_images_are_refused(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=rf"an array of {dtype} \({shape[0]},.* is not an image; accepted: uint8 of"):
        decode(np.zeros(shape, dtype))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for start in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"GIF89a", b"BM", b"P5 "):
        try:
            pixels = decode(start + data)
        except DataError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
