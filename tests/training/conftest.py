from pathlib import Path

import pytest

from tests.sounds import WavMaker
from vqaudio.config import CodecRecipe, parse_section
from vqaudio.corpus.manifest import Sound, write_manifest

TINY = {
    "codec": {
        "sample_rate": 8000,
        "front": {"kind": "waveform", "strides": [4, 8], "channels": [8, 16]},
        "levels": [
            {
                "hop": 128,
                "channels": 16,
                "encoder_units": 1,
                "decoder_units": 1,
                "bottleneck": {"kind": "vector", "codebook_size": 16, "dim": 4},
            },
            {
                "hop": 32,
                "channels": 16,
                "encoder_units": 1,
                "decoder_units": 1,
                "dropout": 0.3,
                "bottleneck": {"kind": "residual", "codebook_size": 16, "quantizers": 2, "dim": 4},
            },
        ],
        "head": {"kind": "istft", "hop": 32, "n_fft": 128, "channels": 16, "units": 1},
    },
    "data": {"crop_seconds": 0.25, "crops": 3, "perturbation": {"share": 0.5}},
    "optimization": {"steps": 16, "learning_rate": 0.002, "warmup_steps": 3, "weight_ema": 0.9},
    "run": {"log_every": 1, "validate_every": 8, "checkpoint_every": 4, "validation_sounds": 1},
    "warm_start_steps": 6,
    "losses": {"fft_sizes": [64, 256], "coarse": 0.2},
}


@pytest.fixture
def recipe() -> CodecRecipe:
    """A codec that trains in seconds; its warm start ends between two checkpoints."""
    return parse_section(CodecRecipe, TINY, "tiny.yaml")


@pytest.fixture
def manifest(wav: WavMaker, tmp_path: Path) -> Path:
    """Twelve sounds of 0.1 to 0.65 seconds."""
    sounds = [Sound(f"s{i}", wav(f"sounds/s{i}.wav", 0.1 + 0.05 * i, 8000, seed=i)) for i in range(12)]
    write_manifest(tmp_path / "sounds.jsonl", sounds)
    return tmp_path / "sounds.jsonl"
