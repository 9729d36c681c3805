"""What a codec and a prior do to one sound, in files and on one page."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from vqaudio.audio import AnyPath, stream_audio, write_audio
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.corpus.shards import TokenRow, write_shard
from vqaudio.evaluation.code_use import CodebookUse, codebook_use
from vqaudio.evaluation.plots import save_codebook_use, save_spectrograms
from vqaudio.evaluation.report import Picture, Player, Section, Table, write_page
from vqaudio.files import make_folder
from vqaudio.prior.model import CodecSpec, Prior

SENTENCE = Path(__file__).parent.parent / "assets" / "sentence.flac"
LONGEST_SECONDS = 20.0  # of a sound that is given: a page with an hour of it would not open
SAMPLES, SAMPLE_SECONDS = 3, 3.0  # shorter where the prior's context is
CODES_SHOWN = 12
PAGE = "index.html"
Result = TypeVar("Result")
STEPS = ("reading", "encoding", "decoding", "sampling", "writing", "drawing")


@dataclass(frozen=True)
class Demo:
    """What the demo found.

    Args:
        levels: rates and codebook use in this sound, level by level.
        seconds: of the sound.
        encode_speed: seconds of sound encoded in a second.
        decode_speed: seconds of sound decoded in a second.
        page: shows it all.
    """

    levels: Table
    seconds: float
    encode_speed: float
    decode_speed: float
    page: Path


@dataclass(frozen=True)
class Clip:
    """One sound of the demo: what it is, the stem of its files, its codes and float samples `[1, T]`."""

    title: str
    stem: str
    codes: Codes
    audio: Tensor


def run_demo(
    codec: Codec,
    prior: Prior,
    sound: AnyPath,
    out: AnyPath,
    on_step: Callable[[str], None],
    names: tuple[str, str] = ("", ""),
) -> Demo:
    """Tokenize a sound, resynthesize it level by level, sample new sound, and show it all.

    Args:
        codec: that makes the codes.
        prior: over this codec's codes.
        sound: a file; its first 20 seconds are used.
        out: folder for wav files, tokens, pictures and `index.html`.
        on_step: told of each of `STEPS` as it begins.
        names: of the codec and the prior, for the page; it has their fingerprints anyway.

    Raises:
        UserError: prior and codec do not belong together, the sound cannot be read, or the folder
            cannot be written.
    """
    prior.check_codec(codec.fingerprint)
    out = make_folder(out)
    on_step("reading")
    audio = first_seconds(sound, codec.sample_rate, LONGEST_SECONDS)
    seconds = audio.shape[1] / codec.sample_rate
    on_step("encoding")
    codes, encode_seconds = _timed(lambda: codec.encode(audio))
    on_step("decoding")
    whole, decode_seconds = _timed(lambda: codec.decode(codes))
    heard = [Clip("The original", "original", codes, audio)]
    for levels in range(1, len(codec.hops)):
        title = f"From {'the coarsest level' if levels == 1 else f'the {levels} coarsest levels'} alone"
        heard.append(Clip(title, f"levels-{levels}", codes, codec.decode(codes, levels)))
    heard.append(Clip("From all levels", "all-levels", codes, whole))
    on_step("sampling")
    new = [
        Clip(f"New sound {number}", f"sample-{number}", sample, codec.decode(sample))
        for number, sample in enumerate(
            prior.sample(SAMPLES, min(SAMPLE_SECONDS, prior.longest_seconds)), start=1
        )
    ]
    on_step("writing")
    for clip in (*heard, *new):
        write_audio(out / f"{clip.stem}.wav", clip.audio, codec.sample_rate)
    on_step("drawing")
    for name, clips, columns in (("spectrograms", heard, 1), ("new-spectrograms", new, len(new))):
        pictures = [(clip.title, clip.audio[0]) for clip in clips]
        save_spectrograms(out / f"{name}.png", pictures, codec.sample_rate, columns)
    uses = codebook_use([codes], codec.codebook_sizes)
    save_codebook_use(out / "codebooks.png", uses)
    demo = Demo(
        level_table(codec, uses),
        seconds,
        seconds / encode_seconds,
        seconds / decode_seconds,
        out / PAGE,
    )
    subject = (
        f"{Path(sound).name}, by the codec {_model(names[0], codec)} and the prior "
        f"{_model(names[1], prior)}."
    )
    write_page(demo.page, "vqaudio demo", _sections(codec, demo, subject, heard, new, out))
    # After the page, which tells the demo's own tokens from those of others, even if we are stopped.
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    rows = [TokenRow(clip.stem, clip.codes) for clip in (heard[0], *new)]
    write_shard(out / "tokens-00000.parquet", spec, rows)
    return demo


def first_seconds(path: AnyPath, sample_rate: int, seconds: float) -> Tensor:
    """The start of a sound file, or all of it: mono float32 `[1, T]` at `sample_rate`.

    Raises:
        UserError: see `stream_audio`.
    """
    wanted = round(seconds * sample_rate)
    blocks, count = [], 0
    for block in stream_audio(path, sample_rate):
        blocks.append(block)
        count += len(block)
        if count >= wanted:
            break
    return torch.cat(blocks)[None, :wanted]


def level_table(codec: Codec, uses: Sequence[CodebookUse]) -> Table:
    """Rates of every level, coarsest first, and how its codebooks were used.

    Args:
        codec: whose levels these are.
        uses: one entry a codebook.
    """
    rows: list[Sequence[str | int | float]] = []
    for level, (rate, sizes) in enumerate(zip(codec.frame_rates, codec.codebook_sizes, strict=True)):
        here = [use for use in uses if use.level == level]
        most = max(min(use.frames, use.size) for use in here)  # a short sound cannot use every code
        rows.append(
            [
                level,
                rate,
                " + ".join(map(str, sizes)),
                round(rate * sum(map(log2, sizes)), 1),
                here[0].frames,
                " + ".join(str(use.used) for use in here) + f" of at most {most}",
                " + ".join(f"{use.perplexity:.0f}" for use in here),
            ]
        )
    return Table(
        ["level", "frames/s", "codebooks", "bit/s", "frames", "codes used", "perplexity"],
        rows,
    )


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` gives, and the seconds that it takes the second time, when all is warm."""
    work()
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _model(name: str, model: Codec | Prior) -> str:
    return f"{name} ({model.fingerprint[:12]})".strip()


