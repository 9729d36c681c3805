"""What is said before a page is there."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.applications.serving import serving
from tests.cli.conftest import Models, Program


def test_a_codec_without_a_prior_and_a_host_for_all_are_noticed(models: Models, tmp_path: Path) -> None:
    with serving(tmp_path, "--codec", models.codec, "--host", "0.0.0.0") as server:
        pass
    without, everybody = server.errors.read_text().splitlines()
    assert without.startswith("no prior for this codec")
    assert everybody == "0.0.0.0: whoever reaches this machine can use the page, without a password"


def test_a_port_that_is_taken_is_refused(program: Program, models: Models) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = program("web", "--codec", models.codec, "--port", str(port))
    assert ran.status == 2
    assert ran.err.startswith(f"error: 127.0.0.1:{port}: cannot be listened on")
    assert "choose another" in ran.err


def test_a_host_that_is_not_here_and_models_that_do_not_fit_are_refused(
    program: Program, models: Models
) -> None:
    ran = program("web", "--codec", models.codec, "--host", "nowhere.invalid", "--port", "0")
    assert ran.status == 2
    assert "nowhere.invalid" in ran.err
    ran = program("web", "--codec", models.other_codec, "--prior", models.prior)
    assert ran.status == 2
    assert "give the two that belong together" in ran.err


def test_without_gradio_the_extra_is_named(models: Models) -> None:
    script = (
        "import sys\nsys.modules['gradio'] = None\nfrom vqaudio.cli.app import main\nmain(sys.argv[1:])"
    )
    words = ["web", "--codec", str(models.codec), "--port", "0"]
    ran = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stdout == ""
    [_, error] = ran.stderr.splitlines() if "prior" in ran.stderr else ["", ran.stderr.strip()]
    assert error == 'error: gradio: not installed; pip install "vqaudio[web]"'
