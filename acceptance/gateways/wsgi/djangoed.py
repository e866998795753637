"""The contract as a Django application, in one file."""

import json

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.shortcuts import redirect as redirect_to
from django.urls import path, re_path
from django.views.decorators.http import etag, require_POST
from django.views.static import serve

import contract

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="not a secret: it is for this test",
    ROOT_URLCONF=__name__,
    APPEND_SLASH=False,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
django.setup()


def as_json(value):
    return HttpResponse(json.dumps(value, sort_keys=True), content_type="application/json")


def text(value, status=200):
    return HttpResponse(value, status=status, content_type="text/plain; charset=utf-8")


def tell(request, rest=""):
    return as_json(contract.tell(request.environ, request.read()))


def params(request):
    return as_json(dict(request.GET.lists()))


def body(_request, length):
    return HttpResponse(contract.pattern(length), content_type="application/octet-stream")


def mirror(request):
    return HttpResponse(request.body, content_type=request.headers["content-type"])


def status(_request, number):
    if number == 304:
        return HttpResponseNotModified()
    return HttpResponse(status=204) if number == 204 else text(f"{number}\n", number)


def redirect(request):
    moved = redirect_to(request.GET["to"])
    moved.status_code = int(request.GET.get("status", 302))
    return moved


def absolute(request):
    return text(request.build_absolute_uri("/tell"))


def cookies(request):
    return as_json(request.COOKIES)


def set_cookies(_request):
    given = text("given\n")
    given.set_cookie("a", "1")
    given.set_cookie("b", "two words", httponly=True)
    given.set_cookie("c", "3", expires="Wed, 01 Jan 2031 00:00:00 GMT", secure=True, samesite="Lax")
    return given


def session(request):
    if request.method == "POST":
        request.session["name"] = request.POST["name"]
        return redirect_to("/session")
    if request.method == "DELETE":
        request.session.flush()
        return text("left\n")
    return text(request.session.get("name", "nobody"))


@require_POST
def form(request):
    return as_json(dict(request.POST.lists()))


@require_POST
def upload(request):
    files = [
        contract.uploaded(name, each.name, each.content_type, each.read())
        for name, all_of_name in request.FILES.lists()
        for each in all_of_name
    ]
    return as_json({"fields": request.POST.dict(), "files": files})


@require_POST
def read_json(request):
    try:
        return as_json(json.loads(request.body))
    except ValueError:
        return text("no JSON\n", 400)


def headers(_request):
    reply = text("fields\n")
    # Django has one value for a name; only cookies may be several.
    for name, value in [("X-Two", "a, b"), ("X-Empty", ""), ("X-Latin", "caf\xe9"), ("X-Blank", " a  b ")]:
        reply.headers[name] = value
    return reply


def stream(_request):
    return StreamingHttpResponse((b"piece %d\n" % number for number in range(5)), content_type="text/plain")


def file(request):
    return serve(request, contract.NOTES.name, document_root=contract.NOTES.parent)


@etag(lambda _request: '"v1"')
def tagged(_request):
    return text("tagged\n")


def fail_before(_request):
    raise RuntimeError("a secret of the house")


def fail_after(_request):
    return StreamingHttpResponse(contract.breaking(), content_type="text/plain")


def slow(request):
    contract.slow(int(request.GET["ms"]), request.GET.get("mark"))
    return text("slept\n")


def drip(request):
    return StreamingHttpResponse(contract.drip(request.GET["mark"]), content_type="text/plain")


urlpatterns = [
    re_path(r"^tell(?P<rest>/[\s\S]*)?\Z", tell),
    path("absolute", absolute),
    path("body/<int:length>", body),
    path("cookies", cookies),
    path("cookies/set", set_cookies),
    path("drip", drip),
    path("fail/after", fail_after),
    path("fail/before", fail_before),
    path("file", file),
    path("form", form),
    path("headers", headers),
    path("json", read_json),
    path("mirror", mirror),
    path("params", params),
    path("redirect", redirect),
    path("session", session),
    path("slow", slow),
    path("status/<int:number>", status),
    path("stream", stream),
    path("tagged", tagged),
    path("upload", upload),
]

application = get_wsgi_application()


def app(environ, start_response):
    """Django reads the path as UTF-8 and puts the result in its place; the contract tells what it was."""
    environ["contract.path"] = environ["PATH_INFO"]
    return application(environ, start_response)
