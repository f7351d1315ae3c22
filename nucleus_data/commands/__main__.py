"""`python -m nucleus_data.commands`: the command `nucleus`, where it is not installed."""

from nucleus_data.commands import main

main()
