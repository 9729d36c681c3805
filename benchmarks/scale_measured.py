"""What the figures of docs/scale.md rest on: bytes, the one writer, its engines, listing and restarts.

    pip install -e '.[ray]'
    python benchmarks/scale_measured.py --data DIR [--minutes 5] [--lines 1000000]

DIR has sounds. The driver of the local engine is timed with workers that answer at once, so that any
number of them fits on one machine; what is counted is its processor time. The Ray engine is timed
with sounds of a tenth of a second on a cluster that it starts here. Speeds of encoding and reading are
those of `benchmarks/tokenize.py`.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import Pipe, Process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vqaudio
from vqaudio.audio import RESAMPLER, read_audio, resample, write_audio
from vqaudio.codec.model import Codec
from vqaudio.codes import frames_for
from vqaudio.corpus import local
from vqaudio.corpus.encoding import Assembly, Encoded, End, Part, Work
from vqaudio.corpus.folder import TokenFolder
from vqaudio.corpus.ledger import LEDGER_NAME
from vqaudio.corpus.manifest import Sound, find_sounds, read_manifest
from vqaudio.corpus.shards import SHARD_PATTERN
from vqaudio.corpus.tokenize import Watch, tokenize
from vqaudio.prior.model import CodecSpec

SENTENCE_SECONDS, LONG_SECONDS = 3.0, 600.0
WORKERS = (16, 64, 256)


def main() -> None:
    """Measure and print one line of JSON a matter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--lines", type=int, default=1_000_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    codec = vqaudio.load("speech-16k")
    assert isinstance(codec, Codec)
    sounds = find_sounds([args.data])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tell("bytes read", flac_share(sounds, args.minutes * 60, folder))
        tell("bytes written", bytes_written(codec, sounds, args.minutes * 60, folder / "tokens"))
        for seconds in (SENTENCE_SECONDS, LONG_SECONDS):
            tell(f"writer, sounds of {seconds:.0f} s", writer(codec, seconds, folder / f"w{seconds}"))
        for workers in WORKERS:
            tell(f"local driver, {workers} workers", local_driver(codec, workers))
        tell("ray engine", ray_engine(codec, folder))
    if not args.lines:
        return
    with tempfile.TemporaryDirectory() as name:
        tell("listing and restart", listing(codec, args.lines, Path(name)))


def tell(what: str, found: dict[str, float]) -> None:
    """Print a matter and its figures."""
    print(json.dumps({"what": what} | {key: float(f"{value:.4g}") for key, value in found.items()}))
    sys.stdout.flush()


def flac_share(sounds: list[Sound], wanted: float, folder: Path) -> dict[str, float]:
    """FLAC's share of 16-bit PCM: of the files as they are, and of the same at 48 kHz."""
    stored = pcm = stored_high = seconds = 0.0
    for sound in sounds:
        audio, rate = read_audio(sound.path)
        seconds += audio.shape[1] / rate
        stored += sound.path.stat().st_size
        pcm += 2 * audio.numel()
        write_audio(folder / "high.flac", resample(audio, rate, 48000), 48000)
        stored_high += (folder / "high.flac").stat().st_size
        if seconds > wanted:
            break
    return {"flac_share": stored / pcm, "flac_share_48k": stored_high / (seconds * 96000)}


def bytes_written(codec: Codec, sounds: list[Sound], wanted: float, out: Path) -> dict[str, float]:
    """Bytes of shards an hour of sound, and of the ledger a sound."""
    few, seconds = [], 0.0
    for sound in sounds:
        few.append(sound)
        audio, rate = read_audio(sound.path)
        seconds += audio.shape[1] / rate
        if seconds > wanted:
            break
    tokenize(codec, few, out)
    shards = sum(path.stat().st_size for path in out.glob(SHARD_PATTERN))
    ledger = (out / LEDGER_NAME).stat().st_size
    return {
        "sounds": len(few),
        "seconds_a_sound": seconds / len(few),
        "shard_bytes_an_hour": shards / seconds * 3600,
        "bits_a_code_stored": 8 * shards / (seconds * 125),
        "ledger_bytes_a_sound": ledger / len(few),
    }


