#!/usr/bin/env python3
"""Fan-out of one topic to many EventSource clients at fixed rates: Tempest beside Nchan, in memory and with Redis.

Each figure is from servers of its own, started for it. Clients are those of `bench/audience`: they publish an event
when it is due and count latency from that time, so a server that lags cannot hide it. Contenders take turns within a
round; one that does not keep up (events lost, or p99 above a second) is not asked for higher rates in it. Then bursts:
many events at once, the next when everybody has heard all of them. Last, what the clients can read at most, of a
server that does nothing but write the same bytes to all of them, one event and several in one write.

    cargo build --release -p tempest -p tempest-bench-audience
    bench/fanout.py --json fanout.json
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time

from contenders import Contender, Ground, Missing, tool
from measured import cpu_seconds, proportional_bytes, wait_for
from part import Part, argument_parser
from stage import Programs, free_ports

LADDERS = {1_000: [10, 25, 50, 75, 100, 150, 200, 400, 800], 10_000: [1, 2, 5, 8, 10, 15, 20, 40, 80]}
BURST = {1_000: 64, 10_000: 16}
P99_MAX_MS = 1_000
OURS, PEERS = "tempest", ["nchan", "nchan-redis"]
MODULES = ["/usr/lib/nginx/modules/ngx_nchan_module.so", "/usr/share/nginx/modules/ngx_nchan_module.so"]

# One worker process a processor, each with a socket of its own, so that clients are spread evenly. Messages are kept
# long enough for whoever is slow; all else is what Debian ships.
NGINX = """
load_module {module};
worker_processes {workers};
worker_rlimit_nofile {files};
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections {files}; }}
http {{
  {http}
  nchan_shared_memory_size 256M;
  {upstream}
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport;
    location = /sub/bench {{
      nchan_subscriber eventsource;
      nchan_subscriber_first_message newest;
      nchan_channel_id bench;
      {redis}
    }}
    location = /pub/bench {{
      nchan_publisher;
      nchan_channel_id bench;
      nchan_message_buffer_length 1000;
      nchan_message_timeout 60s;
      {redis}
    }}
    location = /ask {{ return 204; }}
  }}
}}
"""


def open_files():
    """As many open files as may be had; gives the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (1 << 17, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
            return wanted
        except (OSError, ValueError):
            continue
    return hard


def nchan_module():
    """Where nginx has Nchan."""
    module = next((path for path in MODULES if os.path.exists(path)), None)
    if module is None:
        raise Missing("Nchan is missing (script/bootstrap bench)")
    return module


class Serving:
    """A contender that serves: where clients subscribe and publish, and what is asked of it meanwhile."""

    def __init__(self, contender, publish, ask):
        self.contender, self.publish, self.ask = contender, publish, ask

    def pids(self):
        """All its processes but Redis, which holds no clients."""
        return [pid for name, tree in self.contender.processes().items() if name != "redis-server" for pid in tree]


def tempest(ground, _options):
    """The front and its Redis; published with PUBLISH."""
    port, (redis_port, _), heads, _ = ground.front()
    contender = Contender("tempest", "Tempest: front and Redis", port, heads, redis_port)
    return Serving(contender, ["--redis", f"127.0.0.1:{redis_port}", "--to", "bench"], "/sub/a%00b")


def nchan(ground, options, redis_port=None):
    """nginx with Nchan; published by POST over a connection that stays."""
    module = nchan_module()
    (port,) = free_ports(1)
    head = ground.run_nginx(
        NGINX,
        port,
        module=module,
        workers=options.nginx_workers,
        files=options.files,
        upstream=f"upstream bus {{ nchan_redis_server redis://127.0.0.1:{redis_port}; }}" if redis_port else "",
        redis="nchan_redis_pass bus;" if redis_port else "",
    )
    contender = Contender("nchan", "nginx with Nchan", port, {"nginx": head}, redis_port)
    return Serving(contender, ["--post", f"127.0.0.1:{port}", "--to", "/pub/bench"], "/ask")


def nchan_redis(ground, options):
    """The same where Redis carries the messages."""
    (redis_port,) = free_ports(1)
    redis = ["--port", redis_port, "--bind", "127.0.0.1", "--save", "", "--dir", ground.programs.folder]
    ground.start(tool("redis-server"), *redis, log=f"redis-{redis_port}.log")
    wait_for(redis_port)
    serving = nchan(ground, options, redis_port)
    time.sleep(1)  # until Nchan has its connections to Redis nothing tells
    return serving


CONTENDERS = {"tempest": tempest, "nchan": nchan, "nchan-redis": nchan_redis}


def audience(options, *arguments):
    """The figures of one run of the clients."""
    command = [options.bin / "audience", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=options.seconds + 180)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the clients gave up: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(key, clients, load, options):
    """One contender, alone, under one load."""
    with Programs() as programs:
        ground = Ground(programs, options.bin, 0)
        try:
            serving = CONTENDERS[key](ground, options)
            before = sum(map(proportional_bytes, serving.pids()))
            where = ["--subscribe", f"127.0.0.1:{serving.contender.port}", *serving.publish, "--ask", serving.ask]
            size = ["--clients", clients, "--threads", options.threads, "--bytes", options.bytes]
            cpu = sum(map(cpu_seconds, serving.pids()))
            figures = audience(options, *where, *size, "--seconds", options.seconds, *load)
            after = sum(map(proportional_bytes, serving.pids()))
            cpu = sum(map(cpu_seconds, serving.pids())) - cpu
            figures["cpu_us_per_delivery"] = cpu / max(figures["received"], 1) * 1e6
            figures["bytes_per_client"] = (after - before) / clients
            return figures
        except RuntimeError as why:
            said = "".join(log.read_text(errors="replace")[-300:] for log in programs.folder.rglob("*.log"))
            return {"failed": f"{why} {said}".strip()}
        finally:
            ground.stop()


def keeps_up(figures):
    """Whether everybody heard everything, soon enough."""
    return "failed" not in figures and figures["lost"] == 0 and figures["p99_ms"] <= P99_MAX_MS


def wrong(figures):
    """What must not happen at any rate; nothing, if all is well."""
    names = ("duplicate", "out_of_order", "refused")
    return ", ".join(f"{figures[name]} {name.replace('_', ' ')}" for name in names if figures.get(name))


def climb(clients, options, runs):
    """One round: all rates, the contenders in turn, each until it does not keep up."""
    left = list(options.only)
    for step, rate in enumerate(options.ladder(clients)):
        first = step % len(left) if left else 0
        for key in left[first:] + left[:first]:
            figures = measure(key, clients, ["--rate", rate], options)
            runs.setdefault(key, {}).setdefault(rate, []).append(figures)
            tell(f"{clients} clients, {rate} events/s", key, figures)
            if not keeps_up(figures):
                left.remove(key)


def tell(load, key, figures):
    """One line for whoever waits."""
    if "failed" in figures:
        return print(f"{load}: {key} failed: {figures['failed']}", file=sys.stderr, flush=True)
    text = f"{load}: {key} {figures['deliveries_per_s']:,.0f}/s, lost {figures['lost']}, p99 {figures['p99_ms']:.1f} ms"
    return print(f"{text}, clients busy {figures['reader_busy']:.2f}", file=sys.stderr, flush=True)


def middle(runs, name):
    """The median of a figure over rounds; `name` may be two, as in `asked.p99_ms`."""
    values = []
    for figures in runs:
        for part in name.split("."):
            figures = figures.get(part, {}) if isinstance(figures, dict) else {}
        if isinstance(figures, (int, float)):
            values.append(figures)
    return statistics.median(values) if values else float("nan")


def row(key, load, runs):
    """The cells of one contender under one load."""
    counts = [f"{middle(runs, name):,.0f}" for name in ("deliveries_per_s", "expected", "received")]
    wrongs = [f"{middle(runs, name):,.0f}" for name in ("lost", "duplicate", "out_of_order")]
    times = [f"{middle(runs, name):.1f}" for name in ("p50_ms", "p99_ms", "max_ms", "asked.p99_ms")]
    rest = [f"{middle(runs, 'cpu_us_per_delivery'):.2f}"]
    rest += [f"{middle(runs, 'bytes_per_client') / 1e3:.1f}", f"{middle(runs, 'reader_busy'):.2f}"]
    return [key, load, *counts, *wrongs, *times, *rest]


COLUMNS = ["contender", "events/s", "deliveries/s", "expected", "received", "lost", "twice", "disorder"]
COLUMNS += ["p50 ms", "p99 ms", "max ms", "request p99 ms", "CPU us a delivery", "KB a client", "clients busy"]


def most(runs, rounds):
    """The highest rate that was kept up in most rounds; 0 if none was."""
    return max((rate for rate, some in runs.items() if 2 * sum(map(keeps_up, some)) > rounds), default=0)


def judge(clients, runs, bursts, options, part):
    """The goals: twice the deliveries, half of the p99 at the same rate."""
    if OURS not in runs or options.quick:
        return
    for peer in (peer for peer in PEERS if peer in runs):
        ours, theirs = (most(runs[key], options.rounds) for key in (OURS, peer))
        part.goal(f"{clients} clients: rate kept up, of {OURS} ≥ 2 times that of {peer}", ours / max(theirs, 1e-9), 2)
        both = [middle(bursts[key], "deliveries_per_s") for key in (OURS, peer) if key in bursts]
        if len(both) == 2:
            part.goal(f"{clients} clients: deliveries/s in bursts, {OURS} ≥ 2 times {peer}", both[0] / both[1], 2)
        for rate in (rate for rate in runs[peer] if 0 < rate <= theirs and rate in runs[OURS]):
            quotient = middle(runs[OURS][rate], "p99_ms") / middle(runs[peer][rate], "p99_ms")
            text = f"{clients} clients, {rate} events/s: p99 of {OURS} ≤ 0.5 times that of {peer}"
            part.goal(text, quotient, 0.5, at_least=False)


def crowd(clients, options, part):
    """All loads on a crowd of one size."""
    runs, bursts = {}, {}
    for _ in range(options.rounds):
        climb(clients, options, runs)
        for key in options.only:
            size = options.burst or BURST.get(clients, 16)
            figures = measure(key, clients, ["--burst", size], options)
            bursts.setdefault(key, []).append(figures)
            tell(f"{clients} clients, bursts of {size}", key, figures)
    part.raw[str(clients)] = {"rates": runs, "bursts": bursts}
    rows = [
        row(key, str(rate), runs[key][rate]) for rate in options.ladder(clients) for key in runs if rate in runs[key]
    ]
    rows += [row(key, "burst", bursts[key]) for key in bursts]
    part.table(f"One topic, {clients:,} clients, medians of {options.rounds}", COLUMNS, rows)
    for key in runs:
        check(clients, key, (runs[key], bursts[key]), options, part)
        part.bar(f"Deliveries per second, {clients} clients", key, middle(bursts[key], "deliveries_per_s"), key == OURS)
    judge(clients, runs, bursts, options, part)


def check(clients, key, measured, options, part):
    """What is wrong at any load, and a contender that does not even keep up with the lowest rate."""
    rates, bursts = measured
    for figures in [figures for some in rates.values() for figures in some] + bursts:
        if "failed" in figures:
            part.fail(f"{key}, {clients} clients: {figures['failed']}")
        elif key == OURS and wrong(figures):
            part.fail(f"{key}, {clients} clients: {wrong(figures)}")
        elif wrong(figures):
            part.note(f"{key}, {clients} clients: {wrong(figures)}")
    if not most(rates, options.rounds):
        part.fail(f"{key} does not keep up with {clients} clients at the lowest rate")


def limits(options, part):
    """What the clients can read, of a server that only writes, and the least latency: that of such a server."""
    rows, least = [], []
    for clients in options.clients:
        for together in (1, 4, 16):
            size = ["--clients", min(clients, options.files // 2 - 100), "--threads", options.threads]
            burst = ["--burst", 64, "--seconds", options.seconds, "--bytes", options.bytes]
            figures = audience(options, "--echo", together, *size, *burst)
            part.raw.setdefault("limits", []).append({"together": together, **figures})
            spare = options.threads * 1e6 / figures["reader_us_per_delivery"]
            reach = f"{figures['deliveries_per_s']:,.0f}"
            rows.append([clients, together, reach, f"{figures['reader_us_per_delivery']:.2f}", f"{spare:,.0f}"])
        size = ["--clients", min(clients, options.files // 2 - 100), "--threads", options.threads]
        for rate in options.ladder(clients)[:3]:
            figures = audience(options, "--echo", 1, *size, "--rate", rate, "--seconds", options.seconds)
            part.raw.setdefault("least", []).append({"rate": rate, **figures})
            least.append([clients, f"{rate:g}", f"{figures['p50_ms']:.1f}", f"{figures['p99_ms']:.1f}"])
    title = "Latency of a server that only writes, one event in a write"
    part.table(title, ["clients", "events/s", "p50 ms", "p99 ms"], least)
    columns = [
        "clients",
        "events in a write",
        "deliveries/s",
        "CPU us a delivery, reader",
        "deliveries/s, readers never waiting",
    ]
    part.table("What these clients can read, of a server that only writes", columns, rows)


def numbers(text):
    """A list of numbers above 0, separated by commas."""
    return [number for number in map(float, text.split(",")) if number > 0]


def arguments():
    parser = argument_parser(__doc__)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, separated by commas")
    parser.add_argument("--clients", type=numbers, default=[1_000, 10_000])
    parser.add_argument("--rates", type=numbers, help="events/s, instead of those that suit the number of clients")
    parser.add_argument("--burst", type=int, help="events of a burst, instead of what suits the number of clients")
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bytes", type=int, default=64, help="of an event's data")
    parser.add_argument("--threads", type=int, default=1, help="of the clients")
    parser.add_argument("--nginx-workers", type=int, default=os.cpu_count(), help="processes of nginx")
    parser.add_argument("--no-limits", action="store_true", help="leaves out what the clients can read")
    parser.add_argument("--quick", action="store_true", help="only whether it works: 50 clients for a second")
    options = parser.parse_args()
    if options.quick:
        options.clients, options.rates, options.seconds, options.rounds = [50], [20], 1, 1
    options.only, options.clients = options.only.split(","), [int(clients) for clients in options.clients]
    if unknown := set(options.only) - set(CONTENDERS):
        parser.error(f"no contender named {', '.join(sorted(unknown))}")
    options.bin, options.files = options.bin.resolve(), open_files()
    options.ladder = lambda clients: options.rates or LADDERS.get(clients, [1, 10, 100])
    return options


def main():
    options, part = arguments(), Part()
    for name in ("audience", *(["tempest"] if OURS in options.only else [])):
        if not (options.bin / name).exists():
            raise Missing(
                f"{options.bin / name} is not built (cargo build --release -p tempest -p tempest-bench-audience)"
            )
    try:
        tool("nginx"), nchan_module()
    except Missing as why:
        options.only = [key for key in options.only if key == OURS]
        (part.fail if os.environ.get("CI") == "true" else part.note)(f"only {OURS}: {why}")
    for clients in options.clients:
        crowd(clients, options, part)
    if not options.no_limits:
        limits(options, part)
    part.note("Latency is counted from when an event was due. Servers, clients and publisher share this machine.")
    sys.exit(part.finish(options.json))


if __name__ == "__main__":
    try:
        main()
    except (Missing, RuntimeError) as why:
        sys.exit(f"bench/fanout.py: {why}")
