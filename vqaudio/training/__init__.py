"""Fit a codec, fit a prior: losses, data, schedules, checkpoints and two plain loops."""
