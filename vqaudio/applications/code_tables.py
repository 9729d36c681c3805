"""Code tables: how likely each code is after those around it, in integers that are the same everywhere.

A codebook's table is a network of one hidden layer over the vectors of the codes around, as in the
neural probabilistic language model (Bengio et al. 2003, JMLR 3, equation 1), rounded to 8 bits.
Direct counts of pairs are too sparse: a codebook has a million pairs, an hour of speech 180,000 frames.

    contexts    codes of the levels above around the frame, those before it, those of it so far
    hidden      sum of a row a context >> shifts, cut to 0 ... 255
    logits      output @ hidden + bias, base 2

Every number on the way is an integer below 2^24, so float32 holds it exactly, and the product is the
same in whatever order it is summed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vqaudio.applications.coder import LOGIT_BITS, Integers
from vqaudio.codec.model import Codec
from vqaudio.errors import UserError
from vqaudio.files import replacing

FILE = "code_tables.safetensors"
PAST = 4  # frames of the same level
AROUND = 1  # frames of each level above, to both sides
PAD = max(PAST, AROUND)
HIDDEN = 240
LARGEST_HIDDEN = 255
MOST_HIDDEN = 512  # so many times 255 * 127 are below 2^24
MOST_SHIFT = 31


@dataclass(frozen=True)
class Parameters:
    """What is stored of one codebook, with the codes of `M` contexts as vectors of `D` in all.

    Args:
        weights: int8 `[D, H]`.
        places: int32 `[P, H]`, of each of the `P` frames in a coarsest frame.
        shifts: uint8 `[H]`.
        output: int8 `[K, H]`.
        bias: int32 `[K]`.
        digits: int32 `[1]`, binary ones of `output` and `bias` behind the point.
    """

    weights: NDArray[np.int8]
    places: NDArray[np.int32]
    shifts: NDArray[np.uint8]
    output: NDArray[np.int8]
    bias: NDArray[np.int32]
    digits: NDArray[np.int32]


class CodeTable:
    """Logits of one codebook.

    Args:
        parameters: see there.
        vectors: of each context, int8 `[K, D]`.
    """

    def __init__(self, parameters: Parameters, vectors: Sequence[NDArray[np.int8]]) -> None:
        dims = np.cumsum([v.shape[1] for v in vectors])[:-1]
        parts = np.split(parameters.weights.astype(np.int32), dims)
        nothing = np.zeros((1, parameters.weights.shape[1]), np.int32)
        pairs = zip(vectors, parts, strict=True)
        rows = [part for v, w in pairs for part in (v.astype(np.int32) @ w, nothing)]
        self._rows = np.concatenate(rows)
        self._starts = np.cumsum([0, *(len(v) + 1 for v in vectors)])[:-1]
        self._places, self._shifts = parameters.places, parameters.shifts
        self._output = np.ascontiguousarray(parameters.output.T.astype(np.float32))
        self._bias, self._digits = parameters.bias.astype(np.int64), int(parameters.digits[0])

    def logits(self, contexts: Integers, frames: Integers) -> Integers:
        """Logits int64 `[N, K]`, base 2 in steps of 1/1024, of contexts `[N, M]` of `N` frames."""
        sums = self._rows[contexts + self._starts].sum(axis=1, dtype=np.int32)
        sums += self._places[frames % len(self._places)]
        hidden = np.clip(sums >> self._shifts, 0, LARGEST_HIDDEN).astype(np.float32)
        scores = (hidden @ self._output).astype(np.int64) + self._bias
        return (scores << LOGIT_BITS) >> self._digits


class CodeTables:
    """The tables of a codec.

    Args:
        hops: of the codec, as the next.
        codebook_sizes: per level, per quantizer.
        vectors: of the codes, per level, per quantizer: int8 `[K, D]`.
        parameters: the same, of the tables.
    """

    def __init__(
        self,
        hops: Sequence[int],
        codebook_sizes: Sequence[Sequence[int]],
        vectors: Sequence[Sequence[NDArray[np.int8]]],
        parameters: Sequence[Sequence[Parameters]],
    ) -> None:
        self.hops, self.codebook_sizes = list(hops), [list(sizes) for sizes in codebook_sizes]
        self._vectors, self._parameters = vectors, parameters
        self._tables = [
            [CodeTable(p, context_vectors(vectors, level, q)) for q, p in enumerate(of_level)]
            for level, of_level in enumerate(parameters)
        ]

    def logits(
        self, codes: Sequence[Integers], level: int, quantizer: int, frames: Integers
    ) -> Integers:
        """Logits of some frames, int64 `[N, K]`, base 2 in steps of 1/1024.

        Args:
            codes: per level, as `padded` has them; what is not known yet is as outside of the sound.
            level: of the codebook.
            quantizer: of the codebook.
            frames: int64 `[N]`.
        """
        contexts = gather(codes, self.hops, level, quantizer, frames)
        return self._tables[level][quantizer].logits(contexts, frames)

    def padded(self, frames: Sequence[int]) -> list[Integers]:
        """Room for codes of a sound, with nothing known yet: per level int64 `[Q, PAD + F + PAD]`."""
        return [
            np.tile(np.array(sizes, np.int64)[:, None], count + 2 * PAD)
            for sizes, count in zip(self.codebook_sizes, frames, strict=True)
        ]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tables, in hexadecimal digits."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._tensors().items()):
            digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
            digest.update(tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def save(self, folder: Path, codec: str) -> None:
        """Write them into the folder of the codec with this fingerprint.

        Raises:
            UserError: the folder cannot be written.
        """
        with replacing(folder / FILE) as part:
            part.write_bytes(save(self._tensors(), {"codec": codec}))

    def _tensors(self) -> dict[str, NDArray[np.generic]]:
        found: dict[str, NDArray[np.generic]] = {}
        for level, of_level in enumerate(self._parameters):
            for quantizer, parameters in enumerate(of_level):
                name = f"level_{level}.quantizer_{quantizer}"
                found[f"{name}.vectors"] = self._vectors[level][quantizer]
                for field in fields(Parameters):
                    found[f"{name}.{field.name}"] = getattr(parameters, field.name)
        return found


def gather(
    codes: Sequence[NDArray[Any]], hops: Sequence[int], level: int, quantizer: int, frames: Integers
) -> NDArray[Any]:
    """What a table looks at: int64 `[N, M]`, the codes around each of `N` frames.

    Args:
        codes: per level, as `CodeTables.padded` has them.
        hops: per level.
        level: of the codebook.
        quantizer: of the codebook.
        frames: int64 `[N]`.
    """
    found = []
    for above in range(level):
        around = frames * hops[level] // hops[above] + PAD
        found.append(codes[above][:, around[:, None] + np.arange(-AROUND, AROUND + 1)])
    found.append(codes[level][:, (frames + PAD)[:, None] + np.arange(-PAST, 0)])
    found.append(codes[level][:quantizer, (frames + PAD)[:, None]])
    return np.concatenate([part.swapaxes(0, 1).reshape(len(frames), -1) for part in found], axis=1)


def context_vectors(
    vectors: Sequence[Sequence[NDArray[np.int8]]], level: int, quantizer: int
) -> list[NDArray[np.int8]]:
    """The vectors of the codebook of each context that `gather` gives."""
    found = [v for above in vectors[:level] for v in above for _ in range(2 * AROUND + 1)]
    found += [v for v in vectors[level] for _ in range(PAST)]
    return found + list(vectors[level][:quantizer])


def load_tables(codec: Codec, folder: Path) -> CodeTables:
    """The tables in a codec's folder.

    Raises:
        UserError: there are none, they are damaged, or they are another codec's.
    """
    path = folder / FILE
    try:
        with safe_open(path, "numpy") as file:
            maker = (file.metadata() or {}).get("codec", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(
            f"{path}: missing; make it with python -m vqaudio.applications.fit_tables TOKENS "
            f"--codec {folder}, of the tokens of training sounds"
        ) from None
    except (SafetensorError, OSError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); fetch the folder again") from None
    if maker != codec.fingerprint:
        raise UserError(
            f"{path}: of codec {maker[:12]}, beside codec {codec.fingerprint[:12]}; make it again with "
            "python -m vqaudio.applications.fit_tables"
        )
    return _tables_of(codec, tensors, path)


def _tables_of(codec: Codec, tensors: dict[str, NDArray[Any]], path: Path) -> CodeTables:
    """Tables of what a file holds, which must be what this codec's tables hold."""
    vectors: list[list[NDArray[Any]]] = []
    parameters: list[list[Parameters]] = []
    names = ["vectors", *(field.name for field in fields(Parameters))]
    try:
        for level, sizes in enumerate(codec.codebook_sizes):
            found = [
                [tensors.pop(f"level_{level}.quantizer_{quantizer}.{name}") for name in names]
                for quantizer in range(len(sizes))
            ]
            vectors.append([tensor for tensor, *_ in found])
            parameters.append([Parameters(*rest) for _, *rest in found])
    except KeyError as error:
        raise UserError(f"{path}: damaged ({error} is missing); fetch the folder again") from None
    for level, sizes in enumerate(codec.codebook_sizes):
        for quantizer, size in enumerate(sizes):
            own = vectors[level][quantizer]
            _check(path, "vectors", own, np.int8, (size, own.shape[-1] if own.ndim else 0))
            around = context_vectors(vectors, level, quantizer)
            dims = sum(other.shape[-1] if other.ndim else 0 for other in around)
            _check_parameters(
                path, parameters[level][quantizer], dims, codec.hops[0] // codec.hops[level], size
            )
    return CodeTables(codec.hops, codec.codebook_sizes, vectors, parameters)


def _check_parameters(path: Path, found: Parameters, dims: int, places: int, size: int) -> None:
    hidden = min(found.weights.shape[-1], MOST_HIDDEN) if found.weights.ndim else 0
    _check(path, "weights", found.weights, np.int8, (dims, hidden))
    _check(path, "places", found.places, np.int32, (places, hidden))
    _check(path, "shifts", found.shifts, np.uint8, (hidden,))
    _check(path, "output", found.output, np.int8, (size, hidden))
    _check(path, "bias", found.bias, np.int32, (size,))
    _check(path, "digits", found.digits, np.int32, (1,))
    if found.shifts.max(initial=0) > MOST_SHIFT or not 0 <= found.digits[0] <= MOST_SHIFT:
        raise UserError(f"{path}: damaged (a shift of over {MOST_SHIFT}); fetch the folder again")


def _check(
    path: Path, name: str, tensor: NDArray[Any], kind: type[np.generic], shape: tuple[int, ...]
) -> None:
    if tensor.dtype != kind or tensor.shape != shape:
        raise UserError(
            f"{path}: damaged ({name} of {tensor.dtype} {list(tensor.shape)}); fetch the folder again"
        )
