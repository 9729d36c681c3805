"""What tells whether a training is well: use of the codes, what levels add, the guard."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from vqaudio.config import CodecRecipe
from vqaudio.errors import UserError
from vqaudio.training.display import Display
from vqaudio.training.fit_codec import fit_codec
from vqaudio.training.guard import Guard
from vqaudio.training.health import CodebookUse, LevelHealth, Use, level_health, shuffled

ALARM = 0.02


def use_of(size: int, used: int, perplexity: float, quantizer: int = 0, frames: int = 1 << 20) -> Use:
    """Of a quantizer of the coarsest level."""
    return Use(0, quantizer, size, used, perplexity, frames, ALARM)


def test_even_use_has_the_perplexity_of_its_codes():
    use = CodebookUse([[64], [8, 8]], ALARM)
    for _ in range(2):
        use.add([torch.arange(16).view(1, 1, 16), torch.zeros(1, 2, 64, dtype=torch.int64)])
    coarse, first, second = use.take()
    assert (coarse.used, coarse.perplexity) == (16, pytest.approx(16.0))
    assert (first.name, first.used, first.perplexity) == ("1.0", 1, pytest.approx(1.0))
    assert second.name == "1.1"


def test_counts_begin_anew_after_each_look():
    use = CodebookUse([[8]], ALARM)
    use.add([torch.arange(8).view(1, 1, 8)])
    use.take()
    assert use.take() == []
    use.add([torch.zeros(1, 1, 8, dtype=torch.int64)])
    assert use.take()[0].used == 1


def test_the_warm_start_is_not_counted():
    use = CodebookUse([[4, 4]], ALARM)
    use.add([])
    assert use.take() == []
    use.add([torch.tensor([[[2, 2], [1, 3]]])])
    assert [entry.used for entry in use.take()] == [1, 2]


def test_a_level_that_says_nothing_is_alarming():
    assert use_of(1024, used=400, perplexity=20.0).alarming
    assert not use_of(1024, used=40, perplexity=22.0).alarming


@pytest.mark.parametrize("size", [2, 8, 48])
def test_one_code_in_use_is_alarming_however_small_the_codebook(size: int):
    assert use_of(size, used=1, perplexity=1.0).alarming
    assert not use_of(size, used=2, perplexity=2.0).alarming


def test_plain_lines_name_terms_codes_and_the_alarm_once(capsys: pytest.CaptureFixture[str]):
    dead = use_of(1024, used=3, perplexity=1.5, quantizer=1)
    alive = use_of(1024, used=300, perplexity=200.0, quantizer=1)
    with Display("codec", 0, 100) as display:
        points = display.show(10, {"loss": 1.25, "mel": 0.5}, 15.0, [dead])
        display.show(20, {"loss": 1.0}, 15.0, [dead])
        display.show(30, {"loss": 1.0}, 15.0, [alive])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "step 10/100  loss 1.25  mel 0.5  codes 0.1 3/1024 perplexity 2 bits 0.6/10.0"
    )
    assert [line.split(":")[0] for line in lines if not line.startswith("step")] == [
        "ALARM",
        "alarm over",
    ]
    assert "level 0, quantizer 1" in lines[1]
    assert points["train/loss"] == 1.25
    assert points["perplexity/0.1"] == 1.5
    assert points["bits/0.1"] == pytest.approx(0.585, abs=1e-3)
    assert points["alarm/0.1"] == 1.0


def test_guard_gives_up_after_three_returns_to_one_place():
    guard = Guard()
    for _ in range(3):
        guard.fail(12, 10)
    with pytest.raises(UserError, match="step 12: loss or gradient is not finite"):
        guard.fail(12, 10)


def test_guard_starts_counting_anew_at_a_checkpoint():
    guard = Guard()
    for _ in range(3):
        guard.fail(12, 10)
        guard.fail(13, 10)
        guard.saved()
    assert guard.attempt == 6


def of_the_sum(audio: Tensor) -> Callable[[list[Tensor]], float]:
    """A distance that hears the finer of two levels alone."""
    return lambda said: (said[1].sum(1, keepdim=True) - audio).abs().mean().item()


def test_what_a_level_adds_is_what_its_shuffling_takes_away():
    said = [torch.randn(3, 4, 10), torch.randn(3, 2, 40)]
    audio = said[1].sum(1, keepdim=True) + 0.1 * torch.randn(3, 1, 40)
    measures = [{"distortion": torch.tensor(0.5)}, {}]
    coarse, fine = level_health(said, measures, of_the_sum(audio), 0.02, seed=3)
    assert (coarse.level, coarse.added, coarse.alarming) == (0, 0.0, True)
    assert coarse.measures == {"distortion": 0.5}
    # frames that do not belong together differ by the spread of two of them, sqrt(2 * 2)
    expected = 2 * (2 / torch.pi) ** 0.5 - fine.distance
    assert fine.added == pytest.approx(expected, rel=0.25)
    assert fine.share == fine.added / fine.distance
    assert not fine.alarming
    assert coarse.distance == fine.distance == pytest.approx(0.1 * (2 / torch.pi) ** 0.5, rel=0.25)


def test_a_level_is_alarming_below_its_share():
    assert LevelHealth(0, added=0.019, distance=1.0, alarm=0.02).alarming
    assert not LevelHealth(0, added=0.021, distance=1.0, alarm=0.02).alarming
    assert LevelHealth(0, added=-0.5, distance=1.0, alarm=0.0).alarming
    assert not LevelHealth(0, added=0.1, distance=0.0, alarm=0.02).alarming


def test_a_shuffle_keeps_every_frame_whole_and_follows_its_seed():
    features = torch.arange(2 * 3 * 20.0).view(2, 3, 20)
    mixed = shuffled(features, 1)

    def frames(x: Tensor) -> list[tuple[float, ...]]:
        return [tuple(frame) for frame in x.transpose(1, 2).reshape(-1, 3).tolist()]

    assert frames(mixed) != frames(features)
    assert sorted(frames(mixed)) == sorted(frames(features))
    assert torch.equal(mixed, shuffled(features, 1))
    assert not torch.equal(mixed, shuffled(features, 2))
    assert {frame[0] < 60 for frame in frames(mixed[:1])} == {True, False}  # over all sounds together


def test_plain_lines_say_what_levels_add_and_raise_their_alarm(capsys: pytest.CaptureFixture[str]):
    carries = LevelHealth(0, added=0.5, distance=1.0, alarm=0.02, measures={"kl_bits": 3.5})
    idle = LevelHealth(1, added=0.001, distance=1.0, alarm=0.02)
    awake = LevelHealth(1, added=0.2, distance=1.0, alarm=0.02)
    with Display("codec", 0, 100) as display:
        points = display.show(10, {"loss": 1.0}, 15.0, [use_of(16, 16, 16.0)], [carries, idle])
        display.show(20, {"loss": 1.0}, 15.0, [], [carries, idle])
        display.show(30, {"loss": 1.0}, 15.0, [], [carries, awake])
    lines = capsys.readouterr().out.splitlines()
    assert "bits 4.0/4.0" in lines[0]
    assert "level 0 adds 0.5 (50 %)  level 1 adds 0.001 (0 %)" in lines[0]
    alarms = [line for line in lines if not line.startswith("step")]
    assert alarms == [
        "ALARM: step 10, level 1: the sound is 0.1 % worse with its codes shuffled",
        "alarm over: step 30, level 1: the sound is 20.0 % worse with its codes shuffled",
    ]
    assert {name: points[name] for name in ("added/0", "added_share/1", "alarm/1", "kl_bits/0")} == {
        "added/0": 0.5,
        "added_share/1": 0.001,
        "alarm/1": 1.0,
        "kl_bits/0": 3.5,
    }
    assert points["alarm/0"] == points["alarm/0.0"] == 0.0


def test_the_log_of_a_run_has_what_each_level_adds(recipe: CodecRecipe, manifest: Path, tmp_path: Path):
    fit_codec(recipe, manifest, tmp_path / "out")
    events = EventAccumulator(str(tmp_path / "out" / "log"))
    events.Reload()
    curves = events.Tags()["scalars"]
    quantizing = list(range(recipe.warm_start_steps + 1, recipe.optimization.steps + 1))
    for name in ("added/0", "added/1", "added_share/0", "alarm/1", "bits/1.1", "distortion/0"):
        assert name in curves
        points = events.Scalars(name)
        assert set(quantizing) <= {point.step for point in points}
        assert all(math.isfinite(point.value) for point in points)
    assert {point.value for point in events.Scalars("added/0")} != {0.0}
