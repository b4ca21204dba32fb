// The Extension before the real gateway, which this test builds, starts and kills.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as listener } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { load, Session } from "./platform.mjs";

const extension = load(fileURLToPath(new URL("../build/module.js", import.meta.url)));
const root = fileURLToPath(new URL("../../../", import.meta.url));
const apiKey = "key-of-the-test-0001";

let folder;
let program;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "oncegate-extension-"));
  program = join(folder, "oncegate");
  execFileSync("go", ["build", "-o", program, "."], { cwd: root, stdio: "inherit" });
});

after(() => rmSync(folder, { recursive: true, force: true }));

describe("One gateway", { concurrency: true }, () => {
  test("executes fifty calls with one identity once, and gives each the same data", async (t) => {
    const backend = await backendOf(t, (attempt) => ({ booking: `B-${attempt}` }));
    const { url } = await gatewayOf(t, backend.url);
    const held = backend.hold();
    const calls = Array.from({ length: 50 }, () => callOnce(url, { onceEach: "businessKey", businessKey: "4711" }));
    await backend.arrived(1);
    held();
    const outputs = (await Promise.all(calls)).map(({ output }) => output);
    assert.deepEqual(new Set(outputs.map(({ outcome }) => outcome)), new Set(["done"]));
    assert.deepEqual(new Set(outputs.map(({ data }) => JSON.stringify(data))), new Set(['{"booking":"B-1"}']));
    assert.equal(new Set(outputs.map(({ fingerprint }) => fingerprint)).size, 1);
    assert.deepEqual(backend.attempts, [1]);
  });

  test("has the first message's result for a later one", async (t) => {
    const backend = await backendOf(t, (attempt, { variables }) => ({ seats: variables.seats }));
    const { url } = await gatewayOf(t, backend.url);
    const held = backend.hold();
    const session = new Session(extension);
    const first = await callOnce(url, { variables: { seats: 2 } }, session);
    assert.equal(first.output.outcome, "processing");
    assert.equal((await getResult(url, session)).output.outcome, "processing");
    held();

    await eventually(async () => (await getResult(url, session, { contextKey: "asked" })).output.outcome === "done");
    assert.deepEqual(session.context.asked.data, { seats: 2 });
  });

  test("is asked for the same call in a later message, whatever its variables are now", async (t) => {
    const backend = await backendOf(t, (attempt, { variables }) => ({ seats: variables.seats }));
    const { url } = await gatewayOf(t, backend.url, { MISMATCH: "reject" });
    const held = backend.hold();
    const session = new Session(extension);
    const first = await callOnce(url, { variables: { seats: 2 } }, session);
    assert.equal(first.branch, "callOnceProcessing");
    held();

    const second = await callOnce(url, { variables: { seats: 3 } }, session.message());
    assert.equal(second.branch, "callOnceDone");
    assert.deepEqual(second.output.data, { seats: 2 });
    assert.equal(second.output.resumed, true);
    assert.equal(second.output.mismatch, true);
    assert.deepEqual(backend.attempts, [1]);

    const third = await callOnce(url, { variables: { seats: 3 } }, session.message());
    assert.deepEqual(third.output.data, { seats: 3 });
    assert.deepEqual(backend.attempts, [1, 1]);
  });

  test("says what is wrong with a call", async (t) => {
    const backend = await backendOf(t, () => ({}));
    const { url } = await gatewayOf(t, backend.url, { MISMATCH: "reject" });
    const detail = async (config, session) => (await callOnce(url, config, session)).output.detail;
    assert.match(await detail({ connection: { gatewayUrl: url, apiKey: "" } }), /asks for an API key.*apiKey/);
    assert.match(await detail({ connection: { gatewayUrl: url, apiKey: "wrong-key" } }), /one that it knows/);
    assert.match(await detail({ connection: { gatewayUrl: `${url}/webhook`, apiKey } }), /no gateway at/);
    assert.match(await detail({ step: "x".repeat(600) }), /nodeId/);
    assert.match(await detail({ step: "{{input.step}}" }), /nodeId/);
    const session = new Session(extension);
    assert.equal(await detail({ variables: { seats: 2 } }, session), null);
    assert.match(await detail({ variables: { seats: 3 } }, session), /Other variables came before/);
    assert.deepEqual(backend.attempts, [1]);
  });

  test("passes a backend's own answers through", async (t) => {
    const backend = await backendOf(t, (attempt, { variables }) => variables.answer);
    const { url } = await gatewayOf(t, backend.url, { RESPONSE_MODE: "passthrough" });
    const { output } = await callOnce(url, { variables: { answer: { booking: 1 } } });
    assert.equal(output.outcome, "done");
    assert.equal(output.status, "executed");
    assert.deepEqual(output.data, { booking: 1 });
    backend.refuse(404);
    const { output: refused } = await callOnce(url, { variables: { answer: { reason: "full" } } });
    assert.equal(refused.outcome, "rejected");
    assert.deepEqual(refused.data, { reason: "full" });
  });
});

