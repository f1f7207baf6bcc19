"""psycopg2, and libpq below it: every thread through a pool of connections."""

import os

import psycopg2

from many import Pool, fan_out, report, timed

port = int(os.environ["PG_PORT"])


def connect():
    return psycopg2.connect(host="localhost", port=port, user="postgres", dbname="postgres")


setup = connect()
with setup, setup.cursor() as cursor:
    cursor.execute("DROP TABLE IF EXISTS said")
    cursor.execute("CREATE TABLE said (number int PRIMARY KEY, text text)")
pool = Pool(connect, int(os.environ.get("CONNECTIONS", "100")))


def body(number):
    with pool as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT %s * 2, pg_sleep(0.01)::text", (number,))
            double = cursor.fetchone()[0]
            cursor.execute("INSERT INTO said VALUES (%s, %s)", (number, "x" * (number * 10)))
            cursor.execute("SELECT length(text) FROM said WHERE number = %s", (number,))
            length = cursor.fetchone()[0]
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
            error = None
        except psycopg2.Error as raised:
            error = type(raised).__name__
    return double, length, error


results = timed(lambda: fan_out(body))
with setup, setup.cursor() as cursor:
    cursor.execute("SELECT count(*), sum(length(text)) FROM said")
    results.append(cursor.fetchone())
pool.close()
report("psycopg2", psycopg2.__version__, results)
