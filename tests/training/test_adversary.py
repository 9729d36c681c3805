"""The adversary: whom its steps move, and what its terms are."""

import pytest
import torch
from lightning_fabric import Fabric

from vqaudio.config import Adversarial
from vqaudio.training.adversary import Adversary

CONFIG = {"start_step": 0, "fft_sizes": [128], "periods": [3], "channels": 4}


def make(**changes: object) -> Adversary:
    torch.manual_seed(0)
    return Adversary(
        Fabric(accelerator="cpu", devices=1), Adversarial.model_validate({**CONFIG, **changes})
    )


def sounds(seed: int) -> torch.Tensor:
    return 0.3 * torch.randn(3, 1, 600, generator=torch.Generator().manual_seed(seed))


def weights(adversary: Adversary) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in adversary.module.parameters()]


def test_its_step_moves_itself_alone() -> None:
    adversary, made = make(), sounds(0).requires_grad_()
    before = weights(adversary)
    told = adversary.learn(made, sounds(1), 1e-3)
    assert told is not None
    assert made.grad is None
    assert all(not torch.equal(a, b) for a, b in zip(before, weights(adversary), strict=True))


def test_its_terms_move_the_codec_alone() -> None:
    adversary, made = make(), sounds(0).requires_grad_()
    before = weights(adversary)
    terms = adversary.terms(made, sounds(1))
    sum(terms.values()).backward()
    assert made.grad is not None
    assert (made.grad != 0).any()
    assert all(parameter.grad is None for parameter in adversary.module.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, weights(adversary), strict=True))


@pytest.mark.parametrize("loss", ["hinge", "least_squares"])
def test_losses_are_those_of_the_papers(loss: str) -> None:
    adversary, made, real = make(loss=loss), sounds(0), sounds(1)
    with torch.no_grad():
        scores = [
            (r.score, f.score)
            for r, f in zip(adversary.module(real), adversary.module(made), strict=True)
        ]
    if loss == "hinge":
        tell = [(1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean() for r, f in scores]
        plead = [(1 - f).clamp(min=0).mean() for _, f in scores]
    else:
        tell = [((r - 1) ** 2).mean() + (f**2).mean() for r, f in scores]
        plead = [((f - 1) ** 2).mean() for _, f in scores]
    assert adversary.terms(made, real)["adversarial"].item() == pytest.approx(
        sum(plead).item() / 2, rel=1e-5
    )
    told = adversary.learn(made, real, 1e-3)
    assert told is not None
    assert told["discriminator"].item() == pytest.approx(sum(tell).item() / 2, rel=1e-5)


def test_features_of_the_same_sound_are_no_distance_apart() -> None:
    adversary, real = make(), sounds(0)
    assert adversary.terms(real, real)["features"].item() == 0
    assert adversary.terms(sounds(1), real)["features"].item() > 0.1


def test_what_is_not_finite_moves_nothing() -> None:
    adversary, made = make(), sounds(0)
    made[0, 0, 5] = float("nan")
    before = weights(adversary)
    assert adversary.learn(made, sounds(1), 1e-3) is None
    assert all(torch.equal(a, b) for a, b in zip(before, weights(adversary), strict=True))
