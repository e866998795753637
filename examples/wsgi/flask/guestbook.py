"""A guest book: an ordinary Flask application, which knows nothing of Tempest."""

from flask import Flask, redirect, render_template_string, request, session, url_for

app = Flask(__name__)
app.secret_key = "change me"

PAGE = """<!doctype html>
<title>Guest book</title>
<form method=post enctype=multipart/form-data>
  <input name=name value="{{ name }}" placeholder="your name"> <input type=file name=photo> <button>Sign</button>
</form>
<p>{{ said }}</p>
"""


@app.get("/")
def show():
    """The form, with what was said last."""
    return render_template_string(PAGE, name=session.get("name", ""), said=session.get("said", "Be the first."))


@app.post("/")
def sign():
    """Takes a name and a photo."""
    photo = request.files.get("photo")
    photo_bytes = len(photo.read()) if photo else 0
    session["name"] = request.form["name"]
    session["said"] = f"{request.form['name']} was here, with a photo of {photo_bytes} bytes."
    return redirect(url_for("show"))


@app.get("/count")
def count():
    """Some lines, made one after the other."""
    return app.response_class((f"{number}\n" for number in range(1, 4)), mimetype="text/plain")
