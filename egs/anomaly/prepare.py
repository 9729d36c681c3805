"""Normal and anomalous sounds to manifests: read sentences with faults made, or machines as in DCASE.

    python egs/anomaly/prepare.py DATA OUT [--other DIR]

DATA is one of two. Sentences: `metadata.csv` with lines of `id|text`, and `audio/{id}.flac` or `.wav`;
of 20, 14 are to learn from and 2 to test on (the other 4 are those on which this recipe was tuned);
DIR is of the same form, by another speaker. Or machines: `{machine}/train/normal_id_00_00000000.wav` and
`{machine}/test/anomaly_id_00_00000000.wav`. Writes `OUT/{machine}/normal.jsonl` and `test.jsonl`.
"""

import zlib
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from anomalies import FAULTS

from vqaudio.audio import mono, read_audio, write_audio
from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.errors import UserError

EVERY, TEST, TUNED_ON = 20, (4, 17), (1, 8, 11, 14)


def main(data: Path, out: Path, other: Annotated[Path | None, typer.Option()] = None) -> None:
    """Write the manifests, and the sounds with faults."""
    if (data / "metadata.csv").is_file():
        prepare_sentences(data, out / "sentences", other)
    elif machines := sorted(path.parent for path in data.glob("*/train")):
        for machine in machines:
            for split, name in (("train", "normal"), ("test", "test")):
                sounds = [machine_sound(path) for path in sorted((machine / split).glob("*.wav"))]
                write_manifest(out / machine.name / f"{name}.jsonl", sounds)
    else:
        raise UserError(
            f"{data}: neither metadata.csv nor MACHINE/train in it; give the data set's folder"
        )


def prepare_sentences(data: Path, out: Path, other: Path | None) -> None:
    """Split the sentences, and make every fault on each of those to test on."""
    paths = dict(enumerate(sentences(data)))
    normal = [path for number, path in paths.items() if number % EVERY not in TEST + TUNED_ON]
    test = [path for number, path in paths.items() if number % EVERY in TEST]
    sounds = [Sound(f"normal/{path.stem}", path, fields={"label": "normal"}) for path in test]
    for path in test:
        audio, rate = read_audio(path)
        for kind, fault in FAULTS.items():
            rng = np.random.default_rng(zlib.crc32(f"{kind} {path.stem}".encode()))
            made, name = fault(mono(audio)[0].double().numpy(), rate, rng), f"{kind}/{path.stem}"
            file = out / "sounds" / f"{name}.wav"
            write_audio(file, torch.from_numpy(made).float()[None], rate)
            sounds.append(Sound(name, file, fields={"label": kind}))
    for path in sentences(other)[:: EVERY // len(TEST)][: len(test)] if other else []:
        sounds.append(Sound(f"other speaker/{path.stem}", path, fields={"label": "other speaker"}))
    write_manifest(out / "normal.jsonl", [Sound(path.stem, path) for path in normal])
    write_manifest(out / "test.jsonl", sounds)


def sentences(data: Path) -> list[Path]:
    """Sound files in the order of the listing."""
    lines = (data / "metadata.csv").read_text(encoding="utf-8").splitlines()
    names = [line.partition("|")[0] for line in lines]
    return [next((data / "audio").glob(f"{name}.*")) for name in names]


def machine_sound(path: Path) -> Sound:
    """Of a name such as `anomaly_id_00_00000000.wav`."""
    label, _, number, _ = path.stem.split("_", 3)
    return Sound(path.stem, path, fields={"label": label, "section": f"id_{number}"})


if __name__ == "__main__":
    run_script(main)
