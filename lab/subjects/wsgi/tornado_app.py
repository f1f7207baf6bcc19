"""The views as Tornado's handlers: `app`. A handler that waits lets the loop run, as its documentation has it."""

import asyncio

import views
from tornado.web import Application, RequestHandler


class Text(RequestHandler):
    def set_default_headers(self):
        self.set_header("Content-Type", "text/plain")

    def compute_etag(self):
        """None: the others do not hash what they send."""


class Hello(Text):
    def get(self):
        self.finish(views.hello())


class Spin(Text):
    def get(self):
        self.finish(views.spin(int(self.get_query_argument("ms"))))


class Wait(Text):
    async def get(self):
        await asyncio.sleep(int(self.get_query_argument("ms")) / 1000)
        await self.finish(b"waited\n")


app = Application([("/", Hello), ("/spin", Spin), ("/wait", Wait)])