def _sections(
    codec: Codec, demo: Demo, subject: str, heard: Sequence[Clip], new: Sequence[Clip], out: Path
) -> list[Section]:
    def players(clips: Sequence[Clip]) -> list[Player]:
        return [Player(clip.title, out / f"{clip.stem}.wav") for clip in clips]

    original_bits = 16 * codec.sample_rate
    firsts = [
        [
            f"level {level}, codebook {quantizer}",
            " ".join(map(str, row[:CODES_SHOWN].tolist())) + (" ..." if len(row) > CODES_SHOWN else ""),
        ]
        for level, codes in enumerate(heard[0].codes.levels)
        for quantizer, row in enumerate(codes)
    ]
    return [
        Section(
            "What the codes keep of a sound",
            [
                subject,
                f"{demo.seconds:.2f} seconds of sound become integers at {codec.bitrate / 1000:g} "
                "kbit/s, "
                f"{original_bits / codec.bitrate:.0f} times fewer bits than 16-bit samples at "
                f"{codec.sample_rate / 1000:g} kHz, and sound again. Level 0 is the coarsest; the finer "
                "ones are conditioned on it and add detail.",
                *players(heard),
                Picture("Their mel spectrograms, on one scale of loudness.", out / "spectrograms.png"),
            ],
        ),
        Section(
            "The codes",
            [
                demo.levels,
                f"On this machine, encoding ran at {demo.encode_speed:.0f} times real time and decoding "
                f"at {demo.decode_speed:.0f} times.",
                Table(["codebook", "its first codes in this sound"], firsts),
                Picture(
                    "How often each code came in this sound, commonest first. A sound uses no more "
                    "codes of a codebook than it has frames.",
                    out / "codebooks.png",
                ),
            ],
        ),
        Section(
            "New sound",
            [
                "Nobody said this: the prior, a transformer that learned which codes follow which, "
                "wrote codes of its own, and the codec made them sound.",
                *players(new),
                Picture("Their mel spectrograms.", out / "new-spectrograms.png"),
            ],
        ),
        Section(
            "Do it yourself",
            [
                "Beside this page are the sounds (wav), their spectrograms (png) and their codes "
                "(tokens-00000.parquet, one sound a row).",
                "vqaudio demo my.wav --out my-demo\n"
                "vqaudio tokenize sounds/ --out tokens\n"
                "vqaudio synthesize tokens --out again",
            ],
        ),
    ]
