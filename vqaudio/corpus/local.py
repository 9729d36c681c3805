"""The engine on one machine: worker processes read and encode, none of them ever out of work."""

import logging
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from vqaudio.codec.window_encoder import WindowEncoder
from vqaudio.codec.windows import return_large_blocks
from vqaudio.corpus import processes
from vqaudio.corpus.encoding import (
    Assembly,
    End,
    Failure,
    Part,
    PortableCodec,
    Result,
    Results,
    Window,
    Work,
    encode_all,
    encode_part,
    read_sound,
)
from vqaudio.corpus.worker import READY, Task, encode_tasks, read_tasks
from vqaudio.errors import UserError

log = logging.getLogger("vqaudio")

AHEAD = 4  # sounds that a worker has waiting, so that it never waits itself
LOOKAHEAD = 32  # sounds a worker begun beyond the first that is at work: a kill costs those too
LEAST_LOOKAHEAD = 1024
MOST_STILLBORN = 3  # one more, and there is something wrong with this machine or the script
DEATHS = 2  # of workers, until the sound that they died of is left out
WINDOWS_PER_BATCH = 64  # that a device is given, those of one length together

ALONE = 'try with 1 worker, and in a script start below `if __name__ == "__main__":`'


def encode_here(work: Work) -> Results:
    """Read and encode sounds one after the other in this process."""
    encoder, assembly = WindowEncoder(work.codec, arithmetic=work.arithmetic), Assembly(work.codec)
    return_large_blocks()
    for position in work.positions:
        sound = work.sounds[position]
        for piece in read_sound(encoder.shape, work.codec.sample_rate, position, sound):
            if isinstance(piece, Window):
                assembly.put(encode_part(encoder, piece))
                work.heard(piece.samples.count)
            elif result := assembly.put(piece):
                yield result


def encode_by_workers(work: Work, workers: int) -> Results:
    """Read and encode sounds in worker processes, each on one thread; results as they come.

    A worker reads a sound and encodes its windows. Where others are without work, as at the end of
    a corpus or in one long file, it leaves windows to them. A worker that dies, as of a file that
    crashes its reader, is replaced, and what it had goes to others; a sound that it dies of again
    is a failure.
    """
    with _Pool(work, workers, encode_tasks, PortableCodec.of(work)) as pool:
        while pool.feed():
            yield from pool.receive()


def encode_on_device(work: Work, workers: int) -> Results:
    """Read sounds in worker processes, and encode them here on the codec's device, in batches."""
    encoder = WindowEncoder(work.codec, arithmetic=work.arithmetic)
    with _Pool(work, workers, read_tasks, encoder.shape, work.codec.sample_rate) as pool:
        while pool.feed() or pool.shared:
            if len(pool.shared) < WINDOWS_PER_BATCH and pool.busy:
                yield from pool.receive()
                continue
            windows = [pool.shared.popleft() for _ in range(min(WINDOWS_PER_BATCH, len(pool.shared)))]
            for part in encode_all(encoder, windows):
                yield from pool.put(part)


@dataclass
class _Worker:
    """A process, the connection to it, and what it was given and has not given back."""

    process: Any
    connection: Connection
    ready: bool = False  # it lives, and can encode
    sounds: dict[int, None] = field(default_factory=dict)  # in order
    windows: dict[tuple[int, int], Window] = field(default_factory=dict)

    @property
    def load(self) -> int:
        """How many things it has to do."""
        return len(self.sounds) + len(self.windows)


