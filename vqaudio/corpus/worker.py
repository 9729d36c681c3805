"""What a worker process of the local engine does: read sounds, encode windows, send what came of it."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch

from vqaudio.codec.window_encoder import WindowShape
from vqaudio.codec.windows import return_large_blocks
from vqaudio.corpus.encoding import PortableCodec, Window, encode_part, prefetch, read_sound
from vqaudio.corpus.manifest import Sound
from vqaudio.errors import UserError

log = logging.getLogger("vqaudio")

READY = "ready"  # what a worker says first

Task = Window | tuple[int, Sound]


class _Post(logging.Handler):
    """Sends what a worker logs to the process that started it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self.connection.send((record.levelno, record.msg, *(record.args or ())))


def encode_tasks(model: PortableCodec, connection: Connection, wanted: Any) -> None:
    """What a worker does that reads and encodes."""
    with _employed(connection) as tasks:
        torch.set_num_threads(1)
        encoder = model.encoder()
        connection.send(READY)
        for task in tasks:
            if isinstance(task, Window):
                connection.send(encode_part(encoder, task))
                continue
            for piece in read_sound(encoder.shape, encoder.codec.sample_rate, *task):
                if not isinstance(piece, Window):
                    connection.send(piece)
                elif piece.number and wanted.value > 0:
                    wanted.value -= 1
                    connection.send(piece)
                else:
                    connection.send(encode_part(encoder, piece))


def read_tasks(shape: WindowShape, sample_rate: int, connection: Connection, wanted: Any) -> None:
    """What a worker does that only reads."""
    with _employed(connection) as tasks:
        connection.send(READY)
        for task in tasks:
            assert not isinstance(task, Window)
            for piece in read_sound(shape, sample_rate, *task):
                connection.send(piece)


@contextmanager
def _employed(connection: Connection) -> Iterator[Iterator[Task]]:
    """What a worker is to do, until nobody asks any more or whoever asked is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    log.handlers, log.propagate = [_Post(connection)], False
    return_large_blocks()
    tasks: SimpleQueue[Task | None] = SimpleQueue()
    Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    try:
        yield iter(tasks.get, None)
    except UserError as error:
        log.error("%s", error)
    except OSError:
        pass


def _receive(connection: Connection, tasks: "SimpleQueue[Task | None]") -> None:
    """Take in what there is to do while a worker is busy, so that its giver need not wait."""
    with suppress(Exception):  # whoever started us is gone
        while True:
            tasks.put(task := connection.recv())
            if not isinstance(task, Window):
                prefetch(task[1])
    tasks.put(None)
