"""Tokenizing a corpus: the encoder alone, end to end with 1 and 2 workers, and the field, in one run.

    pip install -e '.[benchmarks]'
    python benchmarks/tokenize.py --data DIR [--minutes 60] [--rounds 3] [--codec speech-16k]

The sounds of DIR are written again as FLAC, every second one at 48 kHz. What is compared takes turns,
so that a busy machine slows all of it; figures are medians and ratios of medians, in times real time.
The peers have random weights of their published shapes, which cost what trained ones do, and take a
minute of the same files as their READMEs say: read, resample to their rate, encode, a file at a time.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

import vqaudio
from vqaudio.audio import read_audio, resample, write_audio
from vqaudio.codec.model import Codec
from vqaudio.corpus.manifest import Sound, find_sounds
from vqaudio.corpus.tokenize import tokenize

HIGH_RATE = 48000
PEER_SECONDS = 60.0


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--codec", default="speech-16k")
    args = parser.parse_args()
    torch.set_num_threads(1)
    codec = vqaudio.load(args.codec)
    with tempfile.TemporaryDirectory() as folder:
        sounds, seconds = make_corpus(args.data, args.minutes * 60, Path(folder) / "in")
        jobs = ours(codec, sounds, Path(folder) / "out") | theirs(sounds)
        speeds = {name: statistics.median(runs) for name, runs in take_turns(jobs, args.rounds).items()}
    report(speeds, codec, seconds)


def make_corpus(data: Path, wanted: float, folder: Path) -> tuple[list[Sound], float]:
    """So many seconds of the sounds of a folder as FLAC, every second one at 48 kHz."""
    seconds = 0.0
    found = find_sounds([data])
    for number, sound in enumerate(found):
        audio, rate = read_audio(sound.path)
        seconds += audio.shape[1] / rate
        if number % 2:
            audio, rate = resample(audio, rate, HIGH_RATE), HIGH_RATE
        write_audio(folder / f"{number:06}.flac", audio, rate)
        if seconds > wanted:
            break
    return find_sounds([folder]), seconds


Job = tuple[Callable[[], object], float]  # what to do, and how many seconds of sound that is


def ours(codec: Codec, sounds: list[Sound], out: Path) -> dict[str, Job]:
    """The encoder on samples that are in memory, and whole runs with 1 and 2 workers."""
    arrays = [read_audio(sound.path, codec.sample_rate)[0][0] for sound in sounds]
    seconds = sum(map(len, arrays)) / codec.sample_rate

    def encode() -> None:
        for audio in arrays:
            codec.encode(audio, workers=1)

    def run(workers: int) -> Callable[[], object]:
        def job() -> None:
            tokenize(codec, sounds, out, workers)
            shutil.rmtree(out)

        return job

    return {
        "encoder alone": (encode, seconds),
        "end to end, 1 worker": (run(1), seconds),
        "end to end, 2 workers": (run(2), seconds),
    }


def theirs(sounds: list[Sound]) -> dict[str, Job]:
    """The peers over the first minute of the same files."""
    from peers import peers  # here, so that workers need not import it

    few, seconds = [], 0.0
    for sound in sounds:
        audio, rate = read_audio(sound.path)
        few.append(sound)
        seconds += audio.shape[1] / rate
        if seconds > PEER_SECONDS:
            break
    jobs: dict[str, Job] = {}
    for name, (rate, encode) in peers().items():

        def job(rate: int = rate, encode: Callable[[torch.Tensor], object] = encode) -> None:
            for sound in few:
                encode(read_audio(sound.path, rate)[0][:1].unsqueeze(0))

        jobs[name] = (job, seconds)
    return jobs


def take_turns(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """Speeds of each job in each round, in times real time."""
    speeds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, (job, seconds) in jobs.items():
            began = time.perf_counter()
            job()
            speeds[name].append(seconds / (time.perf_counter() - began))
    return speeds


def matrix_rate() -> float:
    """Floating-point operations a second of a large matrix product on one thread."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        torch.mm(a, b)
        taken.append(time.perf_counter() - began)
    return 2 * 1024**3 / statistics.median(taken)


def operations(codec: Codec) -> float:
    """Floating-point operations that encoding a second of sound takes, without its context."""
    contexts = codec.hierarchy.encode_contexts()
    context = codec.encoder.audio_context(contexts)
    kept = [len(sizes) for sizes in codec.codebook_sizes]
    count = []
    for frames in (100, 200):
        audio = torch.randn(1, 1, context.left + frames * codec.hops[0] + context.right)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            features = codec.encoder(audio, contexts)
            inside = [torch.ones(1, 1, level.shape[2]) for level in features]
            codec.hierarchy.encode(features, inside, kept)
        count.append(counter.get_total_flops())
    return (count[1] - count[0]) / (100 * codec.hops[0] / codec.sample_rate)


def report(speeds: dict[str, float], codec: Codec, seconds: float) -> None:
    """Print what was measured."""
    alone, one, two = (speeds[name] for name in list(speeds)[:3])
    fastest = max(list(speeds.values())[3:])
    table = Table("what", "times real time", "of the encoder alone")
    for name, speed in speeds.items():
        table.add_row(name, f"{speed:.1f}", f"{speed / alone:.2f}")
    Console().print(table)
    said = {
        "minutes": seconds / 60,
        **speeds,
        "encoder_to_fastest_peer": alone / fastest,
        "end_to_end_to_encoder": one / alone,
        "two_workers_to_one": two / one,
        "share_of_matrix_rate": alone * operations(codec) / matrix_rate(),
    }
    print(json.dumps(said))
