"""Wake words spoken by volunteers, to a manifest: the word is the label.

    python egs/wakewords/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|word`, and `audio/{id}.flac`. A hash of the id chooses 5 % of the
clips for validation and 5 % for the test split: who spoke them is not told.
"""

from vqaudio.cli.prepare import prepare_listed

if __name__ == "__main__":
    prepare_listed("metadata.csv", "audio/{}.flac", "label")