class _Pool:
    """Workers, what they are to do, and what has come of it.

    Args:
        work: to be done.
        workers: how many.
        target: what each does, with `args`, the connection and how many windows others could take.
        args: for the target.
    """

    def __init__(self, work: Work, workers: int, target: Any, *args: Any) -> None:
        self.work, self.target, self.args = work, target, args
        self.context = processes.context()
        self.wanted = self.context.Value("i", 0, lock=False)
        self.assembly = Assembly(work.codec)
        self.workers: list[_Worker] = []
        self.count, self.lookahead = workers, max(LEAST_LOOKAHEAD, LOOKAHEAD * workers)
        self.again: deque[int] = deque()
        self.shared: deque[Window] = deque()  # for whoever has nothing to do
        self.deaths: dict[int, int] = {}
        self.stillborn = 0  # workers one after another that died before they were ready
        self.open: dict[int, int] = {}  # positions begun and not through, in order, with their number
        self.begun = 0

    def __enter__(self) -> "_Pool":
        for _ in range(self.count):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()
            worker.connection.close()

    @property
    def busy(self) -> bool:
        """Whether a worker has something to do."""
        return any(worker.load for worker in self.workers)

    def feed(self) -> bool:
        """Give every worker enough to do; False when there is nothing left and all is back."""
        for worker in sorted(self.workers, key=lambda worker: worker.load):
            while worker.load < AHEAD and self._give(worker):
                pass
        idle = [worker for worker in self.workers if not worker.sounds]
        self.wanted.value = sum(max(0, 2 - worker.load) for worker in idle)
        return self.busy

    def receive(self) -> Iterator[Result]:
        """Wait for what workers send, and see to those that died."""
        ends: dict[Any, _Worker] = {worker.connection: worker for worker in self.workers}
        for ready in wait(list(ends)):
            try:
                piece = ends[ready].connection.recv()
            except (EOFError, OSError):  # it died, and everything that it sent is taken in
                yield from self._bury(ends[ready])
            else:
                yield from self._take(ends[ready], piece)

    def put(self, piece: Part | End | Failure) -> Iterator[Result]:
        """Add a piece to its sound, unless that is through."""
        if isinstance(piece, Part):
            self.work.heard(piece.levels[0].shape[1])
        if piece.position in self.open and (result := self.assembly.put(piece)):
            del self.open[piece.position]
            yield result

    def _start(self) -> None:
        ours, theirs = self.context.Pipe()
        args = (*self.args, theirs, self.wanted)
        process = self.context.Process(target=self.target, args=args, daemon=True)
        try:
            process.start()
        except OSError as error:
            raise UserError(f"workers: cannot be started ({error}); {ALONE}") from None
        theirs.close()
        self.workers.append(_Worker(process, ours))

    def _give(self, worker: _Worker) -> bool:
        """Give a worker one more thing to do, if there is any for it."""
        task: Task
        if self.shared and self.target is encode_tasks:
            if worker.sounds:  # it reads, and would come to others' windows late
                return False
            task = self.shared.popleft()
            worker.windows[task.position, task.number] = task
        else:
            position = self._next_sound()
            if position is None:
                return False
            worker.sounds[position] = None
            task = (position, self.work.sounds[position])
        try:
            worker.connection.send(task)
            return True
        except OSError:  # it died, as `receive` finds out; what it was given is among its own
            return False

    def _next_sound(self) -> int | None:
        if self.again:
            return self.again.popleft()
        first = next(iter(self.open.values()), self.begun)
        if self.begun - first >= self.lookahead or (position := next(self.work.positions, None)) is None:
            return None
        self.open[position] = self.begun
        self.begun += 1
        return position

    def _take(self, worker: _Worker, piece: Any) -> Iterator[Result]:
        if piece == READY:
            worker.ready, self.stillborn = True, 0
        elif isinstance(piece, tuple):
            log.log(*piece)
        elif isinstance(piece, Window):
            self.shared.append(piece)
        else:
            if isinstance(piece, Part):
                worker.windows.pop((piece.position, piece.number), None)
            else:
                worker.sounds.pop(piece.position, None)
            yield from self.put(piece)

    def _bury(self, worker: _Worker) -> Iterator[Result]:
        """Replace a worker that died; its work is done by others, but not what it died of again."""
        worker.process.join()
        worker.connection.close()
        self.workers.remove(worker)
        how = _how_it_died(worker.process.exitcode)
        self.stillborn += not worker.ready
        if self.stillborn > MOST_STILLBORN:
            raise UserError(f"workers: end as soon as they are started ({how}); {ALONE}")
        self._start()
        blamed = [position for position, _ in worker.windows] or list(worker.sounds)
        if not worker.ready:
            blamed = []
        for position in blamed[:1]:
            self.deaths[position] = self.deaths.get(position, 0) + 1
            if self.deaths[position] >= DEATHS:
                reason = f"{self.work.sounds[position].path}: ends the process that reads it ({how})"
                yield from self._take(worker, Failure(position, f"{reason}; leave it out"))
                worker.windows = {key: w for key, w in worker.windows.items() if key[0] != position}
        self.again.extend(worker.sounds)
        self.shared.extend(worker.windows.values())


def _how_it_died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit status {exitcode}"
