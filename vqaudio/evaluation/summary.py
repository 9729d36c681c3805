"""From what was found of every sound to what is found of every system."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vqaudio.codes import Codes
from vqaudio.corpus.manifest import Sound
from vqaudio.evaluation.averages import interval
from vqaudio.evaluation.code_use import CodebookUse, codebook_use, shared_information
from vqaudio.evaluation.evaluation_folder import PER_FILE
from vqaudio.evaluation.results import Codebook, Cost, Definition, Figures, Heard, Result, System

RANKING = ("pesq_wb", "pesq_nb", "stoi", "mel")  # the first that there is finds the worst sounds
WORST, TYPICAL = 10, 5
# What a note says, and in a summary.
TREATMENTS = {
    "cut to": "cut to the shorter of the two",
    "resampled": "resampled",
    "mixed down": "mixed down",
}


def figures_of(
    system: System,
    results: Sequence[Result],
    definitions: Iterable[Definition],
    delay_seconds: float,
    cost: Cost,
) -> Figures:
    """What was found of a system, but for its codes.

    Args:
        system: which one.
        results: of all sounds, in their order.
        definitions: of all measures.
        delay_seconds: that was taken out.
        cost: of running it.
    """
    done = [result for result in results if not result.reason]
    seconds = sum(result.seconds for result in done)
    payload = [result.payload_bits for result in done if result.payload_bits is not None]
    asked = {name for result in done for name in result.measures}
    return Figures(
        system,
        sounds=len(done),
        failed=len(results) - len(done),
        seconds=seconds,
        nominal_bits_per_second=sum(payload) / seconds if payload else None,
        effective_bits_per_second=None,
        tokens_per_second=None,
        delay_seconds=delay_seconds,
        measures={
            one.name: interval([result.measures.get(one.name) for result in done])
            for one in definitions
            if one.name in asked
        },
        cost=cost,
    )


def code_figures(
    system: System, sounds: Sequence[Codes], sizes: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """What the codes of all sounds say of a system, as fields of `Figures`.

    Args:
        system: a codec or a point of its curve.
        sounds: codes of all quantizers of the codec.
        sizes: of its codebooks, per level, per quantizer.
    """
    if not sounds:
        return {}
    seconds = sum(codes.duration_seconds for codes in sounds)
    uses = [
        use
        for use in codebook_use(sounds, sizes)
        if use.level < len(system.quantizers) and use.quantizer < system.quantizers[use.level]
    ]
    rates = [sounds[0].sample_rate / hop for hop in sounds[0].hops]
    bits = sum(use.frames * use.corrected_entropy_bits for use in uses)
    return {
        "nominal_bits_per_second": sum(rates[use.level] * math.log2(use.size) for use in uses),
        "effective_bits_per_second": bits / seconds,
        "tokens_per_second": sum(rates[use.level] for use in uses),
        "codebooks": [_codebook(use) for use in uses],
        "shared": shared_information(sounds) if system.whole else [],
    }


def heard_sounds(
    results: Sequence[Result], definitions: Iterable[Definition], stems: Mapping[str, str]
) -> tuple[str, list[Heard]]:
    """Which sounds are to be kept: the worst of a system, ten or half of them, and five from the middle.

    Args:
        results: of the system, one a sound.
        definitions: of all measures.
        stems: names of files, by the ids of sounds.

    Returns:
        The name of the measure that ranks them, and the sounds, the worst first.
    """
    better = {one.name: one.better for one in definitions}
    for name in RANKING:
        found = [(value, r.id) for r in results if (value := r.measures.get(name)) is not None]
        if not found:
            continue
        order = [id for _, id in sorted(found, reverse=better[name] == "lower")]
        count = min(WORST, len(order) // 2)
        worst, rest = order[:count], order[count:]
        start = max(0, (len(order) - TYPICAL) // 2 - count)
        return name, [Heard(id, stems[id], "worst") for id in worst] + [
            Heard(id, stems[id], "typical") for id in rest[start : start + TYPICAL]
        ]
    return "", []


def failures_of(results: Iterable[Result], systems: int, sounds: Sequence[Sound]) -> list[str]:
    """A line for every sound or system that failed; one for a sound of which all systems did.

    Args:
        results: of all sounds and systems.
        systems: how many.
        sounds: in their order.
    """
    reasons: dict[str, dict[str, str]] = {sound.id: {} for sound in sounds}
    for result in results:
        if result.reason:
            reasons[result.id][result.system] = result.reason
    lines = []
    for id, found in reasons.items():
        if len(found) == systems and len(set(found.values())) == 1:
            lines.append(f"{id}: {next(iter(found.values()))}")
        else:
            lines += [f"{id} ({system}): {reason}" for system, reason in found.items()]
    return lines


def notices_of(results: Iterable[Result]) -> list[str]:
    """A line for each kind of thing that was done to sounds to compare them, with how many."""
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(kind for kind in TREATMENTS if any(kind in note for note in result.notes))
    return [
        f"{count} sounds were {TREATMENTS[kind]}: see notes in {PER_FILE}"
        for kind, count in counts.items()
    ]


def _codebook(use: CodebookUse) -> Codebook:
    return Codebook(
        use.level,
        use.quantizer,
        use.size,
        use.frames,
        use.used,
        use.corrected_entropy_bits,
        use.perplexity,
        use.counts.tolist(),
    )
