"""ONNX Runtime, the backend that serves on CPUs. Imports no torch."""

from __future__ import annotations

import onnxruntime

from models.classifier import Floats
from models.errors import BadVersion
from models.preprocess import Pixels
from models.registry import ONNX_FILE, Version

INPUT, OUTPUT = "pixels", "logits"
LABELS_KEY = "labels"  # of the model's metadata: the labels, joined by commas

onnxruntime.set_default_logger_severity(3)  # errors only: warnings tell users nothing


class OnnxNetwork:
    """The `model.onnx` of a version."""

    def __init__(self, version: Version, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        path = version.folder / ONNX_FILE
        try:
            self._session = onnxruntime.InferenceSession(
                version.files[ONNX_FILE], options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # ONNX Runtime's own errors have no common root but this
            raise BadVersion(f"{path} is no network that ONNX Runtime loads: {exc}") from exc
        labels = self._session.get_modelmeta().custom_metadata_map.get(LABELS_KEY)
        if labels != ",".join(version.card.labels):
            raise BadVersion(
                f"{path} is mislabelled: it names {labels}, its card"
                f" {','.join(version.card.labels)}"
            )

    def logits(self, pixels: Pixels) -> Floats:
        """See `models.classifier.Network`."""
        return self._session.run([OUTPUT], {INPUT: pixels})[0]  # type: ignore[no-any-return]
