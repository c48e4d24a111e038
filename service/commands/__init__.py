"""Implementations of commands."""
