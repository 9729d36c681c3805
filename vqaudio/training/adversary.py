"""The other side of adversarial training: discriminators, their losses and their optimizer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vqaudio.config import Adversarial
from vqaudio.training.checkpoint import optimizer_tensors, restore_optimizer
from vqaudio.training.discriminators import Discriminators, Verdict

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TENSORS, OPTIMIZER = "discriminators", "discriminators_optimizer"  # files of a training state


class Adversary:
    """Discriminators that are trained beside a codec.

    Args:
        fabric: of this process.
        config: the recipe's section.
    """

    def __init__(self, fabric: "Fabric", config: Adversarial) -> None:
        self.fabric, self.config = fabric, config
        self.module = Discriminators(config.fft_sizes, config.periods, config.channels, config.norm)
        first, second = config.betas
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=config.learning_rate_ratio, betas=(first, second)
        )
        self.model, self._stepper = fabric.setup(self.module, self.optimizer)

    def learn(self, made: Tensor, audio: Tensor, learning_rate: float) -> dict[str, Tensor] | None:
        """Take one step towards telling `made` from `audio`.

        Args:
            made: what the codec made, `[B, 1, T]`; no gradient flows into it.
            audio: the sounds, the same shape.
            learning_rate: of the codec at this step, of which the recipe's ratio is taken.

        Returns:
            `discriminator`, the loss, and `discriminator_gradient`, the gradient's norm; None where
            one of them is not finite, and no step was taken.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * self.config.learning_rate_ratio
        self.module.requires_grad_(True)
        self.optimizer.zero_grad()
        both = torch.cat([audio, made.detach()])
        halves = [_halves(verdict.score) for verdict in self.model(both)]
        loss = torch.stack([_tell(real, fake, self.config.loss) for real, fake in halves]).mean()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self._stepper, max_norm=self.config.clip_norm, error_if_nonfinite=False
        )
        assert norm is not None
        finite = torch.isfinite(loss.detach() + norm).float()
        if not self.fabric.all_reduce(finite, reduce_op="min"):
            return None
        self._stepper.step()
        return {"discriminator": loss.detach(), "discriminator_gradient": norm}

    def terms(self, made: Tensor, audio: Tensor) -> dict[str, Tensor]:
        """Terms of the codec's loss: `adversarial`, and `features`.

        - `adversarial`: how far what was made is from being taken for sound.
        - `features`: mean absolute difference of every hidden layer's features, of their mean size
          (Kumar et al. 2019, arXiv 1910.06711, equation 3; relative as in EnCodec, equation 2).

        Args:
            made: what the codec made, `[B, 1, T]`; gradients flow into this alone.
            audio: the sounds, the same shape.
        """
        self.module.requires_grad_(False)
        with torch.no_grad():
            wanted = self._judge(audio)
        found = self._judge(made)
        pleas = [_plead(verdict.score.float(), self.config.loss) for verdict in found]
        return {"adversarial": torch.stack(pleas).mean(), "features": _difference(found, wanted)}

    def _judge(self, audio: Tensor) -> list[Verdict]:
        with self.fabric.autocast():
            return self.module(audio)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a training state holds of it."""
        return {
            TENSORS: self.module.state_dict(),
            OPTIMIZER: optimizer_tensors(self.optimizer, self.module),
        }

    def restore(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Take back what `tensors` gave."""
        self.module.load_state_dict(tensors[TENSORS])
        restore_optimizer(self.optimizer, self.module, tensors[OPTIMIZER])


def _halves(scores: Tensor) -> tuple[Tensor, Tensor]:
    real, fake = scores.float().chunk(2)
    return real, fake


def _tell(real: Tensor, fake: Tensor, kind: str) -> Tensor:
    """Loss of a discriminator: hinge (Lim, Ye 2017) or least squares (Mao et al. 2017)."""
    if kind == "hinge":
        return (1 - real).relu().mean() + (1 + fake).relu().mean()
    return (1 - real).square().mean() + fake.square().mean()


def _plead(fake: Tensor, kind: str) -> Tensor:
    """Loss of the codec by the same rule."""
    return (1 - fake).relu().mean() if kind == "hinge" else (1 - fake).square().mean()


def _difference(found: Sequence[Verdict], wanted: Sequence[Verdict]) -> Tensor:
    each = [
        (made.float() - real.float()).abs().mean() / real.float().abs().mean().clamp(min=1e-3)
        for one, other in zip(found, wanted, strict=True)
        for made, real in zip(one.features, other.features, strict=True)
    ]
    return torch.stack(each).mean()