def ready(codec: Codec, position: int, seconds: float) -> Iterator[Part | End]:
    """A sound as it comes to the driver: codes of its windows, and its end."""
    samples = round(seconds * codec.sample_rate)
    random, frames, number = np.random.default_rng(position), frames_for(samples, codec.hops[0]), 0
    while frames > 0:
        count = min(frames, 250)
        levels = [
            random.integers(0, sizes[0], (len(sizes), count * codec.hops[0] // hop), np.int16)
            for sizes, hop in zip(codec.codebook_sizes, codec.hops, strict=True)
        ]
        yield Part(position, number, levels)
        frames, number = frames - count, number + 1
    yield End(position, number, samples, "0" * 64)


def listed(count: int) -> list[Sound]:
    """A list of sounds that need not be there."""
    return [Sound(f"speaker/{n:08}", f"/corpus/audio/speaker/{n:08}.flac") for n in range(count)]


def token_folder(codec: Codec, sounds: list[Sound], out: Path) -> TokenFolder:
    """An empty folder of tokens, or what is in it."""
    out.mkdir(exist_ok=True)
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    return TokenFolder(out, spec, {"resampler": RESAMPLER}, sounds)


def writer(codec: Codec, seconds: float, out: Path, count: int = 4096) -> dict[str, float]:
    """Sounds a second that are put together from ready codes, and written with their ledger."""
    count = max(64, round(count * SENTENCE_SECONDS / seconds))
    pieces = [piece for position in range(count) for piece in ready(codec, position, seconds)]
    folder, assembly = token_folder(codec, listed(count), out), Assembly(codec)
    began, wall = time.process_time(), time.perf_counter()
    for piece in pieces:
        if isinstance(result := assembly.put(piece), Encoded):
            folder.add(result.position, result.codes, result.sha256)
    folder.flush()
    spent, wall = time.process_time() - began, time.perf_counter() - wall
    return {"sounds_a_second": count / spent, "real_time": count * seconds / spent, "wall": wall / spent}


def echo(codec: Codec, connections: list[Any]) -> None:
    """Be all workers of a pool: every sound that is asked for is ready."""
    while connections:
        ready_now: list[Any] = wait(connections)
        for connection in ready_now:
            try:
                position, _ = connection.recv()
                for piece in ready(codec, position, SENTENCE_SECONDS):
                    connection.send(piece)
            except (EOFError, OSError):
                connections.remove(connection)


def local_driver(codec: Codec, workers: int, count: int = 20_000) -> dict[str, float]:
    """Sounds a second that the driver of the local engine feeds, takes back and puts together."""
    work = Work(codec, listed(count), iter(range(count)), lambda frames: None)
    pool = local._Pool(work, workers, local.encode_tasks)
    pairs = [Pipe() for _ in range(workers)]
    process = Process(target=echo, args=(codec, [theirs for _, theirs in pairs]), daemon=True)
    process.start()
    for ours, theirs in pairs:
        theirs.close()
        pool.workers.append(local._Worker(process, ours))
    began = time.process_time()
    done = 0
    while pool.feed():
        done += sum(1 for _ in pool.receive())
    spent = time.process_time() - began
    process.terminate()
    process.join()
    return {"sounds_a_second": done / spent}


def ray_engine(codec: Codec, folder: Path, count: int = 1500) -> dict[str, float]:
    """What a sound costs the process that writes: of short sounds, by both engines."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.05, (1, 1600)).astype(np.float32))
    for number in range(count):
        write_audio(folder / "short" / f"{number:05}.wav", noise, 16000)
    sounds = find_sounds([folder / "short"])
    found = {}
    for engine, workers in (("local", 2), ("ray", 2)):
        times: list[float] = []
        cpu: list[float] = []

        def done(_: object, times: list[float] = times, cpu: list[float] = cpu) -> None:
            times.append(time.perf_counter())
            cpu.append(time.process_time())

        out = folder / f"{engine}-{workers}"
        began = time.perf_counter()
        tokenize(codec, sounds, out, workers, engine=engine, watch=Watch(done=done))  # type: ignore[arg-type]
        found[f"{engine}_{workers}_first_seconds"] = times[0] - began
        found[f"{engine}_{workers}_sounds_a_second"] = (len(times) - 500) / (times[-1] - times[499])
        found[f"{engine}_{workers}_driver_sounds_a_second"] = (len(times) - 500) / (cpu[-1] - cpu[499])
    return found


def listing(codec: Codec, lines: int, folder: Path) -> dict[str, float]:
    """Seconds and memory to read a manifest, to begin a folder, and to take up a full one."""
    manifest = folder / "manifest.jsonl"
    with manifest.open("w") as file:
        for sound in listed(lines):
            file.write(json.dumps({"id": sound.id, "audio": sound.audio, "speaker": "ann"}) + "\n")
    before = peak_mib()
    steps = [time.perf_counter()]
    sounds = read_manifest(manifest)
    steps.append(time.perf_counter())
    after = peak_mib()
    tokens = token_folder(codec, sounds, folder / "out")
    steps.append(time.perf_counter())
    [part, end] = ready(codec, 0, 0.5)
    codes = Assembly(codec)
    codes.put(part)
    result = codes.put(end)
    assert isinstance(result, Encoded)
    for position in range(lines):
        tokens.add(position, result.codes, result.sha256)
    tokens.flush()
    steps.append(time.perf_counter())
    tokens.tidy()
    steps.append(time.perf_counter())
    token_folder(codec, sounds, folder / "out")
    steps.append(time.perf_counter())
    names = ("manifest", "begin", "fill", "tidy", "take_up")
    took = {f"{name}_seconds": b - a for name, a, b in zip(names, steps, steps[1:], strict=False)}
    ledger = (folder / "out" / LEDGER_NAME).stat().st_size
    return took | {"manifest_mib": after - before, "peak_mib": peak_mib(), "ledger_mb": ledger / 1e6}


def peak_mib() -> float:
    """Of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
