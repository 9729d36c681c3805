"""What an evaluation finds: of a sound, of a system, and all in one."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Definition:
    """What a figure is, printed wherever it stands.

    Args:
        name: the key in `measures`.
        title: for heads of tables.
        unit: such as dB; empty for none.
        better: `higher`, `lower`, or empty where neither is.
        sample_rate: in Hz, the highest at which it is computed: sounds above are brought to it;
            None leaves sounds at their own.
        definition: one sentence.
        computed_by: package and version.
        also_called: what Codec-SUPERB or VERSA call it, and where theirs differs.
    """

    name: str
    title: str
    unit: str
    better: str
    sample_rate: int | None
    definition: str
    computed_by: str
    also_called: str = ""


@dataclass(frozen=True)
class Interval:
    """A mean over sounds and its 95 % bootstrap interval (percentile, resampling sounds).

    Args:
        mean: None where no sound has a value, as the next two.
        low: 2.5th percentile of the resampled means.
        high: 97.5th percentile.
        count: sounds in the mean.
        refused: sounds for which the measure gave no value.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int
    refused: int


@dataclass(frozen=True)
class Codebook:
    """How one codebook was used over all sounds.

    Args:
        level: 0 is the coarsest.
        quantizer: place in that level's stack.
        size: codes in the codebook.
        frames: codes counted.
        used: distinct codes among them.
        entropy_bits: bits a code, with the correction of Miller and Madow for few frames.
        perplexity: 2 to the plain entropy.
        counts: how often each code came.
    """

    level: int
    quantizer: int
    size: int
    frames: int
    used: int
    entropy_bits: float
    perplexity: float
    counts: list[int]


@dataclass(frozen=True)
class Shared:
    """What a code of one level says about one of another.

    Args:
        coarse: level and quantizer.
        fine: level and quantizer.
        bits: mutual information a fine code, less `chance`, at least 0.
        plain: the estimate from the counts as they are, which few frames push up.
        chance: the same with the coarse codes shuffled, where there is nothing to know.
    """

    coarse: tuple[int, int]
    fine: tuple[int, int]
    bits: float
    plain: float
    chance: float


@dataclass(frozen=True)
class Cost:
    """What a system costs; None for what was not measured.

    Args:
        encode_rtf: seconds of one core for a second of sound.
        decode_rtf: the same of decoding.
        peak_memory_bytes: resident, of a process that loads the codec, encodes and decodes.
        parameters: numbers that were learned.
        encode_macs_per_second: multiply-adds for a second of sound.
        decode_macs_per_second: the same of decoding.
    """

    encode_rtf: float | None = None
    decode_rtf: float | None = None
    peak_memory_bytes: int | None = None
    parameters: int | None = None
    encode_macs_per_second: float | None = None
    decode_macs_per_second: float | None = None


@dataclass(frozen=True)
class System:
    """A codec, a point of its rate-distortion curve, a classical program or a folder of sounds.

    Args:
        name: unlike any other; also its folder in `sounds/`.
        kind: `codec`, `program` or `folder`.
        model: the points of one curve have the same.
        whole: whether this is the codec itself rather than a point below its full rate.
        quantizers: codes used of each level, coarsest first; levels that are left out are 0. Empty
            unless a codec.
        fingerprint: of a codec.
        version: of a program.
        sample_rate: of the codec, in Hz; None unless a codec.
    """

    name: str
    kind: str
    model: str
    whole: bool = True
    quantizers: tuple[int, ...] = ()
    fingerprint: str = ""
    version: str = ""
    sample_rate: int | None = None


@dataclass(frozen=True)
class Figures:
    """What an evaluation found of a system, over all sounds.

    Args:
        system: which one.
        sounds: that have measures.
        failed: that have none.
        seconds: of sound, together.
        nominal_bits_per_second: every code at full width, or the payload that a program wrote; None
            for a folder.
        effective_bits_per_second: entropy of the codes, each codebook by its own frequencies; None
            unless a codec.
        tokens_per_second: codes; None unless a codec.
        delay_seconds: constant delay that was taken out before measuring.
        measures: by name; a measure that was not asked of this system is not there.
        codebooks: of a codec.
        shared: mutual information between levels, of a codec.
        cost: of running it.
    """

    system: System
    sounds: int
    failed: int
    seconds: float
    nominal_bits_per_second: float | None
    effective_bits_per_second: float | None
    tokens_per_second: float | None
    delay_seconds: float
    measures: dict[str, Interval]
    codebooks: list[Codebook] = field(default_factory=list)
    shared: list[Shared] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Heard:
    """A sound whose files are kept: `sounds/original/STEM.flac` and `sounds/SYSTEM/STEM.flac`.

    Args:
        id: of the sound.
        stem: of its files, with slashes where the id has them.
        why: `worst` or `typical`, of the first system by `Summary.ranked_by`, worst first.
    """

    id: str
    stem: str
    why: str


@dataclass(frozen=True)
class Summary:
    """All that an evaluation found.

    Args:
        versions: of vqaudio, Python and the packages that measure.
        sample_rate: at which sounds are compared, in Hz; None where each pair has its own.
        sounds: inputs.
        seconds: of sound that could be read.
        failures: `id: reason` or `id (system): reason`, of what has no measures.
        notices: what else the reader should know, such as sounds without a partner.
        definitions: of every measure, in the order of columns.
        figures: a system each; the first is what the evaluation is about.
        ranked_by: name of the measure that found the worst and the typical sounds.
        heard: whose files are kept, the worst first.
    """

    versions: dict[str, str]
    sample_rate: int | None
    sounds: int
    seconds: float
    failures: list[str]
    notices: list[str]
    definitions: list[Definition]
    figures: list[Figures]
    ranked_by: str
    heard: list[Heard]


@dataclass(frozen=True)
class Result:
    """What one system made of one sound.

    Args:
        id: of the sound.
        system: name.
        seconds: of sound.
        payload_bits: written by a program, without container; None elsewhere.
        measures: by name; None where the measure refused.
        notes: what was done to compare them: resampled, trimmed.
        reason: why there are no measures; empty if there are.
    """

    id: str
    system: str
    seconds: float = 0.0
    payload_bits: int | None = None
    measures: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reason: str = ""
