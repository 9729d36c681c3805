"""Which weights of prior and code tables make `.vqa` files smallest.

python benchmarks/vqa_weights.py TOKENS... [--codec MODEL] [--prior MODEL] [--tables FOLDER]

TOKENS are folders of `vqaudio tokenize`, of which the sounds marked for validation are read: neither the
prior nor the tables may have been trained on them, or the weights favour the one that was.
"""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from vqaudio.applications.code_tables import load_tables
from vqaudio.applications.coder import LOGIT_BITS, Integers
from vqaudio.applications.prior_model import PRIOR_WEIGHT, TABLES_WEIGHT, PriorModel
from vqaudio.cli.terminal import run_script
from vqaudio.codes import Codes
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.errors import UserError
from vqaudio.model_folder import find_model, load_codec, load_prior
from vqaudio.training.split import VALIDATION

WHOLE = 256  # a weight of one


class Listener(PriorModel):
    """A prior model that keeps what prior and tables say of each code."""

    def begin(self) -> None:
        """Forget what was said."""
        self.heard: list[tuple[Integers, Integers]] = []

    def product(self, by_prior: Integers, by_tables: Integers) -> Integers:
        """See `PriorModel.product`."""
        self.heard.append((by_prior, by_tables))
        return super().product(by_prior, by_tables)


def listen(model: Listener, codes: Codes) -> list[tuple[Tensor, int]]:
    """Of every code of a sound: natural logits float32 `[2, K]` of prior and tables, and the code."""
    model.begin()
    walk = model.walk([level.shape[1] for level in codes.levels])
    place, said = next(walk, None), []
    while place is not None:
        level, quantizer, frame, _ = place
        said.append(int(codes.levels[level][quantizer, frame]))
        try:
            place = walk.send(said[-1])
        except StopIteration:
            break
    nats = math.log(2) / (1 << LOGIT_BITS)
    both = (torch.from_numpy(np.stack(pair) * nats).float() for pair in model.heard)
    return list(zip(both, said, strict=True))


def bits(weights: Tensor, logits: Tensor, said: Tensor) -> Tensor:
    """Bits of codes `[N]` by the weighted logits `[N, 2, K]`, the mean over all."""
    together = torch.einsum("e,nek->nk", weights, logits)
    return torch.nn.functional.cross_entropy(together, said) / math.log(2)


def main(
    tokens: list[Path],
    codec: str = "speech-16k",
    prior: str = "speech-16k-prior",
    tables: Annotated[Path | None, typer.Option(help="With tables; by default the codec's.")] = None,
    most: Annotated[int, typer.Option(help="Sounds at most.")] = 50,
) -> None:
    """Find the weights and print them, with bits a code."""
    coder = load_codec(codec)
    model = Listener(load_prior(prior), coder, load_tables(coder, tables or find_model(codec)))
    sounds = [row.codes for row in TokenDataset(tokens) if row.fields.get("split") in VALIDATION]
    if not sounds:
        raise UserError(f"{tokens[0]}: no sound is marked for validation")
    step = -(-len(sounds) // most)
    heard = [each for codes in sounds[::step] for each in listen(model, codes)]
    books: dict[int, list[tuple[Tensor, int]]] = {}  # codebooks of one size together
    for logits, code in heard:
        books.setdefault(logits.shape[1], []).append((logits, code))
    stacked = [
        (torch.stack([logits for logits, _ in book]), torch.tensor([code for _, code in book]))
        for book in books.values()
    ]

    def mean(weights: Tensor) -> Tensor:
        total = sum(bits(weights, logits, said) * len(said) for logits, said in stacked)
        return torch.as_tensor(total) / len(heard)

    weights = torch.tensor([0.5, 0.5], requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=30, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        found = mean(weights)
        found.backward()
        return found

    search.step(closure)
    with torch.no_grad():
        for name, pair in (
            ("prior alone", (1.0, 0.0)),
            ("tables alone", (0.0, 1.0)),
            ("as built in", (PRIOR_WEIGHT / WHOLE, TABLES_WEIGHT / WHOLE)),
            ("best", weights.tolist()),
        ):
            rounded = " and ".join(f"{weight * WHOLE:.0f}" for weight in pair)
            print(f"{name}: {rounded} of {WHOLE}, {float(mean(torch.tensor(pair))):.3f} bits a code")


if __name__ == "__main__":
    run_script(main)
