"""The engine on one machine: worker processes read and encode, none of them ever out of work."""

import logging
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch

from vqaudio.codec.model import Codec
from vqaudio.codec.windows import return_large_blocks
from vqaudio.corpus.encoding import (
    Assembly,
    Failure,
    Heard,
    Part,
    PortableCodec,
    Result,
    Results,
    Window,
    encode_part,
    prefetch,
    read_sound,
)
from vqaudio.corpus.manifest import Sound

log = logging.getLogger("vqaudio")

AHEAD = 4  # sounds that a worker has waiting, so that it never waits itself
LOOKAHEAD = 8192  # sounds that are begun while an earlier one is at work: they wait in memory
DEATHS = 2  # of workers, until the sound that they died of is left out

Task = Window | tuple[int, Sound]


def encode_here(
    codec: Codec, sounds: Sequence[Sound], positions: Iterator[int], heard: Heard
) -> Results:
    """Read and encode sounds one after the other in this process."""
    assembly = Assembly(codec)
    return_large_blocks()
    for position in positions:
        for piece in read_sound(codec, position, sounds[position]):
            if isinstance(piece, Window):
                assembly.put(encode_part(codec, piece))
                heard(piece.samples.count)
            elif result := assembly.put(piece):
                yield result


def encode_by_workers(
    codec: Codec, sounds: Sequence[Sound], positions: Iterator[int], heard: Heard, workers: int
) -> Results:
    """Read and encode sounds in worker processes, each on one thread; results as they come.

    A worker reads a sound and encodes its windows. Where others are without work, as at the end of
    a corpus or in one long file, it leaves windows to them. A worker that dies, as of a file that
    crashes its reader, is replaced, and what it had goes to others; a sound that it dies of again
    is a failure.
    """
    pool = _Pool(codec, sounds, positions, heard)
    try:
        for _ in range(workers):
            pool.start()
        yield from pool.results()
    finally:
        pool.stop()


@dataclass
class _Worker:
    """A process, the connection to it, and what it was given and has not given back."""

    process: Any
    connection: Connection
    sounds: dict[int, None] = field(default_factory=dict)  # in order
    windows: dict[tuple[int, int], Window] = field(default_factory=dict)

    @property
    def load(self) -> int:
        """How many things it has to do."""
        return len(self.sounds) + len(self.windows)


