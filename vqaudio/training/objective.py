"""What a codec is trained for: the terms of its loss, and the one loss made of them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vqaudio.codec.heads import MelSpectrogram
from vqaudio.codec.model import Codec, CodecOutput
from vqaudio.config import CodecLosses
from vqaudio.training.balancer import Balancer
from vqaudio.training.intelligibility import EnvelopeDistance
from vqaudio.training.losses import SpectralLoss
from vqaudio.training.loudness import LoudnessDistance

AT_THE_SOUND = (
    "mel",
    "stft",
    "envelopes",
    "loudness",
    "adversarial",
    "features",
)  # terms that the balancer may weigh
SETTINGS = {"fft_sizes", "balance"}  # of the recipe's losses; the others are weights


class Objective(nn.Module):
    """Terms of the loss, and their sum weighted as the recipe says.

    Args:
        codec: what is trained.
        config: weights and settings.
    """

    def __init__(self, codec: Codec, config: CodecLosses) -> None:
        super().__init__()
        self.weights: dict[str, float] = config.model_dump(exclude=SETTINGS)
        self.spectral = SpectralLoss(codec.sample_rate, config.fft_sizes)
        rate = codec.sample_rate
        self.perceptual = nn.ModuleDict(
            {"envelopes": EnvelopeDistance(rate), "loudness": LoudnessDistance(rate)}
        )
        self.balancer = Balancer(config.balance) if config.balance else None
        self._spectrogram = codec.head.target if isinstance(codec.head, MelSpectrogram) else None

    def terms(self, output: CodecOutput, audio: Tensor) -> dict[str, Tensor]:
        """Terms of the loss: those of the bottlenecks, and the distances of what was made.

        Args:
            output: of the codec.
            audio: that it was given, `[B, 1, T]`.
        """
        terms = {**output.losses, **self.distances(output.made, audio)}
        if output.coarse:
            terms["coarse"] = torch.stack([self.distance(made, audio) for made in output.coarse]).mean()
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The terms' sum, weighted; a term without a weight in the recipe's losses has one elsewhere."""
        return torch.stack(
            [self.weights.get(name, 1.0) * term.float() for name, term in terms.items()]
        ).sum()

    def loss(self, terms: Mapping[str, Tensor], made: Tensor) -> Tensor:
        """What is to be lowered: the total, or where the recipe balances, a loss with that pull.

        Args:
            terms: of this step.
            made: what the codec made.
        """
        if self.balancer is None:
            return self.total(terms)
        here = {name: terms[name] for name in AT_THE_SOUND if name in terms}
        rest = {name: term for name, term in terms.items() if name not in here}
        pull = self.balancer.balance(here, self.weights, made)
        return pull + self.total(rest) if rest else pull

    def distances(self, made: Tensor, audio: Tensor) -> dict[str, Tensor]:
        """How far what the codec made is from the sound: `mel`, and `stft` where it made sound."""
        if self._spectrogram is not None:
            return {"mel": (made - self._spectrogram(audio)).abs().mean()}
        found = self.spectral(made, audio)
        wanted = {name: loss for name, loss in self.perceptual.items() if self.weights[name]}
        return found | {name: loss(made, audio) for name, loss in wanted.items()}

    def distance(self, made: Tensor, audio: Tensor) -> Tensor:
        """The reconstruction's part of the total."""
        return self.total(self.distances(made, audio))
