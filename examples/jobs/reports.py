"""Writes reports: slowly, telling how far it is."""

import json
import time

from tempest import Worker

worker = Worker("reports")


@worker.on("report", http=False)
def report(args, context):
    pages = int((args or {}).get("pages", 3))
    if args and args.get("trouble") and (args["trouble"] == "always" or context.attempt == 1):
        raise OSError("the printer is out of paper")  # tried again later; the second time it is dead
    for page in range(pages):
        context.progress({"page": page, "of": pages})
        time.sleep(0.2)
    return {"pages": pages, "attempt": context.attempt}


@worker.on("url")
def hook(request):
    seen = [name for name in ("cookie", "authorization", "x-kept") if name in request.headers]
    return 201, {"x-hook": request.path, "x-saw": json.dumps(seen)}, b"taken: " + request.body


worker.run()
