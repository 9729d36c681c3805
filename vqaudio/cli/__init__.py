"""The program: one file a verb, that parses, calls and prints."""
