// A worker whose jobs do nothing; at its end it says how many it ran.
//
// drain.js REDIS_PORT QUEUE CONCURRENCY PIPELINING   (PIPELINING: "auto" for ioredis' enableAutoPipelining)
"use strict";

const { Worker } = require("bullmq");

const [redisPort, queue, concurrency, pipelining] = process.argv.slice(2);
const connection = {
  host: "127.0.0.1",
  port: Number(redisPort),
  maxRetriesPerRequest: null,
  enableAutoPipelining: pipelining === "auto",
};
let ran = 0;

async function noop() {
  ran += 1;
}

const removed = { removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } };
const worker = new Worker(queue, noop, { connection, concurrency: Number(concurrency), ...removed });
worker.on("error", (error) => console.error(error.message));

process.once("SIGTERM", async () => {
  await worker.close();
  console.log(JSON.stringify({ ran }));
});
