"""Do the levels carry something? How evenly codes are used, and what each level adds to the sound."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Use:
    """Use of one codebook over a stretch of training.

    Args:
        level: 0 is the coarsest.
        quantizer: within the level, 0 first.
        size: codes there are, `K`.
        used: distinct codes that occurred.
        perplexity: 2 to the entropy in bits of the codes that occurred; 1 to `K`.
        frames: codes that were counted.
        alarm: share of the way from one code in use to all alike, below which it is alarming.
    """

    level: int
    quantizer: int
    size: int
    used: int
    perplexity: float
    frames: int
    alarm: float

    @property
    def name(self) -> str:
        """Level and quantizer, such as `0.1`."""
        return f"{self.level}.{self.quantizer}"

    @property
    def bits(self) -> float:
        """Entropy of the codes that occurred, in bits a code."""
        return math.log2(self.perplexity)

    @property
    def capacity(self) -> float:
        """Bits a code if all were used alike."""
        return math.log2(self.size)

    @property
    def alarming(self) -> bool:
        """Whether this codebook has stopped carrying information."""
        most = min(self.size, self.frames)  # a short stretch cannot show all of a large codebook
        return self.perplexity < 1 + self.alarm * (most - 1)


class CodebookUse:
    """Counts codes from one log line to the next.

    Args:
        sizes: per level, per quantizer, the codebook's size.
        alarm: see `Use`.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], alarm: float) -> None:
        self._alarm = alarm
        self._counts = [[torch.zeros(size) for size in level] for level in sizes]

    def add(self, codes: Sequence[Tensor]) -> None:
        """Count a batch.

        Args:
            codes: per level that has any, int64 `[B, Q, F]`; nothing in the warm start.
        """
        discrete = [counts for counts in self._counts if counts]
        for counts, level in zip(discrete, codes, strict=False):
            for count, indices in zip(counts, level.unbind(1), strict=True):
                count += torch.bincount(indices.flatten(), minlength=len(count)).cpu()

    def take(self) -> list[Use]:
        """What was counted since the last call; codebooks without a code are left out."""
        uses = []
        for level, quantizers in enumerate(self._counts):
            for quantizer, counts in enumerate(quantizers):
                frames = int(counts.sum())
                if frames:
                    perplexity = torch.special.entr(counts / frames).sum().exp().item()
                    used = int((counts > 0).sum())
                    size = len(counts)
                    uses.append(Use(level, quantizer, size, used, perplexity, frames, self._alarm))
                counts.zero_()
        return uses


@dataclass(frozen=True)
class LevelHealth:
    """What one level adds to the sound.

    Args:
        level: 0 is the coarsest.
        added: rise of the distance to the sound when what the level says is shuffled over frames
            and sounds.
        distance: without that.
        alarm: share of the distance; a rise below it is alarming.
        measures: what the bottleneck says of itself, by name.
    """

    level: int
    added: float
    distance: float
    alarm: float
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The rise, of the distance."""
        return self.added / max(self.distance, 1e-12)

    @property
    def alarming(self) -> bool:
        """Whether the sound hardly depends on this level."""
        return self.share < self.alarm


@torch.no_grad()
def level_health(
    said: Sequence[Tensor],
    measures: Sequence[Mapping[str, Tensor]],
    distance: Callable[[list[Tensor]], float],
    alarm: float,
    seed: int,
) -> list[LevelHealth]:
    """Shuffle the levels one after another, and see how much worse the sound becomes.

    Args:
        said: per level, coarsest first, what its bottleneck passed on, `[B, D_l, F_l]`.
        measures: per level, the scalars of its bottleneck.
        distance: of the sound made of such features from what it should be.
        alarm: see `LevelHealth`.
        seed: of the shuffles.
    """
    whole = [features.detach() for features in said]
    undisturbed = distance(whole)
    found = []
    for index, features in enumerate(whole):
        rise = distance([*whole[:index], shuffled(features, seed), *whole[index + 1 :]]) - undisturbed
        scalars = {name: value.item() for name, value in measures[index].items()}
        found.append(LevelHealth(index, rise, undisturbed, alarm, scalars))
    return found


def shuffled(features: Tensor, seed: int) -> Tensor:
    """The frames of `[B, D, F]` in another order, over all sounds together."""
    frames = rearrange(features, "b d f -> (b f) d")
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed))
    return rearrange(frames[order.to(frames.device)], "(b f) d -> b d f", b=len(features))
