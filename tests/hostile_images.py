"""Image files as they should not be, made by code, each with what is to become of it.

`samples` yields what bytes alone can be, `byte_samples` the same as a corpus for a fuzzer, and `make_folder` adds what
only a file system can hold: pipes, sockets, links in a circle, names that are no text.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Pixels = npt.NDArray[np.uint8]

_COARSE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
COLOURS: Pixels = np.array(Image.fromarray(_COARSE).resize((48, 32), Image.Resampling.BICUBIC))
GREY: Pixels = np.ascontiguousarray(COLOURS[..., 0])
BITS = GREY > 127
ALPHA: Pixels = np.ascontiguousarray(COLOURS[..., 1])
DEEP = GREY.astype(np.uint16) * 257
HEIGHT, WIDTH = GREY.shape


@dataclass(frozen=True)
class Sample:
    """The bytes of a file, and what is to become of it.

    Attributes:
        name: of the file; no two samples have the same.
        data: its content.
        pixels: what it must be read as; None where it must not be read, or may be anything.
        tolerance: how far a pixel may be from that.
        reason: a pattern of why it is refused; with pixels, that is allowed too; with neither, either is right.
    """

    name: str
    data: bytes
    pixels: Pixels | None = None
    tolerance: int = 0
    reason: str | None = None


def samples() -> Iterator[Sample]:
    """Yield every file."""
    whole = list(_whole())
    yield from whole
    for sample in whole:
        yield from _cut(sample)
    for sample in whole:
        yield from _flipped(sample)
    yield from _turned()
    yield from _odd()
    yield from _of_odd_shape()
    yield from _of_several_frames()
    yield from _no_images()
    yield from _bombs()
    yield from _without_sense()


def byte_samples() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file: what a fuzzer of the reader may begin with."""
    for sample in samples():
        yield sample.name, sample.data


# What Pillow writes


def encoded(image: Image.Image | npt.NDArray[Any], format: str, **options: Any) -> bytes:
    """Return an image as a file."""
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, format, **options)
    return buffer.getvalue()


def in_colour(grey: npt.NDArray[Any]) -> Pixels:
    """Return grey (H, W) as (H, W, 3)."""
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def on_black(colours: Pixels, alpha: npt.NDArray[Any]) -> Pixels:
    """Return colours (H, W, 3) seen through alpha (H, W) on black."""
    return np.floor(colours * (alpha[..., None] / 255) + 0.5).astype(np.uint8)


