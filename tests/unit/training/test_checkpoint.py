from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.card import Parent
from models.cnn import SmallCNN
from training.checkpoint import FILE, EpochRecord, load_finished, restore, save
from training.config import Config, Phase
from training.errors import TrainingError
from training.origin import Origin

pytestmark = pytest.mark.slow

CONFIG = Config(
    version="v1",
    labels=("cat", "dog"),
    phases=(Phase(epochs=3, side=32),),
    widths=(8, 16),
    depths=(1, 1),
)
ORIGIN = Origin(
    photographs={"cat": 3, "dog": 4},
    photographs_digest="0" * 64,
    parent=Parent(version="v0", digest="1" * 64),
)
OTHER_CONFIGS = {
    "seed": CONFIG.model_copy(update={"seed": 1}),
    "learning_rate": CONFIG.model_copy(update={"learning_rate": 0.002}),
    "labels": CONFIG.model_copy(update={"labels": ("dog", "cat")}),
    "phases": CONFIG.model_copy(update={"phases": (Phase(epochs=4, side=32),)}),
}
OTHER_ORIGINS = {
    "photographs": ORIGIN.model_copy(update={"photographs_digest": "2" * 64}),
    "parent": ORIGIN.model_copy(update={"parent": Parent(version="v0", digest="2" * 64)}),
}


METADATA = {
    "config": CONFIG.model_dump_json(),
    "origin": ORIGIN.model_dump_json(),
    "history": "[]",
}


class State:
    """The state of a training run after an epoch."""

    def __init__(self, seed: int = 0, steps: int = 0) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = SmallCNN(2, CONFIG.widths, CONFIG.depths)
            self.average = AveragedModel(
                self.network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True
            )
            self.optimizer = AdamW(self.network.parameters(), lr=0.01)
            self.history: list[EpochRecord] = []
            for number in range(steps):
                self.step(number)

    def step(self, number: int) -> None:
        """Train one epoch on one batch of noise."""
        generator = torch.Generator().manual_seed(number)
        loss = self.network(torch.rand(4, 3, 32, 32, generator=generator) * 255).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.history.append(EpochRecord(number + 1, 32, loss.item(), {"synthetic": 0.5}, 1.5))

    def save(self, folder: Path) -> None:
        save(folder, CONFIG, ORIGIN, self.history, self.network, self.average, self.optimizer)

    def restore(self, folder: Path, config: Config = CONFIG, origin: Origin = ORIGIN) -> None:
        self.history = restore(folder, config, origin, self.network, self.average, self.optimizer)

    def tensors(self) -> list[torch.Tensor]:
        """All tensors of the state."""
        moments = [self.optimizer.state[p] for p in self.network.parameters()]
        return [
            *self.network.state_dict().values(),
            *self.average.state_dict().values(),
            *(moment[key] for moment in moments for key in sorted(moment)),
        ]


def are_equal(one: State, other: State) -> bool:
    pairs = zip(one.tensors(), other.tensors(), strict=True)
    return one.history == other.history and all(torch.equal(a, b) for a, b in pairs)


class TestRoundTrip:
    def test_a_run_is_restored_bit_for_bit(self, tmp_path: Path) -> None:
        run, restored = State(seed=0, steps=2), State(seed=1)
        run.save(tmp_path)
        restored.restore(tmp_path)
        assert are_equal(run, restored)
        assert len(restored.history) == 2

    def test_a_restored_run_continues_like_the_original(self, tmp_path: Path) -> None:
        run, restored = State(seed=0, steps=2), State(seed=1)
        run.save(tmp_path)
        restored.restore(tmp_path)
        run.step(2)
        restored.step(2)
        assert are_equal(run, restored)

    def test_without_a_checkpoint_the_state_does_not_change(self, tmp_path: Path) -> None:
        run = State(seed=4)
        run.restore(tmp_path)
        assert are_equal(run, State(seed=4))

    def test_a_checkpoint_replaces_the_previous_one(self, tmp_path: Path) -> None:
        run = State(steps=1)
        run.save(tmp_path)
        run.step(1)
        run.save(tmp_path)
        restored = State()
        restored.restore(tmp_path)
        assert are_equal(run, restored)
        assert [path.name for path in tmp_path.iterdir()] == [FILE]

    def test_a_partly_written_file_is_ignored(self, tmp_path: Path) -> None:
        """Left by a run that was killed while saving."""
        (tmp_path / f"{FILE}.unfinished").write_bytes(b"half of it")
        run = State()
        run.restore(tmp_path)
        assert run.history == []

    def test_load_finished_returns_the_averaged_weights(self, tmp_path: Path) -> None:
        run = State(steps=3)
        run.save(tmp_path)
        saved, weights = load_finished(tmp_path)
        assert (saved.config, saved.origin, saved.history) == (CONFIG, ORIGIN, run.history)
        expected = run.average.module.state_dict()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], value) for name, value in expected.items())
        assert not torch.equal(weights["head.weight"], run.network.head.weight)


