"""A short run of each target of `python -m tests.fuzz`."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import images
from tests.fuzz.__main__ import TARGETS, run

SEED = 1


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_no_trial_fails(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_REFUSED_CPU_S", 1.0)  # the machine may be busy
    assert run(TARGETS[name], SEED, range(300)) == 0, capsys.readouterr().err


def test_an_image_that_is_refused_late_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_REFUSED_CPU_S", 0.0)
    assert run(images.trial, SEED, range(20)) > 0


def test_a_failure_is_counted_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def target(dice: random.Random) -> dict[str, float]:
        value = dice.random()
        if value < 0.5:
            raise ValueError("found it")
        return {"value": value}

    failures = run(target, SEED, range(40))
    output = capsys.readouterr()
    assert 0 < failures < 40
    assert output.err.count("ValueError: found it") == failures
    assert output.out.endswith(f"40 trials of seed 1, {failures} failures\n")
    number = int(output.out.split("(trial ")[1].split(")")[0])
    assert run(target, SEED, [number]) == 0  # one trial is repeated by its number
