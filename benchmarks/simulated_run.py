"""A run over a corpus, event by event: uneven files, uneven workers, workers and nodes that are lost."""

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

# The simulated corpus and cluster.
MEDIAN_SECONDS, SIGMA, LONGEST, LONGEST_FILES = 300.0, 1.2, 36_000.0, 20  # log-normal, and ten hours
SLOW_SHARE, SLOW, UNEVEN = 0.02, 0.4, 0.1  # slow workers and their speed; the spread of the others
WORKERS_A_NODE = 16
WORKER_LIFE, NODE_LIFE = 20 * 3600.0, 10 * 3600.0  # seconds, mean: a bad day on spot machines
RESTART, REPLACEMENT = 10.0, 300.0  # seconds until a worker, and a node, is back
ROWS_PER_SHARD, SHARD_SECONDS = 1024, (1 << 21) / 125  # of vqaudio.corpus.folder

Plan = Literal["static", "queue", "windows"]


@dataclass
class Cluster:
    """Workers by speed, how fast a file can be read, both in times real time; mean lives in seconds."""

    speeds: Sequence[float]
    read: float = 3000.0
    worker_life: float = math.inf
    node_life: float = math.inf
    seed: int = 0


@dataclass
class Outcome:
    """What came of a run; sound in seconds.

    Args:
        seconds: that it took.
        ideal: that it would take if no worker ever waited or was lost.
        losses: how often a worker or a node was lost.
        encoded: sound, with what was lost.
        redone: sound that was lost, or had to be done again for want of a ledger.
        at_work: sound of files begun, as far as it was encoded, when half of all was done.
        unwritten: what a writer in order had in no shard then, `at_work` included.
        waiting: files encoded and waiting for an earlier one, the most there were.
    """

    seconds: float = 0.0
    ideal: float = 0.0
    losses: int = 0
    encoded: float = 0.0
    redone: float = 0.0
    at_work: float = 0.0
    unwritten: float = 0.0
    waiting: int = 0


@dataclass(eq=False)
class Job:
    """A file at work: who reads it, who has windows of it, and what is left of it since when."""

    number: int
    owner: int
    left: float
    since: float
    rate: float = 0.0
    helpers: set[int] = field(default_factory=set)
    version: int = 0


