from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pydicom = pytest.importorskip("pydicom", minversion="3")

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing, convert_color_space, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MPEG2MPML,
    RLELossless,
)

from sslkit_dicom.grey import Unreadable, window
from sslkit_dicom.pixels import read_pixels

Write = Callable[..., Path]

RAMP_8 = np.arange(256, dtype=np.uint8).reshape(16, 16)
RAMP_12 = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def expected(brightness: np.ndarray) -> np.ndarray:
    return np.floor(255 * np.clip(brightness, 0, 1) + 0.5).astype(np.uint8)


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def shipped(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom does not ship {name}")
    return Path(path)


def test_8_bit_greys_stay_as_they_are(tmp_path: Path, write: Write) -> None:
    pixels = read_pixels(write(tmp_path / "x", RAMP_8))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (16, 16))
    np.testing.assert_array_equal(pixels, RAMP_8)
    half = RAMP_8 // 2 + 50
    np.testing.assert_array_equal(read_pixels(write(tmp_path / "x", half)), half)


def test_monochrome1_is_inverted(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "x", RAMP_8, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_pixels(path), 255 - RAMP_8)
    path = write(tmp_path / "x", RAMP_12, PhotometricInterpretation="MONOCHROME1", BitsStored=12)
    np.testing.assert_array_equal(read_pixels(path), 255 - expected(RAMP_12 / 4095))


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("dtype", "bits"), [("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16), ("i1", 8), ("u4", 32)])
def test_other_greys_go_from_the_least_to_the_greatest(
    tmp_path: Path, write: Write, dtype: str, bits: int, syntax: str | None
) -> None:
    signed = dtype.startswith("i")
    top = 2 ** (bits - signed) - 1
    stored = np.linspace(-top // 3 if signed else top // 5, top // 2, 48).astype(dtype).reshape(6, 8)
    pixels = read_pixels(write(tmp_path / "x", stored, BitsStored=bits, syntax=syntax))
    values = stored.astype(float)
    np.testing.assert_array_equal(pixels, expected((values - values.min()) / np.ptp(values)))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_fewer_than_8_bits(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "x", RAMP_8 % 64, BitsStored=6)
    np.testing.assert_array_equal(read_pixels(path), expected((RAMP_8 % 64) / 63))


def test_unused_high_bits_are_no_values(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "x", RAMP_12 | 0x8000, BitsStored=12)
    np.testing.assert_array_equal(read_pixels(path), expected(RAMP_12 / 4095))


def test_a_constant_image_is_black(tmp_path: Path, write: Write) -> None:
    assert not read_pixels(write(tmp_path / "x", np.full((4, 4), 700, np.uint16))).any()


def test_padding_does_not_stretch_the_range(tmp_path: Path, write: Write) -> None:
    stored = np.array([[-2000, -2000, 0, 50], [100, 150, 200, -1990]], np.int16)
    path = write(tmp_path / "x", stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
    np.testing.assert_array_equal(read_pixels(path), expected(stored / 200))
    path = write(tmp_path / "x", stored, PixelPaddingValue=-2000)
    np.testing.assert_array_equal(read_pixels(path), expected((stored + 1990) / 2190))
    path = write(tmp_path / "x", np.full((2, 2), 7, np.uint16), PixelPaddingValue=7)
    assert not read_pixels(path).any()


def test_rescaled_values_are_what_the_window_is_of(tmp_path: Path, write: Write) -> None:
    rescale = {"RescaleSlope": "2", "RescaleIntercept": "-1024"}
    path = write(tmp_path / "x", RAMP_12, BitsStored=12, WindowCenter="40.5", WindowWidth="401", **rescale)
    hounsfield = 2.0 * RAMP_12 - 1024
    np.testing.assert_array_equal(read_pixels(path), expected((hounsfield - 40) / 400 + 0.5))


def test_a_negative_slope_turns_dark_to_bright(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "x", RAMP_8, RescaleSlope="-1", RescaleIntercept="255")
    np.testing.assert_array_equal(read_pixels(path), 255 - RAMP_8)


def test_a_window_of_8_bit_greys(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "x", RAMP_8, WindowCenter=[128, 1000], WindowWidth=[101, 1])
    shown = read_pixels(path)
    np.testing.assert_array_equal(shown, expected((RAMP_8 - 127.5) / 100 + 0.5))
    assert (shown[RAMP_8 <= 77].max(), shown[RAMP_8 >= 178].min()) == (0, 255)


def test_a_window_of_one_value_is_a_threshold(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "x", RAMP_8, WindowCenter=100, WindowWidth=1)
    np.testing.assert_array_equal(read_pixels(path), np.where(RAMP_8 >= 100, 255, 0))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@settings(deadline=None, max_examples=40)
@given(st.floats(-500, 4500), st.floats(1.5, 5000), st.floats(0.1, 8), st.floats(-1024, 1024))
def test_windows_agree_with_pydicom(function: str, center: float, width: float, slope: float, shift: float) -> None:
    header = item(PhotometricInterpretation="MONOCHROME2", BitsStored=12, PixelRepresentation=0)
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = center, width, function
    header.RescaleSlope, header.RescaleIntercept = slope, shift
    values = apply_modality_lut(RAMP_12, header)
    theirs = (apply_windowing(values, header) - shift) / (4095 * slope)
    np.testing.assert_allclose(window(values, center, width, function), theirs, atol=1e-9)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_lookup_tables_agree_with_pydicom(tmp_path: Path, write: Write, vr: str, syntax: str | None) -> None:
    stored = np.arange(-8, 56, dtype=np.int16).reshape(8, 8)
    curve = [round(1000 * (place / 31) ** 0.5) for place in range(32)]
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = np.array(curve, f"{order}u2").tobytes() if vr == "OW" else curve
    table = item(LUTDescriptor=[32, -4, 10])
    table.add_new("LUTData", vr, data)
    for sequence, apply in (("ModalityLUTSequence", apply_modality_lut), ("VOILUTSequence", apply_voi_lut)):
        path = write(tmp_path / "x", stored, syntax=syntax, **{sequence: [table]})
        mapped = np.array(curve)[np.clip(stored + 4, 0, 31)]
        np.testing.assert_array_equal(apply(stored, dcmread(path)), mapped)
        top = 1000 if sequence == "ModalityLUTSequence" else 1023
        np.testing.assert_array_equal(read_pixels(path), expected(mapped / top))


def test_a_table_comes_before_a_window(tmp_path: Path, write: Write) -> None:
    table = item(LUTDescriptor=[256, 0, 8])
    table.add_new("LUTData", "OW", bytes(255 - RAMP_8))
    path = write(tmp_path / "x", RAMP_8, VOILUTSequence=[table], WindowCenter=5, WindowWidth=5)
    np.testing.assert_array_equal(read_pixels(path), 255 - RAMP_8)


def test_of_several_frames_the_first_is_read(tmp_path: Path, write: Write) -> None:
    frames = np.stack([RAMP_8, 255 - RAMP_8, RAMP_8 // 2])
    np.testing.assert_array_equal(read_pixels(write(tmp_path / "x", frames)), RAMP_8)


def test_functional_groups_of_the_first_frame(tmp_path: Path, write: Write) -> None:
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope="2", RescaleIntercept="10")],
        FrameVOILUTSequence=[item(WindowCenter="0", WindowWidth="1")],
    )
    frames = [
        item(FrameVOILUTSequence=[item(WindowCenter=center, WindowWidth="201", VOILUTFunction="LINEAR_EXACT")])
        for center in ("110", "300")
    ]
    path = write(
        tmp_path / "x",
        np.stack([RAMP_8, RAMP_8]),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    np.testing.assert_array_equal(read_pixels(path), expected((2.0 * RAMP_8 + 10 - 110) / 201 + 0.5))


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_rgb_in_both_planar_configurations(tmp_path: Path, write: Write, planar: int, syntax: str | None) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    pixels = read_pixels(write(tmp_path / "x", rgb, PlanarConfiguration=planar, syntax=syntax))
    np.testing.assert_array_equal(pixels, rgb)
    assert pixels.flags.c_contiguous


def test_rgb_of_more_bits(tmp_path: Path, write: Write) -> None:
    rgb = np.random.default_rng(0).integers(0, 4096, (5, 7, 3), dtype=np.uint16)
    np.testing.assert_array_equal(read_pixels(write(tmp_path / "x", rgb, BitsStored=12)), expected(rgb / 4095))


@pytest.mark.parametrize("planar", [0, 1])
def test_ybr_full(tmp_path: Path, write: Write, planar: int) -> None:
    ybr = np.random.default_rng(0).integers(16, 240, (6, 8, 3), dtype=np.uint8)
    y, cb, cr = np.moveaxis(ybr.astype(float), -1, 0)
    # PS3.3 C.7.6.3.1.2, inverted
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    rgb = np.clip(np.floor(np.stack([red, green, blue], axis=-1) + 0.5), 0, 255)
    path = write(tmp_path / "x", ybr, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=planar)
    assert np.abs(read_pixels(path) - rgb).max() <= 1  # pydicom computes in 32 bits
    assert np.mean(read_pixels(path) == rgb) > 0.99


def test_ybr_full_422(tmp_path: Path, write: Write) -> None:
    rng = np.random.default_rng(0)
    luma = rng.integers(60, 200, (4, 6), dtype=np.uint8)
    blue, red = rng.integers(100, 156, (2, 4, 3), dtype=np.uint8)
    raw = np.stack([luma[:, ::2], luma[:, 1::2], blue, red], axis=-1).tobytes()
    path = write(
        tmp_path / "x", np.zeros((4, 6, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422", PixelData=raw
    )
    ybr = np.stack([luma, blue.repeat(2, axis=1), red.repeat(2, axis=1)], axis=-1)
    np.testing.assert_array_equal(read_pixels(path), convert_color_space(ybr, "YBR_FULL", "RGB"))


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (16, 65535)])
@pytest.mark.parametrize("syntax", [None, ExplicitVRBigEndian])
def test_palettes(tmp_path: Path, write: Write, bits: int, top: int, syntax: str | None) -> None:
    tables = np.random.default_rng(0).integers(0, top + 1, (3, 256))
    order = ">" if syntax else "<"
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"{colour}PaletteColorLookupTableData"] = table.astype(f"{order}u{bits // 8}").tobytes()
    path = write(tmp_path / "x", RAMP_8, syntax=syntax, **elements)
    np.testing.assert_array_equal(read_pixels(path), expected(tables.T[RAMP_8] / top))


def test_a_compressed_photograph(tmp_path: Path, write: Write) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24], pixels[:, 24:] = (200, 60, 20), (20, 120, 30)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    elements = {"PhotometricInterpretation": "YBR_FULL_422", "PixelData": encapsulate([buffer.getvalue()])}
    path = write(tmp_path / "x", pixels, syntax=JPEGBaseline8Bit, **elements)
    read = read_pixels(path)
    with Image.open(buffer) as image:
        assert np.abs(read.astype(int) - np.asarray(image)).max() <= 3
    cut = encapsulate([buffer.getvalue()[:-150]])
    path = write(tmp_path / "x", pixels, syntax=JPEGBaseline8Bit, **{**elements, "PixelData": cut})
    with pytest.raises(OSError, match=r"x: compressed as JPEG Baseline .* damaged or beyond the decoders .*truncated"):
        read_pixels(path)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (JPEGLosslessSV1, "pip install python-gdcm"),
        (JPEGLSLossless, "pip install python-gdcm"),
        (HTJ2KLossless, "pip install pylibjpeg pylibjpeg-openjpeg"),
    ],
)
def test_what_pydicom_cannot_decode_names_the_package_that_can(
    tmp_path: Path, write: Write, syntax: Any, package: str
) -> None:
    if pydicom.pixels.get_decoder(syntax).is_available:
        pytest.skip(f"a decoder of {syntax.name} is installed")
    path = write(tmp_path / "x.dcm", RAMP_8, syntax=syntax, PixelData=encapsulate([b"abcd"]))
    with pytest.raises(OSError, match="compressed as J|compressed as H") as raised:
        read_pixels(path)
    assert str(raised.value) == (
        f"x.dcm: compressed as {syntax.name}, which pydicom decodes only with another package: {package}"
    )


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"syntax": MPEG2MPML, "PixelData": encapsulate([b"ab"])}, "its transfer syntax is MPEG2 .* does not decode"),
        ({"syntax": RLELossless, "PixelData": encapsulate([b"ab"])}, "compressed as RLE Lossless, and damaged or"),
        ({"PhotometricInterpretation": "HSV"}, "its photometric interpretation is 'HSV'; accepted: MONOCHROME1, "),
        ({"PhotometricInterpretation": None}, "its photometric interpretation is ''; accepted"),
        ({"Rows": 60000, "Columns": 60000}, "too large: 3,600,000,000 pixels a frame, more than"),
        ({"Rows": 17}, "x: the file is damaged: ValueError: "),
        ({"PixelData": None}, "x: the file is damaged: "),
        ({"BitsAllocated": 7}, "x: the file is damaged: "),
        ({"WindowCenter": 5, "WindowWidth": 0}, "window width is 0, and must be at least 1 for the function LINEAR"),
        (
            {"WindowCenter": 5, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
            "window width is 0, and must be above 0 for the function SIGMOID",
        ),
        (
            {"WindowCenter": 5, "WindowWidth": 5, "VOILUTFunction": "CUBIC"},
            "VOI LUT function is 'CUBIC'; accepted: LINEAR, LINEAR_EXACT, SIGMOID",
        ),
    ],
)
def test_every_fault_of_an_image_is_an_oserror(
    tmp_path: Path, write: Write, elements: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "x", RAMP_8, **elements)
    with pytest.raises(OSError, match=message) as raised:
        read_pixels(path)
    assert "\n" not in str(raised.value)
    assert "Jane" not in str(raised.value)


