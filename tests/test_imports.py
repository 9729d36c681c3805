"""Who may import whom: the rules that keep the rooms of the house apart."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vqaudio

PACKAGE = Path(vqaudio.__file__).parent

LEAVES = {"cores", "errors", "files", "fingerprint", "native"}
BASE = LEAVES | {"sound_files", "audio", "codes", "config"}
MODELS = BASE | {"features", "bottleneck", "codec", "prior", "model_folder"}
WORK = MODELS | {"training", "corpus", "evaluation", "applications"}
ALLOWED = {
    "cores": set(),
    "errors": set(),
    "files": {"errors"},
    "fingerprint": {"errors"},
    "native": {"errors"},
    "sound_files": LEAVES,
    "audio": LEAVES | {"sound_files"},
    "codes": LEAVES,
    "config": LEAVES,
    "features": BASE,
    "bottleneck": BASE | {"features"},
    "codec": BASE | {"features", "bottleneck"},
    "prior": BASE | {"features", "bottleneck"},
    "model_folder": MODELS,
    "training": WORK,
    "corpus": WORK,
    "evaluation": WORK,
    "applications": WORK,
    "cli": WORK,
    "__main__": {"cli"},
    "__init__": MODELS,
}
HEAVY = {"torchaudio", "librosa"}


def imports(tree: ast.AST, module: list[str]) -> Iterator[tuple[str, int]]:
    """Dotted names that a module imports, with their lines; `module` is its own dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = module[: -node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            if source == "vqaudio":  # from vqaudio import errors: a room each
                for alias in node.names:
                    yield f"vqaudio.{alias.name}", node.lineno
            else:
                yield source, node.lineno


def broken_rules(package: Path) -> list[str]:
    """One line for every import that is against the rules."""
    faults = []
    rooms: dict[str, set[str]] = {}
    heavy_homes: dict[str, set[str]] = {name: set() for name in HEAVY}
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).with_suffix("")
        room = place.parts[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_import = {line for _, line in _run_at_import(tree, [package.name, *place.parts])}
        for name, line in imports(tree, [package.name, *place.parts]):
            top, _, rest = name.partition(".")
            if top == package.name:
                other = rest.split(".")[0]
                if other == room or not other:
                    continue
                rooms.setdefault(room, set()).add(other)
                if room not in ALLOWED:
                    faults.append(f"{place}:{line}: {room} has no place in the house yet")
                elif other not in ALLOWED[room]:
                    faults.append(f"{place}:{line}: {room} may not import {other}")
            elif top in HEAVY:
                heavy_homes[top].add(str(place))
                if line in at_import:
                    faults.append(f"{place}:{line}: {top} must be imported where it is used")
    for name, homes in heavy_homes.items():
        if len(homes) > 1:
            faults.append(f"{name} has more than one home: {sorted(homes)}")
    try:
        TopologicalSorter({room: others - {"__init__"} for room, others in rooms.items()}).prepare()
    except CycleError as error:
        faults.append(f"rooms import each other in a ring: {error.args[1]}")
    return faults


def _run_at_import(tree: ast.Module, module: list[str]) -> Iterator[tuple[str, int]]:
    """The imports outside of functions."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node, module)
        pending.extend(ast.iter_child_nodes(node))


def test_the_package_keeps_the_rules() -> None:
    assert broken_rules(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("audio.py", "from vqaudio.codes import Codes", "audio may not import codes"),
        ("audio.py", "from vqaudio import config", "audio may not import config"),
        ("codec/model.py", "import vqaudio.prior.model", "codec may not import prior"),
        ("prior/model.py", "from ..codec import model", "prior may not import codec"),
        ("training/fit.py", "def f():\n    from vqaudio.cli import app", "training may not import cli"),
        ("bottleneck/a.py", "from vqaudio.codec.layers import x", "bottleneck may not import codec"),
        ("corpus/a.py", "if 1:\n    import librosa.filters", "librosa must be imported where"),
        ("new.py", "from vqaudio.audio import x", "new has no place"),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, file: str, line: str, fault: str) -> None:
    path = tmp_path / "vqaudio" / file
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    [found] = broken_rules(tmp_path / "vqaudio")
    assert fault in found


def test_rings_and_second_homes_are_found(tmp_path: Path) -> None:
    for room, other in [("training", "corpus"), ("corpus", "evaluation"), ("evaluation", "training")]:
        (tmp_path / "vqaudio" / room).mkdir(parents=True)
        text = f"from vqaudio.{other} import x\n\ndef f():\n    import librosa\n"
        (tmp_path / "vqaudio" / room / "a.py").write_text(text)
    homes, ring = broken_rules(tmp_path / "vqaudio")
    assert "librosa has more than one home" in homes
    assert "ring" in ring


def loaded_by(statement: str) -> set[str]:
    """Top-level names in `sys.modules` of a new process after a statement."""
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = [sys.executable, "-c", script]
    return set(subprocess.run(run, check=True, capture_output=True, text=True).stdout.split())


def test_import_is_light() -> None:
    loaded = loaded_by("import vqaudio")
    assert "vqaudio" in loaded
    assert not loaded & {"torchaudio", "librosa", "matplotlib", "lightning", "lightning_fabric"}


def test_public_names_are_there_without_torchaudio_and_librosa() -> None:
    loaded = loaded_by("import vqaudio\nfor name in vqaudio.__all__: getattr(vqaudio, name)")
    assert "torch" in loaded
    assert not loaded & {"torchaudio", "librosa"}
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = vqaudio.nothing_such


NAMES = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "lightning_fabric": "lightning-fabric",
    "vector_quantize_pytorch": "vector-quantize-pytorch",
}


def test_everything_imported_is_declared() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = extras["eval"] + extras["lhotse"] + extras["ray"] + extras["web"]
    needs = {
        PACKAGE: project["dependencies"] + optional,
        PACKAGE.parent / "tests": project["dependencies"] + optional + extras["test"],
    }
    for folder, requirements in needs.items():
        declared = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}
        imported = {
            name.partition(".")[0]
            for path in folder.rglob("*.py")
            for name, _ in imports(ast.parse(path.read_text(encoding="utf-8")), [folder.name])
        }
        foreign = imported - set(sys.stdlib_module_names) - {"vqaudio", "tests", "benchmarks"}
        assert {NAMES.get(name, name) for name in foreign} <= declared
