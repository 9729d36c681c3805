"""LJ Speech, as it is distributed, to a manifest with its normalized texts.

    python egs/ljspeech/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|text|normalized text`, and `wavs/{id}.wav`. A hash of the id
chooses 5 % of the sentences for validation and 5 % for the test split.
"""

from vqaudio.cli.prepare import prepare_listed

if __name__ == "__main__":
    prepare_listed("metadata.csv", "wavs/{}.wav", "text")
