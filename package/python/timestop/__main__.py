"""``python -m timestop [OPTIONS] …``: this interpreter again, with its threads as fibers.

What follows is Python's own command line: ``script.py ARGS``, ``-m module``, ``-c code``, ``-u`` and the
rest; with nothing, it is interactive. Words before it that begin with two dashes are options of
``timestop run``, with a value after ``=``: ``python -m timestop --workers=2 --stats script.py``. Options
that this interpreter was started with are passed on.
"""

import os
import subprocess
import sys
import sysconfig
from importlib import metadata
from itertools import takewhile
from pathlib import Path


def places():
    """Where an installer may have put the program, the likeliest first."""
    for file in metadata.files(__package__) or ():
        if file.name == "timestop":
            yield Path(file.locate())
    yield Path(sysconfig.get_path("scripts"), "timestop")
    # `pip install --target`: its list of files does not say where they are.
    yield Path(__file__).parent.parent / "bin" / "timestop"


def main():
    program = next((place for place in places() if place.is_file()), None)
    if program is None:
        sys.exit("timestop: the program is not where this package was installed: install it again")
    if not sys.executable:
        sys.exit("timestop: this Python does not know its own program")
    rest = sys.argv[1:]
    options = list(takewhile(lambda word: word.startswith("--") and word != "--", rest))
    # What multiprocessing passes on to its children.
    of_python = subprocess._args_from_interpreter_flags()
    command = [program, "run", *options, sys.executable, *of_python, *rest[len(options) :]]
    os.execv(program, command)


if __name__ == "__main__":
    main()
