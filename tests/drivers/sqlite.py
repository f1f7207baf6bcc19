"""sqlite3: every thread its own connection to one file, readers beside writers."""

import os
import sqlite3
import tempfile

from many import fan_out, report, timed

path = os.path.join(tempfile.mkdtemp(), "said.db")


def connect():
    return sqlite3.connect(path, timeout=120, isolation_level=None)


setup = connect()
setup.execute("PRAGMA journal_mode=WAL")
setup.execute("CREATE TABLE said (number INTEGER PRIMARY KEY, text TEXT)")


def body(number):
    connection = connect()
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO said VALUES (?, ?)", (number, "x" * number))
    connection.execute("COMMIT")
    length = connection.execute("SELECT length(text) FROM said WHERE number = ?", (number,)).fetchone()[0]
    connection.create_function("twice", 1, lambda value: value * 2)
    double = connection.execute("SELECT twice(?)", (number,)).fetchone()[0]
    connection.close()
    return length, double


results = timed(lambda: fan_out(body, 300))
results.append(setup.execute("SELECT count(*), sum(length(text)) FROM said").fetchone())
report("sqlite3", sqlite3.sqlite_version, results)
