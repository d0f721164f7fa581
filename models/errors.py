"""What can go wrong with images and versions.

    ModelsError
    ├── BadImage              the bytes are not an image that we read
    │   ├── EmptyImage        nothing came
    │   ├── UnsupportedImage  not one of the formats that we read
    │   ├── TooManyPixels     the header declares more pixels than the limit
    │   └── BrokenImage       the header is fine, the rest is truncated or damaged
    ├── BadData               a folder per class cannot be used
    ├── UnknownVersion        no such folder in the registry
    ├── BadVersion            a file of a version is missing, damaged or mislabelled
    └── BackendMissing        the libraries of a backend are not installed

All arguments go to `Exception.__init__`, so that the errors survive pickling between processes.
"""


class ModelsError(Exception):
    """Root of the errors of this package."""


class BadImage(ModelsError, ValueError):
    """The bytes are not an image that we read; `code` is stable, for programs."""

    code = "bad_image"


class EmptyImage(BadImage):
    """Nothing came."""

    code = "empty_image"


class UnsupportedImage(BadImage):
    """Not one of the formats that we read."""

    code = "unsupported_image"


class TooManyPixels(BadImage):
    """The header declares more pixels than the limit; nothing was decoded."""

    code = "too_many_pixels"


class BrokenImage(BadImage):
    """The header is that of an image, the rest is truncated or damaged."""

    code = "broken_image"


class BadData(ModelsError, ValueError):
    """A folder per class cannot be used: a class is missing or empty, a file is no image."""


class UnknownVersion(ModelsError, LookupError):
    """The registry has no folder of that name."""


class BadVersion(ModelsError):
    """A file of a version is missing, damaged, tampered with or mislabelled; the text names it."""


class BackendMissing(ModelsError):
    """The libraries of a backend are not installed; the text says how to install them."""
