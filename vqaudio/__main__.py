"""`python -m vqaudio` is `vqaudio`."""

from vqaudio.cli.app import main

if __name__ == "__main__":
    main()
