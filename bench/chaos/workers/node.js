// A worker on ioredis alone, crash-safe (L1), that writes down what it starts and ends: the evidence of the ledger.
// It is examples/hello/node with two differences: it does what an order says, and it remembers what it finished last, so
// that an ack whose answer was lost does not start a job again (rule 11 of the SPEC).
const { Redis } = require("ioredis");
const fs = require("node:fs");
const path = require("node:path");

const { TEMPEST_PREFIX: prefix = "tempest", TEMPEST_QUEUE: queue = "default", TEMPEST_REDIS_URL: url } = process.env;
const { CHAOS_WORKER: name, CHAOS_EVIDENCE: folder } = process.env;
const host = require("node:os").hostname().replace(/[^A-Za-z0-9._-]/g, "-").slice(0, 40);
const worker = `${host}-${process.pid}-${process.env.TEMPEST_WORKER_TAG || require("node:crypto").randomBytes(6).toString("hex")}`;
const mailbox = new RegExp(`^${prefix.replaceAll(".", "\\.")}:mailbox:\\{[A-Za-z0-9._-]{1,64}\\}$`);
const [lane, workers, slot] = [`${prefix}:{${queue}}`, `${prefix}:{${queue}}:workers`, `${worker}.0`];
const [run, lease] = [`${lane}:run:${slot}`, `${lane}:lease:${worker}`];
const limits = { maxRetriesPerRequest: 0 }; // what a cut connection leaves open fails, and is not silently sent again
const [r, own] = [4000, 2000].map((commandTimeout) => new Redis(url || "redis://127.0.0.1:6379", { ...limits, commandTimeout }));
const evidence = fs.openSync(path.join(folder, `${name}-${process.pid}`), "a");
const say = (error) => console.error(`node: ${error.message}`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let [beaten, lapses, stop, finished] = [-9e9, 0, false, { frame: Buffer.alloc(0), reply: null }];

async function all(write) { // carries out a pipeline or MULTI; throws its first error
  for (const [error] of await write.exec()) if (error) throw error;
}

async function beat() { // counts lapses: more than a lease (3 s) since the beat before: others may have taken what we hold
  const at = performance.now();
  await all(own.pipeline().sadd(`${prefix}:queues`, queue).sadd(workers, slot).set(lease, '{"lang":"node"}', "PX", 3000));
  [beaten, lapses] = [at, lapses + (at - beaten > 3000 ? 1 : 0)];
}

function orderOf({ action, args }) {
  if (action === "work") return args;
  const target = new URL(args.url, "http://chaos");
  const { ms, payload } = Object.fromEntries(target.searchParams);
  return { id: target.pathname.split("/").pop(), payload: args.body || payload, ms: Number(ms) };
}

function write(what, { id, payload }, attempt) { // one write for each line
  fs.writeSync(evidence, `${what} ${Date.now()} ${name} ${process.pid} ${id} ${attempt} ${payload}\n`);
}

async function carryOut({ id, attempt = 1, reply_to: to, ...job }) { // gives the reply, if somebody waits
  const order = orderOf(job);
  write("start", order, attempt);
  await pause(order.ms);
  write("end", order, attempt);
  if (!to) return null;
  if (!mailbox.test(to)) throw new Error("reply_to is no mailbox");
  const said = { status: 200, headers: { "content-type": "text/plain" }, body: `${order.id} ${order.payload}` };
  return [to, JSON.stringify({ id, attempt, ...said })];
}

async function settle(frame) { // reply and ack in one MULTI; again the same if its answer was lost
  if (!finished.frame.equals(frame)) {
    const [job, now] = [JSON.parse(frame.toString()), Number((await r.time())[0]) * 1000];
    finished = { frame, reply: job.deadline > 0 && job.deadline < now ? null : await carryOut(job) };
  }
  const both = r.multi();
  if (finished.reply) both.rpush(...finished.reply);
  await all(both.lrem(run, 1, frame));
}

async function turn() {
  if (performance.now() - beaten > 3000) return beat(); // no claim before a beat
  const before = lapses; // then first what a cut connection left in the run list
  const frame = (await r.lindexBuffer(run, 0)) || (await r.blmoveBuffer(lane, run, "LEFT", "RIGHT", 2));
  if (before !== lapses || performance.now() - beaten > 3000) await beat(); // then look again: it may be taken
  else if (frame && !stop) await settle(frame);
}

async function main() {
  for (const redis of [r, own]) redis.on("error", say);
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => { stop = true; });
  while (beaten < 0) await beat().catch((error) => say(error) || pause(200)); // answered before the first claim
  setInterval(() => beat().catch(say), 1000);
  const again = (error) => { // Redis may have forgotten this worker
    beaten = -9e9;
    say(error);
    r.disconnect(true);
    return pause(200);
  };
  while (!stop) await turn().catch(again); // an answer past its limit is not waited for: the connection goes
  while (await r.lmove(run, lane, "LEFT", "LEFT")); // given back
  await all(r.pipeline().srem(workers, slot).del(lease));
  process.exit(0);
}

main();
