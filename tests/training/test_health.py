import pytest
import torch

from vqaudio.errors import UserError
from vqaudio.training.display import Display
from vqaudio.training.guard import Guard
from vqaudio.training.health import CodebookUse, Use

ALARM = 0.02


def use_of(
    size: int, used: int, perplexity: float, quantizer: int = 0, frames: int = 1 << 20
) -> Use:
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
    assert lines[0].startswith("step 10/100  loss 1.25  mel 0.5  codes 0.1 3/1024 perplexity 2 bits 0.6/10.0")
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
