"""Images are made by the tests; sizes are in px."""

import pickle
import resource
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from models import errors
from models.errors import BadImage, BrokenImage, EmptyImage, TooManyPixels, UnsupportedImage
from models.formats.parts import MAX_EDGE, MAX_FULL_PIXELS, MAX_PIXELS
from models.preprocess import (
    FORMATS,
    Pixels,
    decode_upright,
    to_pixels,
)
from tests.image_files import encoded, png_chunk

# pytest overrides the warning filters of models.preprocess
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning"
)

ORIENTATION = 0x0112


def scene(width: int = 96, height: int = 96) -> Image.Image:
    """Red increases to the right, green downwards; blue marks the top left corner."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    red, green = np.meshgrid(across, down)
    blue = 255 - np.maximum(red, green)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def resized(image: Image.Image, side: int = 32) -> Pixels:
    """The expected pixels of a square image."""
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def difference(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference of two images, on the scale 0 .. 255."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def exif(*tags: tuple[int, int, int, int]) -> bytes:
    """An EXIF block with tags (number, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


def overwritten(data: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(data)
    for place, patch in edits:
        start = place % len(data)
        changed[start : start + len(patch)] = patch
    return bytes(changed)


def noise(width: int, height: int) -> Image.Image:
    """Noise; compresses badly, so that pixel data makes up most of the file."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


SAMPLES = {format_: encoded(noise(40, 25), format_) for format_ in FORMATS}


class TestFormats:
    @pytest.mark.parametrize(
        ("format_", "options", "tolerance"),
        [
            ("PNG", {}, 0),
            ("BMP", {}, 0),
            ("WEBP", {}, 6),
            ("JPEG", {}, 3),
            ("MPO", {"save_all": True, "append_images": [Image.new("RGB", (96, 96))]}, 3),
            ("GIF", {}, 12),
        ],
    )
    def test_every_format_is_read(
        self, format_: str, options: dict[str, object], tolerance: float
    ) -> None:
        pixels = to_pixels(encoded(scene(), format_, **options), 32)
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8
        assert difference(pixels, resized(scene())) <= tolerance

    @pytest.mark.parametrize(
        ("mode", "format_", "tolerance"),
        [("1", "PNG", 0), ("P", "PNG", 0), ("RGBA", "PNG", 0), ("CMYK", "JPEG", 3)],
    )
    def test_every_mode_is_read(self, mode: str, format_: str, tolerance: float) -> None:
        image = scene().convert(mode)
        pixels = to_pixels(encoded(image, format_), 32)
        assert difference(pixels, resized(image)) <= tolerance

    @pytest.mark.parametrize(
        ("stored", "seen"), [(0, 0), (257, 1), (32768, 128), (51400, 200), (65535, 255)]
    )
    def test_16_bit_grey_is_scaled_and_not_clipped(self, stored: int, seen: int) -> None:
        grey = Image.fromarray(np.full((20, 20), stored, np.uint16))
        assert grey.mode == "I;16"
        assert (to_pixels(encoded(grey, "PNG"), 8) == seen).all()

    def test_the_first_frame_of_an_animation_is_read(self) -> None:
        frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
        data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
        assert difference(to_pixels(data, 8), resized(frames[0], 8)) < 3


class TestTransparency:
    @pytest.mark.parametrize(
        ("mode", "format_", "options"),
        [
            ("RGBA", "PNG", {}),
            ("LA", "PNG", {}),
            ("P", "GIF", {"transparency": 0}),
            ("RGB", "PNG", {"transparency": (0, 0, 0)}),
        ],
    )
    def test_transparent_pixels_become_white(
        self, mode: str, format_: str, options: dict[str, object]
    ) -> None:
        """The transparent pixels are black."""
        image = Image.new(mode, (20, 20), 0)
        assert (to_pixels(encoded(image, format_, **options), 8) == 255).all()

    def test_half_transparent_black_is_grey(self) -> None:
        image = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
        pixels = to_pixels(encoded(image, "PNG"), 8)
        assert np.abs(pixels.astype(int) - 127).max() <= 1


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_exif_orientation_is_applied(self, orientation: int) -> None:
        seen = np.asarray(scene())
        stored = {  # by position of the first stored row and column
            1: seen,  # top, left
            2: seen[:, ::-1],  # top, right
            3: seen[::-1, ::-1],  # bottom, right
            4: seen[::-1],  # bottom, left
            5: seen.swapaxes(0, 1),  # left, top
            6: np.rot90(seen),  # right, top
            7: seen[::-1, ::-1].swapaxes(0, 1),  # right, bottom
            8: np.rot90(seen, -1),  # left, bottom
        }[orientation]
        image = Image.fromarray(np.ascontiguousarray(stored))
        data = encoded(image, "PNG", exif=exif((ORIENTATION, 3, 1, orientation)))
        assert np.array_equal(to_pixels(data, 32), resized(scene()))

    def test_a_rotation_swaps_width_and_height(self) -> None:
        data = encoded(scene(60, 20), "JPEG", exif=exif((ORIENTATION, 3, 1, 6)))
        assert decode_upright(data, target_side=32).size == (20, 60)

    def test_the_orientation_is_applied_despite_another_damaged_tag(self) -> None:
        """`ImageOps.exif_transpose` writes all tags again, and would fail."""
        text_as_number = (0x0128, 2, 2, 65)
        data = encoded(scene(60, 20), "JPEG", exif=exif((ORIENTATION, 3, 1, 6), text_as_number))
        assert decode_upright(data, target_side=32).size == (20, 60)


class TestWarnings:
    def test_damaged_metadata_causes_no_warning(self) -> None:
        """In a separate process that turns warnings into errors."""
        program = "import sys; from models.preprocess import to_pixels as p"
        program += "; p(sys.stdin.buffer.read(), 8)"
        data = encoded(scene(), "PNG", exif=exif((ORIENTATION, 3, 1, 6))[:-8])
        subprocess.run([sys.executable, "-W", "error", "-c", program], input=data, check=True)


class TestSizes:
    def test_a_large_jpeg_is_scaled_while_decoding(self) -> None:
        """12 megapixels; no edge is below twice the target side."""
        data = encoded(scene(400, 300).resize((4000, 3000)), "JPEG")
        assert decode_upright(data, target_side=160).size == (500, 375)

        with Image.open(BytesIO(data)) as whole:
            reference = resized(whole.crop((500, 0, 3500, 3000)), 160)
        assert difference(to_pixels(data, 160), reference) < 1

    @pytest.mark.parametrize("around", [12, 13, 24, 25, 50, 100, 1000])
    def test_the_decoder_keeps_at_least_twice_the_target_side(self, around: int) -> None:
        smallest = min(decode_upright(encoded(scene(300, 200), "JPEG"), around).size)
        assert smallest >= min(2 * around, 200)

    @pytest.mark.parametrize("format_", ["PNG", "JPEG"])
    @pytest.mark.parametrize("size", [(1, 1), (1, 500), (2000, 3)])
    def test_tiny_and_narrow_images_are_read(self, size: tuple[int, int], format_: str) -> None:
        grey = Image.new("RGB", size, (128, 128, 128))
        assert (to_pixels(encoded(grey, format_), 16) == 128).all()

    @pytest.mark.parametrize("size", [(300, 100), (100, 300), (301, 100), (100, 301)])
    def test_the_central_square_is_cropped(self, size: tuple[int, int]) -> None:
        """The centre is green, the part before it red, the part after it blue."""
        width, height = size
        image = Image.new("RGB", size, "blue")
        image.paste("red", (0, 0, width // 2, height // 2))
        left, top = (width - 100) // 2, (height - 100) // 2
        image.paste("lime", (left, top, width - left, height - top))
        pixels = to_pixels(encoded(image, "PNG"), 50)
        assert difference(pixels, np.full((50, 50, 3), (0, 255, 0), np.uint8)) < 6
        assert (pixels.argmax(axis=-1) == 1).all()


def with_declared_size(format_: str, width: int, height: int) -> bytes:
    """A small file of the format with `width` and `height` in its header."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), format_))
    match format_:
        case "PNG":
            header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            body = png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b"")
            return b"\x89PNG\r\n\x1a\n" + header + body
        case "JPEG":
            frame = data.index(b"\xff\xc0")
            data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
        case "GIF":
            data[6:10] = struct.pack("<HH", width, height)
        case "BMP":
            data[18:26] = struct.pack("<ii", width, height)
        case "WEBP":
            start = data.index(b"\x9d\x01\x2a") + 3
            data[start : start + 4] = struct.pack("<HH", width, height)
    return bytes(data)


def peak_memory_bytes() -> int:
    """Peak resident memory of this process, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class TestLimit:
    @pytest.mark.parametrize(
        ("format_", "width", "height"),
        [*((format_, 9_000, 9_000) for format_ in FORMATS), ("PNG", 2**31 - 1, 2**31 - 1)],
    )
    def test_too_many_declared_pixels_are_rejected_without_decoding(
        self, format_: str, width: int, height: int
    ) -> None:
        """The smallest one would take 243 MB when decoded."""
        data = with_declared_size(format_, width, height)
        before = peak_memory_bytes()
        limit = MAX_PIXELS if format_ == "JPEG" else MAX_FULL_PIXELS
        limit = MAX_EDGE if width > MAX_EDGE else limit
        with pytest.raises(TooManyPixels, match=rf"{limit}\b.*: send a smaller image"):
            to_pixels(data, 16)
        assert peak_memory_bytes() - before < 20_000_000


OTHER_FILES = {
    "plain text": b"The cat sat on the mat.\n" * 20,
    "TIFF": encoded(scene(20, 20), "TIFF"),
    "one byte": b"B",
}


class TestInvalidImages:
    def test_empty_bytes_are_an_empty_image(self) -> None:
        with pytest.raises(EmptyImage, match="the image is empty; send an image as JPEG"):
            to_pixels(b"", 16)

    @pytest.mark.parametrize("name", OTHER_FILES)
    def test_other_file_types_are_unsupported(self, name: str) -> None:
        with pytest.raises(UnsupportedImage) as caught:
            to_pixels(OTHER_FILES[name], 16)
        text = str(caught.value)
        assert text.startswith(
            f"{len(OTHER_FILES[name])} bytes that begin with {OTHER_FILES[name][:8]!r}"
        )
        assert "one of JPEG, PNG, WEBP, GIF, BMP: convert the image to one of them" in text

    @pytest.mark.parametrize("format_", FORMATS)
    def test_half_a_file_is_broken(self, format_: str) -> None:
        with pytest.raises(BrokenImage, match="send all of it"):
            to_pixels(SAMPLES[format_][: len(SAMPLES[format_]) // 2], 16)

    @pytest.mark.parametrize("format_", FORMATS)
    def test_any_truncation_is_read_or_rejected(self, format_: str) -> None:
        """Some decoders read an image of which a few bytes are missing."""
        for length in range(1, len(SAMPLES[format_]), 5):
            assert_read_or_rejected(SAMPLES[format_][:length])

    def test_the_error_of_a_broken_image_states_format_and_size(self) -> None:
        damaged = overwritten(SAMPLES["WEBP"], [(20, b"\xff" * 3)])
        text = r"the WEBP of 40 x 25 px cannot be decoded \(OSError: .*send all of it"
        with pytest.raises(BrokenImage, match=text):
            to_pixels(damaged, 16)


def assert_read_or_rejected(data: bytes) -> None:
    """Check that `to_pixels` returns pixels or raises BadImage."""
    try:
        pixels = to_pixels(data, 8)
    except BadImage:
        return
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8


class TestArbitraryBytes:
    @pytest.mark.parametrize("format_", FORMATS)
    @settings(deadline=None, derandomize=True, max_examples=80)
    @given(begin=st.integers(1, 30), rest=st.binary(max_size=200))
    def test_after_an_image_begins_are_read_or_rejected(
        self, format_: str, begin: int, rest: bytes
    ) -> None:
        assert_read_or_rejected(SAMPLES[format_][:begin] + rest)

    @pytest.mark.parametrize("format_", FORMATS)
    @settings(deadline=None, derandomize=True, max_examples=80)
    @given(
        edits=st.lists(
            st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=6)), min_size=1
        )
    )
    def test_written_over_an_image_are_read_or_rejected(
        self, format_: str, edits: list[tuple[int, bytes]]
    ) -> None:
        assert_read_or_rejected(overwritten(SAMPLES[format_], edits))

    @settings(deadline=None, derandomize=True, max_examples=80)
    @given(
        kind=st.sampled_from([b"eXIf", b"tRNS", b"PLTE", b"tEXt", b"iTXt", b"zTXt", b"iCCP",
                              b"pHYs", b"acTL", b"fcTL", b"IDAT"]),
        content=st.binary(max_size=60),
    )  # fmt: skip
    def test_in_a_chunk_of_a_png_are_read_or_rejected(self, kind: bytes, content: bytes) -> None:
        """With a valid checksum, so that the chunk is parsed."""
        data = SAMPLES["PNG"]
        assert_read_or_rejected(data[:33] + png_chunk(kind, content) + data[33:])

    @pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(
        start=st.sampled_from([b"", b"II*\0\x08\0\0\0\x01\0", b"MM\0*\0\0\0\x08\0\x01"]),
        rest=st.binary(min_size=1, max_size=60),
    )
    @example(start=b"", rest=b"II*\0")
    @example(start=b"", rest=exif((ORIENTATION, 3, 1, 6))[6:-8])
    @example(start=exif((ORIENTATION, 3, 2**31, 6))[6:], rest=b"\0")
    @example(start=exif((ORIENTATION, 7, 4, 6))[6:], rest=b"\0")
    def test_in_exif_do_not_prevent_reading(self, format_: str, start: bytes, rest: bytes) -> None:
        data = encoded(scene(12, 12), format_, exif=b"Exif\0\0" + start + rest)
        assert to_pixels(data, 8).shape == (8, 8, 3)


def error_types(root: type[Exception]) -> list[type[Exception]]:
    """A class and all its subclasses."""
    return [root, *(kind for child in root.__subclasses__() for kind in error_types(child))]


class TestErrors:
    @pytest.mark.parametrize("kind", error_types(errors.ModelsError))
    def test_every_error_survives_pickling(self, kind: type[Exception]) -> None:
        error = kind("the PNG of 3 x 4 px is green")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (kind, "the PNG of 3 x 4 px is green")

    def test_each_error_has_a_stable_code(self) -> None:
        images: list[type[BadImage]] = [BadImage, *BadImage.__subclasses__()]
        assert {kind: kind.code for kind in images} == {
            BadImage: "bad_image",
            EmptyImage: "empty_image",
            UnsupportedImage: "unsupported_image",
            TooManyPixels: "too_many_pixels",
            BrokenImage: "broken_image",
        }
