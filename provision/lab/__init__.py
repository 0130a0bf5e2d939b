"""The embedded supplier: real Linux hosts on this machine."""
