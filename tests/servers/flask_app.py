"""A Flask application with a view of each kind; `views.py` has what they do."""

from flask import Flask, Response, jsonify, request

import views

app = Flask(__name__)


@app.get("/hello")
def hello():
    return views.hello(), {"Content-Type": "text/plain"}


@app.get("/wait")
def wait():
    return views.wait()


@app.get("/hold")
def hold():
    return views.hold()


@app.get("/spin")
def spin():
    return views.spin()


@app.post("/json")
def json():
    return jsonify(views.sum_of(request.get_json()))


@app.post("/upload")
def upload():
    return views.digest(request.stream)


@app.get("/download")
def download():
    return Response(views.chunks(), mimetype="application/octet-stream")


if __name__ == "__main__":
    # Werkzeug's own server, a thread for each connection.
    import sys

    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
