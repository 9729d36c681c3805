"""Normal and anomalous sounds to manifests: read sentences with faults made, or machines as in DCASE.

    python egs/anomaly/prepare.py DATA OUT [--other DIR]

DATA holds `metadata.csv` and `audio/{id}.*`, as does DIR for another speaker; or machines, with files
such as `{machine}/test/anomaly_id_00_00000000.wav`. Writes `OUT/{machine}/{normal,test}.jsonl`.
"""

from pathlib import Path
from typing import Annotated

import typer
from anomalies import FAULTS, write_faulty

from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.errors import UserError

EVERY, TEST, TUNED_ON = 20, (4, 17), (1, 8, 11, 14)  # this recipe was made looking at the last ones


def main(data: Path, out: Path, other: Annotated[Path | None, typer.Option()] = None) -> None:
    """Write the manifests, and the sounds with faults."""
    if (data / "metadata.csv").is_file():
        return prepare_sentences(data, out / "sentences", other)
    machines = sorted(path.parent for path in data.glob("*/train"))
    if not machines:
        raise UserError(f"{data}: neither metadata.csv nor MACHINE/train; give the data set's folder")
    for machine in machines:
        for split, name in (("train", "normal"), ("test", "test")):
            paths = sorted((machine / split).glob("*_id_*.wav"))
            parts = [path.stem.split("_") for path in paths]  # anomaly_id_00_00000000
            fields = [{"label": part[0], "section": f"id_{part[2]}"} for part in parts]
            sounds = (Sound(p.stem, p, fields=f) for p, f in zip(paths, fields, strict=True))
            write_manifest(out / machine.name / f"{name}.jsonl", sounds)


def prepare_sentences(data: Path, out: Path, other: Path | None) -> None:
    """Split the sentences, and make every fault on each of those to test on."""
    paths = list(enumerate(sentences(data)))
    normal = [Sound(p.stem, p) for n, p in paths if n % EVERY not in TEST + TUNED_ON]
    test = {("normal", p.stem): p for n, p in paths if n % EVERY in TEST}
    for kind in FAULTS:
        for (_, name), path in [item for item in test.items() if item[0][0] == "normal"]:
            test[kind, name] = write_faulty(path, kind, out / "sounds" / kind / f"{name}.wav")
    others = sentences(other)[:: EVERY // len(TEST)] if other else []
    test |= {("other speaker", path.stem): path for path in others[: len(paths) * len(TEST) // EVERY]}
    write_manifest(out / "normal.jsonl", normal)
    sounds = (Sound("/".join(key), path, fields={"label": key[0]}) for key, path in test.items())
    write_manifest(out / "test.jsonl", sounds)


def sentences(data: Path) -> list[Path]:
    """Sound files in the order of the listing."""
    lines = (data / "metadata.csv").read_text(encoding="utf-8").splitlines()
    return [next((data / "audio").glob(f"{line.partition('|')[0]}.*")) for line in lines]


if __name__ == "__main__":
    run_script(main)
