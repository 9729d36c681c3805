"""Put a trained model into the package, with weights in fp16 and its card.

python egs/speech-16k/ship.py RUN_FOLDER NAME

NAME is the folder under vqaudio/pretrained and that of the card, cards/NAME.md.
"""

from pathlib import Path

from vqaudio.cli.terminal import run_script
from vqaudio.model_folder import SHIPPED, load, save_model


def main(run: Path, name: str) -> None:
    """Convert and say what came out."""
    card = (Path(__file__).parent / "cards" / f"{name}.md").read_text(encoding="utf-8")
    save_model(SHIPPED / name, load(run), card, half=True)
    size = sum(path.stat().st_size for path in (SHIPPED / name).iterdir())
    print(f"{SHIPPED / name}: {size / 1e6:.1f} MB, fingerprint {load(name).fingerprint}")


if __name__ == "__main__":
    run_script(main)
