"""Image files with mutated structure, and files whose size is close to the limits."""

from __future__ import annotations

import functools
import random
import struct
import time
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from models.errors import BadImage
from models.preprocess import to_pixels
from tests.image_files import bmp, encoded, png

MAX_BODY_BYTES = 10 * 2**20
MAX_REFUSED_CPU_S = 0.3
SIDE = 112
FLOOD_SHARE = 0.02  # of the trials fill a body
LIMIT_SHARE = 0.01  # of the trials have a size close to the limits
SIGNATURE_BYTES = {"PNG": 8, "JPEG": 2, "WEBP": 12, "GIF": 6, "BMP": 14}
NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    11,
    12,
    255,
    256,
    4095,
    5000,
    2**15 - 1,
    2**16 - 1,
    2**31 - 1,
    2**32 - 1,
)


def trial(dice: random.Random) -> Mapping[str, float]:
    """Read an image; anything but pixels or a quick `BadImage` is wrong."""
    draw = dice.random()
    if draw < LIMIT_SHARE:
        data = dice.choice(LARGE)(dice)
    else:
        kind = dice.choice(list(SIGNATURE_BYTES))
        units = split(kind, dice.choice(samples()[kind]))
        for _ in range(dice.randint(1, 4)):
            mutate(units, dice)
        if draw < LIMIT_SHARE + FLOOD_SHARE:
            flood(units, dice)
        data = join(kind, units, dice)[:MAX_BODY_BYTES]
    started = time.process_time()
    try:
        pixels = to_pixels(data, SIDE)
        result = "accepted"
        if pixels.shape != (SIDE, SIDE, 3):
            raise AssertionError(f"the pixels have the shape {pixels.shape}")
    except BadImage as exc:
        result = "refused"
        if not str(exc).isprintable():
            raise AssertionError(f"the error is not printable: {exc!r}") from exc
    elapsed_s = time.process_time() - started
    if result == "refused" and elapsed_s > MAX_REFUSED_CPU_S:
        raise AssertionError(f"an image of {len(data)} bytes is refused after {elapsed_s:.2f} s")
    return {f"CPU of an image that is {result}, s": elapsed_s}


