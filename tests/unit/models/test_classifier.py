from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models import registry
from models.classifier import Backend, Classifier, load, open_version, softmax
from models.errors import BadVersion, UnknownVersion
from models.network import Floats
from models.preprocess import Pixels

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
BACKENDS: tuple[Backend, ...] = ("onnx", "torch")


@pytest.fixture(scope="module", autouse=True)
def _restore_threads() -> Iterator[None]:
    """The torch backend sets the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=registry.names())
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=BACKENDS)
def classifier(request: pytest.FixtureRequest, version: str) -> Classifier:
    return load(version, request.param)


def noise(classifier: Classifier, count: int, seed: int = 0) -> Pixels:
    """Different images: noise of different grain and brightness."""
    rng, side = np.random.default_rng(seed), classifier.card.input.side
    images = [
        np.kron(rng.uniform(0, rng.uniform(20, 256), (grain, grain, 3)), np.ones((side, side, 1)))
        for grain in rng.integers(1, 9, count)
    ]
    return np.stack([p[:: len(p) // side, :: len(p) // side] for p in images]).astype(np.uint8)


class TestProbabilities:
    @pytest.mark.parametrize("count", [1, 2, 17])
    def test_a_row_is_a_probability_distribution_over_the_labels(
        self, classifier: Classifier, count: int
    ) -> None:
        rows = classifier.probabilities(noise(classifier, count))
        assert rows.dtype == np.float32
        assert rows.shape == (count, len(classifier.card.labels))
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)

    def test_an_empty_batch_returns_no_rows(self, classifier: Classifier) -> None:
        rows = classifier.probabilities(noise(classifier, 1)[:0])
        assert rows.dtype == np.float32
        assert rows.shape == (0, len(classifier.card.labels))

    def test_a_batch_gives_the_same_predictions_as_single_images(
        self, classifier: Classifier
    ) -> None:
        pixels = noise(classifier, 9)
        one_by_one = np.concatenate([classifier.probabilities(p[None]) for p in pixels])
        np.testing.assert_allclose(classifier.probabilities(pixels), one_by_one, atol=1e-5)

    def test_pixels_may_have_any_memory_layout(self, classifier: Classifier) -> None:
        """A slice of a larger array, or channels first."""
        pixels = noise(classifier, 4)
        sliced = np.repeat(pixels, 2, axis=0)[::2]
        channels_first = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
        expected = classifier.probabilities(pixels)
        for others in (sliced, channels_first):
            np.testing.assert_allclose(classifier.probabilities(others), expected, atol=1e-6)

    def test_read_only_pixels_are_accepted(self, classifier: Classifier) -> None:
        pixels = noise(classifier, 2)
        pixels.flags.writeable = False
        assert classifier.probabilities(pixels).shape == (2, len(classifier.card.labels))

    def test_the_pixels_are_not_modified(self, classifier: Classifier) -> None:
        pixels = noise(classifier, 2)
        before = pixels.copy()
        classifier.probabilities(pixels)
        assert np.array_equal(pixels, before)

    def test_concurrent_calls_give_the_same_predictions_as_sequential_calls(
        self, classifier: Classifier
    ) -> None:
        batches = [noise(classifier, 1 + seed % 3, seed) for seed in range(12)]
        sequential = [classifier.probabilities(batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            concurrent = list(pool.map(classifier.probabilities, batches))
        for one, other in zip(sequential, concurrent, strict=True):
            np.testing.assert_allclose(other, one, atol=1e-6)

    def test_the_calibration_of_the_card_is_applied(self, classifier: Classifier) -> None:
        pixels, calibration = noise(classifier, 5), classifier.card.calibration
        exact = classifier.network.logits(pixels).astype(np.float64)
        exponentials = np.exp(exact / calibration.temperature + np.array(calibration.biases))
        expected = exponentials / exponentials.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(classifier.probabilities(pixels), expected, atol=1e-5)


class TestRejections:
    @pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8, np.bool_])
    def test_a_wrong_dtype_is_rejected(self, classifier: Classifier, dtype: type) -> None:
        pixels: Any = noise(classifier, 2).astype(dtype)
        card, side = classifier.card, classifier.card.input.side
        with pytest.raises(ValueError, match="pixels are") as caught:
            classifier.probabilities(pixels)
        assert str(caught.value) == (
            f"pixels are {np.dtype(dtype).name} [2, {side}, {side}, 3];"
            f" {card.version} takes uint8 [n, {side}, {side}, 3]"
        )

    @pytest.mark.parametrize(
        ("extra", "shape"),
        [
            ((0, 1, 0, 0), "[2, {more}, {side}, 3]"),
            ((0, 0, 1, 0), "[2, {side}, {more}, 3]"),
            ((0, 1, 1, 0), "[2, {more}, {more}, 3]"),
            ((0, 0, 0, 1), "[2, {side}, {side}, 4]"),
            ((-2, 0, 0, 1), "[0, {side}, {side}, 4]"),
        ],
    )
    def test_a_wrong_shape_is_rejected(
        self, classifier: Classifier, extra: tuple[int, ...], shape: str
    ) -> None:
        side = classifier.card.input.side
        right = np.array([2, side, side, 3])
        pixels = np.zeros(right + extra, np.uint8)
        with pytest.raises(ValueError, match="pixels are") as caught:
            classifier.probabilities(pixels)
        assert f"uint8 {shape.format(side=side, more=side + 1)};" in str(caught.value)

    def test_an_image_without_batch_dimension_is_rejected(self, classifier: Classifier) -> None:
        side = classifier.card.input.side
        with pytest.raises(ValueError, match=rf"pixels are uint8 \[{side}, {side}, 3\]"):
            classifier.probabilities(np.zeros((side, side, 3), np.uint8))


class TestLoading:
    def test_the_requested_version_is_loaded(self, classifier: Classifier, version: str) -> None:
        assert classifier.card == registry.load(version).card

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_an_unknown_version_is_rejected(self, backend: Backend) -> None:
        with pytest.raises(UnknownVersion, match="unknown version 'v99'"):
            load("v99", backend)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_a_damaged_version_is_rejected(
        self, tmp_path: Path, version: str, backend: Backend
    ) -> None:
        (tmp_path / version).mkdir()
        with pytest.raises(BadVersion, match=r"card\.json cannot be read"):
            load(version, backend, tmp_path)

    def test_weights_of_another_architecture_are_rejected_in_one_line(self, version: str) -> None:
        shipped = registry.load(version)
        widths = shipped.card.architecture.widths
        other = shipped.card.architecture.model_copy(update={"widths": (*widths[:-1], 12)})
        changed = replace(shipped, card=shipped.card.model_copy(update={"architecture": other}))
        with pytest.raises(BadVersion) as caught:
            open_version(changed, "torch")
        path = shipped.folder / registry.WEIGHTS_FILE
        text = str(caught.value)
        assert text.startswith(f"{path} does not fit the architecture in its card: ")
        assert "\n" not in text

    def test_weights_that_are_not_safetensors_are_rejected(self, version: str) -> None:
        shipped = registry.load(version)
        changed = replace(shipped, files=shipped.files | {registry.WEIGHTS_FILE: b"not tensors"})
        with pytest.raises(BadVersion, match=rf"{registry.WEIGHTS_FILE} cannot be read: "):
            open_version(changed, "torch")

    def test_the_onnx_backend_does_not_import_torch(self, version: str) -> None:
        """In a separate process, because other tests import torch in this one."""
        program = (
            "import sys, numpy as np\n"
            "from models.classifier import load\n"
            f"classifier = load({version!r})\n"
            "side = classifier.card.input.side\n"
            "print(classifier.probabilities(np.zeros((1, side, side, 3), np.uint8)).shape)\n"
            "loaded = [name for name in ('torch', 'training', 'ray') if name in sys.modules]\n"
            "sys.exit(f'it imports {loaded}' if loaded else 0)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout == f"(1, {len(registry.load(version).card.labels)})\n"

    def test_the_torch_backend_without_torch_says_how_to_install_it(self) -> None:
        program = (
            "import sys\n"
            "sys.modules['torch'] = None\n"
            "from models.classifier import load\n"
            "from models.errors import BackendMissing\n"
            "try:\n"
            f"    load({registry.names()[0]!r}, 'torch')\n"
            "except BackendMissing as exc:\n"
            "    print(exc)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout == (
            "the torch backend needs torch: pip install 'serve-app[torch]',"
            " or use the onnx backend\n"
        )


LOGITS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-20, 20, width=32),
)


class TestSoftmax:
    @settings(deadline=None, derandomize=True)
    @given(logits=LOGITS, temperature=st.floats(0.5, 20), bias=st.floats(-3, 3))
    def test_it_matches_the_formula(self, logits: Floats, temperature: float, bias: float) -> None:
        biases = np.linspace(-bias, bias, logits.shape[1])
        exponentials = np.exp(logits.astype(np.float64) / temperature + biases)
        expected = exponentials / exponentials.sum(axis=1, keepdims=True)
        found = softmax(logits, temperature, biases)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=1e-12)

    @pytest.mark.parametrize("size", [1e4, -1e4, 1e30, -1e30])
    def test_huge_logits_do_not_overflow(self, size: float) -> None:
        rows = softmax(np.array([[size, 0, -size]], np.float32), 0.5)
        np.testing.assert_array_equal(rows, [[1, 0, 0]] if size > 0 else [[0, 0, 1]])
