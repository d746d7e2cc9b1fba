from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sslkit import Record
from sslkit_dicom import Dicom, DicomConfig

pydicom = pytest.importorskip("pydicom", minversion="3")
encapsulate = pytest.importorskip("pydicom.encaps").encapsulate
processing = pytest.importorskip("pydicom.pixels")
uid = pytest.importorskip("pydicom.uid")
grey = pytest.importorskip("sslkit_dicom.grey")
read_pixels = pytest.importorskip("sslkit_dicom.pixels").read_pixels

Write = Callable[..., Path]

RAMP_8 = np.arange(256, dtype=np.uint8).reshape(16, 16)
RAMP_12 = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def expected(brightness: np.ndarray) -> np.ndarray:
    return np.floor(255 * np.clip(brightness, 0, 1) + 0.5).astype(np.uint8)


def item(**elements: Any) -> Any:
    made = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def shipped(name: str) -> Path:
    path = pydicom.data.get_testdata_file(name, download=False)
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


@pytest.mark.parametrize("syntax", [None, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
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
    values = processing.apply_modality_lut(RAMP_12, header)
    with np.errstate(over="ignore"):
        theirs = (processing.apply_windowing(values, header) - shift) / (4095 * slope)
    np.testing.assert_allclose(grey.window(values, center, width, function), theirs, atol=1e-9)


@pytest.mark.parametrize("syntax", [None, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_lookup_tables_agree_with_pydicom(tmp_path: Path, write: Write, vr: str, syntax: str | None) -> None:
    stored = np.arange(-8, 56, dtype=np.int16).reshape(8, 8)
    curve = [round(1000 * (place / 31) ** 0.5) for place in range(32)]
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    data = np.array(curve, f"{order}u2").tobytes() if vr == "OW" else curve
    for sequence, apply, bits, top in (
        ("ModalityLUTSequence", processing.apply_modality_lut, 16, 1000),  # followed by the range of the image
        ("VOILUTSequence", processing.apply_voi_lut, 10, 1023),
    ):
        table = item(LUTDescriptor=[32, -4, bits])
        table.add_new("LUTData", vr, data)
        path = write(tmp_path / "x", stored, syntax=syntax, **{sequence: [table]})
        mapped = np.array(curve)[np.clip(stored + 4, 0, 31)]
        np.testing.assert_array_equal(apply(stored, pydicom.dcmread(path)), mapped)
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
@pytest.mark.parametrize("syntax", [None, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
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
    path = write(tmp_path / "x", np.zeros((4, 6, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422", PixelData=raw)
    ybr = np.stack([luma, blue.repeat(2, axis=1), red.repeat(2, axis=1)], axis=-1)
    np.testing.assert_array_equal(read_pixels(path), processing.convert_color_space(ybr, "YBR_FULL", "RGB"))


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (16, 65535)])
@pytest.mark.parametrize("syntax", [None, uid.ExplicitVRBigEndian])
def test_palettes(tmp_path: Path, write: Write, bits: int, top: int, syntax: str | None) -> None:
    tables = np.random.default_rng(0).integers(0, top + 1, (3, 256))
    order = ">" if syntax else "<"
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"{colour}PaletteColorLookupTableData"] = table.astype(f"{order}u{bits // 8}").tobytes()
    path = write(tmp_path / "x", RAMP_8, syntax=syntax, **elements)
    np.testing.assert_array_equal(read_pixels(path), expected(tables.T[RAMP_8] / top))


def test_a_palette_of_8_bit_entries_for_12_bit_values(tmp_path: Path, write: Write) -> None:
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "BitsStored": 12}
    entries = (np.arange(4096) * 7 % 256).astype(np.uint8)
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [4096, 0, 8]
        elements[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    path = write(tmp_path / "x", RAMP_12, **elements)
    np.testing.assert_array_equal(read_pixels(path), np.stack(3 * [entries[RAMP_12]], axis=-1))


def test_a_segmented_palette(tmp_path: Path, write: Write) -> None:
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        # One entry 0, then 255 steps of a straight line to 255 (PS3.3 C.7.9.2)
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = bytes([0, 1, 0, 1, 255, 255])
    path = write(tmp_path / "x", RAMP_8, **elements)
    np.testing.assert_array_equal(read_pixels(path), np.stack(3 * [RAMP_8], axis=-1))


def test_a_compressed_photograph(tmp_path: Path, write: Write) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24], pixels[:, 24:] = (200, 60, 20), (20, 120, 30)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    elements = {"PhotometricInterpretation": "YBR_FULL_422", "PixelData": encapsulate([buffer.getvalue()])}
    path = write(tmp_path / "x", pixels, syntax=uid.JPEGBaseline8Bit, **elements)
    read = read_pixels(path)
    with Image.open(buffer) as image:
        assert np.abs(read.astype(int) - np.asarray(image)).max() <= 3
    cut = encapsulate([buffer.getvalue()[:-150]])
    path = write(tmp_path / "x", pixels, syntax=uid.JPEGBaseline8Bit, **{**elements, "PixelData": cut})
    with pytest.raises(
        OSError, match=r"x: compressed as JPEG Baseline .* damaged or beyond the decoders .*[Tt]runcated"
    ):
        read_pixels(path)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (uid.JPEGLosslessSV1, "pip install python-gdcm"),
        (uid.JPEGLSLossless, "pip install python-gdcm"),
        (uid.HTJ2KLossless, "pip install pylibjpeg pylibjpeg-openjpeg"),
    ],
)
def test_what_pydicom_cannot_decode_names_the_package_that_can(
    tmp_path: Path, write: Write, syntax: Any, package: str
) -> None:
    if processing.get_decoder(syntax).is_available:
        pytest.skip(f"a decoder of {syntax.name} is installed")
    path = write(tmp_path / "x.dcm", RAMP_8, syntax=syntax, PixelData=encapsulate([b"abcd"]))
    with pytest.raises(OSError, match="compressed as") as raised:
        read_pixels(path)
    assert str(raised.value) == (
        f"x.dcm: compressed as {syntax.name}, which pydicom decodes only with another package: {package}"
    )


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        (
            {"syntax": uid.MPEG2MPML, "PixelData": encapsulate([b"ab"])},
            "transfer syntax is MPEG2 .* does not decode",
        ),
        ({"syntax": uid.RLELossless, "PixelData": encapsulate([b"ab"])}, "compressed as RLE Lossless, and damaged or"),
        ({"PhotometricInterpretation": "HSV"}, "its photometric interpretation is 'HSV'; accepted: MONOCHROME1, "),
        ({"Rows": None}, "x: it holds no image, or is cut off in its header"),
        (
            {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Columns": 4, "Rows": 21},
            "MONOCHROME2 with pixels of shape",
        ),
        ({"PhotometricInterpretation": None}, "its photometric interpretation is ''; accepted"),
        ({"Rows": 60000, "Columns": 60000}, "too large: 3,600,000,000 pixels a frame; accepted: up to 100,000,000"),
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


@pytest.mark.parametrize("syntax", [None, uid.ImplicitVRLittleEndian])
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
        said = str(read_pixels(path).dtype)
    except OSError as error:
        said = str(error)
    assert said == "uint8" or said.startswith("damaged.dcm: ")


def test_floats_that_are_no_numbers(tmp_path: Path, write: Write) -> None:
    values = np.array([[0.5, np.nan], [1, 2]], "f4")
    elements = {"PixelData": b"", "BitsAllocated": 32, "BitsStored": None, "HighBit": None}
    path = write(tmp_path / "x", np.zeros((2, 2), np.uint32), **elements)
    for content, message in ((values, "infinite or not a number"), (np.nan_to_num(values), None)):
        data = pydicom.dcmread(path)
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
    with pytest.raises(grey.Unreadable, match="window width is -1"):
        grey.window(np.zeros((1, 1)), 0, -1)


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
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100, 3)),
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


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("SC_rgb_rle.dcm", 0),
        ("SC_rgb_rle_16bit.dcm", 0),
        ("SC_rgb_rle_32bit_2frame.dcm", 0),
        ("SC_ybr_full_422_uncompressed.dcm", 5),
        ("SC_rgb_dcmtk_+eb+cr.dcm", 3),
        ("SC_rgb_dcmtk_+eb+cy+n2.dcm", 5),
        ("SC_rgb_dcmtk_+eb+cy+s4.dcm", 5),
        ("SC_rgb_jpeg_lossy_gdcm.dcm", 3),
    ],
)
def test_one_chart_in_many_codings(name: str, tolerance: int) -> None:
    pixels = read_pixels(shipped(name))
    chart = {5: (255, 0, 0), 15: (255, 128, 128), 25: (0, 255, 0), 35: (128, 255, 128), 45: (0, 0, 255)}
    chart |= {65: (0, 0, 0), 75: (64, 64, 64), 85: (192, 192, 192), 95: (255, 255, 255)}
    read = np.stack([pixels[row, 50] for row in chart]).astype(int)
    assert np.abs(read - list(chart.values())).max() <= tolerance


