"""Kinds of things a host can have: each says how to look at it, and what to do when it differs from the wish."""
