"""The pure core: evidence, and what may be concluded from it. No I/O but in `cli`; nothing of ours is imported.

`bundle.read` makes checked Evidence of files and a trust root, or raises Rejected; `verdict.judge` says what it proves.
"""
