"""The engine on a Ray cluster: reading as CPU tasks, encoding as a pool of actors (extra `ray`).

    sounds -> read: windows -> Encoder: codes -> whoever started the run, who alone writes

Tasks and actors that are lost with their node are run again by Ray; a piece that comes twice is
the same piece, and the second is passed over.
"""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from vqaudio.codec.window_encoder import WindowEncoder, WindowShape
from vqaudio.codec.windows import return_large_blocks
from vqaudio.corpus.encoding import (
    Assembly,
    Failure,
    Part,
    Piece,
    PortableCodec,
    Results,
    Window,
    Work,
    encode_all,
    read_sound,
)
from vqaudio.errors import UserError

if TYPE_CHECKING:
    from ray.data import Dataset

SOUNDS_PER_TASK = 32
WINDOWS_PER_BATCH = 16
READER_CPUS, ENCODER_CPUS = 0.2, 0.8  # reading takes less than a fifth of the time of encoding
MOST_ATTEMPTS = 4  # to read a sound whose readers die, of itself or with their nodes


def encode_by_ray(work: Work, workers: int | None = None, device: str = "cpu") -> Results:
    """Read and encode sounds on the cluster that `RAY_ADDRESS` names, or else on this machine.

    Args:
        work: to be done. Files have the same paths on all nodes; the codec goes to every actor once.
        workers: actors that encode; by default one for every CPU, or GPU, of the cluster.
        device: of the actors: "cpu", or "cuda", a GPU each.

    Raises:
        UserError: Ray is not installed, or the cluster has nothing to run an actor on.
    """
    _connect()
    count = workers or _places(device)
    assembly, missing = Assembly(work.codec), dict.fromkeys(work.positions)
    if not missing:
        return
    for row in _pipeline(work, list(missing), count, device).iter_rows():
        piece = row["piece"]
        if piece.position not in missing:
            continue  # it was through, when a node died whose work was done again
        if isinstance(piece, Part):
            work.heard(piece.levels[0].shape[1])
        if result := assembly.put(piece):
            del missing[piece.position]
            yield result


def _connect() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its errors reach us as exceptions
    warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
    try:
        import ray
    except ImportError:
        raise UserError("engine ray: not installed; pip install 'vqaudio[ray]'") from None
    if not ray.is_initialized():
        # by itself Ray looks for the last cluster of this machine, and waits minutes if that is gone
        address = os.environ.get("RAY_ADDRESS", "local")
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _places(device: str) -> int:
    import ray

    count = int(ray.cluster_resources().get("CPU" if device == "cpu" else "GPU", 0))
    if not count:
        raise UserError(f"engine ray: the cluster has nothing to encode on ({device})")
    return count


def _pipeline(work: Work, positions: list[int], workers: int, device: str) -> "Dataset":
    """Rows of one `piece` each: parts of codes, ends and failures."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    attempts = ray.remote(_Attempts).options(num_cpus=0, scheduling_strategy=here).remote()

    shape = WindowEncoder(work.codec, arithmetic=work.arithmetic).shape
    reading = partial(_read, shape=shape, sample_rate=work.codec.sample_rate, attempts=attempts)
    model = ray.put(PortableCodec.of(work))
    resources = {"num_cpus": ENCODER_CPUS} if device == "cpu" else {"num_gpus": 1}
    items = [{"position": position, "sound": work.sounds[position]} for position in positions]
    return (
        ray.data.from_items(items, override_num_blocks=-(-len(items) // SOUNDS_PER_TASK))
        .flat_map(reading, num_cpus=READER_CPUS)
        .map_batches(
            _Encoder,
            fn_constructor_args=(model, device),
            batch_size=WINDOWS_PER_BATCH,
            batch_format="numpy",
            concurrency=workers,
            **resources,
        )
    )


def _read(
    row: dict[str, Any], shape: WindowShape, sample_rate: int, attempts: Any
) -> Iterator[dict[str, Any]]:
    import ray

    position, sound = row["position"], row["sound"]
    if ray.get(attempts.begin.remote(position)) > MOST_ATTEMPTS:
        reason = f"{sound.path}: ends the process that reads it; leave it out"
        yield {"piece": Failure(position, reason)}
        return
    for piece in read_sound(shape, sample_rate, position, sound):
        yield {"piece": piece}
    attempts.end.remote(position)


class _Attempts:
    """An actor beside whoever started the run: how often a sound was begun and not ended.

    Ray would begin it again for ever.
    """

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def begin(self, position: int) -> int:
        self.counts[position] += 1
        return self.counts[position]

    def end(self, position: int) -> None:
        del self.counts[position]


class _Encoder:
    """An actor: windows become codes, ends and failures pass by."""

    def __init__(self, model: Any, device: str) -> None:
        import ray

        torch.set_num_threads(1)
        return_large_blocks()
        self.encoder = ray.get(model).encoder(device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Piece]]:
        windows = [piece for piece in batch["piece"] if isinstance(piece, Window)]
        others = [piece for piece in batch["piece"] if not isinstance(piece, Window)]
        return {"piece": [*encode_all(self.encoder, windows), *others]}
