"""Runs stages: what is complete is passed over, what was stopped goes on, what changed is done anew."""

import hashlib
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from commands import Command
from stages import Stage

from vqaudio.cli.terminal import note
from vqaudio.errors import UserError
from vqaudio.files import locked, make_folder, write_text

SOME_FAILED = 3  # a verb's exit status where some inputs of many failed, and the ledger says which
State = Literal["complete", "stopped", "changed", "to do"]


@dataclass(frozen=True)
class Stamp:
    """What is known of a stage that was begun, in `OUT/stages/NAME.json`.

    Args:
        key: a hash of all that it depends on.
        complete: whether it came to its end.
        product: a hash of what those after it depend on.
        seconds: it took, of all its runs.
        commands: that it ran last.
    """

    key: str
    complete: bool
    product: str
    seconds: float
    commands: list[str]


class Stopped(Exception):
    """A command did not do its work; it has said why."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class Runner:
    """The stages of one recipe in one folder.

    Args:
        stages: in their order.
        out: the folder.
    """

    def __init__(self, stages: Sequence[Stage], out: Path) -> None:
        self.stages = {stage.name: stage for stage in stages}
        self.out = out

    def state(self, stage: Stage) -> State:
        """How far a stage is; one that leaves nothing has nothing to do."""
        if not stage.leaves:
            return "complete"
        stamp = self.stamp(stage.name)
        if stamp is None:
            return "to do"
        if stamp.key != self._key(stage):
            return "changed"
        there = all(path.exists() for path in stage.leaves)
        return "complete" if stamp.complete and there else "stopped"

    def run(self, wanted: Sequence[Stage]) -> None:
        """Run some stages, one after another.

        Raises:
            UserError: what comes before them is not complete.
            Stopped: a command failed.
        """
        numbers = {name: number for number, name in enumerate(self.stages, start=1)}
        for stage in wanted:
            for before in stage.after:
                if (state := self.state(self.stages[before])) != "complete":
                    raise UserError(
                        f"stage {stage.name} needs stage {before}, which is {state}; "
                        f"begin with --stage {before}"
                    )
            title = f"stage {numbers[stage.name]}, {stage.name}"
            if self.state(stage) == "complete":
                note(f"{title}: {'complete, passed over' if stage.leaves else stage.what}")
                continue
            with locked(self.out / "stages") as lock:
                self._prepare(stage, title)
                self._run(stage, lock)

    def stamp(self, name: str) -> Stamp | None:
        """What is known of a stage, if it was begun."""
        path = self._stamp_file(name)
        try:
            return Stamp(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); delete it, to do the stage again"
            ) from None

    def _prepare(self, stage: Stage, title: str) -> None:
        """Say what is to be done, and put away what is out of date."""
        match self.state(stage):
            case "changed":
                self._put_away(stage)
                old = self.out / "replaced"
                note(f"{title}: its settings or inputs have changed; what it left is in {old}")
            case "stopped":
                note(f"{title}: goes on")
            case _:
                note(f"{title}: {stage.what}")

    def _run(self, stage: Stage, lock: int) -> None:
        before = self.stamp(stage.name)
        key, began = self._key(stage), time.monotonic()
        spent = before.seconds if before is not None and before.key == key else 0.0
        self._write(stage.name, Stamp(key, False, "", spent, []))
        commands = stage.commands()
        lines = [shlex.join(command.words) for command in commands]
        try:
            for command, line in zip(commands, lines, strict=True):
                _call(command, line, lock)
        finally:
            seconds = round(spent + time.monotonic() - began, 1)
            self._write(stage.name, Stamp(key, False, "", seconds, lines))
        product = _sounds(stage.leaves[0]) if stage.name == "prepare" else key
        self._write(stage.name, Stamp(key, True, product, seconds, lines))

    def _key(self, stage: Stage) -> str:
        stamps = [self.stamp(name) for name in stage.after]
        return _hash([stage.said, [stamp.product if stamp else "" for stamp in stamps]])

    def _put_away(self, stage: Stage) -> None:
        """Move what a stage left out of the way; what was there from another time gives place to it."""
        place = make_folder(self.out / "replaced")
        for path in stage.leaves:
            if path.exists():
                old = place / path.name
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
                path.replace(old)
        self._stamp_file(stage.name).unlink()

    def _write(self, name: str, stamp: Stamp) -> None:
        write_text(self._stamp_file(name), json.dumps(asdict(stamp), indent=1))

    def _stamp_file(self, name: str) -> Path:
        return self.out / "stages" / f"{name}.json"


def _call(command: Command, line: str, lock: int) -> None:
    """Run a command, unless what it writes is there; it keeps the lock if this process is killed."""
    if command.product is not None:
        if command.product.exists():
            return
        shutil.rmtree(command.product.parent, ignore_errors=True)
    note(f"$ {line}")
    status = subprocess.run(command.executable(), check=False, pass_fds=[lock]).returncode
    if status < 0:
        note(f"error: {command.words[0]} was killed (signal {-status}); run the same again, to go on")
        status = 128 - status
    if status not in (0, SOME_FAILED):
        raise Stopped(status)


def _sounds(manifest: Path) -> str:
    """A hash of a manifest's sounds, wherever their files lie."""
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return _hash([{key: value for key, value in line.items() if key != "audio"} for line in lines])


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
