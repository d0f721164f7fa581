"""Errors of images and versions.

    ModelsError
    ├── BadImage              the bytes cannot be read as an image
    │   ├── EmptyImage        no bytes
    │   ├── UnsupportedImage  not a supported format
    │   ├── TooManyPixels     the headers declare more pixels than the limit
    │   └── BrokenImage       the file ends early, is damaged, or has too many parts
    ├── BadData               a folder per class cannot be used
    ├── UnknownVersion        no such folder in the registry
    ├── BadVersion            a file of a version is missing, damaged or mislabelled
    └── BackendMissing        the libraries of a backend are not installed

All arguments go to `Exception.__init__`, so that the errors survive pickling between processes.
"""


class ModelsError(Exception):
    """Base class of the errors of this package."""


class BadImage(ModelsError, ValueError):
    """The bytes cannot be read as an image; `code` is stable, for programs."""

    code = "bad_image"


class EmptyImage(BadImage):
    """There are no bytes."""

    code = "empty_image"


class UnsupportedImage(BadImage):
    """The format, or the variant of it, is not supported."""

    code = "unsupported_image"


class TooManyPixels(BadImage):
    """The headers of a request declare more pixels than the limit of the format; nothing was
    decoded."""

    code = "too_many_pixels"


class BrokenImage(BadImage):
    """The file ends early, is damaged, or has too many scans, segments, chunks or blocks."""

    code = "broken_image"


class BadData(ModelsError, ValueError):
    """A folder per class has a missing or empty class, or a file that is not an image."""


class UnknownVersion(ModelsError, LookupError):
    """The registry has no folder for this version."""


class BadVersion(ModelsError):
    """A file of a version is missing, damaged, changed or mislabelled; the text names it."""


class BackendMissing(ModelsError):
    """The libraries of a backend are not installed; the text says how to install them."""
