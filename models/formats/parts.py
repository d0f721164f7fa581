"""What the formats have in common: the parts of a file, the limits and the errors."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import BrokenImage, TooManyPixels

MAX_PIXELS = 65_000_000  # width x height of a JPEG, as cameras of 64 megapixels write it
# Width x height of what is decoded in full size: photographs of 24 megapixels, screens of 6K.
MAX_FULL_PIXELS = 25_000_000
MAX_EDGE = 65_535  # px; each row costs time however narrow it is
MAX_CHUNKS = 5000  # of a PNG or WebP, read one by one; 10 MiB in chunks of 2 KiB are as many


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a file that the pixels of the first frame depend on.

    Attributes:
        format: As Pillow names it.
        data: A file of these parts alone.
        width: As the header says, px.
        height: As the header says, px.
        orientation: 1 to 8, as in Exif.
        work_px: Decoding takes at most as long as decoding a PNG of so many pixels.
    """

    format: str
    data: bytes
    width: int
    height: int
    orientation: int
    work_px: int

    @property
    def area(self) -> int:
        """Width x height, px."""
        return self.width * self.height


def check_size(format_: str, width: int, height: int, max_pixels: int = MAX_FULL_PIXELS) -> None:
    """Check the size that a header declares.

    Raises:
        BrokenImage: An edge is 0.
        TooManyPixels: There are more than `max_pixels`, or an edge is longer than `MAX_EDGE`.
    """
    if width * height == 0:
        raise BrokenImage(
            f"the header of the {format_} declares {width} x {height} px: save the image again"
        )
    if max(width, height) > MAX_EDGE:
        raise TooManyPixels(
            f"{width} x {height} px; the limit of an edge is {MAX_EDGE}: send a smaller image"
        )
    if width * height > max_pixels:
        other = "" if format_ == "JPEG" else ", or a JPEG"
        raise TooManyPixels(
            f"{width} x {height} = {width * height} pixels; the limit of a {format_} is"
            f" {max_pixels}: send a smaller image{other}"
        )


def ends_early(format_: str, data: bytes, missing: str) -> BrokenImage:
    """The error of a file that was cut short.

    Args:
        missing: The part that is not there.
    """
    return BrokenImage(
        f"the {format_} ends early, after {len(data)} bytes, without {missing}: send all of it"
    )


def damaged(format_: str, fault: str) -> BrokenImage:
    """The error of a file that contradicts its format."""
    return BrokenImage(f"the {format_} is damaged: {fault}: save the image again")


def too_many_blocks(format_: str, blocks: str, most: int) -> BrokenImage:
    """The error of a file that takes too long to read.

    Args:
        blocks: What the format calls its blocks.
        most: The limit of their number.
    """
    return BrokenImage(
        f"the {format_} has more than {most} {blocks}, most of them metadata or"
        " very short: save the image again without metadata"
    )
