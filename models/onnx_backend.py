"""ONNX Runtime backend, for CPUs. Does not import torch."""

from __future__ import annotations

import json

import onnxruntime

from models.errors import BadVersion
from models.network import Floats
from models.preprocess import Pixels
from models.registry import ONNX_FILE, Version

INPUT, OUTPUT = "pixels", "logits"
LABELS_KEY = "labels"  # metadata key; the value is a JSON list

onnxruntime.set_default_logger_severity(3)  # errors only: its warnings do not help users


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
        except Exception as exc:  # ONNX Runtime's errors have no other base class
            raise BadVersion(f"{path} is not a network that ONNX Runtime can load: {exc}") from exc
        found = self._session.get_modelmeta().custom_metadata_map.get(LABELS_KEY)
        labels = json.dumps(version.card.labels)
        if found != labels:
            raise BadVersion(f"{path} is mislabelled: its labels are {found}, the card's {labels}")
        side, classes = version.card.input.side, len(version.card.labels)
        inputs = [(i.name, i.type, i.shape[1:]) for i in self._session.get_inputs()]
        outputs = [(o.name, o.shape[1:]) for o in self._session.get_outputs()]
        if (inputs, outputs) != (
            [(INPUT, "tensor(uint8)", [side, side, 3])],
            [(OUTPUT, [classes])],
        ):
            raise BadVersion(
                f"{path} has inputs {inputs} and outputs {outputs}; its card requires {INPUT},"
                f" uint8 [n, {side}, {side}, 3], and {OUTPUT}, [n, {classes}]"
            )

    def logits(self, pixels: Pixels) -> Floats:
        return self._session.run([OUTPUT], {INPUT: pixels})[0]  # type: ignore[no-any-return]
