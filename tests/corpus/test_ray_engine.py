"""On a Ray cluster of two nodes: the tokens of this machine, whatever dies on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import waveform_codec
from tests.sounds import WavMaker
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.corpus.ledger import LEDGER_NAME
from vqaudio.corpus.manifest import find_sounds
from vqaudio.corpus.tokenize import tokenize

# In a process of its own, since Ray does not leave one as it was. A clip that starts at a `Deadly`
# second ends whatever process reads it, as a file can that crashes a decoder.
RUN = """
import json, os, sys
from dataclasses import replace
import ray
from ray.cluster_utils import Cluster
from tests.models import waveform_codec
from vqaudio.corpus import folder, ray_engine
from vqaudio.corpus.manifest import find_sounds
from vqaudio.corpus.tokenize import Watch, tokenize

class Deadly(float):
    home = os.getpid()
    def __mul__(self, other):
        if os.getpid() != Deadly.home:
            os._exit(11)
        return float(self) * other

inputs, out = sys.argv[1:]
nodes = {"num_cpus": 1, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**nodes, "include_dashboard": False})
second = cluster.add_node(**nodes)
env = {"env_vars": {"PYTHONPATH": os.getcwd()}}
ray.init(address=cluster.address, log_to_driver=False, logging_level=50, runtime_env=env)
folder.ROWS_PER_SHARD = ray_engine.SOUNDS_PER_TASK = 8
killed = []

def done(summary):
    if summary.done == 10 and not killed:
        killed.append(second)
        cluster.remove_node(second, allow_graceful=False)
        cluster.add_node(**nodes)

sounds = [
    replace(sound, start_seconds=Deadly(0)) if sound.id == "deadly" else sound
    for sound in find_sounds([inputs])
]
watch = Watch(done=done)
summary = tokenize(waveform_codec(), sounds, out, engine='ray', workers=None, watch=watch)
print("RESULT", json.dumps([len(killed), summary.done, summary.failed, summary.examples]))
ray.shutdown()
cluster.shutdown()
"""


def test_a_cluster_gives_the_same_shards_though_a_node_is_killed(wav: WavMaker, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    inputs = tmp_path / "in"
    for number in range(40):
        wav(
            f"in/{number:02}.wav",
            0.1 + 0.02 * number,
            sample_rate=[16000, 22050][number % 2],
            seed=number,
        )
    wav("in/20-long.wav", 70.0, seed=50)
    (inputs / "bad.wav").write_text("no sound")
    tokenize(waveform_codec(), find_sounds([inputs]), tmp_path / "local")
    local = TokenDataset(tmp_path / "local")

    wav("in/deadly.wav")
    words = [sys.executable, "-c", RUN, str(inputs), str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=root)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [result] = [line for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
    killed, done, failed, reasons = json.loads(result.removeprefix("RESULT "))
    assert (killed, done, failed) == (1, 41, 2)
    assert "bad.wav: not a sound file" in reasons[0]
    assert "deadly.wav: ends the process that reads it" in reasons[1]
    rows = list(TokenDataset(tmp_path / "out"))
    assert [row.id for row in rows] == local.ids
    assert all(row.codes == local[index].codes for index, row in enumerate(rows))
    statuses = [json.loads(line) for line in (tmp_path / "out" / LEDGER_NAME).read_text().splitlines()]
    assert sorted(line["id"] for line in statuses if "id" in line) == sorted(
        [*local.ids, "bad", "deadly"]
    )
