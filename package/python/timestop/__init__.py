"""Green threads for Linux: a fiber is a thread.

This package holds the program ``timestop`` and what it loads into the programs that it runs; there is
nothing to import. ``timestop run gunicorn app:app`` runs a program with its threads as fibers, and
``python -m timestop script.py`` a script with this interpreter.
"""
