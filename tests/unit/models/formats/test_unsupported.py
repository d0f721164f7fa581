"""Files and texts that are no image of a supported format."""

from __future__ import annotations

import base64
import gzip

import pytest
from PIL import Image

from models.errors import UnsupportedImage
from models.preprocess import to_pixels
from tests.image_files import encoded

PNG = encoded(Image.linear_gradient("L"), "PNG")
JPEG = encoded(Image.linear_gradient("L"), "JPEG")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "are a HEIC, not one of .*: convert the image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "are an AVIF, not one of"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "are a film, .*: send an image"),
        (encoded(Image.linear_gradient("L"), "TIFF"), "are a TIFF, .*: convert the image"),
        (b"\n<svg/>", "are SVG, HTML or XML"),
        (gzip.compress(PNG), "are compressed by gzip, .*: send the image without compression"),
        (b"data:image/png;base64," + base64.b64encode(PNG), "are a data URL, .*: send the bytes"),
        (base64.b64encode(PNG), "are base64, .*: send the bytes"),
        (base64.b64encode(JPEG), "are base64, "),
        (b"https://example.org/cat.png", "are a URL, "),
        (b'{"image": "cat.png"}', "are JSON or other text"),
        (b"[object File]", "are JSON or other text"),
        (PNG.decode(errors="replace").encode(), "changed as if it were text, .* unchanged"),
        (JPEG.decode("latin-1").encode(), "changed as if it were text"),
        (PNG.replace(b"\r\n", b"\n"), "changed as if it were text"),
        (
            b"The cat sat on the mat.",
            "are not one of .*: convert the image to one of them, or send",
        ),
    ],
)
def test_a_refusal_names_what_came(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedImage, match=words):
        to_pixels(data, 16)
