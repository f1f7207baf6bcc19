"""The same application in Django, in one file: `app` for WSGI servers; runs Django's own server as a program."""

import json as json_module
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

import views

settings.configure(
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG=None,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # as every project has it: says how long an answer is
)


def text(body):
    return HttpResponse(body, content_type="text/plain")


def json(request):
    return JsonResponse(views.sum_of(json_module.loads(request.body)))


urlpatterns = [
    path("hello", lambda request: text(views.hello())),
    path("wait", lambda request: text(views.wait())),
    path("hold", lambda request: text(views.hold())),
    path("spin", lambda request: text(views.spin())),
    path("json", json),
    path("upload", lambda request: text(views.digest(request))),
    path("download", lambda request: StreamingHttpResponse(views.chunks(), content_type="application/octet-stream")),
]

app = get_wsgi_application()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    # --noreload: one process. A thread for each connection.
    execute_from_command_line([sys.argv[0], "runserver", "--noreload", f"127.0.0.1:{sys.argv[1]}"])
