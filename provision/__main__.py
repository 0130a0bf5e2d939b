"""`python -m provision` is `timelock`."""

from provision.cli import main

main()
