// The same work as `queue.rs` does, by BullMQ: jobs of some accounts are added, taken by workers and ended.
// In: the port of Redis and the numbers of the work. Out: one line of JSON.
import { Queue, Worker } from "bullmq";

const [port, jobs, adders, workers, paced, rate] = process.argv.slice(2).map(Number);
const connection = { host: "127.0.0.1", port };
const added = new Map();

async function all(count, parallel, one) {
  let next = 0;
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (next < count) await one(next++);
    }),
  );
}

function work(name, count) {
  const starts = [];
  let done;
  const finished = new Promise((resolve) => (done = resolve));
  const worker = new Worker(
    name,
    async (job) => {
      starts.push(performance.now() - added.get(job.data.id));
    },
    { connection, concurrency: workers, removeOnComplete: { count: 0 } },
  );
  let ended = 0;
  worker.on("completed", () => {
    if (++ended === count) done();
  });
  return { worker, finished, starts };
}

// How fast a full queue is emptied.
const full = new Queue("full", { connection });
await full.waitUntilReady();
let begun = performance.now();
await all(jobs, adders, (id) => full.add("job", { id, account: id % 10 }));
const put = jobs / ((performance.now() - begun) / 1000);
for (let id = 0; id < jobs; id++) added.set(id, begun);
begun = performance.now();
const drain = work("full", jobs);
await drain.finished;
const taken = jobs / ((performance.now() - begun) / 1000);
await drain.worker.close();
await full.close();

// How long a job waits for an idle worker.
const idle = new Queue("idle", { connection });
const pacing = work("idle", paced);
await pacing.worker.waitUntilReady();
const start = performance.now();
for (let id = 0; id < paced; id++) {
  const at = start + (id * 1000) / rate;
  while (performance.now() < at) await new Promise((resolve) => setTimeout(resolve, 1));
  added.set(id, performance.now());
  idle.add("job", { id, account: id % 10 });
}
await pacing.finished;
pacing.starts.sort((a, b) => a - b);
const p = (share) => pacing.starts[Math.max(Math.ceil(share * paced) - 1, 0)];
await pacing.worker.close();
await idle.close();
console.log(JSON.stringify({ put, taken, p50_ms: p(0.5), p99_ms: p(0.99) }));
