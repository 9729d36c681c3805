"""Small priors far from uniform, and random codes, for the tests of this folder."""

import torch
from torch import Tensor

from vqaudio.codes import Codes, frames_for
from vqaudio.config import PriorConfig
from vqaudio.prior.conditions import Conditions
from vqaudio.prior.model import CodecSpec, Prior
from vqaudio.prior.stage import batch_of

SPEC = CodecSpec(8000, [8, 4, 2], [[5, 4], [7], [3, 6]], "abc")
LAYOUTS = ["flat", "delay", "cascade"]


def small_prior(
    layout: str = "flat", context: int = 128, seed: int = 0, spec: CodecSpec = SPEC, **config: object
) -> Prior:
    torch.manual_seed(seed)
    shape = {"layers": 2, "width": 16, "heads": 2, "dropout": 0.2, "context": context, **config}
    prior = Prior(PriorConfig.model_validate({"layout": layout, **shape}), spec)
    with torch.no_grad():
        for parameter in prior.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)  # far from uniform, so that faults show
    return prior.eval()


def random_codes(num_samples: int, seed: int = 0, spec: CodecSpec = SPEC) -> Codes:
    generator = torch.Generator().manual_seed(seed)
    levels = [
        torch.stack(
            [torch.randint(0, k, (frames_for(num_samples, hop),), generator=generator) for k in sizes]
        )
        for sizes, hop in zip(spec.codebook_sizes, spec.hops, strict=True)
    ]
    return Codes(levels, num_samples, spec.sample_rate, spec.hops, spec.fingerprint)


def nats(prior: Prior, sounds: list[Codes], conditions: Conditions) -> list[Tensor]:
    """Of each stage, `[B, N, columns]`, of whole sounds in one batch."""
    found = []
    for stage in prior.stages:
        passages = []
        for codes in sounds:
            tokens = stage.tokens(stage.layout.encode(codes))
            above = prior.above(stage, codes)
            passages.append(stage.passage(tokens, 0, len(tokens) - 1, above))
        found.append(stage(batch_of(passages), conditions)[0])
    return found
