"""A thread a connection to MariaDB. With `c` the driver is mysqlclient (C, libmariadb), else PyMySQL."""

import os
import sys

from many import fan_out, report, timed

if sys.argv[1] == "c":
    import MySQLdb as driver

    version = ".".join(map(str, driver.version_info[:3])) + " (libmariadb " + driver.get_client_info() + ")"
else:
    import pymysql as driver

    version = driver.__version__
# PyMySQL would load all certificates of the machine for each connection: 25 ms that nobody needs here.
options = {} if sys.argv[1] == "c" else {"ssl_disabled": True}


def connect():
    return driver.connect(
        host="127.0.0.1", port=int(os.environ["MYSQL_PORT"]), user="root", database="test", connect_timeout=60, **options
    )


setup = connect()
cursor = setup.cursor()
cursor.execute("DROP TABLE IF EXISTS said")
cursor.execute("CREATE TABLE said (number int PRIMARY KEY, text mediumtext) ENGINE=InnoDB")
setup.commit()


def body(number):
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("SELECT %s * 2, SLEEP(0.05)", (number,))
    double = int(cursor.fetchone()[0])
    cursor.execute("INSERT INTO said VALUES (%s, %s)", (number, "x" * (number * 10)))
    connection.commit()
    cursor.execute("SELECT LENGTH(text) FROM said WHERE number = %s", (number,))
    length = cursor.fetchone()[0]
    try:
        cursor.execute("SELECT no_such_column")
        error = None
    except driver.Error as raised:
        error = raised.args[0]
    connection.close()
    return double, length, error


results = timed(lambda: fan_out(body))
cursor.execute("SELECT COUNT(*), CAST(SUM(LENGTH(text)) AS SIGNED) FROM said")
results.append(cursor.fetchone())
setup.close()
report(driver.__name__, version, results)
