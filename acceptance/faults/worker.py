"""The Python worker of acceptance/failure: says on whose behalf it ran, and writes down every run.

A request is answered with its own target, so that a reply that reached the wrong client is seen; each run, of a request
or of a job nobody waits for, is a line of the file that RUNS names, written before the answer.
"""

import os

from tempest import Worker

worker = Worker()
runs = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def write_down(name):
    """One line, in one write."""
    os.write(runs, f"{name}\n".encode())


@worker.on("url")
def answer(request):
    write_down(request.url)
    return request.url


@worker.on("note")
def note(args):
    write_down(args)


if __name__ == "__main__":
    worker.run()
