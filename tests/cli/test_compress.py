import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tests.cli.conftest import Models, Program
from tests.sounds import tone
from vqaudio.applications.code_tables import FILE
from vqaudio.applications.fit_tables import fit_tables
from vqaudio.audio import read_audio, write_audio
from vqaudio.codec.model import Codec
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.model_folder import SHIPPED, load


@pytest.fixture(scope="session")
def codec(models: Models, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The codec with its tables."""
    folder = tmp_path_factory.mktemp("with tables") / "codec"
    shutil.copytree(models.codec, folder)
    model = load(folder)
    assert isinstance(model, Codec)
    *_, tables = fit_tables(model, TokenDataset(tokens), steps=3)
    assert not isinstance(tables, str)
    tables.save(folder, model.fingerprint)
    return folder


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a.wav", tone(0.7, channels=2), 16000)
    return tmp_path / "a.wav"


@pytest.mark.parametrize("model", ["static", "prior"])
def test_there_and_back(program: Program, codec: Path, models: Models, wav: Path, model: str) -> None:
    file, heard = wav.with_suffix(".vqa"), wav.with_name("b.wav")
    how = ["--codec", codec]
    by = ["--prior", models.prior] if model == "prior" else []
    status, out, err = program("compress", wav, file, "--model", model, *how, *by)
    assert (status, err) == (0, "")
    assert f"0.70 s in {file.stat().st_size} bytes" in out
    assert "bit/s" not in out  # of so little it would be that of the header
    assert program("decompress", file, heard, *how, *by) == (0, "", "")
    found, rate = read_audio(heard)
    reference = load(codec)
    assert isinstance(reference, Codec)
    audio, _ = read_audio(wav)
    wanted = torch.cat([reference.decode(reference.encode(own)) for own in audio])
    assert rate == 16000
    assert found.shape == (2, 11200)
    assert (found - wanted).abs().max() < 1e-4


def run(*words: object, data: bytes) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "vqaudio", *map(str, words)]
    return subprocess.run(line, input=data, capture_output=True, check=False)


def test_between_pipes(program: Program, codec: Path, wav: Path) -> None:
    file, heard = wav.with_suffix(".vqa"), wav.with_name("b.wav")
    program("compress", wav, file, "--codec", codec)
    program("decompress", file, heard, "--codec", codec)
    there = run("compress", "-", "-", "--codec", codec, data=wav.read_bytes())
    assert (there.returncode, there.stdout) == (0, file.read_bytes())
    assert b"0.70 s in" in there.stderr
    back = run("decompress", "-", "-", "--codec", codec, data=there.stdout)
    assert (back.returncode, back.stderr) == (0, b"")
    found, wanted = (np.frombuffer(data[44:], "<i2") for data in (back.stdout, heard.read_bytes()))
    assert np.abs(found.astype(int) - wanted).max() <= 1  # libsndfile rounds otherwise


def test_raw_samples(program: Program, codec: Path, wav: Path) -> None:
    mono = wav.with_name("mono.wav")
    write_audio(mono, read_audio(wav)[0][:1], 16000)
    file = wav.with_suffix(".vqa")
    program("compress", mono, file, "--codec", codec)
    raw = run("compress", "-", "-", "--raw", 16000, "--codec", codec, data=mono.read_bytes()[44:])
    assert raw.stdout == file.read_bytes()


def test_damage_is_status_3(program: Program, codec: Path, tmp_path: Path) -> None:
    wav, file, heard = (tmp_path / name for name in ("a.wav", "a.vqa", "b.wav"))
    write_audio(wav, tone(21.0), 16000)
    program("compress", wav, file, "--codec", codec)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    status, out, err = program("decompress", file, heard, "--codec", codec)
    assert (status, out) == (3, "")
    assert err == f"error: {file}: channel 1 is damaged from 10.00 s to 20.00 s\n"
    assert read_audio(heard)[0].shape == (1, 21 * 16000)


def test_what_follows_the_end_is_named(program: Program, codec: Path, wav: Path) -> None:
    file, heard = wav.with_suffix(".vqa"), wav.with_name("b.wav")
    program("compress", wav, file, "--codec", codec)
    whole = file.read_bytes()
    for more in (b"x", whole, bytes(100_000)):
        file.write_bytes(whole + more)
        status, out, err = program("decompress", file, heard, "--codec", codec)
        assert (status, out) == (0, "")
        assert err == f"{file}: {len(more)} bytes follow the end of the sound, and are left out\n"
        assert read_audio(heard)[0].shape == (2, 11200)


def test_a_damaged_header_may_name_another_codec(program: Program, codec: Path, wav: Path) -> None:
    file, heard = wav.with_suffix(".vqa"), wav.with_name("b.wav")
    program("compress", wav, file, "--codec", codec)
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    for how in ([], ["--codec", codec]):
        status, _, err = program("decompress", file, heard, *how)
        assert status == 2
        assert err.endswith("or fetch the file again, whose header may be damaged\n")


def test_what_can_be_mended_is_one_line(
    program: Program, codec: Path, models: Models, wav: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.vqa"
    heard = tmp_path / "b.wav"
    program("compress", wav, file, "--codec", codec)
    (tmp_path / "no.vqa").write_bytes(b"RIFF")
    for words, line in [
        (("compress", wav, wav, "--codec", codec), "a.wav: give it a name that ends in .vqa"),
        (("compress", wav, file, "--raw", "16000"), "--raw: is for - alone"),
        (("compress", wav, file, "--prior", models.prior), "--prior: is for --model prior alone"),
        (("compress", tmp_path / "c.wav", file), "c.wav: no such file"),
        (
            ("compress", wav, tmp_path / "c.vqa", "--codec", models.codec),
            "code_tables.safetensors: missing",
        ),
        (("decompress", tmp_path / "no.vqa", heard), "no.vqa: empty, or ends within its header"),
        (("decompress", tmp_path / "c.vqa", heard), "c.vqa: cannot be read (No such file"),
        (("decompress", tmp_path, heard), "cannot be read (Is a directory)"),
        (("decompress", file, heard), "a.vqa: of codec"),
        (("decompress", file, heard, "--codec", models.other_codec), "a.vqa: of codec"),
        (("decompress", file, tmp_path / "b.txt", "--codec", codec), "cannot write this format"),
    ]:
        status, out, err = program(*words)
        assert (status, out) == (2, ""), words
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        assert line in err
    assert not heard.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vqa", "a.wav", "no.vqa"]


def test_tables_of_other_tokens_are_refused(
    program: Program, codec: Path, wav: Path, tmp_path: Path
) -> None:
    """The codec is the same, and its tables are not."""
    file = wav.with_suffix(".vqa")
    program("compress", wav, file, "--codec", codec)
    other = tmp_path / "other"
    shutil.copytree(codec, other)
    model = load(other)
    assert isinstance(model, Codec)
    from vqaudio.applications.code_tables import load_tables

    tables = load_tables(model, other)
    tables._parameters[0][0].bias[0] += 1
    tables.save(other, model.fingerprint)
    status, _, err = program("decompress", file, tmp_path / "b.wav", "--codec", other)
    assert status == 2
    assert "by the static model" in err


@pytest.mark.parametrize(
    "folder", sorted(p.parent for p in SHIPPED.glob(f"*/{FILE}")), ids=lambda p: p.name
)
def test_shipped_tables_are_those_of_the_codec(folder: Path) -> None:
    with safe_open(folder / FILE, "numpy") as file:
        maker = file.metadata()["codec"]
    assert f"fingerprint: {maker}" in (folder / "config.yaml").read_text()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 25e6
