"""redis-py: a thread a connection, pipelines, blocking pops and subscriptions."""

import os

import redis

from many import fan_out, report, timed

port = int(os.environ["REDIS_PORT"])
redis.Redis(port=port).flushall()


def body(number):
    client = redis.Redis(host="localhost", port=port, socket_timeout=60)
    client.set(f"key {number}", "x" * number)
    with client.pipeline() as pipeline:
        pipeline.incr("count").strlen(f"key {number}").get(f"key {(number + 1) % 2}")
        _, length, _ = pipeline.execute()
    # In pairs: each even one waits for its odd neighbour.
    if number % 2:
        client.rpush(f"list {number - 1}", number)
        popped = None
    else:
        popped = int(client.blpop([f"list {number}"], timeout=60)[1])
    try:
        client.lpush("count", 1)
        error = None
    except redis.ResponseError as raised:
        error = str(raised)[:9]
    client.close()
    return length, popped, error


results = timed(lambda: fan_out(body))
results.append(int(redis.Redis(port=port).get("count")))
report("redis", redis.__version__, results)
