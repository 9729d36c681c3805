"""What a YAML file may say: one schema, where an unknown or impossible key is an error.

Configurations are built once, at the edge; modules take plain arguments.
"""

from vqaudio.config.bottleneck import (
    Bottleneck,
    CodebookBottleneck,
    GaussianBottleneck,
    GroupedResidualBottleneck,
    GumbelBottleneck,
    ResidualBottleneck,
    ScalarBottleneck,
    VectorBottleneck,
)
from vqaudio.config.codec import (
    CodecConfig,
    ISTFTHead,
    Level,
    MelFront,
    MelHead,
    UpsampleHead,
    WaveformFront,
)
from vqaudio.config.prior import PriorConfig, PriorRecipe
from vqaudio.config.reading import parse_section, read_recipe
from vqaudio.config.section import Section
from vqaudio.config.training import (
    Adversarial,
    CodecData,
    CodecLosses,
    CodecRecipe,
    Gain,
    Noise,
    NormKind,
    Optimization,
    Perturbation,
    Reverberation,
)

__all__ = [
    "Adversarial",
    "Bottleneck",
    "CodebookBottleneck",
    "CodecConfig",
    "CodecData",
    "CodecLosses",
    "CodecRecipe",
    "Gain",
    "GaussianBottleneck",
    "GroupedResidualBottleneck",
    "GumbelBottleneck",
    "ISTFTHead",
    "Level",
    "MelFront",
    "MelHead",
    "Noise",
    "NormKind",
    "Optimization",
    "Perturbation",
    "PriorConfig",
    "PriorRecipe",
    "ResidualBottleneck",
    "Reverberation",
    "ScalarBottleneck",
    "Section",
    "UpsampleHead",
    "VectorBottleneck",
    "WaveformFront",
    "parse_section",
    "read_recipe",
]
