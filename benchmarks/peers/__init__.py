"""The contestants: each module has a `serve` and a `drive`, which run in a process each."""
