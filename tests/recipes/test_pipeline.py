"""The staged pipeline, on a tiny corpus in the layout of egs/fsdd: real processes, real kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests.models import codec_config
from vqaudio.audio import write_audio
from vqaudio.corpus.dataset import TokenDataset

ROOT = Path(__file__).parents[2]
STAGES = ["download", "prepare", "codec", "tokens", "prior", "samples", "evaluation", "summary"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two digits by two speakers: ten recordings each, of a tone that says both."""
    folder = tmp_path_factory.mktemp("digits")
    generator = torch.Generator().manual_seed(0)
    for digit in (0, 1):
        for speaker, hertz in (("ann", 300), ("bob", 180)):
            for index in range(10):
                time_ = torch.arange(2400 + 160 * index) / 8000
                wave = torch.sin(2 * torch.pi * hertz * (1 + digit) * time_)
                noise = torch.randn(len(time_), generator=generator)
                path = folder / "recordings" / f"{digit}_{speaker}_{index}.wav"
                write_audio(path, (0.3 * wave + 0.02 * noise)[None], 8000)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Changes to the settings that make every stage one of seconds."""
    folder = tmp_path_factory.mktemp("recipes")
    optimization = {"steps": 8, "learning_rate": 1e-3, "warmup_steps": 1}
    run = {"validate_every": 4, "checkpoint_every": 2, "log_every": 4}
    codec = {
        "codec": codec_config().model_dump(mode="json"),
        "data": {"crop_seconds": 0.32, "crops": 2},
        "losses": {"fft_sizes": [128, 256]},
        "optimization": optimization,
        "run": run,
        "warm_start_steps": 2,
    }
    prior = {
        "prior": {"layers": 1, "width": 16, "heads": 2, "context": 128},
        "data": {"tokens_per_batch": 256, "label": True, "speaker": True},
        "optimization": optimization,
        "run": run,
    }
    for name, recipe in (("codec", codec), ("prior", prior)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    samples = "{free: {n: 2}, labels: {n: 1, each: label}}"
    return [
        f"codec={{recipe: {folder / 'codec.yaml'}}}",
        f"prior={{recipe: {folder / 'prior.yaml'}}}",
        f"samples={samples}",
        "evaluation={sounds: 2}",
    ]


def command(*words: str | Path) -> list[str]:
    return ["bash", str(ROOT / "egs" / "fsdd" / "run.sh"), *map(str, words)]


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def whole(data: Path, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "exp"
    ran = run("--data", data, "--out", out, *tiny)
    assert ran.returncode == 0, ran.stderr
    return out


def products(out: Path) -> dict[str, bytes | str]:
    """What a run is for, as far as it does not tell the time."""
    names = ["codec/model.safetensors", "prior/model.safetensors", "manifest.jsonl"]
    paths = [out / name for name in names]
    paths += sorted(out.glob("tokens/*.parquet")) + sorted(out.glob("samples/**/*.wav"))
    found: dict[str, bytes | str] = {str(path.relative_to(out)): path.read_bytes() for path in paths}
    found.pop("manifest.jsonl")  # its paths are relative to it
    for name in ("codec/per_file.jsonl", "prior/results.json"):
        text = (out / "evaluation" / name).read_text(encoding="utf-8")
        found[name] = "" if name.startswith("codec") else text
    return found


def states(out: Path) -> dict[str, bool]:
    stamps = {path.stem: json.loads(path.read_text()) for path in out.glob("stages/*.json")}
    return {name: stamp["complete"] for name, stamp in stamps.items()}


def test_every_stage_is_done_and_says_what_it_ran(whole: Path) -> None:
    assert states(whole) == dict.fromkeys(STAGES[1:], True)
    stamp = json.loads((whole / "stages" / "codec.json").read_text())
    assert stamp["commands"][0].startswith("vqaudio train codec ")
    assert "data:audio/wav" in (whole / "index.html").read_text(encoding="utf-8")
    table = (whole / "results.md").read_text(encoding="utf-8")
    assert "| prior, told label and speaker |" in table
    assert {row.fields.get("label") for row in TokenDataset(whole / "samples" / "labels" / "1")} == {"1"}


def test_what_is_complete_is_passed_over(whole: Path, data: Path, tiny: list[str]) -> None:
    before = products(whole)
    ran = run("--data", data, "--out", whole, *tiny)
    assert ran.returncode == 0
    assert ran.stderr.count("complete, passed over") == 7
    assert "$ " not in ran.stderr
    assert products(whole) == before


def test_killed_in_every_stage_it_goes_on_to_the_same_results(
    whole: Path, data: Path, tiny: list[str], tmp_path: Path
) -> None:
    out, chance = tmp_path / "exp", random.Random(0)
    for stage in STAGES[1:-1]:
        process = subprocess.Popen(
            command("--data", data, "--out", out, *tiny),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stamp = out / "stages" / f"{stage}.json"
        while not stamp.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ran = run("--data", data, "--out", out, *tiny)
    assert ran.returncode == 0, ran.stderr
    assert products(out) == products(whole)


def test_what_a_killed_run_has_started_is_waited_for(
    whole: Path, data: Path, tiny: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "exp"
    words = command("--data", data, "--out", out, *tiny)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / "stages" / "codec.json").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.kill()  # it alone: its training goes on
    process.wait()
    ran = run("--data", data, "--out", out, *tiny)
    assert ran.returncode == 2
    assert "another run is writing there" in ran.stderr.splitlines()[-1]
    while run("--data", data, "--out", out, *tiny).returncode == 2:
        time.sleep(0.5)
    assert products(out) == products(whole)


def test_a_changed_setting_runs_again_what_depends_on_it(
    whole: Path, data: Path, tiny: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "exp"
    subprocess.run(["cp", "-r", whole, out], check=True)
    codec = (out / "codec" / "model.safetensors").read_bytes()
    changed = [word.replace("{n: 2}", "{n: 3}") for word in tiny]
    ran = run("--data", data, "--out", out, "--list", *changed)
    rows = [line.split("│") for line in ran.stdout.splitlines() if line.count("│") > 4]
    said = {cells[2].strip(): cells[4].strip() for cells in rows}
    assert said["prior"] == "complete"
    assert said["samples"] == "changed"
    ran = run("--data", data, "--out", out, *changed)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("passed over") == 4
    assert ran.stderr.count("have changed") == 3
    assert len(list((out / "samples" / "free").glob("*.wav"))) == 3
    assert len(list((out / "replaced" / "samples" / "free").glob("*.wav"))) == 2
    assert (out / "codec" / "model.safetensors").read_bytes() == codec


def test_data_that_were_moved_change_nothing_but_the_manifest(
    whole: Path, data: Path, tiny: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "exp"
    subprocess.run(["cp", "-r", whole, out], check=True)
    subprocess.run(["cp", "-r", data, tmp_path / "elsewhere"], check=True)
    ran = run("--data", tmp_path / "elsewhere", "--out", out, *tiny)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("have changed") == 1
    assert ran.stderr.count("passed over") == 6


def test_two_ranks_train_both_models(data: Path, tiny: list[str], tmp_path: Path) -> None:
    ran = run("--data", data, "--out", tmp_path, "--nproc", "2", "--stop-stage", "prior", *tiny)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("$ torchrun --standalone --nproc-per-node 2 -m vqaudio train") == 2
    assert states(tmp_path)["prior"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stage", "sing"], "--stage: sing is none of 1 download, 2 prepare"),
        (["--stop-stage", "9"], "--stop-stage: 9 is none of"),
        (["--stage", "prior", "--stop-stage", "codec"], "--stop-stage: codec comes before prior"),
        (
            ["--stage", "prior"],
            "stage prior needs stage tokens, which is to do; begin with --stage tokens",
        ),
        (["--data", "nowhere"], "--data: nowhere is no folder"),
        (["--daat", "nowhere"], "--daat"),
        (["--gpus", "9"], "--gpus: 9 wanted"),
        (["codec.recipe=small-9k"], "codec.recipe: small-9k is no file, and none of "),
        (["codec.colour=red"], "codec.colour: no such key"),
        (["codec.model=speech-16k"], "codec.model: give either this or recipe"),
        (["samples.free.n=0"], "samples.free.n"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    ran = run(*words, "--out", "exp", cwd=tmp_path)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "exp").exists()


def test_a_python_without_the_package_is_named(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "recipes" / "pipeline"), "egs/fsdd"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 2
    assert "has no vqaudio; activate its environment" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_failed_command_is_named_by_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ran = run("--data", "data", "--out", "exp", cwd=tmp_path)
    assert ran.returncode == 2
    errors = [line for line in ran.stderr.splitlines() if "error" in line]
    assert errors == [
        "error: data: expected [0-9]_*_[0-9]*.wav, found nothing; give the data set's folder, unpacked"
    ]


def test_a_disk_that_fills_is_one_line_and_the_run_goes_on_later(
    whole: Path, data: Path, tiny: list[str], tmp_path: Path
) -> None:
    words = " ".join(f"'{word}'" for word in command("--data", data, "--out", tmp_path / "exp", *tiny))
    ran = subprocess.run(
        ["bash", "-c", f"ulimit -f 20; exec {words}"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert [line for line in ran.stderr.splitlines() if line.startswith("error")] == [
        ran.stderr.splitlines()[-1]
    ]
    assert "File too large" in ran.stderr.splitlines()[-1]
    assert run("--data", data, "--out", tmp_path / "exp", *tiny).returncode == 0
    assert products(tmp_path / "exp") == products(whole)


def test_without_data_it_is_fetched_and_a_fetch_that_fails_is_one_line(
    data: Path, tiny: list[str], tmp_path: Path
) -> None:
    subprocess.run(["tar", "czf", tmp_path / "fsdd.tar.gz", "-C", data, "recordings"], check=True)
    archive = f"download={{archives: ['file://{tmp_path}/fsdd.tar.gz']}}"
    ran = run("--out", tmp_path / "exp", "--stop-stage", "prepare", archive, *tiny)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "exp" / "manifest.jsonl").read_text().count("\n") == 40
    half = (tmp_path / "fsdd.tar.gz").read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(half[: len(half) // 2])
    for name, said in (("half.tar.gz", "no whole archive"), ("none.tar.gz", "download: ")):
        out = tmp_path / name / "exp"
        archive = f"download={{archives: ['file://{tmp_path}/{name}']}}"
        ran = run("--out", tmp_path / f"exp-{name}", "--stop-stage", "prepare", archive, *tiny)
        assert ran.returncode == 2
        assert said in ran.stderr.splitlines()[-1]
        assert "Traceback" not in ran.stderr
        assert not (tmp_path / f"exp-{name}" / "download").exists()
        assert not out.exists()
