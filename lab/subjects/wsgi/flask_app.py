"""The views in Flask: `app`."""

import views
from flask import Flask, Response, request

app = Flask(__name__)


def text(body):
    return Response(body, mimetype="text/plain")


@app.get("/")
def hello():
    return text(views.hello())


@app.get("/spin")
def spin():
    return text(views.spin(request.args.get("ms", type=int)))


@app.get("/wait")
def wait():
    return text(views.wait(request.args.get("ms", type=int)))
