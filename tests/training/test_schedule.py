import pytest
import torch
from torch import nn

from vqaudio.bottleneck.vector import VectorQuantizer
from vqaudio.config import Optimization
from vqaudio.training.learner import adamw
from vqaudio.training.schedule import WeightAverage, learning_rate


def test_rate_warms_up_then_falls_by_a_cosine():
    config = Optimization(steps=110, learning_rate=1.0, final_learning_rate=0.1, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(110)]
    assert rates[:11] == pytest.approx([0.1 * (i + 1) for i in range(10)] + [1.0])
    assert rates[60] == pytest.approx(0.55)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert learning_rate(500, config) == 0.1


def test_rate_without_warmup_starts_in_full():
    assert learning_rate(0, Optimization(steps=1, learning_rate=0.5, warmup_steps=0)) == 0.5


def test_average_follows_the_weights() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, decay=0.9)
    nn.init.zeros_(module.weight)
    for _ in range(200):
        average.update(module)
    assert average.tensors["weight"].item() == pytest.approx(0, abs=1e-6)
    nn.init.ones_(module.weight)
    for _ in range(5):
        average.update(module)
    assert average.tensors["weight"].item() == pytest.approx(1 - 0.9**5)


def test_average_soon_forgets_the_weights_that_training_began_with() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    average = WeightAverage(module, decay=0.999)
    nn.init.zeros_(module.weight)
    for _ in range(50):
        average.update(module)
    assert abs(average.tensors["weight"].item()) < 1e-4


def test_average_goes_on_from_where_it_was_saved() -> None:
    module = nn.Linear(1, 1, bias=False)
    average, other = WeightAverage(module, decay=0.99), WeightAverage(module, decay=0.99)
    for step in range(20):
        nn.init.constant_(module.weight, step)
        average.update(module)
        if step == 9:
            other.load(average.tensors)
        elif step > 9:
            other.update(module)
    assert torch.equal(average.tensors["weight"], other.tensors["weight"])


def test_average_is_in_place_only_inside_the_block():
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone()
    average = WeightAverage(module, decay=0.5)
    average.tensors["weight"].zero_()
    with average.in_place(module):
        assert torch.equal(module.weight, torch.zeros(2, 2))
    assert torch.equal(module.weight, before)
    assert torch.equal(average.tensors["weight"], torch.zeros(2, 2))


@pytest.mark.parametrize("kind", ["learned", "linear"])
def test_codebooks_are_neither_averaged_nor_decayed(kind: str) -> None:
    module = nn.Sequential(nn.Conv1d(4, 4, 1), VectorQuantizer(8, 4, codebook=kind))  # type: ignore[arg-type]
    average = WeightAverage(module, decay=0.99)
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    average.update(module)
    with average.in_place(module):
        assert not torch.equal(module[0].weight, torch.ones(4, 4, 1))
        assert all(torch.equal(p, torch.ones_like(p)) for p in module[1].parameters())
    decaying, lasting = adamw(module, Optimization(steps=1, learning_rate=0.1)).param_groups
    assert [p.shape for p in decaying["params"]] == [(4, 4, 1)]
    assert lasting["weight_decay"] == 0
    assert len(lasting["params"]) == len(list(module.parameters())) - 1
