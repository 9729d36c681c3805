"""The shell scripts of the repository."""

import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted(ROOT.glob("egs/**/*.sh")), ROOT / ".ci" / "run"]
RUN = (ROOT / "egs" / "fsdd" / "run.sh").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_sound(script: Path) -> None:
    for checker in (["bash", "-n"], ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR"]):
        ran = subprocess.run([*checker, script], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "settings", sorted(ROOT.glob("egs/*/settings.yaml")), ids=lambda p: p.parent.name
)
def test_a_recipe_is_four_files_and_its_run_the_same_as_all(settings: Path) -> None:
    recipe = settings.parent
    names = {
        path.name for path in recipe.iterdir() if path.suffix not in (".png", "") and path.is_file()
    }
    assert names == {"README.md", "prepare.py", "run.sh", "settings.yaml"}
    run = recipe / "run.sh"
    assert run.stat().st_mode & 0o111
    lines = run.read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith("# ")
    assert lines[:1] + lines[2:] == RUN[:1] + RUN[2:]
    assert len((recipe / "prepare.py").read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("script", sorted(ROOT.glob("egs/*/run.sh")), ids=lambda path: path.parent.name)
def test_without_the_package_there_is_one_line(script: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    path = f"{tmp_path / 'bare/bin'}:/usr/bin:/bin"
    command = [script, "--data", tmp_path]
    ran = subprocess.run(
        command, env={"PATH": path}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert "no vqaudio" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert {found.name for found in tmp_path.iterdir()} == {"bare"}
