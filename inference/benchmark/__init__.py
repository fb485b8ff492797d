"""How long a photo takes, with what, and how much of that the machine is to blame for: `python -m inference.benchmark`.

`cases` says what is compared and makes the photos and networks, `measure` is what runs in a process of its own for
every case, `report` names the machine and makes tables of the answers.
"""
