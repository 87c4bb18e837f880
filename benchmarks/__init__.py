"""Measurements. None of them is a test: no build fails because a machine was slow."""
