"""A shop: an ordinary Django application in one file, which knows nothing of Tempest."""

import django
from django import forms
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path, reverse

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="change me",
    ROOT_URLCONF=__name__,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
)
django.setup()


class Order(forms.Form):
    """What somebody wants."""

    thing = forms.CharField(max_length=40)
    count = forms.IntegerField(min_value=1, max_value=10)


def cart(request):
    """The cart as a page with a form."""
    things = ", ".join(f"{count} {thing}" for thing, count in request.session.get("cart", {}).items())
    return HttpResponse(
        f"<!doctype html><title>Shop</title><p>In your cart: {things or 'nothing'}</p>"
        f"<form method=post action='{reverse('order')}'>{Order()}"
        f"<input type=hidden name=csrfmiddlewaretoken value='{get_token(request)}'><button>Order</button></form>"
    )


def order(request):
    """Puts something into the cart."""
    form = Order(request.POST)
    if not form.is_valid():
        return HttpResponse(form.errors.as_text(), status=400, content_type="text/plain")
    in_cart = request.session.setdefault("cart", {})
    in_cart[form.cleaned_data["thing"]] = form.cleaned_data["count"]
    request.session.modified = True
    return redirect("cart")


urlpatterns = [path("", cart, name="cart"), path("order", order, name="order")]

application = get_wsgi_application()