@pytest.mark.parametrize("name", ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "padded"])
def test_one_slice_in_many_codings(name: str) -> None:
    np.testing.assert_array_equal(read_pixels(shipped(f"MR_small_{name}.dcm")), read_pixels(shipped("MR_small.dcm")))


def test_a_real_window_agrees_with_pydicom() -> None:
    path = shipped("MR_small_implicit.dcm")
    data = pydicom.dcmread(path)
    shown = processing.apply_windowing(processing.pixel_array(data), data)
    np.testing.assert_array_equal(read_pixels(path), expected((shown + 32768) / 65535))


def test_a_deflated_bomb_is_refused(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x", RAMP_8, syntax=uid.DeflatedExplicitVRLittleEndian)
    np.testing.assert_array_equal(read_pixels(path), RAMP_8)
    monkeypatch.setattr("sslkit_dicom.deflated.MAX_INFLATED", 300)
    with pytest.raises(OSError, match="x: too large: it is inflated to more than 300 bytes"):
        read_pixels(path)


def test_the_most_pixels_are_those_of_the_run(tmp_path: Path, write: Write) -> None:
    dataset = Dicom(DicomConfig(path=tmp_path))
    write(tmp_path / "x", RAMP_8)
    (record,) = dataset.records()
    assert dataset.read(record).shape == (16, 16)
    dataset.max_pixels = 255
    with pytest.raises(OSError, match=r"x: too large: 256 pixels .*; accepted: up to 255\. .* images\.max_pixels"):
        dataset.read(record)


def test_a_pipe_holds_nothing_up(tmp_path: Path, write: Write) -> None:
    dataset = Dicom(DicomConfig(path=tmp_path))
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "x", RAMP_8)
    assert [record.id for record in dataset.records()] == ["x"]
    record = Record("pipe", tmp_path / "pipe")
    for read in (dataset.read, dataset.fingerprint):
        with pytest.raises(OSError, match=r"not a file but a named pipe: '.*pipe'"):
            read(record)