class Simulation:
    """A run over files of these lengths in seconds, in this order.

    Args:
        lengths: of the files.
        cluster: that encodes them.
        plan: `static`: worker w of W has files w, w + W, ...; `queue`: whoever is free has the next
            file; `windows`: so too, and whoever finds none helps with one at work, as far as it can be
            read as fast.
        ledger: whether a static worker, once lost, goes on where it was, or begins its list anew.
        lookahead: files begun while an earlier one is at work, at most.
        patience: times the ideal, until a run is given up: it took infinite seconds.
    """

    def __init__(
        self,
        lengths: Sequence[float],
        cluster: Cluster,
        plan: Plan,
        ledger: bool = True,
        lookahead: int | None = None,
        patience: float = math.inf,
    ) -> None:
        self.lengths, self.cluster, self.plan, self.ledger = lengths, cluster, plan, ledger
        self.lookahead, self.patience = lookahead or len(lengths), patience
        self.workers = len(cluster.speeds)
        self.lists = [deque(range(len(lengths)))]  # of files that nobody has begun
        if plan == "static":
            self.lists = [deque(range(w, len(lengths), self.workers)) for w in range(self.workers)]
        self.past: list[list[int]] = [[] for _ in self.lists]  # of each list, what is through
        self.idle = dict.fromkeys(range(self.workers))
        self.jobs: dict[int, Job] = {}  # by owner
        self.helps: dict[int, Job] = {}  # by helper
        self.down: set[int] = set()
        self.through = bytearray(len(lengths))
        self.whole = self.first = 0  # files through; the first that is not
        self.in_shards, self.rows, self.row_seconds = 0.0, 0, 0.0
        self.total = sum(lengths)
        self.found = Outcome(ideal=self.total / sum(cluster.speeds))
        self.events: list[tuple[float, int, str, Any]] = []
        self.pushed = 0
        self.losses, self.picks = np.random.default_rng(cluster.seed), random.Random(cluster.seed)

    def run(self) -> Outcome:
        """From the first file to the last."""
        now = 0.0
        self._next_loss(now, "worker", self.cluster.worker_life / self.workers)
        self._next_loss(now, "node", self.cluster.node_life / self.workers * WORKERS_A_NODE)
        self._dispatch(now)
        while self.whole < len(self.lengths):
            now, _, kind, what = heapq.heappop(self.events)
            if now > self.patience * self.found.ideal:
                now = math.inf
                break
            if kind == "done":
                job, version = what
                if job.version == version:
                    self._finish(now, job)
            elif kind == "back":
                self.down.discard(what)
                self.idle[what] = None
            else:
                self._lose(now, kind, *what)
            self._dispatch(now)
        self.found.seconds = now
        return self.found

    def _push(self, when: float, kind: str, what: Any) -> None:
        self.pushed += 1
        heapq.heappush(self.events, (when, self.pushed, kind, what))

    def _retime(self, now: float, job: Job) -> None:
        """Take note of what is done by now, and of who goes on with it."""
        speeds = self.cluster.speeds
        job.left -= job.rate * (now - job.since)
        everybody = speeds[job.owner] + sum(speeds[helper] for helper in job.helpers)
        job.since, job.rate, job.version = now, min(everybody, self.cluster.read), job.version + 1
        self._push(now + max(0.0, job.left) / job.rate, "done", (job, job.version))

    def _dispatch(self, now: float) -> None:
        """Give every free worker something to do."""
        if self.plan == "static":
            for worker in [worker for worker in self.idle if self.lists[worker]]:
                self._begin(now, worker, self.lists[worker].popleft())
            return
        files = self.lists[0]
        while files and (self.idle or self.helps) and files[0] - self.first < self.lookahead:
            worker = next(iter(self.idle or self.helps))
            if job := self.helps.pop(worker, None):
                job.helpers.discard(worker)
                self._retime(now, job)
            self._begin(now, worker, files.popleft())
        if self.plan == "windows":
            for worker in list(self.idle):
                some = list(self.jobs.values())
                some = self.picks.sample(some, 16) if len(some) > 64 else some
                slow = [job for job in some if job.rate < self.cluster.read]
                if not slow:
                    return
                job = max(slow, key=lambda job: (job.left - job.rate * (now - job.since)) / job.rate)
                del self.idle[worker]
                self.helps[worker] = job
                job.helpers.add(worker)
                self._retime(now, job)

    def _begin(self, now: float, worker: int, number: int) -> None:
        self.idle.pop(worker, None)
        self.jobs[worker] = job = Job(number, worker, self.lengths[number], now)
        self._retime(now, job)

    def _end(self, job: Job) -> None:
        """Nobody is at this any more."""
        job.version = -1
        del self.jobs[job.owner]
        for worker in (job.owner, *sorted(job.helpers)):
            self.helps.pop(worker, None)
            self.idle[worker] = None

    def _finish(self, now: float, job: Job) -> None:
        self._end(job)
        found, length = self.found, self.lengths[job.number]
        self.past[job.owner if self.plan == "static" else 0].append(job.number)
        before, found.encoded = found.encoded, found.encoded + length
        self.through[job.number] = 1
        self.whole += 1
        while self.first < len(self.through) and self.through[self.first]:
            self.rows, self.row_seconds = self.rows + 1, self.row_seconds + self.lengths[self.first]
            self.first += 1
            if self.rows >= ROWS_PER_SHARD or self.row_seconds >= SHARD_SECONDS:
                self.in_shards += self.row_seconds
                self.rows, self.row_seconds = 0, 0.0
        found.waiting = max(found.waiting, self.whole - self.first)
        if before < self.total / 2 <= found.encoded:
            found.at_work = sum(
                self.lengths[job.number] - job.left + job.rate * (now - job.since)
                for job in self.jobs.values()
            )
            found.unwritten = found.encoded - found.redone - self.in_shards + found.at_work

    def _next_loss(self, now: float, kind: str, life: float) -> None:
        if life < math.inf:
            victim = int(self.losses.integers(self.workers))
            self._push(now + self.losses.exponential(life), kind, (victim, life))

    def _lose(self, now: float, kind: str, victim: int, life: float) -> None:
        """A worker, or all of its node, is gone for a while, with what it had done of its files."""
        self._next_loss(now, kind, life)
        victims, back = [victim], RESTART
        if kind == "node":
            first = victim - victim % WORKERS_A_NODE
            victims, back = list(range(first, min(first + WORKERS_A_NODE, self.workers))), REPLACEMENT
        self.found.losses += 1
        for worker in victims:
            if worker in self.down:
                continue
            through = worker not in self.jobs and not self.lists[worker if self.plan == "static" else 0]
            if job := self.jobs.get(worker):
                lost = self.lengths[job.number] - job.left + job.rate * (now - job.since)
                self.found.encoded += lost
                self.found.redone += lost
                self._end(job)
                self.lists[worker if self.plan == "static" else 0].appendleft(job.number)
            elif job := self.helps.pop(worker, None):  # of a window at most: not counted
                job.helpers.discard(worker)
                self._retime(now, job)
            if self.plan == "static" and not self.ledger and not through:
                again, self.past[worker] = self.past[worker], []
                self.found.redone += sum(self.lengths[number] for number in again)
                self.whole -= len(again)
                self.lists[worker].extendleft(reversed(again))
            self.idle.pop(worker, None)
            self.down.add(worker)
            self._push(now + back, "back", worker)


def corpus(hours: float, seed: int) -> list[float]:
    """Lengths of files in seconds, in any order."""
    source = np.random.default_rng(seed)
    wanted = hours * 3600 - LONGEST * LONGEST_FILES
    mean = MEDIAN_SECONDS * math.exp(SIGMA**2 / 2)
    lengths = np.minimum(MEDIAN_SECONDS * np.exp(source.normal(0, SIGMA, round(wanted / mean))), LONGEST)
    lengths = np.concatenate([lengths, np.full(LONGEST_FILES, LONGEST)])
    source.shuffle(lengths)
    return lengths.tolist()


def cluster(workers: int, speed: float, seed: int, losses: bool = True, read: float = 3000.0) -> Cluster:
    """Workers of uneven speed, that are lost now and then."""
    source = np.random.default_rng(seed)
    speeds = np.maximum(speed * SLOW, speed * source.normal(1, UNEVEN, workers))
    speeds[source.random(workers) < SLOW_SHARE] = speed * SLOW
    lives = (WORKER_LIFE, NODE_LIFE) if losses else (math.inf, math.inf)
    return Cluster(speeds.tolist(), read, *lives, seed)
