"""Damaged, cut and random `.vqa` files: each is refused in one line, or its whole blocks come back.

    python benchmarks/vqa_damage.py [--count 10000] [--codec MODEL] [--seed 0]

All in one process, whose peak memory is printed. A case that takes over a minute, says anything else
than a `UserError`, gives other codes than were written, or leaves out a block without naming it ends
the run. The sound of every tenth case is decoded too, and its length compared.
"""

import io
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable

import torch

from vqaudio.applications.code_tables import load_tables
from vqaudio.applications.compression import Compressor
from vqaudio.applications.decompression import Decompressor, Silence
from vqaudio.applications.static_model import StaticModel
from vqaudio.applications.vqa_format import Block, read_header, whole_blocks
from vqaudio.audio import read_audio
from vqaudio.cli.terminal import run_script
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.evaluation.demo import SENTENCE
from vqaudio.model_folder import find_model, load_codec

SECONDS, BLOCK_SECONDS, LONGEST_SECONDS = 1.3, 0.4, 60
SOUNDED = 10  # every so many cases are decoded to sound


def flipped(data: bytearray, chance: random.Random) -> None:
    """One to eight bits are others."""
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwritten(data: bytearray, chance: random.Random) -> None:
    """A stretch is random."""
    start, length = chance.randrange(len(data)), chance.randint(1, 64)
    data[start : start + length] = chance.randbytes(min(length, len(data) - start))


def cut(data: bytearray, chance: random.Random) -> None:
    """The end is missing."""
    del data[chance.randrange(len(data)) :]


def shortened(data: bytearray, chance: random.Random) -> None:
    """A stretch is missing."""
    start = chance.randrange(len(data))
    del data[start : start + chance.randint(1, 200)]


def lengthened(data: bytearray, chance: random.Random) -> None:
    """A stretch is too much."""
    start = chance.randrange(len(data))
    data[start:start] = chance.randbytes(chance.randint(1, 200))


def doubled(data: bytearray, chance: random.Random) -> None:
    """A stretch is there twice."""
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randint(1, 200)]
    place = chance.randrange(len(data))
    data[place:place] = piece


def headed(data: bytearray, chance: random.Random) -> None:
    """The header is another one."""
    data[chance.randrange(17)] = chance.randrange(256)


def only_headed(data: bytearray, chance: random.Random) -> None:
    """Nothing but the header is left, before random bytes."""
    data[17:] = chance.randbytes(chance.randint(0, 5000))


def made_up(data: bytearray, chance: random.Random) -> None:
    """All is random, with or without how a file begins."""
    data[:] = chance.choice([b"", b"VQA", b"VQA\1\0"]) + chance.randbytes(chance.randint(0, 2000))


def forged(data: bytearray, chance: random.Random) -> None:
    """Blocks with the right CRC, of random numbers, lengths and payloads, stand between the others."""
    file = io.BytesIO(bytes(data))
    header = read_header(file, "")
    blocks = [block.to_bytes(header.seed) for block in whole_blocks(file, header.seed, 1 << 12)]
    for _ in range(chance.randint(1, 4)):
        number = chance.choice([chance.randrange(8), chance.randrange(1 << chance.randrange(1, 35))])
        samples = chance.choice([None, None, chance.randrange(1 << chance.randrange(1, 35))])
        block = Block(number, chance.randbytes(chance.randrange(120)), samples)
        blocks.insert(chance.randint(0, len(blocks)), block.to_bytes(header.seed))
    data[:] = header.to_bytes() + b"".join(blocks)


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [
    flipped, overwritten, cut, shortened, lengthened, doubled, headed, only_headed, made_up, forged,
]  # fmt: skip


def written(codec: Codec, model: StaticModel, channels: int) -> bytes:
    """A file of several blocks."""
    audio, rate = read_audio(SENTENCE)
    start, length = rate, round(SECONDS * rate)
    file = io.BytesIO()
    compressor = Compressor(codec, model, file, rate, channels, BLOCK_SECONDS)
    compressor.push(torch.cat([audio[:1, n * start :][:, :length] for n in range(channels)]))
    compressor.finish()
    return file.getvalue()


def opened(codec: Codec, model: StaticModel, data: bytes) -> Decompressor:
    """A file as `vqaudio decompress` opens it."""
    file = io.BytesIO(data)
    return Decompressor(codec, model, read_header(file, "a.vqa"), file, "a.vqa")


def outcome(
    codec: Codec, model: StaticModel, data: bytes, right: list[Codes], forgery: bool, sound: bool
) -> str:
    """How a file ended: refused, whole, or with gaps; AssertionError where it should not so end."""
    try:
        reader = opened(codec, model, data)
        found = list(reader.parts())
        if sound:
            lengths: Counter[int] = Counter()
            for channel, part in found:
                lengths[channel] += part.num_samples
            heard = sum(piece.shape[1] for piece in opened(codec, model, data).audio())
            assert heard == max(lengths.values(), default=0), (heard, lengths)
    except UserError:  # whose text is always one line
        return "refused"
    parts = [part for _, part in found]
    kept = [part for part in parts if isinstance(part, Codes)]
    if not kept:
        return "refused"  # as `audio` says at its end
    if not forgery:  # a forged block with a right CRC may stand for a true one
        assert all(isinstance(a, Silence) or a == b for a, b in zip(parts, right, strict=False))
        assert bool(reader.gaps) == (len(kept) < len(right))
    return "named gaps" if reader.gaps else "whole"


def main(count: int = 10_000, codec: str = "speech-16k", seed: int = 0) -> None:
    """Damage files, read them, and count how each kind of damage ends."""
    torch.set_num_threads(1)
    coder = load_codec(codec)
    model = StaticModel(load_tables(coder, find_model(codec)))
    files = [written(coder, model, channels) for channels in (1, 2)]
    rights = [[part for _, part in opened(coder, model, data).parts()] for data in files]
    chance = random.Random(seed)
    found: Counter[tuple[str, str]] = Counter()
    slowest = 0.0
    for case in range(count):
        which = chance.randrange(len(files))
        damage = DAMAGES[case % len(DAMAGES)]
        data = bytearray(files[which])
        damage(data, chance)
        signal.alarm(LONGEST_SECONDS)
        began = time.process_time()
        sound = case // len(DAMAGES) % SOUNDED == 0
        ended = outcome(coder, model, bytes(data), rights[which], damage is forged, sound)
        slowest = max(slowest, time.process_time() - began)
        signal.alarm(0)
        found[damage.__name__, ended] += 1
    for (name, ended), times in sorted(found.items()):
        print(f"{name:12} {ended:12} {times:6}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} files; peak memory {peak:.0f} MiB; the slowest took {slowest:.2f} s of one core")


if __name__ == "__main__":
    run_script(main)
