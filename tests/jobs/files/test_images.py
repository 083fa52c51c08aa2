"""Pictures from files: decoded right, or refused in words that help."""

import io
import os
import pickle
import queue
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from wconv_jobs.errors import JobError
from wconv_jobs.files import images
from wconv_jobs.files.images import (
    check_images,
    decode,
    flat_offsets,
    in_threads,
    list_images,
    size_of,
)

# Shape letters: H height, W width, C channels.


def _png_16_bit_rgb() -> bytes:
    """Return a PNG of one 16-bit RGB pixel, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    header = bytes([0, 0, 0, 1, 0, 0, 0, 1, 16, 2, 0, 0, 0])
    pixel = zlib.compress(bytes([0, 1, 2, 3, 4, 5, 6]))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    )


def test_rgb_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels_HWC = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(pixels_HWC).save(tmp_path / "a.png")

    decoded_HWC = decode(tmp_path / "a.png")

    assert decoded_HWC.dtype == np.uint8
    assert decoded_HWC.tolist() == pixels_HWC.tolist()


@pytest.mark.parametrize(("mode", "value"), [("L", 7), ("1", 1), ("P", 7)])
def test_gray_black_and_white_and_palette_become_rgb(
    tmp_path: Path, mode: str, value: int
) -> None:
    image = Image.new(mode, (1, 1), value)
    if mode == "P":
        image.putpalette([0] * 21 + [10, 20, 30])
    image.save(tmp_path / "a.png")

    expected = {"L": [7, 7, 7], "1": [255, 255, 255], "P": [10, 20, 30]}[mode]
    assert decode(tmp_path / "a.png").tolist() == [[expected]]


def test_transparent_pixels_are_shown_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putpixel((0, 0), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    image.putpixel((2, 0), (0, 0, 0, 51))
    image.save(tmp_path / "a.png")

    # 51 of 255 is a fifth: 0.2 * 0 + 0.8 * 255
    assert decode(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255] * 3, [204] * 3]]


def test_a_transparent_palette_color_is_shown_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (1, 1), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "a.png", transparency=1)

    assert decode(tmp_path / "a.png").tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".tif", ".webp"])
def test_other_formats_are_read(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (16, 8), (200, 100, 50)).save(tmp_path / f"a{suffix}")

    decoded_HWC = decode(tmp_path / f"a{suffix}")

    assert decoded_HWC.shape == (8, 16, 3)
    assert np.abs(decoded_HWC.mean((0, 1)) - [200, 100, 50]).max() < 4


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("suffix", images.SUFFIXES)
def test_a_pickle_with_the_name_of_an_image_is_refused_and_not_run(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pickle.dumps(_Payload()))

    with pytest.raises(JobError, match=r"a\.\w+: is not an image in the format of BMP, JPEG"):
        decode(path)

    assert not (tmp_path / "executed").exists()


def test_a_postscript_program_with_the_name_of_an_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(path, format="EPS")

    with pytest.raises(JobError, match="is not an image in the format of"):
        decode(path)


def test_16_bit_gray_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 1000, np.uint16)).save(tmp_path / "a.png")

    with pytest.raises(JobError, match=r"a\.png: has more than 8 bits per channel \(mode I;16\)"):
        decode(tmp_path / "a.png")


def test_a_bitmap_of_16_bits_a_pixel_has_fewer_than_8_a_channel(tmp_path: Path) -> None:
    # One red pixel: 5 bits of red, 6 of green, 5 of blue, named by masks behind the header.
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    header = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    pixel = struct.pack("<HH", 0xF800, 0)
    start = 14 + len(header) + len(masks)
    top = b"BM" + struct.pack("<IHHI", start + len(pixel), 0, 0, start)
    (tmp_path / "a.bmp").write_bytes(top + header + masks + pixel)

    assert decode(tmp_path / "a.bmp").tolist() == [[[255, 0, 0]]]


def test_a_pipe_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")

    with pytest.raises(JobError, match=r"a\.png: is a pipe, not a file"):
        decode(tmp_path / "a.png")


def test_16_bit_rgb_is_refused_although_pillow_calls_it_rgb(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png_16_bit_rgb())
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGB"

    with pytest.raises(JobError, match=r"more than 8 bits per channel .* Convert it to 8-bit RGB"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("arrangement", ["contig", "separate"])
@pytest.mark.parametrize(
    "layout",
    [{}, {"tile": (16, 16)}, {"byteorder": ">"}, {"compression": "zlib"}],
    ids=["strips", "tiles", "big-endian", "compressed"],
)
def test_a_tiff_of_16_bits_is_refused_however_it_lies(
    tmp_path: Path, layout: dict[str, Any], arrangement: str, channels: int
) -> None:
    planes_CHW = np.random.default_rng(0).integers(0, 60_000, (channels, 30, 40), np.uint16)
    pixels = planes_CHW if arrangement == "separate" else np.moveaxis(planes_CHW, 0, 2)
    extra = ["unassalpha"] if channels == 4 else None
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="rgb",
        planarconfig=arrangement,
        extrasamples=extra,
        **layout,
    )

    with pytest.raises(JobError, match=r"a\.tif: has more than 8 bits per channel"):
        decode(tmp_path / "a.tif")
    with pytest.raises(JobError, match="more than 8 bits per channel"):
        size_of(tmp_path / "a.tif")


def test_a_tiff_of_8_bits_in_planes_is_taken_as_it_is(tmp_path: Path) -> None:
    planes_CHW = np.random.default_rng(0).integers(0, 256, (3, 30, 40), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", planes_CHW, photometric="rgb", planarconfig="separate")

    assert np.array_equal(decode(tmp_path / "a.tif"), np.moveaxis(planes_CHW, 0, 2))


def test_signed_gray_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5), -1, np.int8))

    with pytest.raises(JobError, match=r"a\.tif: has signed values, which is not supported"):
        decode(tmp_path / "a.tif")


def _turned(path: Path, pixels_HWC: NDArray[np.uint8], orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    # Each format takes the options that it knows.
    Image.fromarray(pixels_HWC).save(path, exif=exif, quality=95, lossless=True)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_pixels_lie_as_they_are_stored_in_every_format(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    # One color a quarter, in quarters that differ in shape: no two turns look the same.
    pixels_HWC = np.zeros((16, 48, 3), np.uint8)
    pixels_HWC[:8, :16], pixels_HWC[:8, 16:], pixels_HWC[8:, :16] = 60, 120, 180
    path = tmp_path / f"a{suffix}"
    _turned(path, pixels_HWC, orientation)

    assert size_of(path) == (16, 48)
    assert np.abs(decode(path).astype(int) - pixels_HWC).max() <= 8


def test_an_orientation_in_xmp_turns_a_tiff_no_more_than_the_tag(tmp_path: Path) -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    pixels_HWC = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels_HWC, extratags=[(700, "B", len(packet), packet, True)]
    )

    assert size_of(tmp_path / "a.tif") == (3, 5)
    assert decode(tmp_path / "a.tif").tolist() == pixels_HWC.tolist()


def test_floating_point_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tif")

    with pytest.raises(JobError, match=r"more than 8 bits per channel \(mode F\)"):
        decode(tmp_path / "a.tif")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2)).save(tmp_path / "a.jpg")

    with pytest.raises(JobError, match=r"has color mode CMYK\. Convert it to 8-bit RGB"):
        decode(tmp_path / "a.jpg")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    frame = Image.new("RGB", (2, 2))
    frame.save(tmp_path / "a.tif", save_all=True, append_images=[frame])

    with pytest.raises(JobError, match="holds several frames"):
        decode(tmp_path / "a.tif")


@pytest.mark.parametrize("pixels", [90_000_000, 200_000_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, pixels: int) -> None:
    # A bitmap header alone, that of a black-and-white picture of this size.
    packed = io.BytesIO()
    Image.new("1", (1, 1)).save(packed, format="BMP")
    header = bytearray(packed.getvalue())
    header[18:22] = (10_000).to_bytes(4, "little")
    header[22:26] = (pixels // 10_000).to_bytes(4, "little")
    (tmp_path / "a.bmp").write_bytes(header)

    with pytest.raises(JobError, match=r"has more than 80,000,000 pixels\. Cut it into smaller"):
        decode(tmp_path / "a.bmp")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    drawn = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(drawn).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(JobError, match=rf"a\{suffix}: "):
        decode(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"a\.png: cannot be opened .*No such file"):
        decode(tmp_path / "a.png")


def test_images_are_listed_by_name_without_notes_and_hidden_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", ".c.png", "README.txt", "d.tiff"):
        (tmp_path / name).touch()

    assert [path.name for path in list_images(tmp_path)] == ["a.JPG", "b.png", "d.tiff"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(JobError, match=r"holds no images. Put files there that end in \.bmp"):
        list_images(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"nowhere: cannot list .*\(No such file or directory\)"):
        list_images(tmp_path / "nowhere")


def test_the_check_names_every_problem(tmp_path: Path) -> None:
    Image.new("RGB", (8, 9)).save(tmp_path / "good.png")
    Image.new("RGB", (7, 9)).save(tmp_path / "small.png")
    (tmp_path / "bad.png").write_text("no picture")

    problems = check_images(list_images(tmp_path), min_px=8)

    assert len(problems) == 2
    assert problems[0].startswith(f"{tmp_path}/bad.png: is not an image")
    assert problems[1] == (
        f"{tmp_path}/small.png: is 7 x 9 pixels, smaller than the crops of 8 x 8. "
        "Lower crop_px or remove this image."
    )


def test_the_check_counts_what_it_does_not_show(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]

    problems = check_images(paths, min_px=1, shown=2)

    assert len(problems) == 3
    assert problems[2] == "3 more images have problems."


def test_the_check_stops_decoding_after_so_many_pixels(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        drawn = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(drawn).save(path)
    paths[1].write_bytes(paths[1].read_bytes()[:5000])

    assert len(check_images(paths, min_px=1, decode_px=64 * 64 + 1)) == 1
    assert check_images(paths, min_px=1, decode_px=64 * 64) == []


def test_the_check_decodes_everything_when_it_is_asked_to(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(
        tmp_path / "a.png"
    )
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:5000])

    (problem,) = check_images([tmp_path / "a.png"], min_px=1, decode_px=None)

    assert problem.startswith(f"{tmp_path}/a.png: cannot be decoded")


def test_the_check_names_images_that_are_too_small_to_be_scored(tmp_path: Path) -> None:
    Image.new("RGB", (30, 10)).save(tmp_path / "a.png")

    assert check_images([tmp_path / "a.png"], min_px=11, use="scored") == [
        f"{tmp_path}/a.png: is 30 x 10 pixels, too small to be scored, which takes 11 x 11. "
        "Remove this image."
    ]


def test_the_size_is_read_from_the_header_alone(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(drawn).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:3000])

    assert size_of(tmp_path / "a.png") == (40, 60)


def test_offsets_are_those_of_pictures_one_after_the_other() -> None:
    # 3 * 2 * 5 = 30 and 3 * 1 * 4 = 12
    assert flat_offsets([(2, 5), (1, 4)]) == [0, 30, 42]


def test_threads_keep_the_order_and_hand_over_every_error() -> None:
    def work(number: int) -> int:
        if number % 3 == 0:
            raise JobError(f"number {number}")
        return number

    outcomes = list(in_threads(work, 7))

    assert [str(outcome) for outcome in outcomes] == [
        "number 0", "1", "2", "number 3", "4", "5", "number 6",
    ]  # fmt: skip


def test_threads_are_ahead_of_the_reader_by_a_few_results_alone() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    results = in_threads(work, 1000)

    assert next(results) == 0
    assert len(begun) <= 2 * images.THREADS + 1
    assert list(results) == list(range(1, 1000))


def test_what_a_reader_leaves_behind_may_be_closed_in_one_of_the_threads() -> None:
    left, ended = threading.Event(), queue.Queue[Exception | None]()

    def work(number: int) -> None:
        if number == 1:
            left.wait(timeout=60)
            try:
                results.close()  # as the garbage collector does, wherever it is at work
                ended.put(None)
            except Exception as error:
                ended.put(error)

    results = in_threads(work, 1000)
    next(results)
    left.set()

    assert ended.get(timeout=60) is None


def test_threads_leave_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    before = list(warnings.filters)

    list(in_threads(lambda _: decode(tmp_path / "a.png"), 200))

    assert list(warnings.filters) == before
