"""How long a photo takes, with what, and how much of that the machine is to blame for: `python -m inference.benchmark`.

Every case runs in a process of its own (`child`), so that no engine's memory or threads weigh on another's; the
process that starts them imports no engine at all. `cases` says what is compared, `networks` and `pictures` make what
it is compared on, `report` makes tables of it.
"""
