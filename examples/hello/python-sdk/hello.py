"""The hello worker on the Python client. The one without it is in ../python."""

import itertools

from tempest import Worker

worker = Worker()
numbers = itertools.count(1)


@worker.on("url")
def hello(request):
    return f"Hello world! #{next(numbers)}"


@worker.on("echo")
def echo(args):
    return args


if __name__ == "__main__":
    worker.run()
