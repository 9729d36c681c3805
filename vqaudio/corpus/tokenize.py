"""A corpus of sounds -> token shards, so that nothing is lost, hidden or done twice."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from vqaudio.audio import RESAMPLER, AnyPath
from vqaudio.codec.model import Codec
from vqaudio.codec.window_encoder import EXACT, Arithmetic, WindowEncoder
from vqaudio.codes import Codes
from vqaudio.corpus.encoding import Failure, Result, Results, Work
from vqaudio.corpus.folder import TokenFolder
from vqaudio.corpus.local import encode_by_workers, encode_here, encode_on_device
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.processes import fitting_workers
from vqaudio.errors import UserError
from vqaudio.files import locked
from vqaudio.prior.model import CodecSpec

MOST_REASONS = 10  # that a summary tells in full

EngineName = Literal["local", "ray"]
Engine = Callable[[Work], Results]


@dataclass
class Summary:
    """What a run of `tokenize` did.

    Args:
        inputs: sounds of the list.
        done: sounds tokenized by this run.
        skipped: sounds that an earlier run had done.
        failed: sounds that could not be tokenized.
        reasons: how many of them for which kind of reason.
        examples: the first few reasons in full, with the file's name.
        seconds: of sound tokenized by this run.
        codes: integers written by this run.
    """

    inputs: int
    done: int = 0
    skipped: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    seconds: float = 0.0
    codes: int = 0

    def count(self, codes: Codes) -> None:
        """One more is done."""
        self.done += 1
        self.seconds += codes.duration_seconds
        self.codes += codes.num_codes

    def count_failure(self, reason: str, sound: Sound) -> None:
        """One more has failed."""
        self.failed += 1
        self.reasons[kind_of(reason, sound)] += 1
        if len(self.examples) < MOST_REASONS:
            self.examples.append(reason)


@dataclass
class Watch:
    """What is told of a run while it lasts; nobody listens unless told otherwise.

    Args:
        began: positions of the sounds that are to be encoded, before the first one is.
        heard: seconds of sound that were encoded just now; below 0 where it was less than said.
        done: the summary so far, after every sound.
    """

    began: Callable[[Sequence[int]], None] = lambda missing: None
    heard: Callable[[float], None] = lambda seconds: None
    done: Callable[[Summary], None] = lambda summary: None


def tokenize(
    codec: Codec,
    sounds: Sequence[Sound],
    out: AnyPath,
    workers: int | None = 1,
    strict: bool = False,
    engine: EngineName = "local",
    arithmetic: Arithmetic = EXACT,
    watch: Watch | None = None,
) -> Summary:
    """Encode sounds into the shards of a token folder, which has a ledger of every one of them.

    A run that was killed, or had failures, is taken up again by calling it once more: sounds in a
    whole shard are passed over, all others are encoded. The shards are those of a run that was not
    killed, row for row.

    Args:
        codec: the same for all runs into a folder.
        sounds: the same for all runs into a folder; ids are the names of rows.
        out: the folder; it is made if it is not there.
        workers: processes that read and encode, one thread each; None for as many as there are cores
            or, on a cluster, CPUs. With 1, it is done in this process.
        strict: stop at the first sound that fails.
        engine: this machine's processes, or a Ray cluster.
        arithmetic: of torch, where it is not to be exact; tokens then are others here and there.
        watch: told how it goes.

    Returns:
        What happened. Shards and ledger hold it too, once this returns.

    Raises:
        UserError: a level of the codec has no codes, the folder is in use, cannot be written, is
            damaged, holds the tokens of another codec or of other sounds; or, where it is strict,
            the reason of the first failure.
    """
    codec.check_discrete()
    if workers is not None and workers < 1:
        raise UserError(f"workers {workers}: must be at least 1")
    encode = _engine(engine, workers, codec, sounds)
    watch = watch or Watch()
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    settings = {"resampler": RESAMPLER} | WindowEncoder(codec, arithmetic=arithmetic).settings
    with locked(out):
        folder = TokenFolder(Path(out), spec, settings, sounds)
        missing = list(folder.missing())
        summary = Summary(len(sounds), skipped=len(sounds) - len(missing))
        watch.began(missing)

        def heard(frames: int) -> None:
            watch.heard(frames * codec.hops[0] / codec.sample_rate)

        work = Work(codec, sounds, iter(missing), heard, arithmetic)
        with folder.kept(), closing(encode(work)) as results:
            for result in in_order(results, missing):
                if isinstance(result, Failure):
                    folder.fail(result.position, result.reason)
                    summary.count_failure(result.reason, sounds[result.position])
                    if strict:
                        raise UserError(result.reason)
                else:
                    folder.add(result.position, result.codes, result.sha256)
                    summary.count(result.codes)
                    heard_in_frames = result.codes.levels[0].shape[1] * codec.hops[0] / codec.sample_rate
                    watch.heard(result.codes.duration_seconds - heard_in_frames)
                watch.done(summary)
    return summary


def in_order(results: Iterable[Result], positions: Iterable[int]) -> Iterator[Result]:
    """Results in the order of their positions, each as soon as those before it are there."""
    early: dict[int, Result] = {}
    arriving = iter(results)
    for position in positions:
        while position not in early:
            result = next(arriving)
            early[result.position] = result
        yield early.pop(position)


def _engine(name: EngineName, workers: int | None, codec: Codec, sounds: Sequence[Sound]) -> Engine:
    device = codec.device.type
    if name == "ray":
        from vqaudio.corpus.ray_engine import encode_by_ray

        return partial(encode_by_ray, workers=workers, device=device)
    workers = workers or fitting_workers(sounds)
    if device != "cpu":
        return partial(encode_on_device, workers=workers)
    return encode_here if workers == 1 else partial(encode_by_workers, workers=workers)


def kind_of(reason: str, sound: Sound) -> str:
    """What a reason says of any file: without its name, long numbers and the mend."""
    said = reason.removeprefix(f"{sound.path}: ").split(";")[0]
    return re.sub(r"\d{4,}|\d+\.\d+", "N", said)
