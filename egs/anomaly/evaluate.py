"""AUROC and pAUC of the scores of a run, a row a kind of anomaly, beside a baseline.

    python egs/anomaly/evaluate.py RUN

RUN is the folder that run.sh fills. Writes RUN/results.md and RUN/results.json.

The baseline is the Mahalanobis distance of mean and deviation over time of each of 128 log-mel bands
(windows of 64 ms every 32 ms, as the baseline of DCASE 2020 Task 2 has them), with the covariance of the
same normal sounds shrunk after Ledoit and Wolf. pAUC is over false-positive rates up to 0.1, brought to
0.5 for chance and 1 for perfection (McClish 1989), as that baseline reckons it (Koizumi et al.
2020, arXiv 2006.05822; the equation there is without this correction).
"""

import json
from pathlib import Path

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from vqaudio.audio import mono, read_audio
from vqaudio.cli.terminal import run_script
from vqaudio.corpus.manifest import read_manifest
from vqaudio.evaluation.report import Table
from vqaudio.features import LogMel
from vqaudio.files import write_text

RATE, WINDOW, HOP, BANDS = 16000, 1024, 512, 128
MOST_FALSE_POSITIVES = 0.1
COLUMNS = ["anomaly", "sounds", "AUROC", "pAUC", "AUROC, baseline", "pAUC, baseline"]


def main(run: Path) -> None:
    """Write the tables of all machines."""
    results = {path.parent.name: judge(path.parent) for path in sorted(run.glob("*/normal.jsonl"))}
    write_text(run / "results.json", json.dumps(results, indent=1))
    tables = []
    for machine, rows in results.items():
        cells = [
            [row["anomaly"], str(row["sounds"]), *(f"{v:.3f}" for v in row["figures"])] for row in rows
        ]
        tables.append(f"{machine}\n\n{Table(COLUMNS, cells).markdown()}\n")
    write_text(run / "results.md", "\n".join(tables))
    print((run / "results.md").read_text(encoding="utf-8"))


def judge(machine: Path) -> list[dict]:
    """A row a kind of anomaly in each section, and one over all."""
    lines = (machine / "scores" / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    scored = {line["id"]: line for line in map(json.loads, lines)}
    sounds = [sound for sound in read_manifest(machine / "test.jsonl") if sound.id in scored]
    normal = np.stack([statistics(sound.path) for sound in read_manifest(machine / "normal.jsonl")])
    test = np.stack([statistics(sound.path) for sound in sounds])
    mean, scale = normal.mean(0), normal.std(0) + 1e-9
    baseline = LedoitWolf().fit((normal - mean) / scale).mahalanobis((test - mean) / scale)
    scores = np.array([scored[sound.id]["score"] for sound in sounds])
    labels = np.array([sound.fields["label"] for sound in sounds])
    sections = np.array([sound.fields.get("section", "") for sound in sounds])
    rows = []
    for section in dict.fromkeys(sections):
        for kind in dict.fromkeys(labels[(labels != "normal") & (sections == section)]):
            among = (sections == section) & np.isin(labels, ["normal", kind])
            name = f"{kind} {section}".strip()
            rows.append(row(name, labels[among] != "normal", scores[among], baseline[among]))
    return [*rows, row("all", labels != "normal", scores, baseline)]


def row(name: str, anomalous: np.ndarray, *scores: np.ndarray) -> dict:
    """AUROC and pAUC of each of some scores."""
    figures = [
        float(roc_auc_score(anomalous, score, max_fpr=most))
        for score in scores
        for most in (None, MOST_FALSE_POSITIVES)
    ]
    return {"anomaly": name, "sounds": int(anomalous.sum()), "figures": figures}


def statistics(path: Path) -> np.ndarray:
    """Mean and deviation of each log-mel band over time: `[2 * 128]`."""
    audio, _ = read_audio(path, RATE)
    padded = torch.nn.functional.pad(mono(audio), (0, max(0, WINDOW - audio.shape[1])))
    log_mel = LogMel(RATE, WINDOW, HOP, BANDS)(padded)[0].double()
    return torch.cat([log_mel.mean(1), log_mel.std(1, correction=0)]).numpy()


if __name__ == "__main__":
    run_script(main)
