// Adds jobs of these ids, with the options they have by default.
//
// add.js REDIS_PORT QUEUE ID...
"use strict";

const { Queue } = require("bullmq");

const [redisPort, name, ...ids] = process.argv.slice(2);

async function add() {
  const queue = new Queue(name, { connection: { host: "127.0.0.1", port: Number(redisPort) } });
  for (const id of ids) await queue.add("hold", {}, { jobId: id });
  await queue.close();
}

add().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
