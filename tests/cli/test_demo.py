"""The demo shows real files on a page that stands alone."""

import re
import signal
from pathlib import Path

import pytest
import soundfile

from tests.cli.conftest import Models, Program
from tests.models import waveform_codec
from tests.sounds import WavMaker, tone
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.evaluation.code_use import codebook_use
from vqaudio.evaluation.demo import LONGEST_SECONDS, SENTENCE, first_seconds, level_table
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
    spoken, *new = TokenDataset(out / "tokens-00000.parquet")
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
    assert SENTENCE.name in page
    for model in models.codec, models.prior:
        assert f"{model} ({load(model).fingerprint[:12]})" in page
    again = program("demo", "--out", out, "--codec", models.codec, "--prior", models.prior)
    assert again.status == 0, again.err


def test_a_demo_that_was_stopped_can_be_repeated(
    program: Program, models: Models, wav: WavMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["demo", wav(), "--out", tmp_path / "out", "--codec", models.codec, "--prior", models.prior]
    with monkeypatch.context() as patch:
        patch.setattr(
            "vqaudio.evaluation.demo.write_page", lambda *_: signal.raise_signal(signal.SIGINT)
        )
        assert program(*words).status == 130
    assert list((tmp_path / "out").iterdir())
    ran = program(*words)
    assert ran.status == 0, ran.err
    assert (tmp_path / "out" / "tokens-00000.parquet").exists()


def test_use_is_shown_beside_what_a_short_sound_can_use() -> None:
    codec = waveform_codec()  # 16 codes at the coarse level, 8 and 8 at the fine one
    codes = codec.encode(tone(0.1), sample_rate=codec.sample_rate)
    frames = [level.shape[1] for level in codes.levels]
    table = level_table(codec, codebook_use([codes], codec.codebook_sizes))
    used = [row[table.columns.index("codes used")] for row in table.rows]
    for text, most in zip(used, [min(frames[0], 16), min(frames[1], 8)], strict=True):
        assert str(text).endswith(f" of at most {most}")
    assert frames[0] < 16


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