def test_a_missing_file_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        read_pixels(tmp_path / "none")
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(OSError, match="x: the file is damaged: InvalidDicomError"):
        read_pixels(tmp_path / "x")


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_a_file_cut_off_anywhere_is_an_oserror_that_says_nothing_of_the_patient(
    tmp_path: Path, write: Write, syntax: str | None
) -> None:
    whole = write(tmp_path / "x", RAMP_8, syntax=syntax, PatientID="MRN-77").read_bytes()
    for length in range(0, len(whole), 3):
        (tmp_path / "x").write_bytes(whole[:length])
        with pytest.raises(OSError, match="x: ") as raised:
            read_pixels(tmp_path / "x")
        assert "Jane" not in str(raised.value)
        assert "MRN-77" not in str(raised.value)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    whole = bytearray(shipped("SC_rgb_small_odd.dcm").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(132, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        pixels = read_pixels(path)
    except OSError as error:
        assert str(error).startswith("damaged.dcm: ")
    else:
        assert pixels.dtype == np.uint8


def test_floats_that_are_no_numbers(tmp_path: Path, write: Write) -> None:
    values = np.array([[0.5, np.nan], [1, 2]], "f4")
    elements = {"PixelData": b"", "BitsAllocated": 32, "BitsStored": None, "HighBit": None}
    path = write(tmp_path / "x", np.zeros((2, 2), np.uint32), **elements)
    for content, message in ((values, "infinite or not a number"), (np.nan_to_num(values), None)):
        data = dcmread(path)
        if "PixelData" in data:
            del data.PixelData
        data.FloatPixelData = content.tobytes()
        data.save_as(path)
        if message:
            with pytest.raises(OSError, match=message):
                read_pixels(path)
        else:
            np.testing.assert_array_equal(read_pixels(path), expected(content / 2))


def test_a_window_says_what_is_wrong_with_it() -> None:
    with pytest.raises(Unreadable, match="window width is -1"):
        window(np.zeros((1, 1)), 0, -1)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("examples_rgb_color.dcm", (240, 320, 3)),
        ("examples_ybr_color.dcm", (240, 320, 3)),
        ("examples_palette.dcm", (350, 800, 3)),
        ("examples_jpeg2k.dcm", (480, 640, 3)),
        ("examples_overlay.dcm", (300, 484)),
        ("SC_rgb_small_odd.dcm", (3, 3, 3)),
        ("SC_rgb_rle.dcm", (100, 100, 3)),
        ("SC_rgb_rle_32bit.dcm", (100, 100, 3)),
        ("SC_rgb_dcmtk_+eb+cy+s2.dcm", (100, 100, 3)),
        ("SC_rgb_jpeg_gdcm.dcm", (100, 100, 3)),
        ("MR_small_implicit.dcm", (64, 64)),
        ("MR_small_jp2klossless.dcm", (64, 64)),
        ("liver_1frame.dcm", (512, 512)),
        ("rtdose_rle.dcm", (10, 10)),
        ("J2K_pixelrep_mismatch.dcm", (512, 512)),
    ],
)
def test_files_of_many_makers(name: str, shape: tuple[int, ...]) -> None:
    pixels = read_pixels(shipped(name))
    assert (pixels.dtype, pixels.shape) == (np.uint8, shape)
    assert np.ptp(pixels) > 100


def test_the_same_image_in_several_codings() -> None:
    for first, second in (("MR_small_implicit.dcm", "MR_small_jp2klossless.dcm"),):
        np.testing.assert_array_equal(read_pixels(shipped(first)), read_pixels(shipped(second)))


def test_a_real_window_agrees_with_pydicom() -> None:
    path = shipped("MR_small_implicit.dcm")
    data = dcmread(path)
    shown = apply_windowing(pixel_array(data), data)
    np.testing.assert_array_equal(read_pixels(path), expected((shown + 32768) / 65535))
