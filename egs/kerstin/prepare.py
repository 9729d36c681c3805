"""Kerstin: German sentences read by one woman, to a manifest with their texts.

    python egs/kerstin/prepare.py DATA MANIFEST

DATA holds `metadata.csv`, lines of `id|text`, and `audio/{id}.flac`. A hash of the id chooses 5 % of
the sentences for validation and 5 % for the test split.
"""

from vqaudio.cli.prepare import prepare_listed

if __name__ == "__main__":
    prepare_listed("metadata.csv", "audio/{}.flac", "text")
