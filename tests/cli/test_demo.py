"""The demo shows real files on a page that stands alone."""

import re
from pathlib import Path

import soundfile

from tests.cli.conftest import Models, Program
from tests.sounds import WavMaker
from vqaudio.corpus.shards import TokenCorpus
from vqaudio.evaluation.demo import LONGEST_SECONDS, SENTENCE, first_seconds
from vqaudio.model_folder import load


def test_the_demo_of_the_shipped_sentence(program: Program, models: Models, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    ran = program("demo", "--out", out, "--codec", models.codec, "--prior", models.prior)
    assert ran.status == 0, ran.err
    assert str(out / "index.html") in ran.out
    assert "16 + 16" not in ran.out  # level 0 has one codebook
    assert "8 + 8" in ran.out
    length = soundfile.info(SENTENCE).frames
    for name in ("original", "levels-1", "all-levels"):
        assert soundfile.info(out / f"{name}.wav").frames == length
    codec = load(models.codec)
    spoken, *new = TokenCorpus(out / "tokens-00000.parquet")
    assert spoken.codes == codec.encode(SENTENCE)
    assert [row.id for row in new] == ["sample-1", "sample-2", "sample-3"]
    for row in new:
        assert soundfile.info(out / f"{row.id}.wav").frames == row.codes.num_samples
    page = (out / "index.html").read_text()
    assert page.count("<audio") == 6
    assert page.count('<img src="data:image/png;base64,') == 3
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', page) == []
    first = " ".join(map(str, spoken.codes.levels[0][0, :12].tolist()))
    assert first in page


def test_a_long_sound_is_cut(wav: WavMaker) -> None:
    path = wav(seconds=LONGEST_SECONDS + 1, sample_rate=8000)
    audio = first_seconds(path, 16000, LONGEST_SECONDS)
    assert audio.shape == (1, LONGEST_SECONDS * 16000)


def test_a_prior_of_another_codec(program: Program, models: Models, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    ran = program("demo", "--out", out, "--codec", models.other_codec, "--prior", models.prior)
    assert ran.status == 2
    assert "the prior reads codec" in ran.err
    assert not out.exists()
