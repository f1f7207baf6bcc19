"""The same for ASGI, without a framework. What blocks is in a thread (`asyncio.to_thread`), as one would have it."""

import asyncio
import hashlib
import json as json_module

import views


async def text(send, body, kind=b"text/plain"):
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def pieces(receive):
    while True:
        message = await receive()
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    match scope["path"]:
        case "/hello":
            await text(send, views.hello().encode())
        case "/wait":
            await asyncio.sleep(0.1)
            await text(send, b"waited\n")
        case "/hold":
            views.begun()
            await asyncio.sleep(1)
            await text(send, b"held\n")
        case "/spin":
            await text(send, (await asyncio.to_thread(views.spin)).encode())
        case "/json":
            body = b"".join([piece async for piece in pieces(receive)])
            await text(send, json_module.dumps(views.sum_of(json_module.loads(body))).encode(), b"application/json")
        case "/upload":
            total, hashed = 0, hashlib.sha256()
            async for piece in pieces(receive):
                total += len(piece)
                hashed.update(piece)
            await text(send, f"{total} {hashed.hexdigest()}\n".encode())
        case "/download":
            headers = [(b"content-type", b"application/octet-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for piece in views.chunks():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
