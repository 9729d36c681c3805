"""Token corpora from a source whose entropy is known, to train priors on."""

import math
from pathlib import Path

import torch
from torch import Tensor

from vqaudio.codes import Codes
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.prior.model import CodecSpec

SPEC = CodecSpec(100, [2, 1], [[4], [6]], "abc")


class Chain:
    """Coarse codes follow the coarse code before, fine codes the coarse one and the fine one before.

    A sound ends after each whole coarse frame with probability 1/8.
    """

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.coarse = (2 * torch.randn(5, 4, generator=generator)).softmax(dim=-1)  # row 4: the first
        self.fine = (2 * torch.randn(4, 7, 6, generator=generator)).softmax(dim=-1)

    def draw(self, generator: torch.Generator) -> Codes:
        coarse, fine = [4], [6]
        while len(coarse) == 1 or torch.rand((), generator=generator) > 1 / 8:
            coarse.append(_draw(self.coarse[coarse[-1]], generator))
            for _ in range(2):
                fine.append(_draw(self.fine[coarse[-1], fine[-1]], generator))
        levels = [torch.tensor([coarse[1:]]), torch.tensor([fine[1:]])]
        return Codes(levels, len(fine) - 1, SPEC.sample_rate, SPEC.hops, SPEC.fingerprint)

    def bits(self, codes: Codes) -> float:
        coarse, fine = [4, *codes.levels[0][0].tolist()], [6, *codes.levels[1][0].tolist()]
        frames = len(coarse) - 1
        probability = math.log2(1 / 8) + (frames - 1) * math.log2(7 / 8)
        for frame in range(frames):
            probability += math.log2(self.coarse[coarse[frame], coarse[frame + 1]])
            for place in (2 * frame, 2 * frame + 1):
                probability += math.log2(self.fine[coarse[frame + 1], fine[place], fine[place + 1]])
        return -probability


def _draw(probabilities: Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial(probabilities, 1, generator=generator))


def write_corpus(folder: Path, sounds: int, labels: int = 0, seed: int = 0) -> None:
    """One shard of sounds, the i-th by chain `i % labels` if there are labels."""
    generator = torch.Generator().manual_seed(seed)
    chains = [Chain(label) for label in range(max(1, labels))]
    rows = []
    for index in range(sounds):
        fields = {"label": f"chain {index % labels}"} if labels else {}
        if index % 20 == 7:
            fields["split"] = "validation"
        rows.append(TokenRow(f"sound {index}", chains[index % len(chains)].draw(generator), fields))
    folder.mkdir(parents=True)
    write_shard(folder / "tokens-00000.parquet", SPEC, rows)