describe("Two gateways on a Redis", () => {
  test("one is killed while it executes: the other one tells attempt 2, and there is no third", async (t) => {
    const backend = await backendOf(t, (attempt) => ({ booking: `B-${attempt}` }));
    const redis = await redisServer(t);
    const settings = { REDIS_URL: redis, LOCK_TTL: "6s" };
    const replicas = await Promise.all([gatewayOf(t, backend.url, settings), gatewayOf(t, backend.url, settings)]);
    const { url, use } = await balancer(
      t,
      replicas.map((replica) => replica.url),
    );

    const held = backend.hold();
    const session = new Session(extension);
    const calls = Array.from({ length: 10 }, () => callOnce(url, { waitSeconds: 17 }, session));
    await backend.arrived(1);
    use(1);
    replicas[0].kill();
    await backend.arrived(2);
    held();

    const outputs = (await Promise.all(calls)).map(({ output }) => output);
    for (const { outcome, attempt, data, detail } of outputs) {
      assert.equal(outcome, "done", detail);
      assert.equal(attempt, 2);
      assert.deepEqual(data, { booking: "B-2" });
    }
    assert.ok(
      outputs.some(({ calls }) => calls > 1),
      "who began it was cut off with its gateway",
    );
    assert.deepEqual(backend.attempts, [1, 2]);
  });
});

function callOnce(url, config = {}, session = new Session(extension)) {
  const connection = { gatewayUrl: url, apiKey };
  return session.run("callOnce", { connection, step: "book", variables: { seats: 2 }, ...config });
}

function getResult(url, session, config = {}) {
  return session.run("getResult", { connection: { gatewayUrl: url, apiKey }, ...config });
}

/** A backend answers with work's result, and keeps the number of each attempt. While it is held, it answers nobody. */
async function backendOf(t, work) {
  const attempts = [];
  let gate = Promise.resolve();
  let status = 200;
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", async () => {
      const attempt = Number(request.headers["idempotency-attempt"]);
      attempts.push(attempt);
      await gate;
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(JSON.stringify(work(attempt, JSON.parse(Buffer.concat(chunks).toString()))));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/bookings`,
    attempts,
    hold() {
      let open;
      gate = new Promise((resolve) => (open = resolve));
      return open;
    },
    refuse: (code) => (status = code),
    arrived: (count) => eventually(() => attempts.length >= count),
  };
}

async function gatewayOf(t, backend, settings = {}) {
  const port = await freePort();
  const env = {
    PATH: process.env.PATH,
    LISTEN: `127.0.0.1:${port}`,
    UPSTREAM_URL: backend,
    INBOUND_API_KEYS: apiKey,
    ...settings,
  };
  const process_ = spawn(program, [], { env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  process_.stdout.on("data", (text) => (log += text));
  process_.stderr.on("data", (text) => (log += text));
  t.after(() => process_.kill("SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  await eventually(async () => {
    assert.equal(process_.exitCode, null, log);
    return (await fetch(`${url}/readyz`)).ok;
  });
  return { url, kill: () => process_.kill("SIGKILL") };
}

async function redisServer(t) {
  const port = await freePort();
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder];
  const server = spawn("redis-server", args.map(String), { stdio: "ignore" });
  t.after(() => server.kill("SIGKILL"));
  await eventually(
    () =>
      new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.destroy();
          resolve(true);
        });
        socket.on("error", () => resolve(false));
      }),
  );
  return `redis://127.0.0.1:${port}`;
}

/** A balancer hands each connection to the server that is in use, the first one to begin with. */
async function balancer(t, urls) {
  let used = 0;
  const server = listener((socket) => {
    const { port } = new URL(urls[used]);
    const behind = connect(port, "127.0.0.1");
    for (const [one, other] of [
      [socket, behind],
      [behind, socket],
    ]) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
      one.pipe(other);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, use: (index) => (used = index) };
}

async function freePort() {
  const server = listener().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** eventually waits until something is so; meanwhile it may fail, as a fetch does that nobody answers. */
async function eventually(isSo) {
  const ends = Date.now() + 60_000;
  for (;;) {
    try {
      if (await isSo()) {
        return;
      }
    } catch (error) {
      if (error instanceof assert.AssertionError || Date.now() > ends) {
        throw error;
      }
    }
    assert.ok(Date.now() < ends, "it did not come about in time");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