@functools.cache
def samples() -> dict[str, list[bytes]]:
    """Small files of each format, by format."""
    values = np.random.default_rng(0).integers(0, 256, (25, 40, 4), np.uint8)
    noise = Image.fromarray(values)
    smooth = Image.linear_gradient("L").resize((90, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [smooth.rotate(90), smooth.rotate(180)]}
    jpegs = [
        encoded(smooth, "JPEG", exif=exif, comment=b"fuzz"),
        encoded(noise.convert("RGB"), "JPEG", progressive=True),
        encoded(noise.convert("CMYK"), "JPEG", subsampling=2),
        encoded(smooth, "MPO", **frames),
    ]
    pngs = [
        encoded(noise, "PNG", exif=exif),
        encoded(smooth.convert("P"), "PNG", transparency=3),
        encoded(smooth.convert("1"), "PNG"),
        encoded(Image.fromarray(values[..., 0].astype(np.uint16) * 257), "PNG"),
        encoded(smooth, "PNG", **frames),
    ]
    webps = [
        encoded(smooth.convert("RGB"), "WEBP", exif=exif, xmp=b"<x:xmpmeta/>"),
        encoded(noise, "WEBP"),
        encoded(noise, "WEBP", lossless=True),
        encoded(smooth.convert("RGB"), "WEBP", **frames),
    ]
    gifs = [
        encoded(smooth, "GIF", comment=b"fuzz"),
        encoded(noise.convert("RGB"), "GIF", **frames),
        encoded(smooth.convert("P"), "GIF", transparency=0),
    ]
    bmps = [
        *(encoded(smooth.convert(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")),
        bmp(90, 60, b"\x5a\x07\0\0" * 60 + b"\0\1", bits=8, compression=1),
        bmp(
            90, 60, b"\x14\x37\0\6\x12\x34\x56\0\0\2\1\1\0\0" * 60 + b"\0\1", bits=4, compression=2
        ),
    ]
    return {"JPEG": jpegs, "PNG": pngs, "WEBP": webps, "GIF": gifs, "BMP": bmps}


def split(kind: str, data: bytes) -> list[bytearray]:
    """The signature of a file, then its chunks, segments or blocks; their join is the file."""
    start = SIGNATURE_BYTES[kind]
    units = [bytearray(data[:start])]
    while start < len(data):
        end = min(len(data), max(start + 1, _unit_end(kind, data, start)))
        units.append(bytearray(data[start:end]))
        start = end
    return units


def _unit_end(kind: str, data: bytes, start: int) -> int:
    match kind:
        case "PNG":
            return start + 12 + int.from_bytes(data[start : start + 4])
        case "JPEG":
            marker = data.find(b"\xff", start + 1)
            has_length = data[start] == 0xFF and data[start + 1 : start + 2] not in b"\xd8\xd9\0"
            length = 2 + int.from_bytes(data[start + 2 : start + 4])
            return start + length if has_length else marker if marker > 0 else len(data)
        case "WEBP":
            length = int.from_bytes(data[start + 4 : start + 8], "little")
            return start + 8 + length + (length & 1)
        case "GIF":  # a header, or a sub-block
            return start + (7 if start == SIGNATURE_BYTES["GIF"] else 1 + data[start])
    return start + (40 if start == SIGNATURE_BYTES["BMP"] else 4)


def join(kind: str, units: list[bytearray], dice: random.Random) -> bytes:
    """The file, mostly with right checksums and sizes."""
    if kind == "PNG" and dice.random() < 0.9:
        for unit in units[1:]:
            if len(unit) >= 12:
                if dice.random() < 0.9:
                    unit[:4] = struct.pack(">I", len(unit) - 12)
                unit[-4:] = struct.pack(">I", zlib.crc32(unit[4:-4]))
    data = bytearray().join(units)
    if kind == "WEBP" and len(data) >= 8 and dice.random() < 0.9:
        data[4:8] = struct.pack("<I", len(data) - 8)
    return bytes(data)


def mutate(units: list[bytearray], dice: random.Random) -> None:
    """Change one unit, its place or its number."""
    place = dice.randrange(len(units))
    unit = units[place]
    match dice.randrange(8):
        case 0:
            units.insert(dice.randrange(len(units) + 1), bytearray(unit))
        case 1:
            other = dice.randrange(len(units))
            units[place], units[other] = units[other], unit
        case 2 if len(units) > 1:
            del units[place]
        case 3:
            del unit[dice.randrange(len(unit) + 1) :]
        case 4:
            units[place:place] = [bytearray(unit) for _ in range(dice.randint(1, 300))]
        case 5:
            unit[len(unit) // 2 : len(unit) // 2] = dice.randbytes(dice.randint(1, 2000))
        case 6 if unit:
            unit[dice.randrange(len(unit))] = dice.randrange(256)
        case _ if unit:
            field = dice.choice((1, 2, 4))
            number = dice.choice(NUMBERS) % 256**field
            at = dice.randrange(min(len(unit), 40))
            unit[at : at + field] = number.to_bytes(field, dice.choice(("big", "little")))


def flood(units: list[bytearray], dice: random.Random) -> None:
    """Repeat a unit until the body is full."""
    place = dice.randrange(1, len(units)) if len(units) > 1 else 0
    unit = units[place] or bytearray(1)
    count = (MAX_BODY_BYTES - sum(map(len, units))) // len(unit)
    if len(unit) >= 12 or dice.random() < 0.5:
        units[place:place] = [bytearray(unit) for _ in range(min(count, 100_000))]
    units[place:place] = [unit * max(0, count - 100_000)]


def _large_size(dice: random.Random, area: int) -> tuple[int, int]:
    width = dice.choice((50, 1000, 5000, 16_000))
    return width, int(area * dice.uniform(0.5, 1.1)) // width


def _large_png(dice: random.Random) -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    colour = dice.choice(list(channels))
    depth = 8 if colour == 3 else dice.choice((8, 16))
    row_bytes = channels[colour] * depth // 8
    width, height = _large_size(dice, min(25_000_000, 2**26 // row_bytes))
    row = bytes([dice.randrange(5)]) + dice.randbytes(row_bytes) * width
    packed = zlib.compress(row * height, 1)
    packed = packed[: dice.choice((-1, -20, len(packed)))]
    return png(width, height, packed, depth=depth, colour=colour, interlace=dice.randrange(2))


def _large_webp(dice: random.Random) -> bytes:
    width, height = _large_size(dice, 25_000_000)
    colour = (dice.randrange(256), 0, 0, 99)
    image = Image.new(dice.choice(("RGB", "RGBA")), (width, min(height, 16_383)), colour)
    data = encoded(image, "WEBP", lossless=dice.random() < 0.5, method=0)
    return overwritten(data, dice)


def _large_gif(dice: random.Random) -> bytes:
    width, height = _large_size(dice, 25_000_000)
    data = encoded(Image.new("P", (width, min(height, 65_535)), 3), "GIF")
    return overwritten(data, dice)


def _large_jpeg(dice: random.Random) -> bytes:
    width, height = _large_size(dice, 65_000_000)
    image = Image.new(dice.choice(("L", "RGB", "CMYK")), (width, min(height, 65_500)), 1)
    data = encoded(image, "JPEG", progressive=dice.random() < 0.6, subsampling=dice.randrange(3))
    return overwritten(data, dice)


def _large_bmp(dice: random.Random) -> bytes:
    width, height = _large_size(dice, 25_000_000)
    codes = dice.choice(
        (b"\1\7", b"\xff\7", b"\0\xff" + bytes(256), b"\0\2\1\0", dice.randbytes(64))
    )
    count = dice.choice((1, 100_000, MAX_BODY_BYTES // len(codes)))
    bits, compression = dice.choice(((8, 1), (4, 2)))
    data = bmp(width, height, codes * count, bits=bits, compression=compression)
    return data[:MAX_BODY_BYTES]


def overwritten(data: bytes, dice: random.Random) -> bytes:
    """With random bytes near its end, or without its end, or as it is."""
    at = int(len(data) * dice.uniform(0.5, 1))
    end = dice.choice((b"", dice.randbytes(8) + data[at + 8 :], data[at:]))
    return data[:at] + end


LARGE: tuple[Callable[[random.Random], bytes], ...] = (
    _large_png,
    _large_webp,
    _large_gif,
    _large_jpeg,
    _large_bmp,
)
