"""asyncio, on its own loop or on uvloop's: on_asyncio.py asyncio|uvloop BENCH key=value…, as lab/subjects/README.md says."""

import asyncio
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from common import (
    BACKLOG,
    BODY,
    Memory,
    Timed,
    announce,
    call,
    check_rounds,
    fail,
    finish,
    listen,
    note,
    one_thread,
    parse,
    rounds,
    share,
)
from window import SLEEP, SLEEPERS, Window


async def together(tasks):
    """Runs all, each as a task, and waits for all."""
    return await asyncio.gather(*[asyncio.create_task(task) for task in tasks])


async def each(run, count):
    await run(count // 10)
    start = Timed()
    await run(count)
    start.report_each(count)


async def nothing():
    pass


async def spawn_join(count):
    async def run(count):
        for _ in range(count):
            await asyncio.create_task(nothing())

    await each(run, count)


async def spawn_many(count):
    await each(lambda count: together(nothing() for _ in range(count)), count)


async def yields(count):
    async def task(turns):
        for _ in range(turns):
            await asyncio.sleep(0)

    await each(lambda count: together(task(share(count, 2, index)) for index in range(2)), count)


async def pingpong(count):
    async def run(count):
        ping, pong = asyncio.Queue(1), asyncio.Queue(1)

        async def answers():
            for _ in range(count):
                await pong.put(await ping.get())

        async def asks():
            for message in range(count):
                await ping.put(message)
                if await pong.get() != message:
                    fail("another message came back")

        await together([answers(), asks()])

    await each(run, count)


async def ring(tasks, count):
    """The token is how many hops are left. The task that it leaves none tells which one it is."""
    queues = [asyncio.Queue(1) for _ in range(tasks)]
    arrived = asyncio.Queue(1)

    async def hops(index):
        own, following = queues[index], queues[(index + 1) % tasks]
        while True:
            left = await own.get()
            if left == 0:
                await arrived.put(index)
            else:
                await following.put(left - 1)

    # The loop itself would not keep them.
    keep = [asyncio.create_task(hops(index)) for index in range(tasks)]

    async def run(count):
        left = max(count, 1) - 1
        await queues[0].put(left)
        if await arrived.get() != left % len(keep):
            fail("the token is where it should not be")

    await each(run, count)


async def mpmc(count):
    """Four senders, four receivers."""

    async def run(count):
        channel = asyncio.Queue(1024)

        async def receives():
            received = 0
            while await channel.get() is not None:
                received += 1
            return received

        async def sends(messages):
            for message in range(messages):
                await channel.put(message)

        receivers = [asyncio.create_task(receives()) for _ in range(4)]
        await together(sends(share(count, 4, index)) for index in range(4))
        for _ in receivers:
            await channel.put(None)
        if sum(await asyncio.gather(*receivers)) != count:
            fail("a message was lost")

    await each(run, count)


async def mutex(count):
    async def run(count):
        lock, counter = asyncio.Lock(), 0

        async def increments(turns):
            nonlocal counter
            for _ in range(turns):
                async with lock:
                    counter += 1

        await together(increments(share(count, 8, index)) for index in range(8))
        if counter != count:
            fail("an increment was lost")

    await each(run, count)


async def skynet(leaves):
    async def node(first, leaves):
        if leaves == 1:
            return first
        part = leaves // 10
        return sum(await together(node(first + index * part, part) for index in range(10)))

    start = Timed()
    if await asyncio.create_task(node(0, leaves)) != leaves * (leaves - 1) // 2:
        fail("the sum is wrong")
    start.report_ms()


async def multicore(workers, count):
    """On more than one core: processes, as asyncio's documentation has it for what computes."""
    if workers > 1:
        processes = ProcessPoolExecutor(2, get_context("spawn"))
        loop = asyncio.get_running_loop()

        async def task(index, part):
            return await loop.run_in_executor(processes, rounds, index, part)
    else:

        async def task(index, part):
            return rounds(index, part)

    async def run(count):
        parts = [share(count, 2, index) for index in range(2)]
        check_rounds(await together(task(index, part) for index, part in enumerate(parts)), parts)

    await run(count // 10)
    start = Timed()
    await run(count)
    start.report_ms()
    if workers > 1:
        processes.shutdown()
        note("in two processes")


async def memory(tasks, wait):
    waiting = 0

    async def task():
        nonlocal waiting
        waiting += 1
        await wait()

    before = Memory()
    keep = [asyncio.create_task(task()) for _ in range(tasks)]
    while waiting < len(keep):
        await asyncio.sleep(0.01)
    before.report_growth(tasks)


async def timers(tasks):
    start = Timed()
    await together(asyncio.sleep(random.random()) for _ in range(tasks))
    start.report_timers()


async def beside(window, path, others):
    async def sleeper():
        while due := window.next_due():
            await asyncio.sleep(SLEEP)
            window.woke(due)

    async def comes(other):
        await asyncio.sleep(window.before_begin())
        other()

    await together([sleeper() for _ in range(SLEEPERS)] + [comes(other) for other in others])
    window.write(path)


async def hog(hogs, secs, late):
    window = Window(secs)
    await beside(window, late, [window.hog] * hogs)


async def blocked(stuck, secs, late):
    window = Window(secs)
    await beside(window, late, window.hold_file(stuck))


class Echo(asyncio.Protocol):
    """A callback for each event, which is what asyncio offers for speed. Both loops set TCP_NODELAY."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def echo():
    listener = listen()
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener, backlog=BACKLOG)
    announce(listener.getsockname()[1])
    await server.serve_forever()


async def http():
    # Here, as nothing else needs it and it takes its time.
    from aiohttp import web

    async def hello(_):
        return web.Response(body=BODY, content_type="text/plain")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = listen()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    announce(listener.getsockname()[1])
    await asyncio.Event().wait()


RUNS = {
    "spawn_join": spawn_join,
    "spawn_many": spawn_many,
    "yield": yields,
    "pingpong": pingpong,
    "ring": ring,
    "mpmc": mpmc,
    "mutex": mutex,
    "skynet": skynet,
    "memory_recv": lambda tasks: memory(tasks, asyncio.Queue(1).get),
    "memory_sleep": lambda tasks: memory(tasks, lambda: asyncio.sleep(3600)),
    "timers": timers,
    "multicore": multicore,
    "hog": hog,
    "blocked": blocked,
    "echo": echo,
    "http": http,
}


async def measure(bench, args):
    await call(bench, args, RUNS)
    # From within: the loop would first cancel what still waits.
    finish()


def main():
    loop, *arguments = sys.argv[1:] or [""]
    bench, args = parse(arguments)
    one_thread(bench, args["workers"], loop)
    if bench != "multicore":
        del args["workers"]
    if loop == "uvloop":
        import uvloop

        uvloop.run(measure(bench, args))
    elif loop == "asyncio":
        asyncio.run(measure(bench, args))
    else:
        fail("which loop? asyncio or uvloop")


if __name__ == "__main__":
    main()
