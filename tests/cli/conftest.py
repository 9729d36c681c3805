"""Tiny untrained models in folders, and the program within this process."""

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.models import WAVEFORM_CODEC, waveform_codec
from tests.sounds import tone
from vqaudio.audio import write_audio
from vqaudio.cli.app import main
from vqaudio.codec.model import Codec
from vqaudio.config import PriorConfig
from vqaudio.corpus.manifest import Sound, write_manifest
from vqaudio.corpus.tokenize import tokenize
from vqaudio.model_folder import load, save_model
from vqaudio.prior.model import CodecSpec, Prior

CARD = "# A toy\n\n## Data\n\nNoise of our own making.\n\n## Licence\n\nCC0-1.0\n\n## Limits\n\nMany.\n"


class Models(NamedTuple):
    """Folders of models."""

    codec: Path
    prior: Path
    other_codec: Path


class Result(NamedTuple):
    """How a run of the program ended."""

    status: int
    out: str
    err: str


Program = Callable[..., Result]


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Children hear Ctrl-C, even where a shell started the tests in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A codec at 16 kHz with two levels, a prior over its codes with labels, and another codec."""
    folder = tmp_path_factory.mktemp("models")
    codec, other = waveform_codec(), waveform_codec(seed=1)
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    prior = Prior(PriorConfig(layers=1, width=16, heads=2, context=256, labels=["no", "yes"]), spec)
    models = Models(folder / "codec", folder / "prior", folder / "other codec")
    for path, model in zip(models, (codec, prior.eval(), other), strict=True):
        save_model(path, model, CARD)
    return models


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Iterator[Program]:
    """Runs `vqaudio` with these words; gives its status and what it printed."""
    logger = logging.getLogger("vqaudio")
    before = logger.level, logger.handlers

    def run(*words: str | Path) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        status = left.value.code
        assert isinstance(status, int)
        return Result(status, *capfd.readouterr())

    yield run
    logger.level, logger.handlers = before


@pytest.fixture(scope="session")
def tokens(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token folder of twelve labelled sounds; not to be written to."""
    folder = tmp_path_factory.mktemp("corpus")
    sounds = []
    for number in range(12):
        path = folder / f"{number}.wav"
        write_audio(path, tone(0.1 + 0.02 * number, seed=number), 16000)
        sounds.append(Sound(path.stem, path, fields={"label": ["no", "yes"][number % 2]}))
    codec = load(models.codec)
    assert isinstance(codec, Codec)
    assert tokenize(codec, sounds, folder / "tokens").done == 12
    write_manifest(folder / "sounds.jsonl", sounds)
    return folder / "tokens"


OPTIMIZATION = {"steps": 4, "learning_rate": 0.002, "warmup_steps": 1}
RUN = {"log_every": 1, "validate_every": 2, "checkpoint_every": 2, "validation_sounds": 2}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A codec to be trained in a second."""
    path = tmp_path / "codec.yaml"
    values = {
        "codec": WAVEFORM_CODEC,
        "data": {"crop_seconds": 0.128, "crops": 2},
        "losses": {"fft_sizes": [64, 256]},
        "optimization": OPTIMIZATION,
        "run": RUN,
        "warm_start_steps": 2,
    }
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def prior_recipe(tmp_path: Path) -> Path:
    """A prior to be trained in a second."""
    path = tmp_path / "prior.yaml"
    values = {
        "prior": {"layers": 1, "width": 16, "heads": 2, "context": 256},
        "data": {"tokens_per_batch": 512, "label": True},
        "optimization": OPTIMIZATION,
        "run": RUN,
    }
    path.write_text(yaml.safe_dump(values))
    return path