def _whole() -> Iterator[Sample]:
    """Yield one sound file of each format and compression that is read."""
    bits, scaled = in_colour(BITS * 255), GREY.astype(np.float64) - GREY.min()
    floats = in_colour(np.round(scaled * 255 / scaled.max()))
    yield Sample("png-colour.png", encoded(COLOURS, "PNG"), COLOURS)
    yield Sample("png-grey.png", encoded(GREY, "PNG"), in_colour(GREY))
    yield Sample("png-bits.png", encoded(Image.fromarray(BITS), "PNG"), bits)
    yield Sample("png-deep.png", encoded(DEEP, "PNG"), in_colour(GREY))
    yield Sample("png-alpha.png", encoded(np.dstack([COLOURS, ALPHA]), "PNG"), on_black(COLOURS, ALPHA))
    yield Sample("png-interlaced.png", interlaced_png(COLOURS), COLOURS)
    yield Sample("jpeg.jpg", encoded(COLOURS, "JPEG", quality=98, subsampling=0), COLOURS, tolerance=8)
    yield Sample("jpeg-half.jpg", encoded(COLOURS, "JPEG", quality=98), COLOURS, tolerance=24)
    yield Sample(
        "jpeg-progressive.jpg",
        encoded(COLOURS, "JPEG", quality=98, subsampling=0, progressive=True),
        COLOURS,
        tolerance=8,
    )
    yield Sample(
        "jpeg-restarts.jpg",
        encoded(COLOURS, "JPEG", quality=98, subsampling=0, restart_marker_rows=1),
        COLOURS,
        tolerance=8,
    )
    yield Sample("jpeg-grey.jpg", encoded(GREY, "JPEG", quality=98), in_colour(GREY), tolerance=8)
    inks = Image.fromarray(np.dstack([255 - COLOURS, np.zeros_like(GREY)]), "CMYK")
    yield Sample("jpeg-inks.jpg", encoded(inks, "JPEG", quality=98), COLOURS, tolerance=12)
    for compression in ("raw", "tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "zstd", "lzma"):
        yield Sample(f"tiff-{compression}.tif", encoded(COLOURS, "TIFF", compression=compression), COLOURS)
    yield Sample("tiff-jpeg.tif", encoded(COLOURS, "TIFF", compression="jpeg", quality=98), COLOURS, tolerance=24)
    for compression in ("raw", "group3", "group4", "tiff_ccitt", "packbits"):
        data = encoded(Image.fromarray(BITS), "TIFF", compression=compression)
        yield Sample(f"tiff-bits-{compression}.tif", data, bits)
    for compression in ("raw", "tiff_lzw"):
        yield Sample(f"tiff-deep-{compression}.tif", encoded(DEEP, "TIFF", compression=compression), in_colour(GREY))
        data = encoded(GREY.astype(np.float32), "TIFF", compression=compression)
        yield Sample(f"tiff-float-{compression}.tif", data, floats)
    yield Sample("tiff-inks.tif", encoded(inks, "TIFF"), COLOURS)
    yield Sample("bmp-colour.bmp", encoded(COLOURS, "BMP"), COLOURS)
    yield Sample("bmp-grey.bmp", encoded(GREY, "BMP"), in_colour(GREY))
    yield Sample("bmp-bits.bmp", encoded(Image.fromarray(BITS), "BMP"), bits)
    yield Sample("bmp-runs.bmp", run_length_bmp(GREY // 32 * 32), in_colour(GREY // 32 * 32))
    yield Sample("gif.gif", encoded(GREY, "GIF"), in_colour(GREY))
    yield Sample("gif-rows.gif", encoded(GREY, "GIF", interlace=0), in_colour(GREY))
    yield Sample("webp.webp", encoded(COLOURS, "WEBP", lossless=True), COLOURS)
    yield Sample("webp-lossy.webp", encoded(COLOURS, "WEBP", quality=100), COLOURS, tolerance=24)
    alpha = np.dstack([COLOURS, ALPHA])
    yield Sample("webp-alpha.webp", encoded(alpha, "WEBP", lossless=True, exact=True), on_black(COLOURS, ALPHA))
    yield Sample("ppm.ppm", encoded(COLOURS, "PPM"), COLOURS)
    yield Sample("pgm.pgm", encoded(GREY, "PPM"), in_colour(GREY))
    yield Sample("pgm-deep.pgm", encoded(DEEP, "PPM"), in_colour(GREY))
    yield Sample("pbm.ppm", encoded(Image.fromarray(BITS), "PPM"), bits)
    yield Sample("pfm.ppm", encoded(GREY.astype(np.float32), "PPM"), floats)
    plain = b"P3 # a comment\n%d %d\n255\n" % (WIDTH, HEIGHT) + b" ".join(b"%d" % value for value in COLOURS.flat)
    yield Sample("ppm-plain.ppm", plain + b"\n", COLOURS)


def _cut(sample: Sample) -> Iterator[Sample]:
    """Yield a file cut off at each tenth of its length: refused, unless every pixel is there."""
    reason = "the file is truncated|not an image, or cut off in its header|not enough image data|decoder error -2"
    for tenth in range(1, 10):
        data = sample.data[: len(sample.data) * tenth // 10]
        yield Sample(f"cut-{tenth}-{sample.name}", data, sample.pixels, sample.tolerance, reason)


def _flipped(sample: Sample) -> Iterator[Sample]:
    """Yield a file with a bit turned, eight times; a PNG has checksums, which tell."""
    places = np.random.default_rng(len(sample.data)).integers(0, 8 * len(sample.data), 8)
    for number, place in enumerate(places.tolist()):
        data = bytearray(sample.data)
        data[place // 8] ^= 1 << place % 8
        name = f"flip-{number}-{sample.name}"
        if sample.name.endswith(".png"):
            yield Sample(
                name, bytes(data), sample.pixels, reason="the file is (damaged|truncated)|not an image, or cut"
            )
        else:
            yield Sample(name, bytes(data))


UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, 1),
}


def _turned() -> Iterator[Sample]:
    """Yield files that say in eight ways how they are held."""
    for orientation, upright in UPRIGHT.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels = np.ascontiguousarray(upright(COLOURS))
        yield Sample(f"turned-{orientation}.png", encoded(COLOURS, "PNG", exif=exif), pixels)
        yield Sample(f"turned-{orientation}.tif", encoded(COLOURS, "TIFF", exif=exif), pixels)
        data = encoded(COLOURS, "JPEG", quality=98, subsampling=0, exif=exif)
        yield Sample(f"turned-{orientation}.jpg", data, pixels, tolerance=8)


def _odd() -> Iterator[Sample]:
    """Yield files that are odd and sound: each is read right."""
    png, jpeg = encoded(COLOURS, "PNG"), encoded(COLOURS, "JPEG", quality=98, subsampling=0)
    yield Sample("a-png-named.jpg", png, COLOURS)
    yield Sample("a-jpeg-named.png", jpeg, COLOURS, tolerance=8)
    yield Sample("a-webp-named.tif", encoded(COLOURS, "WEBP", lossless=True), COLOURS)
    yield Sample("a-tiff-named.gif", encoded(COLOURS, "TIFF"), COLOURS)
    yield Sample("more-behind.png", png + b"more" * 99, COLOURS)
    yield Sample("more-behind.jpg", jpeg + bytes(range(256)) * 9, COLOURS, tolerance=8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # without the time
    for name, icc in {"sound": profile, "damaged": profile[:60] + b"?" * 99, "empty": b"?"}.items():
        yield Sample(f"profile-{name}.png", encoded(COLOURS, "PNG", icc_profile=icc), COLOURS)
        data = encoded(COLOURS, "JPEG", quality=98, subsampling=0, icc_profile=icc)
        yield Sample(f"profile-{name}.jpg", data, COLOURS, tolerance=8)
        yield Sample(f"profile-{name}.tif", encoded(COLOURS, "TIFF", icc_profile=icc), COLOURS)
    broken = b"Exif\0\0II*\0" + b"\xff" * 40
    yield Sample("exif-broken.jpg", encoded(COLOURS, "JPEG", quality=98, subsampling=0, exif=broken), COLOURS, 8)
    palette = Image.fromarray(GREY // 64, "P")
    palette.putpalette([10, 20, 30, 200, 100, 50, 90, 90, 90, 255, 255, 255])
    colours = np.array(palette.getpalette(), np.uint8).reshape(-1, 3)[GREY // 64]
    yield Sample("palette.png", encoded(palette, "PNG"), colours)
    yield Sample("palette.tif", encoded(palette, "TIFF"), colours)
    alpha = np.array([255, 128, 0, 60])[GREY // 64]
    shares = bytes([255, 128, 0, 60])
    yield Sample("palette-alpha.png", encoded(palette, "PNG", transparency=shares), on_black(colours, alpha))
    yield Sample("palette-key.gif", encoded(palette, "GIF", transparency=1), on_black(colours, 255 * (GREY // 64 != 1)))
    yield Sample("grey-alpha.png", encoded(np.dstack([GREY, ALPHA]), "PNG"), on_black(in_colour(GREY), ALPHA))
    # A colour of 16 bits keeps its higher 8; to the nearest, it might be one more.
    yield Sample("deep-colour.png", deep_png(COLOURS.astype(np.uint16) * 256 + 255), COLOURS, tolerance=1)
    for order in "<>":
        end = "little" if order == "<" else "big"
        yield Sample(f"{end}-endian.tif", tiff(DEEP.astype(f"{order}u2"), 1, order=order), in_colour(GREY))
        yield Sample(f"{end}-endian-negative.tif", tiff(DEEP.astype(f"{order}u2"), 0, order=order), *_NEGATIVE[order])
        floats = (GREY / 7).astype(f"{order}f4")
        scaled = np.round((GREY - GREY.min()) * (255 / np.ptp(GREY.astype(int))))
        yield Sample(f"{end}-endian-float.tif", tiff(floats, 1, {339: 3}, order=order), in_colour(scaled), 1)
        data = tiff(floats, 0, {339: 3}, order=order)
        yield Sample(f"{end}-endian-float-negative.tif", data, in_colour(255 - scaled), 1)
    yield Sample("big.tif", tiff(COLOURS, 2, big=True), COLOURS)
    yield Sample("negative.tif", tiff(GREY, 0), in_colour(255 - GREY))
    yield Sample("strips.tif", tiff(COLOURS, 2, rows=5), COLOURS)
    yield Sample("planes.tif", tiff(COLOURS, 2, planes=True), COLOURS)
    yield Sample("twelve-bits.tif", twelve_bit_tiff(GREY.astype(np.uint16) * 16), in_colour(twelve(GREY)))
    lab = ImageCms.profileToProfile(
        Image.fromarray(COLOURS), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.info.clear()  # a profile with the time
    yield Sample("lab.tif", encoded(lab, "TIFF"), COLOURS, tolerance=24)
    yield Sample("unknown-tags.tif", tiff(COLOURS, 2, {65000 + number: number for number in range(99)}), COLOURS)


# Pillow has no such decoder for Motorola's order of bytes.
_NEGATIVE: dict[str, tuple[Any, ...]] = {
    "<": (in_colour(255 - GREY),),
    ">": (None, 0, "not an image, or cut off in its header"),
}


def twelve(grey: Pixels) -> npt.NDArray[Any]:
    """Return what 12-bit values, sixteen times as large as these, are in 8 bits."""
    return np.floor(grey.astype(float) * 16 * 255 / 4095 + 0.5)


def _of_odd_shape() -> Iterator[Sample]:
    for height, width in ((1, 1), (1, 20_000), (20_000, 1), (2, 3)):
        pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        for format, options in {
            "png": {},
            "tif": {"compression": "tiff_lzw"},
            "bmp": {},
            "ppm": {},
        }.items():
            data = encoded(pixels, {"tif": "TIFF"}.get(format, format.upper()), **options)
            yield Sample(f"shape-{height}-{width}.{format}", data, pixels)
        yield Sample(f"shape-{height}-{width}.gif", encoded(pixels[..., 0], "GIF"), in_colour(pixels[..., 0]))
        flat = np.full((height, width, 3), 90, np.uint8)
        yield Sample(f"shape-{height}-{width}.jpg", encoded(flat, "JPEG", quality=98), flat, tolerance=2)


def _of_several_frames() -> Iterator[Sample]:
    """Yield animations and files of several pages: the first is taken."""
    first, others = Image.fromarray(COLOURS), [Image.new("RGB", (WIDTH, HEIGHT), name) for name in ("red", "blue")]
    several: dict[str, Any] = {"save_all": True, "append_images": others}
    yield Sample("animated.webp", encoded(first, "WEBP", lossless=True, **several), COLOURS)
    yield Sample("animated.png", encoded(first, "PNG", **several), COLOURS)
    yield Sample("pages.tif", encoded(first, "TIFF", **several), COLOURS)
    yield Sample("pages-lzw.tif", encoded(first, "TIFF", compression="tiff_lzw", **several), COLOURS)
    greys = {**several, "append_images": [image.convert("L") for image in others]}
    yield Sample("animated.gif", encoded(Image.fromarray(GREY), "GIF", **greys), in_colour(GREY))
    pair = encoded(first, "MPO", quality=98, subsampling=0, **several)
    yield Sample("pair.jpg", pair, COLOURS, tolerance=8)
    yield Sample("pages-in-a-circle.tif", tiff(COLOURS, 2, next_at=8), COLOURS)


def _no_images() -> Iterator[Sample]:
    """Yield what is no image, or one of a format that is not read."""
    nothing = "not an image"
    yield Sample("empty.png", b"", reason=r"the file is empty \(0 bytes\)")
    yield Sample("zeros.jpg", bytes(4096), reason=nothing)
    yield Sample("text.jpg", b"This is not an image.\n", reason=nothing)
    yield Sample("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", reason="a web page or XML file")
    yield Sample("drawing.png", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', reason="XML file")
    yield Sample("pointer.png", b"version https://git-lfs.github.com/spec/v1\n", reason="a Git LFS pointer")
    yield Sample("dicom.png", bytes(128) + b"DICM" + bytes(200), reason="a DICOM file")
    for name, start in {
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "pdf.png": b"%PDF-1.7\n",
        "zip.png": b"PK\x03\x04",
        "gzip.png": b"\x1f\x8b\x08\0",
        "photoshop.png": b"8BPS\0\x01" + bytes(6) + struct.pack(">HLLHH", 3, 9, 9, 8, 3),
        "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "film.jpg": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        "icon.png": b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0",
        "jpeg2000.jpg": b"\0\0\0\x0cjP  \r\n\x87\n",
        "program.png": b"\x7fELF\x02\x01\x01",
        "python.png": b"import os\n",
    }.items():
        yield Sample(name, start + bytes(64), reason=nothing)
    for name in ("AVIF", "ICO", "TGA", "SGI", "DDS"):
        yield Sample(f"format-{name}.png", encoded(COLOURS, name), reason=nothing)
    rng = np.random.default_rng(1)
    for format, extension in {"PNG": "png", "JPEG": "jpg", "TIFF": "tif", "BMP": "bmp", "GIF": "gif"}.items():
        start = encoded(COLOURS, format)[:4]
        yield Sample(f"start-{format}.{extension}", start, reason=nothing + "|the file is")
        yield Sample(f"noise-{format}.{extension}", start + rng.bytes(999), reason=nothing + "|the file is|too large")


def _bombs() -> Iterator[Sample]:
    """Yield files that would take more memory or time than there is."""
    large, side = "too large: [0-9,]+ pixels; accepted: up to 100,000,000", 40_000
    yield Sample("claim.png", png(header(side, side, 8, 2), (b"IDAT", zlib.compress(b""))), reason=large)
    yield Sample("claim-most.png", png(header(2**31 - 1, 2**31 - 1, 16, 6)), reason=large)
    yield Sample("claim.bmp", bmp_header(side, side, 24) + bytes(99), reason=large)
    yield Sample("claim-down.bmp", bmp_header(side, -side, 24) + bytes(99), reason=large)
    yield Sample("claim.ppm", b"P6 %d %d 255\n" % (side, side) + bytes(99), reason=large)
    yield Sample("claim-plain.ppm", b"P3 %d %d 255\n1 2 3" % (side, side), reason=large)
    yield Sample("claim-most.ppm", b"P6 %d %d 255\n" % (10**9, 10**9), reason=large)
    yield Sample("claim.gif", gif(60_000, 60_000, 60_000, 60_000), reason=large)
    yield Sample("claim-frame.gif", gif(9, 9, 60_000, 60_000), reason=large)
    yield Sample("claim-disposal.gif", gif(60_000, 60_000, 60_000, 60_000, disposal=2), reason=large)
    yield Sample("claim-disposal-frame.gif", gif(9, 9, 11_000, 11_000, disposal=2), reason=large)
    yield Sample("claim.webp", webp_header(16_383, 16_383), reason=f"{large}|the file is")
    yield Sample("claim-most.webp", webp_header(2**24, 2**24), reason=f"{large}|the file is")
    jpeg = bytearray(encoded(GREY, "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 65_500, 65_500)
    yield Sample("claim.jpg", bytes(jpeg), reason=large)
    for compression, name in {1: "raw", 5: "lzw", 7: "jpeg", 8: "deflate", 4: "group4"}.items():
        data = tiff(GREY, 1, {256: side, 257: side, 278: side, 259: compression})
        yield Sample(f"claim-{name}.tif", data, reason=large)
    yield Sample("claim-tile.tif", tiled(GREY, side), reason="the file is (damaged|truncated)|not an image|too large")
    yield Sample("claim-most.tif", tiff(GREY, 1, {256: 2**32 - 1, 257: 2**32 - 1}), reason=large)
    rows = zlib.compressobj(9)
    row = bytes(1 + 12_500 // 8)
    flat = b"".join(rows.compress(row * 1000) for _ in range(12)) + rows.flush()
    yield Sample("real.png", png(header(12_000, 12_500, 1, 0), (b"IDAT", flat)), reason=large)
    text = zlib.compress(bytes(50_000_000), 9)
    yield Sample("text.png", _with(b"zTXt", b"Comment\0\0" + text), COLOURS, reason="the file is damaged: .*too large")
    inner = b"Comment\0\x01\0\0\0" + text
    yield Sample("text-abroad.png", _with(b"iTXt", inner), COLOURS, reason="the file is damaged: .*too large")
    yield Sample("profile.png", _with(b"iCCP", b"icc\0\0" + text), COLOURS, reason="the file is damaged: .*too large")
    many = [(b"zTXt", b"Comment%d\0\0" % number + zlib.compress(bytes(1_000_000), 9)) for number in range(99)]
    data = png(header(WIDTH, HEIGHT, 8, 2), *many, (b"IDAT", scanlines(COLOURS)))
    yield Sample("texts.png", data, COLOURS, reason="the file is damaged: .*[Tt]oo much memory")
    tags = {700 + number: (7, 2**31, 8) for number in range(900)}
    yield Sample("tags-most.tif", tiff(COLOURS, 2, raw_tags=tags), COLOURS, reason="not an image|the file is")
    tags = {700 + number: (7, 3000, 8) for number in range(9000)}
    yield Sample("tags-many.tif", tiff(COLOURS, 2, raw_tags=tags), COLOURS, reason="not an image|the file is")
    for big in (False, True):
        data = tiff(COLOURS, 2, raw_tags={273: (4, 600_000, 8), 279: (4, 600_000, 8)}, big=big) + bytes(2_400_000)
        reason = "a decompression bomb: 600,000 strips or tiles; accepted: up to 500,000"
        yield Sample(f"strips-many-{big}.tif".lower(), data, reason=reason)
    cut = struct.pack("<LH", 8, 2**16 - 1) + struct.pack("<HHLL", 273, 4, 600_000, 8)
    yield Sample("strips-cut.tif", b"II*\0" + cut + bytes(2_400_000), reason="a decompression bomb: 600,000 strips")
    endless = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**40) + bytes(99)
    yield Sample("tags-endless.tif", endless, reason=r"it tells of 1,099,511,627,776 tags; accepted: up to 65,536")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000)
    exif += b"".join(struct.pack("<HHLL", 700 + number, 7, 60_000, 8) for number in range(5000))
    yield Sample("tags-many.jpg", encoded(COLOURS, "JPEG", quality=98, subsampling=0, exif=exif), COLOURS, 8)
    yield Sample("tags-many.png", _with(b"eXIf", exif[6:]), COLOURS)
    scans = encoded(np.full((2000, 2000), 255, np.uint8), "JPEG", progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    reason = "a decompression bomb: [0-9,]+ passes over its pixels; accepted: up to 100"
    yield Sample("passes.jpg", scans[:-2] + last * 20_000 + scans[-2:], reason=reason)


def _without_sense() -> Iterator[Sample]:
    """Yield files whose parts contradict each other, or that mean something that no grey value can show."""
    broken = "the file is (damaged|truncated)|not an image, or cut off in its header"
    yield Sample("no-width.png", png(header(0, 9, 8, 2), (b"IDAT", zlib.compress(b""))), reason=broken)
    yield Sample("no-pixels.png", png(header(WIDTH, HEIGHT, 8, 2)), reason=broken)
    yield Sample("no-kind.png", png(header(WIDTH, HEIGHT, 8, 5), (b"IDAT", scanlines(COLOURS))), reason=broken)
    yield Sample("few-pixels.png", png(header(99, 99, 8, 2), (b"IDAT", scanlines(COLOURS))), reason=broken)
    data = png(header(WIDTH, HEIGHT, 8, 2), (b"IDAT", b"not deflated"))
    yield Sample("no-deflate.png", data, reason=broken)
    data = bytearray(png(header(WIDTH, HEIGHT, 8, 2), (b"IDAT", zlib.compress(raw_scanlines(COLOURS), 0))))
    data[len(data) // 2] ^= 64
    yield Sample("checksum.png", bytes(data), reason="a chunk of its pixels does not have its checksum")
    yield Sample("long-chunk.png", png(header(9, 9, 8, 2)) + struct.pack(">L4s", 2**31 - 1, b"IDAT"), reason=broken)
    yield Sample("no-width.bmp", bmp_header(0, 9, 24) + bytes(99), reason=broken)
    yield Sample("no-depth.bmp", bmp_header(9, 9, 7) + bytes(999), reason=broken)
    yield Sample("no-width.ppm", b"P6 0 9 255\n" + bytes(99), reason=broken)
    yield Sample("below-zero.ppm", b"P6 -9 9 255\n" + bytes(999), reason=broken)
    yield Sample("no-white.ppm", b"P6 9 9 0\n" + bytes(999), reason=broken)
    yield Sample("no-number.ppm", b"P6 9 9 abc\n" + bytes(999), reason=broken)
    yield Sample("comment.ppm", b"P6 #" + b"x" * 100_000, reason=broken)
    yield Sample("no-width.gif", gif(0, 0, 0, 0), reason=broken)
    yield Sample("no-frame.gif", gif(9, 9, 9, 9)[:13] + b";", reason=broken)
    yield Sample("no-codes.gif", gif(9, 9, 9, 9, num_codes=0), reason=broken)
    yield Sample("no-chunk.webp", b"RIFF\x04\0\0\0WEBP", reason=broken)
    yield Sample("no-scan.jpg", b"\xff\xd8\xff\xd9", reason=broken)
    yield Sample("no-size.jpg", b"\xff\xd8" + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + bytes(99), reason=broken)
    yield Sample("no-tags.tif", b"II*\0\x08\0\0\0\0\0\0\0\0\0", reason=broken)
    yield Sample("tags-nowhere.tif", b"II*\0\xff\xff\xff\xff" + bytes(99), reason=broken)
    yield Sample("no-compression.tif", tiff(COLOURS, 2, {259: 9999}), reason=broken)
    yield Sample("no-kind.tif", tiff(COLOURS, 99), reason=broken)
    yield Sample("many-channels.tif", tiff(COLOURS, 2, {277: 65_535}), reason=broken)
    yield Sample("few-strips.tif", tiff(COLOURS, 2, rows=5, strips=3), reason="fewer strips or tiles of pixels than")
    yield Sample("few-planes.tif", tiff(COLOURS, 2, planes=True, strips=2), reason="fewer strips or tiles of pixels")
    yield Sample("strips-nowhere.tif", tiff(COLOURS, 2, {273: 10**9}), reason=broken)
    yield Sample("signed.tif", tiff(GREY, 1, {339: 2}), reason="signed pixels of 8 bits; accepted: unsigned")
    for name, value in {"nan": np.nan, "infinite": np.inf, "below": -np.inf}.items():
        floats = GREY.astype(np.float32)
        floats[3, 3] = value
        yield Sample(f"{name}.tif", encoded(floats, "TIFF"), reason="float pixels that are infinite or not a number")
    for name, value in {"above": 70_000, "below-zero": -1}.items():
        wide = GREY.astype(np.int32)
        wide[3, 3] = value
        reason = r"integer pixels from -?\d+ to \d+; accepted: 0 to 65535"
        yield Sample(f"wide-{name}.tif", encoded(wide, "TIFF"), reason=reason)


# What Pillow does not write


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of these chunks."""
    body = b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
        for kind, data in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


def header(width: int, height: int, bits: int, kind: int, interlace: int = 0) -> tuple[bytes, bytes]:
    """Return the first chunk of a PNG."""
    return b"IHDR", struct.pack(">LLBBBBB", width, height, bits, kind, 0, 0, interlace)


def raw_scanlines(pixels: npt.NDArray[Any]) -> bytes:
    """Return the rows of pixels as a PNG has them, unfiltered."""
    return b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in pixels)


def scanlines(pixels: npt.NDArray[Any]) -> bytes:
    """Return the rows of pixels as a PNG has them, deflated."""
    return zlib.compress(raw_scanlines(pixels))


def deep_png(pixels: npt.NDArray[np.uint16]) -> bytes:
    """Return colours of 16 bits as a PNG."""
    height, width = pixels.shape[:2]
    return png(header(width, height, 16, 2), (b"IDAT", scanlines(pixels.astype(">u2"))))


def interlaced_png(pixels: Pixels) -> bytes:
    """Return colours as a PNG by Adam7."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = (raw_scanlines(pixels[top::down, left::right]) for top, left, down, right in passes)
    height, width = pixels.shape[:2]
    return png(header(width, height, 8, 2, interlace=1), (b"IDAT", zlib.compress(b"".join(parts))))


def _with(kind: bytes, data: bytes) -> bytes:
    return png(header(WIDTH, HEIGHT, 8, 2), (kind, data), (b"IDAT", scanlines(COLOURS)))


def bmp_header(width: int, height: int, bits: int, compression: int = 0, colours: int = 0) -> bytes:
    """Return a BMP up to its palette."""
    start = 54 + 4 * colours
    info = struct.pack("<LllHHLLllLL", 40, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
    return struct.pack("<2sLHHL", b"BM", start, 0, 0, start) + info


def run_length_bmp(grey: Pixels) -> bytes:
    """Return grey as a BMP of runs."""
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    rows = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in grey[::-1])
    return bmp_header(grey.shape[1], grey.shape[0], 8, compression=1, colours=256) + palette + rows + b"\0\x01"


def gif(width: int, height: int, frame_width: int, frame_height: int, disposal: int = 0, num_codes: int = 9) -> bytes:
    """Return a GIF of one frame, with a palette of two colours, that holds so many pixels of the first."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"!\xf9\x04" + bytes([disposal << 2, 0, 0, 0, 0])
    frame = b"," + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0) + b"\x02"
    bits = 5  # the end, behind pairs of "begin anew" and "colour 0", of three bits each, the last the highest
    for _ in range(num_codes):
        bits = bits << 6 | 0b000_100
    codes = bits.to_bytes(bits.bit_length() // 8 + 1, "little")
    return screen + control + frame + bytes([len(codes)]) + codes + b"\0;"


def webp_header(width: int, height: int) -> bytes:
    """Return a WebP that claims a canvas and holds a lossless frame of it."""
    extended = (
        b"VP8X" + struct.pack("<LL", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    bits = min(width, 16_384) - 1 | (min(height, 16_384) - 1) << 14
    frame = b"\x2f" + struct.pack("<L", bits) + bytes(11)
    body = b"WEBP" + extended + b"VP8L" + struct.pack("<L", len(frame)) + frame
    return b"RIFF" + struct.pack("<L", len(body)) + body


def tiff(
    pixels: npt.NDArray[Any],
    photometric: int,
    tags: dict[int, int] | None = None,
    *,
    order: str = "<",
    big: bool = False,
    rows: int | None = None,
    planes: bool = False,
    strips: int | None = None,
    next_at: int = 0,
    raw_tags: dict[int, tuple[int, int, int]] | None = None,
) -> bytes:
    """Return an uncompressed TIFF: its first directory, then its pixels.

    Args:
        pixels: (H, W) or (H, W, C), in the order of bytes that is given.
        photometric: 0: white is zero; 1: black is zero; 2: colours.
        tags: further tags of one value, which replace those of the same number.
        order: "<" or ">".
        big: whether it is a BigTIFF.
        rows: of a strip; by default all.
        planes: whether channels are stored one after the other.
        strips: how many of the strips it tells of; by default all.
        next_at: where it says that the next directory is.
        raw_tags: further tags by type, count and value.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    layers = [pixels[..., channel] for channel in range(channels)] if planes else [pixels]
    step = rows or height
    parts = [
        np.ascontiguousarray(layer[top : top + step]).tobytes() for layer in layers for top in range(0, height, step)
    ]
    told = len(parts) if strips is None else strips
    single = {
        256: width,
        257: height,
        258: pixels.dtype.itemsize * 8,
        259: 1,
        262: photometric,
        277: channels,
        278: step,
    }
    single |= {284: 2 if planes else 1} | (tags or {})
    entries = {number: (4, [value]) for number, value in single.items()}
    entries.setdefault(273, (4, [0] * told))
    entries.setdefault(279, (4, [len(part) for part in parts[:told]]))
    raw = raw_tags or {}
    count_format, entry_format, offset_format, inline = ("Q", "HHQ", "Q", 8) if big else ("H", "HHL", "L", 4)
    entry_size = struct.calcsize(f"{order}{entry_format}") + inline
    start = 16 if big else 8
    behind = start + struct.calcsize(f"{order}{count_format}") + entry_size * (len(entries) + len(raw)) + inline
    lists = sum(4 * len(values) for _, values in entries.values() if 4 * len(values) > inline)
    offsets = np.cumsum([behind + lists, *map(len, parts)])[:-1].tolist()
    if 273 not in single:
        entries[273] = (4, offsets[:told])
    listed, extra = {}, b""
    for number, (kind, values) in entries.items():
        packed = struct.pack(f"{order}{len(values)}L", *values)
        if len(packed) > inline:
            listed[number] = (kind, len(values), struct.pack(f"{order}{offset_format}", behind + len(extra)))
            extra += packed
        else:
            listed[number] = (kind, len(values), packed.ljust(inline, b"\0"))
    for number, (kind, count, value) in raw.items():
        listed[number] = (kind, count, struct.pack(f"{order}{offset_format}", value))
    directory = b"".join(
        struct.pack(f"{order}{entry_format}", number, kind, count) + value
        for number, (kind, count, value) in sorted(listed.items())
    )
    mark = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    mark += struct.pack(f"{order}HHQ", 8, 0, start) if big else struct.pack(f"{order}L", start)
    count = struct.pack(f"{order}{count_format}", len(listed))
    return mark + count + directory + struct.pack(f"{order}{offset_format}", next_at) + extra + b"".join(parts)


def tiled(grey: Pixels, side: int) -> bytes:
    """Return a small compressed TIFF whose one tile claims a side of its own."""
    data = zlib.compress(grey.tobytes())
    tags = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 325: len(data)}
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    listed = sorted({**tags, 324: start}.items())
    directory = b"".join(struct.pack("<HHLL", number, 4, 1, value) for number, value in listed)
    return b"II*\0" + struct.pack("<LH", 8, len(listed)) + directory + bytes(4) + data


def twelve_bit_tiff(values: npt.NDArray[np.uint16]) -> bytes:
    """Return values up to 4095 as a TIFF of 12 bits, two of them in three bytes."""
    first, second = values.reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)
    height, width = values.shape
    return tiff(packed.reshape(height, width * 3 // 2), 1, {256: width, 258: 12})


# What only a file system can hold

ODD_NAMES = (
    "with blanks .png",
    "a 'quote' and a \"quote\".png",
    "two\nlines.png",
    "--help.png",
    "-",
    "[bold]x[-].png",
    "[red]",
    "<script>alert(1)</script>.png".replace("/", "\u2215"),
    "&amp;.png",
    "comma,semicolon;tab\t.png",
    "=cmd|calc.png",
    "{brace}%s%n.png",
    "\x1b[31mred\x1b[0m.png",
    "\u05e2\u05d9\u05df-\u773c-\U0001f441.png",
    "e\u0301-combining.png",
    "\u202egnp.right-to-left.png",
    f"{'long' * 62}.png",
)
"""Names of good images; each is read under its own name."""

NO_NAMES = (b"latin-\xe9.png", b"carriage\rreturn.png", b"\xff\xfe\xc3.png")
"""Names of good images that fit in no table: each counts as unreadable."""


def make_folder(folder: Path) -> dict[str, str]:
    """Put what is no file, and good images under odd names, into a folder that exists; return reasons by name.

    The reason is a pattern of why the image counts as unreadable; "" where it is read.
    """
    data = encoded(COLOURS, "PNG")
    reasons = {name if name.endswith(".png") else f"{name}.png": "" for name in ODD_NAMES}
    reasons |= {os.fsdecode(name): "its name fits in no table" for name in NO_NAMES}
    for name in reasons:
        (folder / name).write_bytes(data)
    return reasons | _make_no_files(folder)


def _make_no_files(folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "pipe.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "there.png").symlink_to("back.png")
    (folder / "back.png").symlink_to("there.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "pipe-link.png").symlink_to("pipe.png")
    (folder / "huge.png").touch()
    os.truncate(folder / "huge.png", 2**40)  # takes no room on the disk
    reasons = {
        "pipe.png": "not a file but a named pipe",
        "pipe-link.png": "not a file but a named pipe",
        "circle.png": "Too many levels of symbolic links",
        "there.png": "Too many levels of symbolic links",
        "back.png": "Too many levels of symbolic links",
        "gone.png": "No such file or directory",
        "huge.png": "too large: 1,099,511,627,776 bytes; accepted: up to 1,073,741,824",
        "socket.png": "not a file but a socket",
    }
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.png")
    finally:
        os.chdir(here)
    for device in ("zero", "full", "tty"):
        if Path("/dev", device).exists():
            (folder / f"device-{device}.png").symlink_to(f"/dev/{device}")
            reasons[f"device-{device}.png"] = "not a file but a device"
    if os.geteuid() != 0:
        (folder / "locked.png").write_bytes(b"locked")
        (folder / "locked.png").chmod(0)
        reasons["locked.png"] = "Permission denied"
    return reasons
