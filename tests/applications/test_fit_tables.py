import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.models import tiny_codec, waveform_codec
from vqaudio.applications.code_tables import FILE, load_tables
from vqaudio.applications.fit_tables import fit_tables, main
from vqaudio.codec.code_vectors import code_vectors
from vqaudio.codec.model import Codec
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.errors import UserError
from vqaudio.model_folder import load


@pytest.mark.parametrize(
    "bottleneck",
    [
        {"kind": "residual", "codebook_size": 8, "quantizers": 3, "dim": 6},
        {"kind": "vector", "codebook_size": 8, "dim": 6},
        {"kind": "scalar", "levels": [5, 3]},
    ],
    ids=lambda section: section["kind"],
)
def test_vectors_add_up_to_what_codes_say(bottleneck: dict) -> None:
    codec = tiny_codec(bottlenecks={0: bottleneck})
    level, vectors = codec.hierarchy.levels[0].bottleneck, code_vectors(codec)[0]
    codes = torch.stack([torch.randint(0, k, (2,)) for k in codec.codebook_sizes[0]])
    said = level.decode(codes[None])[0].detach()
    difference = sum(v[c[1]] - v[c[0]] for v, c in zip(vectors, codes, strict=True))
    assert torch.allclose(difference, said[:, 1] - said[:, 0], atol=1e-5)


def test_the_same_tokens_give_the_same_tables(codec: Codec, tokens: TokenDataset) -> None:
    first, second = ([*fit_tables(codec, tokens, steps=3)][-1] for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_the_module_writes_into_the_codecs_folder(
    codec_folder: Path, tokens: TokenDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(codec_folder, folder)
    (folder / FILE).unlink()
    run = [sys.executable, "-m", "vqaudio.applications.fit_tables", str(tokens.paths[0])]
    done = subprocess.run(
        [*run, "--codec", str(folder), "--steps", "2"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("bits a code") == 3
    codec = load(folder)
    assert isinstance(codec, Codec)
    load_tables(codec, folder)


def test_what_can_be_mended_is_one_line(
    codec_folder: Path, tokens: TokenDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(tmp_path), "--codec", str(codec_folder)])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(UserError, match="tokens of codec"):
        list(fit_tables(waveform_codec(seed=1), tokens, steps=1))


def test_the_tables_of_a_shipped_codec_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--codec", "speech-16k"])
    assert (
        "speech-16k: ships with its tables; give a model folder of your own" in capsys.readouterr().err
    )