class TestRejections:
    @pytest.mark.parametrize("key", OTHER_CONFIGS)
    def test_a_different_configuration_is_rejected(self, tmp_path: Path, key: str) -> None:
        State(steps=1).save(tmp_path)
        text = f"^{tmp_path / FILE} belongs to a run with another configuration: remove it"
        with pytest.raises(TrainingError, match=text):
            State().restore(tmp_path, OTHER_CONFIGS[key])

    @pytest.mark.parametrize("name", OTHER_ORIGINS)
    def test_a_different_origin_is_rejected(self, tmp_path: Path, name: str) -> None:
        State(steps=1).save(tmp_path)
        text = f"^{tmp_path / FILE} belongs to a run with another {name}: remove it"
        with pytest.raises(TrainingError, match=text):
            State().restore(tmp_path, origin=OTHER_ORIGINS[name])

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 100, 5000, -1])
    def test_a_truncated_file_is_rejected(self, tmp_path: Path, length: int) -> None:
        State(steps=1).save(tmp_path)
        path = tmp_path / FILE
        path.write_bytes(path.read_bytes()[:length])
        assert_damaged(tmp_path)

    def test_a_file_of_another_type_is_rejected(self, tmp_path: Path) -> None:
        (tmp_path / FILE).write_bytes(b"The cat sat on the mat.\n" * 20)
        assert_damaged(tmp_path)

    @pytest.mark.parametrize(
        "metadata",
        [
            None,
            {},
            METADATA | {"config": "{"},
            METADATA | {"config": '{"version": "v1"}'},
            METADATA | {"origin": "{}"},
            METADATA | {"history": "["},
            METADATA | {"history": '[{"luck": 1}]'},
            METADATA | {"history": "1"},
            {key: METADATA[key] for key in ("config", "history")},
        ],
    )
    def test_a_safetensors_file_without_valid_metadata_is_rejected(
        self, tmp_path: Path, metadata: dict[str, str] | None
    ) -> None:
        save_file({"weight": torch.zeros(1)}, tmp_path / FILE, metadata)
        assert_damaged(tmp_path)

    @pytest.mark.parametrize("steps", [1, 2])
    def test_an_unfinished_run_is_rejected(self, tmp_path: Path, steps: int) -> None:
        State(steps=steps).save(tmp_path)
        text = f"{FILE} holds {steps} of 3 epochs: run `python -m training fit` again to resume"
        with pytest.raises(TrainingError, match=text):
            load_finished(tmp_path)

    def test_a_missing_checkpoint_is_rejected(self, tmp_path: Path) -> None:
        text = f"{tmp_path / FILE} is missing: run `python -m training fit` first"
        with pytest.raises(TrainingError, match=text):
            load_finished(tmp_path)


def assert_damaged(folder: Path) -> None:
    """Check that `restore` and `load_finished` reject the checkpoint with a one-line error."""
    for read in (State().restore, load_finished):
        with pytest.raises(TrainingError) as caught:
            read(folder)
        text = str(caught.value)
        assert text.startswith(f"{folder / FILE} is damaged (")
        assert text.endswith("): remove it to start again")
        assert "\n" not in text
