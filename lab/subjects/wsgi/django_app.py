"""The views in Django, a project in one file: `app`."""

import views
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="of a measurement",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    # As every project has it: it says how long an answer is.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)


def text(body):
    return HttpResponse(body, content_type="text/plain")


urlpatterns = [
    path("", lambda request: text(views.hello())),
    path("spin", lambda request: text(views.spin(int(request.GET["ms"])))),
    path("wait", lambda request: text(views.wait(int(request.GET["ms"])))),
]

app = get_wsgi_application()
