// A server that answers as a test tells it, for all that a gateway, a proxy or a stranger might say.
import { once } from "node:events";
import { createServer } from "node:http";

export const fingerprint = "cognigy:fp:" + "0123456789abcdef".repeat(4);

/**
 * scripted starts a server on loopback. Each step answers one request, and the last one all further requests. A step is
 * {status, headers, body}, or a function of request and response. A function that never answers returns true, and the
 * Clock learns of it. The server ends with the test.
 */
export async function scripted(t, clock, ...steps) {
  const requests = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const { method, url, headers } = request;
      requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      const step = steps[Math.min(requests.length, steps.length) - 1];
      if (typeof step === "function") {
        if (step(request, response) && clock) {
          clock.silence(request);
        }
        return;
      }
      response.writeHead(step.status, { "Content-Type": "application/json", ...step.headers });
      response.end(typeof step.body === "string" ? step.body : JSON.stringify(step.body ?? {}));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

/** The gateway's answers, in the words of docs/http.md. */
export const gateway = {
  executed: (data) => answer(200, "executed", { status: "success", data }),
  replayed: (data) => answer(200, "replayed", { status: "cached", data }, { "Idempotency-Replayed": "true", Age: "3" }),
  waited: (data) => answer(200, "waited", { status: "cached", data }, { "Idempotency-Replayed": "true", Age: "0" }),
  rejected: (status, data) => answer(status, "executed", { status: "rejected", data }),
  processing: (status = 409, headers = { "Retry-After": "1" }) =>
    answer(status, "processing", { status: "processing", data: null, detail: "ask again" }, headers),
  failed: () => ({
    status: 500,
    headers: { ...named("failed"), "Idempotency-Attempt": "1" },
    body: { detail: "Internal processing error", fingerprint },
  }),
  poisoned: () => answer(500, "poisoned", { status: "poisoned", data: null, detail: "oncegate poisoned" }),
  doubtful: () => answer(500, "doubtful", { status: "doubtful", data: null, detail: "oncegate doubtful" }),
  mismatch: () => ({ status: 422, headers: named("mismatch"), body: { detail: "Another body came before" } }),
  limited: (retryAfter = "1") => ({
    status: 429,
    headers: { ...named("limited"), "Retry-After": retryAfter },
    body: { status: "limited", data: null, fingerprint, detail: "ask again" },
  }),
  unavailable: (headers = { "Retry-After": "1" }) => ({
    status: 503,
    headers,
    body: { detail: "Cache service unavailable" },
  }),
  passedThrough: (status, type, body) => ({
    status,
    headers: { ...named("executed"), "Content-Type": type, "Idempotency-Attempt": "1" },
    body,
  }),
};

function named(status) {
  return { "Idempotency-Status": status, "Idempotency-Fingerprint": fingerprint };
}

function answer(status, word, body, headers = {}) {
  return {
    status,
    headers: { ...named(word), "Idempotency-Attempt": "1", ...headers },
    body: { status: body.status, data: body.data, fingerprint, ...(body.detail ? { detail: body.detail } : {}) },
  };
}
