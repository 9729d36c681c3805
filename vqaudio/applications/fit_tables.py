"""Fit code tables to the tokens of training sounds: a small network a codebook, rounded to integers.

    python -m vqaudio.applications.fit_tables TOKENS... --codec MODEL

A code is known by its vector in the codec, so that rare codes learn from those near them.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vqaudio.applications.code_tables import (
    AROUND,
    FILE,
    HIDDEN,
    LARGEST_HIDDEN,
    PAD,
    PAST,
    CodeTables,
    Parameters,
    context_vectors,
    gather,
)
from vqaudio.codec.code_vectors import code_vectors
from vqaudio.codec.model import Codec
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.errors import UserError
from vqaudio.model_folder import SHIPPED, find_model, load_codec

STEPS, BATCH, LEARNING_RATE = 2500, 2048, 3e-3
DROPOUT = 0.1  # of hidden units
BLINDED = 0.2  # share of examples that do not know what comes after them in the levels above
LARGEST = 127
PEAK_ROWS = 1 << 14  # examples that the range of the hidden units is taken from


def fit_tables(codec: Codec, tokens: TokenDataset, steps: int = STEPS) -> Iterator[str | CodeTables]:
    """Fit the tables of a codec, codebook by codebook.

    Args:
        codec: that made the tokens.
        tokens: of training sounds.
        steps: of each codebook.

    Yields:
        A line a codebook, and the tables at last.

    Raises:
        UserError: the tokens are another codec's.
    """
    if tokens.codec != codec.fingerprint:
        raise UserError(
            f"{tokens.paths[0]}: tokens of codec {tokens.codec[:12]}, not of {codec.fingerprint[:12]}; "
            "tokenize with this one"
        )
    torch.manual_seed(0)
    vectors = [[_rounded(v) for v in level] for level in code_vectors(codec)]
    corpus = _Corpus(tokens)
    parameters: list[list[Parameters]] = []
    for level, sizes in enumerate(codec.codebook_sizes):
        parameters.append([])
        for quantizer in range(len(sizes)):
            around = context_vectors(vectors, level, quantizer)
            network = _Network(around, vectors[level][quantizer], codec.hops[0] // codec.hops[level])
            bits = _fit(network, corpus, level, quantizer, steps)
            yield f"level {level} quantizer {quantizer}: {bits:.3f} bits a code at the end of training"
            parameters[-1].append(_integers(network, corpus.examples(level, quantizer, PEAK_ROWS)))
    yield CodeTables(codec.hops, codec.codebook_sizes, vectors, parameters)


def _rounded(vectors: Tensor) -> NDArray[np.int8]:
    scale = LARGEST / vectors.abs().max().clamp(min=1e-12)
    return (vectors * scale).round().numpy().astype(np.int8)


@dataclass(frozen=True)
class _Examples:
    """Contexts int64 `[N, M]`, places in the coarsest frame and codes `[N]` of some frames."""

    contexts: Tensor
    places: Tensor
    codes: Tensor


class _Corpus:
    """All sounds one after the other, with room between them, as `gather` reads them."""

    def __init__(self, tokens: TokenDataset) -> None:
        self.hops = tokens.hops
        self.ratios = [tokens.hops[0] // hop for hop in tokens.hops]
        levels: list[list[NDArray[np.int32]]] = [[] for _ in self.ratios]
        inside: list[list[NDArray[np.bool_]]] = [[] for _ in self.ratios]
        # None for sounds without a mark; those for validation or test are not learned from.
        for codes in (r.codes for r in tokens if r.fields.get("split") in (None, "", "train")):
            room = codes.levels[0].shape[1] + PAD
            for level, sizes in enumerate(tokens.codebook_sizes):
                wide = np.tile(np.array(sizes, np.int32)[:, None], room * self.ratios[level])
                wide[:, : codes.levels[level].shape[1]] = codes.levels[level].numpy()
                levels[level].append(wide)
                inside[level].append(np.arange(wide.shape[1]) < codes.levels[level].shape[1])
        if not levels[0]:
            raise UserError(f"{tokens.paths[0]}: no sound to learn from: all are for validation or test")
        self.frames = [np.flatnonzero(np.concatenate(level)) for level in inside]
        self.codes = []
        for pieces, sizes in zip(levels, tokens.codebook_sizes, strict=True):
            room_before = np.tile(np.array(sizes, np.int32)[:, None], PAD)
            self.codes.append(np.concatenate([room_before, *pieces, room_before], axis=1))

    def examples(self, level: int, quantizer: int, count: int) -> _Examples:
        """Some frames of a codebook, drawn at random."""
        frames = self.frames[level][torch.randint(len(self.frames[level]), (count,)).numpy()]
        contexts = gather(self.codes, self.hops, level, quantizer, frames).astype(np.int64)
        codes = self.codes[level][quantizer, frames + PAD].astype(np.int64)
        places = frames % self.ratios[level]
        return _Examples(torch.from_numpy(contexts), torch.from_numpy(places), torch.from_numpy(codes))

    def counts(self, level: int, quantizer: int) -> Tensor:
        """How often each code of a codebook is said: float32 `[K + 1]`, the last for none."""
        return torch.bincount(torch.from_numpy(self.codes[level][quantizer])).float()

    def comes_after(self, level: int, quantizer: int) -> Tensor:
        """Which contexts come after their frame: bool `[M]`."""
        above = sum(len(codes) for codes in self.codes[:level])
        same = PAST * len(self.codes[level]) + quantizer
        later = torch.arange(-AROUND, AROUND + 1) > 0
        return torch.cat([later.repeat(above), torch.zeros(same, dtype=torch.bool)])


class _Network(nn.Module):
    """The table of one codebook before it is rounded; see `code_tables`.

    Args:
        around: vectors of the codebook of each context, int8 `[K, D]`.
        own: vectors of its own codes.
        places: frames in a coarsest frame.
    """

    def __init__(self, around: Sequence[NDArray[np.int8]], own: NDArray[np.int8], places: int) -> None:
        super().__init__()
        self.units = [_unit(vectors) for vectors in around]
        self.vectors = [F.pad(_scaled(v), (0, 0, 0, 1)) for v in around]  # zeros where no code is
        self.own = _scaled(own)
        width = sum(vectors.shape[1] for vectors in around)
        self.weights = nn.Parameter(torch.randn(width, HIDDEN) / math.sqrt(width))
        self.places = nn.Parameter(torch.zeros(places, HIDDEN))
        self.shared = nn.Parameter(0.02 * torch.randn(own.shape[1], HIDDEN))
        self.single = nn.Parameter(torch.zeros(len(own), HIDDEN))
        self.bias = nn.Parameter(torch.zeros(len(own)))

    @property
    def output(self) -> Tensor:
        """`[K, H]`: what codes near each other have in common, and what each has alone."""
        return self.own @ self.shared + self.single

    def hidden(self, contexts: Tensor, places: Tensor) -> Tensor:
        """`[N, H]` of contexts `[N, M]`."""
        read = [F.embedding(c, v) for c, v in zip(contexts.unbind(1), self.vectors, strict=True)]
        return F.relu(torch.cat(read, dim=1) @ self.weights + self.places[places])

    def forward(self, contexts: Tensor, places: Tensor) -> Tensor:
        """Natural logits `[N, K]`."""
        return F.dropout(self.hidden(contexts, places), DROPOUT) @ self.output.T + self.bias


def _unit(vectors: NDArray[np.int8]) -> float:
    """What vectors are divided by to have a spread of one."""
    return max(float(vectors.astype(np.float64).std()), 1e-6)


def _scaled(vectors: NDArray[np.int8]) -> Tensor:
    return torch.from_numpy(vectors / _unit(vectors)).float()


def _fit(network: _Network, corpus: _Corpus, level: int, quantizer: int, steps: int) -> float:
    """Train, and give bits a code over the last tenth."""
    absent = torch.tensor([len(vectors) - 1 for vectors in network.vectors])
    comes_after = corpus.comes_after(level, quantizer)
    with torch.no_grad():
        counts = corpus.counts(level, quantizer)[:-1] + 1
        network.bias.copy_((counts / counts.sum()).log())
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    losses = []
    for _ in range(steps):
        batch = corpus.examples(level, quantizer, BATCH)
        blinded = (torch.rand(BATCH, 1) < BLINDED) & comes_after
        logits = network(torch.where(blinded, absent, batch.contexts), batch.places)
        loss = F.cross_entropy(logits, batch.codes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-max(1, steps // 10) :])) / math.log(2)


@torch.no_grad()
def _integers(network: _Network, examples: _Examples) -> Parameters:
    """A network in integers, each hidden unit at the scale that fills its 8 bits on some examples."""
    peaks = network.hidden(examples.contexts, examples.places).amax(dim=0).double().numpy()
    units = np.repeat(network.units, [vectors.shape[1] for vectors in network.vectors])
    weights = network.weights.double().numpy() / units[:, None]
    scales = LARGEST / np.maximum(np.abs(weights).max(axis=0), 1e-9)
    shifts = np.ceil(np.log2(np.maximum(scales * peaks / LARGEST_HIDDEN, 1)))
    output = network.output.double().numpy() * (2**shifts / scales) / math.log(2)
    digits = math.floor(math.log2(LARGEST / np.abs(output).max()))
    places = network.places.double().numpy() * scales + 2**shifts / 2  # so that >> rounds
    bias = network.bias.double().numpy() / math.log(2)
    return Parameters(
        weights=np.rint(weights * scales).astype(np.int8),
        places=np.rint(places).astype(np.int32),
        shifts=shifts.astype(np.uint8),
        output=np.rint(output * 2.0**digits).astype(np.int8),
        bias=np.rint(bias * 2.0**digits).astype(np.int32),
        digits=np.array([digits], np.int32),
    )


def main(arguments: list[str] | None = None) -> None:
    """Fit tables from the command line; what the user can mend is one line, and exit 2."""
    parser = argparse.ArgumentParser(prog="python -m vqaudio.applications.fit_tables")
    parser.add_argument("tokens", nargs="+", type=Path, help="folders or files of token shards")
    parser.add_argument("--codec", required=True, help="a model folder, which gets the tables")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each codebook")
    given = parser.parse_args(arguments)
    try:
        folder = find_model(given.codec)
        if folder != Path(given.codec) and SHIPPED in folder.parents:
            raise UserError(f"{given.codec}: ships with its tables; give a model folder of your own")
        codec = load_codec(folder)
        for found in fit_tables(codec, TokenDataset(given.tokens), given.steps):
            if isinstance(found, str):
                print(found, flush=True)
            else:
                found.save(folder, codec.fingerprint)
    except (UserError, OSError) as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(2)
    print(f"tables in {folder / FILE}")


if __name__ == "__main__":
    main()
