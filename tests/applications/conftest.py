"""A tiny codec with code tables, and a prior over its codes."""

from pathlib import Path

import pytest
import torch

from tests.models import waveform_codec
from tests.sounds import tone
from vqaudio.applications.code_tables import CodeTables
from vqaudio.applications.fit_tables import fit_tables
from vqaudio.applications.prior_model import PriorModel
from vqaudio.applications.static_model import StaticModel
from vqaudio.audio import write_audio
from vqaudio.codec.model import Codec
from vqaudio.config import PriorConfig
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.manifest import Sound
from vqaudio.corpus.tokenize import tokenize
from vqaudio.prior.model import CodecSpec, Prior


@pytest.fixture(scope="session")
def codec() -> Codec:
    """At 16 kHz, hops 256 and 64, codebooks of 16 and of 8 and 8 codes."""
    return waveform_codec()


@pytest.fixture(scope="session")
def tokens(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> TokenDataset:
    """Eight tones of half a second."""
    folder = tmp_path_factory.mktemp("corpus")
    sounds = []
    for number in range(8):
        path = folder / f"{number}.wav"
        write_audio(path, tone(0.5, seed=number), 16000)
        sounds.append(Sound(path.stem, path))
    assert tokenize(codec, sounds, folder / "tokens").done == 8
    return TokenDataset(folder / "tokens")


@pytest.fixture(scope="session")
def tables(codec: Codec, tokens: TokenDataset) -> CodeTables:
    *_, found = fit_tables(codec, tokens, steps=40)
    assert isinstance(found, CodeTables)
    return found


@pytest.fixture(scope="session")
def static(tables: CodeTables) -> StaticModel:
    return StaticModel(tables)


@pytest.fixture(scope="session")
def prior_model(codec: Codec, tables: CodeTables) -> PriorModel:
    return make_prior_model(codec, tables)


def make_prior_model(
    codec: Codec, tables: CodeTables, layout: str = "flat", context: int = 256
) -> PriorModel:
    """A prior far from uniform."""
    torch.manual_seed(0)
    spec = CodecSpec(codec.sample_rate, codec.hops, codec.codebook_sizes, codec.fingerprint)
    config = {"layout": layout, "layers": 1, "width": 16, "heads": 2, "context": context}
    prior = Prior(PriorConfig.model_validate(config), spec).eval()
    with torch.no_grad():
        for parameter in prior.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return PriorModel(prior, codec, tables)


@pytest.fixture(scope="session")
def codec_folder(codec: Codec, tables: CodeTables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The codec and its tables as a model folder; not to be written to."""
    from vqaudio.model_folder import save_model

    folder = tmp_path_factory.mktemp("models") / "codec"
    save_model(folder, codec, "# A toy\n")
    tables.save(folder, codec.fingerprint)
    return folder