class _Pool:
    """Workers, what they are to do, and what has come of it."""

    def __init__(
        self, codec: Codec, sounds: Sequence[Sound], positions: Iterator[int], heard: Heard
    ) -> None:
        self.codec, self.sounds, self.positions, self.heard = codec, sounds, positions, heard
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self.context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self.context.set_forkserver_preload([__name__])
        self.model = PortableCodec.of(codec)
        self.wanted = self.context.Value("i", 0, lock=False)  # windows that idle workers could do
        self.assembly = Assembly(codec)
        self.workers: list[_Worker] = []
        self.again: deque[int] = deque()
        self.shared: deque[Window] = deque()
        self.deaths: dict[int, int] = {}
        self.open: dict[int, None] = {}  # positions begun and not through, in order
        self.last = -1  # position that was begun last

    def start(self) -> None:
        """Start one more worker."""
        ours, theirs = self.context.Pipe()
        args = (self.model, theirs, self.wanted)
        process = self.context.Process(target=_work, args=args, daemon=True)
        process.start()
        theirs.close()
        self.workers.append(_Worker(process, ours))

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()
            worker.connection.close()

    def results(self) -> Iterator[Result]:
        """Feed the workers until all is done."""
        while self._feed():
            ends: dict[Any, _Worker] = {worker.connection: worker for worker in self.workers}
            ends |= {worker.process.sentinel: worker for worker in self.workers}
            for ready in wait(list(ends)):
                worker = ends[ready]
                if worker not in self.workers:
                    continue
                try:
                    while worker.connection.poll():
                        yield from self._take(worker, worker.connection.recv())
                except (EOFError, OSError):
                    yield from self._bury(worker)

    def _feed(self) -> bool:
        """Give every worker enough to do; False when there is nothing left and all is back."""
        for worker in sorted(self.workers, key=lambda worker: worker.load):
            while worker.load < AHEAD and self._give(worker):
                pass
        idle = [worker for worker in self.workers if not worker.sounds]
        self.wanted.value = sum(max(0, 2 - worker.load) for worker in idle)
        return any(worker.load for worker in self.workers)

    def _give(self, worker: _Worker) -> bool:
        try:
            if self.shared:
                if worker.sounds:  # it reads, and would come to others' windows late
                    return False
                window = self.shared.popleft()
                worker.windows[window.position, window.number] = window
                worker.connection.send(window)
                return True
            position = self._next_sound()
            if position is None:
                return False
            worker.sounds[position] = None
            worker.connection.send((position, self.sounds[position]))
            return True
        except OSError:  # it died: its sentinel says so too, and what it was given is among its own
            return False

    def _next_sound(self) -> int | None:
        if self.again:
            return self.again.popleft()
        first = next(iter(self.open), self.last)
        if self.last - first >= LOOKAHEAD or (position := next(self.positions, None)) is None:
            return None
        self.open[position] = None
        self.last = position
        return position

    def _take(self, worker: _Worker, piece: Any) -> Iterator[Result]:
        if isinstance(piece, tuple):
            log.log(*piece)
            return
        if isinstance(piece, Window):
            self.shared.append(piece)
            return
        if isinstance(piece, Part):
            worker.windows.pop((piece.position, piece.number), None)
            self.heard(piece.levels[0].shape[1])
        else:
            worker.sounds.pop(piece.position, None)
        if piece.position in self.open and (result := self.assembly.put(piece)):
            del self.open[piece.position]
            yield result

    def _bury(self, worker: _Worker) -> Iterator[Result]:
        """Replace a worker that died; its work is done by others, but not what it died of again."""
        worker.process.join()
        worker.connection.close()
        self.workers.remove(worker)
        self.start()
        for position in list(worker.sounds)[:1]:
            self.deaths[position] = self.deaths.get(position, 0) + 1
            if self.deaths[position] >= DEATHS:
                how = _how_it_died(worker.process.exitcode)
                reason = f"{self.sounds[position].path}: ends the process that reads it ({how})"
                yield from self._take(worker, Failure(position, f"{reason}; leave it out"))
        self.again.extend(worker.sounds)
        self.shared.extend(worker.windows.values())


def _how_it_died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit status {exitcode}"


class _Post(logging.Handler):
    """Sends what a worker logs to the process that started it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self.connection.send((record.levelno, record.msg, *(record.args or ())))


def _work(model: PortableCodec, connection: Connection, wanted: Any) -> None:
    """What a worker does until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    torch.set_num_threads(1)
    return_large_blocks()
    log.handlers, log.propagate = [_Post(connection)], False
    codec = model.codec()
    tasks: SimpleQueue[Task | None] = SimpleQueue()
    Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    try:
        while task := tasks.get():
            if isinstance(task, Window):
                connection.send(encode_part(codec, task))
                continue
            for piece in read_sound(codec, *task):
                if not isinstance(piece, Window):
                    connection.send(piece)
                elif piece.number and wanted.value > 0:
                    wanted.value -= 1
                    connection.send(piece)
                else:
                    connection.send(encode_part(codec, piece))
    except OSError:
        sys.exit()  # whoever started us is gone


def _receive(connection: Connection, tasks: "SimpleQueue[Task | None]") -> None:
    """Take in what there is to do while a worker is busy, so that its giver need not wait."""
    try:
        while True:
            tasks.put(task := connection.recv())
            if not isinstance(task, Window):
                prefetch(task[1])
    except (EOFError, OSError):
        tasks.put(None)
