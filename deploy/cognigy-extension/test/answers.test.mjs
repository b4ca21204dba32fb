// The outcome of the nodes for each answer: of the gateway, of a proxy before it, of a stranger, or none.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Clock } from "./clock.mjs";
import { load, Session } from "./platform.mjs";
import { fingerprint, gateway, scripted } from "./scripted.mjs";

const module = fileURLToPath(new URL("../build/module.js", import.meta.url));
const clock = new Clock();
const extension = load(module, { clock });
const apiKey = "key-of-the-test-0001";

function serve(t, ...steps) {
  return scripted(t, clock, ...steps);
}

function callOnce(url, config = {}, session = new Session(extension), more) {
  const connection = { gatewayUrl: url, apiKey };
  return session.run("callOnce", { connection, step: "book", variables: { seats: 2 }, ...config }, more);
}

const data = { booking: "B-1", seats: 2 };
const plain = { "Content-Type": "text/plain" };

// name: the server's answers, one after the other; then the flow's view.
const answers = {
  executed: [[gateway.executed(data)], { outcome: "done", status: "executed", data, attempt: 1, calls: 1 }],
  "found done": [[gateway.replayed(data)], { outcome: "done", status: "replayed", data, replayed: true }],
  "waited for": [[gateway.waited(data)], { outcome: "done", status: "waited", data, replayed: true }],
  "done, with another body": [
    [{ ...gateway.replayed(data), headers: { ...gateway.replayed(data).headers, "Idempotency-Mismatch": "true" } }],
    { outcome: "done", data, mismatch: true, detail: /other variables/ },
  ],
  "an empty result": [[gateway.executed(null)], { outcome: "done", data: null }],
  "a result with members like the envelope's": [
    [gateway.executed({ status: "processing", fingerprint })],
    { outcome: "done", data: { status: "processing", fingerprint } },
  ],
  "409, then done": [[gateway.processing(), gateway.replayed(data)], { outcome: "done", data, calls: 2 }],
  "202, then done": [[gateway.processing(202), gateway.replayed(data)], { outcome: "done", data, calls: 2 }],
  "processing for long": [[gateway.processing()], { outcome: "processing", status: "processing", fingerprint }],
  "processing, and no haste": [
    [gateway.processing(409, { "Retry-After": "60" })],
    { outcome: "processing", calls: 1, detail: /^It is still being processed[^()]*Not before 60 s are over\.$/ },
  ],
  "processing, then nothing": [
    [gateway.processing(), hang],
    { outcome: "processing", status: "processing", fingerprint, calls: 2 },
  ],
  refused: [
    [gateway.rejected(422, { reason: "no seats" })],
    { outcome: "rejected", status: "rejected", httpStatus: 422, data: { reason: "no seats" }, calls: 1 },
  ],
  "refused with 409 by the backend": [[gateway.rejected(409, "twice")], { outcome: "rejected", data: "twice" }],
  failed: [
    [gateway.failed()],
    { outcome: "error", status: "failed", fingerprint, calls: 1, detail: /executes it again/ },
  ],
  poisoned: [
    [gateway.poisoned()],
    { outcome: "error", status: "poisoned", calls: 1, detail: /until a person decides/ },
  ],
  doubtful: [
    [gateway.doubtful()],
    { outcome: "error", status: "doubtful", calls: 1, detail: /until a person decides/ },
  ],
  "another body": [
    [gateway.mismatch()],
    { outcome: "error", status: "mismatch", calls: 1, detail: /a name of its own/ },
  ],
  "limited, then done": [[gateway.limited(), gateway.executed(data)], { outcome: "done", calls: 2 }],
  "limited for long": [
    [gateway.limited("60")],
    { outcome: "error", status: "limited", calls: 1, detail: /Not before 60 s/ },
  ],
  "429 of a proxy, then done": [[{ status: 429 }, gateway.executed(data)], { outcome: "done", calls: 2 }],
  "503, then done": [[gateway.unavailable(), gateway.executed(data)], { outcome: "done", calls: 2 }],
  "503 without Retry-After, then done": [
    [gateway.unavailable({}), gateway.executed(data)],
    { outcome: "done", calls: 2 },
  ],
  "503 for long": [
    [gateway.unavailable({ "Retry-After": "3600" })],
    { outcome: "error", status: "unavailable", calls: 1, detail: /not available.*Cache service.*Not before 3600 s/ },
  ],
  "503 for ever": [
    [gateway.unavailable({ "Retry-After": "999999999999999" })],
    { outcome: "error", status: "unavailable", calls: 1, detail: /Not before 3600 s/ },
  ],
  "503 until a date": [
    [gateway.unavailable({ "Retry-After": new Date(Date.now() + 3_600_000).toUTCString() })],
    { outcome: "error", status: "unavailable", calls: 1, detail: /Not before 3[56]\d\d s/ },
  ],
  "503 with an odd Retry-After": [
    [gateway.unavailable({ "Retry-After": "-1e9, soon" }), gateway.executed(data)],
    { outcome: "done", calls: 2 },
  ],
  "502 of a proxy, then done": [
    [{ status: 502, headers: plain, body: "Bad" }, gateway.executed(data)],
    { outcome: "done" },
  ],
  "504 of a proxy, then done": [
    [{ status: 504, headers: plain, body: "Late" }, gateway.replayed(data)],
    { outcome: "done" },
  ],
  401: [[{ status: 401, body: { detail: "no key" } }], { outcome: "error", status: "unauthorized", calls: 1 }],
  403: [[{ status: 403, body: { detail: "not you" } }], { outcome: "error", status: "forbidden", calls: 1 }],
  400: [
    [{ status: 400, body: { detail: "Malformed", errors: [{ field: "nodeId", message: "nodeId must be text" }] } }],
    { outcome: "error", status: "invalid", calls: 1, detail: /nodeId must be text/ },
  ],
  "404 of another path": [
    [{ status: 404, body: { detail: "Not found" } }],
    { outcome: "error", status: "misconfigured", calls: 1, detail: /no gateway at the connection's gatewayUrl/ },
  ],
  405: [[{ status: 405 }], { outcome: "error", status: "misconfigured", calls: 1 }],
  413: [[{ status: 413, body: { detail: "too large" } }], { outcome: "error", status: "invalid", calls: 1 }],
  415: [[{ status: 415, body: { detail: "a form" } }], { outcome: "error", status: "invalid", calls: 1 }],
  "422 of a proxy": [[{ status: 422 }], { outcome: "error", status: "invalid", calls: 1 }],
  "500 of a proxy": [
    [{ status: 500, headers: plain, body: "Oops" }],
    { outcome: "error", status: "unexpected", calls: 1 },
  ],
  "a failure whose headers a proxy dropped": [
    [{ status: 500, body: { detail: "Internal processing error", fingerprint } }],
    { outcome: "error", status: "failed", calls: 1 },
  ],
  "a success whose headers a proxy dropped": [
    [{ status: 200, body: { status: "cached", data, fingerprint } }],
    { outcome: "done", status: "replayed", replayed: true, data, fingerprint },
  ],
  "processing whose headers a proxy dropped": [
    [
      { status: 409, body: { status: "processing", data: null, fingerprint } },
      { status: 200, body: { status: "success", data, fingerprint } },
    ],
    { outcome: "done", status: "executed", data, calls: 2 },
  ],
  "a login page": [
    [{ status: 200, headers: { "Content-Type": "text/html" }, body: "<html>Log in</html>" }],
    { outcome: "error", status: "unexpected", data: null, calls: 1, detail: /none of an Oncegate gateway/ },
  ],
  "another server's JSON": [
    [{ status: 200, body: { ok: true } }],
    { outcome: "error", status: "unexpected", data: null },
  ],
  "another server's JSON with a status": [
    [{ status: 200, body: { status: "success", data } }],
    { outcome: "error", status: "unexpected", data: null },
  ],
  "no content": [[{ status: 204, body: "" }], { outcome: "error", status: "unexpected", calls: 1 }],
  "a word of the gateway's that nobody knows yet": [
    [{ status: 200, headers: { "Idempotency-Status": "postponed" }, body: {} }],
    { outcome: "error", status: "unexpected" },
  ],
  "executed, with 500": [
    [{ status: 500, headers: { "Idempotency-Status": "executed" }, body: {} }],
    { outcome: "error", status: "unexpected", detail: /HTTP 500/ },
  ],
  "JSON that is none": [
    [{ status: 200, headers: { "Idempotency-Status": "executed" }, body: '{"status":"success","da' }],
    { outcome: "error", status: "unexpected", data: null },
  ],
  "JSON without bottom": [
    [{ status: 200, headers: { "Idempotency-Status": "executed" }, body: "[".repeat(400_000) + "]".repeat(400_000) }],
    { outcome: "error", status: "unexpected", data: null },
  ],
  "passed through: JSON": [
    [gateway.passedThrough(201, "application/json", data)],
    { outcome: "done", status: "executed", httpStatus: 201, data, fingerprint },
  ],
  "passed through: JSON like an envelope of another call": [
    [
      gateway.passedThrough(200, "application/json", {
        status: "cached",
        data: 1,
        fingerprint: fingerprint.replace("0", "1"),
      }),
    ],
    { outcome: "done", data: { status: "cached", data: 1, fingerprint: fingerprint.replace("0", "1") } },
  ],
  "passed through: JSON like the envelope, with more in it": [
    [gateway.passedThrough(200, "application/json", { status: "cached", data: 1, fingerprint, more: 2 })],
    { outcome: "done", data: { status: "cached", data: 1, fingerprint, more: 2 } },
  ],
  "passed through: text": [[gateway.passedThrough(200, "text/plain", "42")], { outcome: "done", data: "42" }],
  "passed through: nothing": [[gateway.passedThrough(204, "text/plain", "")], { outcome: "done", data: null }],
  "passed through: a refusal": [
    [gateway.passedThrough(404, "application/problem+json", { title: "no such flight" })],
    { outcome: "rejected", httpStatus: 404, data: { title: "no such flight" } },
  ],
  "a connection that is reset, then done": [[reset, gateway.executed(data)], { outcome: "done", data, calls: 2 }],
  "a reset in the middle of an answer, then done": [
    [cutOff, gateway.replayed(data)],
    { outcome: "done", data, calls: 2 },
  ],
  "a hang": [[hang], { outcome: "error", status: "timeout", calls: 1, detail: /did not answer in time/ }],
  "a drip": [[drip], { outcome: "error", status: "timeout", calls: 1 }],
  "an upgrade": [[upgrade], { outcome: "error", status: "unexpected", calls: 1 }],
  "a body without end": [[flood], { outcome: "error", status: "tooLarge", data: null, calls: 1, detail: /too large/ }],
  "headers without end": [
    [{ status: 200, headers: { "X-Long": "x".repeat(100_000) }, body: {} }],
    { outcome: "error", status: "unexpected", calls: 1 },
  ],
  "a redirect": [
    [{ status: 307, headers: { Location: "https://elsewhere.example/webhook" } }],
    { outcome: "error", status: "misconfigured", calls: 1, detail: /redirect to https:\/\/elsewhere\.example/ },
  ],
  "an echo of the key in the body": [
    [(request, response) => response.end(JSON.stringify(request.headers))],
    { outcome: "error", status: "unexpected", detail: /repeats the API key/ },
  ],
  "an echo of the key in a redirect": [
    [(request, response) => response.writeHead(302, { Location: `/?k=${request.headers["x-api-key"]}` }).end()],
    { outcome: "error", status: "unexpected", detail: /repeats the API key/ },
  ],
  "an error of many words and lines": [
    [{ status: 400, body: { detail: "very\n\t\u0007wrong ".repeat(1000) } }],
    { outcome: "error", status: "invalid", detail: /^[^\n\t\u0007]{1,400}$/ },
  ],
};

describe("The nodes", { concurrency: true }, () => {
  describe("Call Once understands", { concurrency: true }, () => {
    for (const [name, [steps, wanted]] of Object.entries(answers)) {
      test(name, async (t) => {
        const { url, requests } = await serve(t, ...steps);
        const session = new Session(extension);
        const { output, branch, calls, log } = await callOnce(url, {}, session);

        for (const [field, value] of Object.entries(wanted)) {
          if (value instanceof RegExp) {
            assert.match(output[field], value);
          } else {
            assert.deepEqual(output[field], value, `${field}: ${output.detail}`);
          }
        }
        const leads = { done: "Done", rejected: "Rejected", processing: "Processing", error: "Error" };
        assert.equal(branch, `callOnce${leads[output.outcome]}`);
        assert.equal(requests.length, output.calls);
        assert.equal(new Set(requests.map(({ body }) => body)).size, 1, "every call has the same bytes");
        assert.ok(calls.length <= 6, calls.join());
        assert.ok(!JSON.stringify([session.context, session.input, log, extension.written]).includes(apiKey));
        assert.equal(log.length, output.outcome === "error" || output.mismatch ? 1 : 0, log.join());
      });
    }
  });

  describe("Call Once sends", { concurrency: true }, () => {
    test("a webhook as the gateway takes it", async (t) => {
      const { url, requests } = await serve(t, gateway.executed(data));
      const session = new Session(extension, "s-1").message();
      const { output } = await callOnce(url, { variables: { city: "Köln 🛫", seats: 2 } }, session);
      const [{ method, url: path, headers, body }] = requests;
      assert.equal(method, "POST");
      assert.equal(path, "/webhook/cognigy");
      assert.equal(body, '{"dialogId":"s-1","nodeId":"book","sequence":2,"variables":{"city":"Köln 🛫","seats":2}}');
      assert.equal(headers["content-type"], "application/json");
      assert.equal(headers["content-length"], String(Buffer.byteLength(body)));
      assert.equal(headers["x-api-key"], apiKey);
      assert.equal(headers.prefer, "wait=10");
      assert.deepEqual(output.identity, { dialogId: "s-1", nodeId: "book", sequence: 2 });
    });

    test("no key if the connection has none", async (t) => {
      const { url, requests } = await serve(t, gateway.executed(data));
      await callOnce(url, { connection: { gatewayUrl: url, apiKey: "" } });
      assert.ok(!("x-api-key" in requests[0].headers));
    });

    test("to the path of the URL, if it has one", async (t) => {
      const { url, requests } = await serve(t, gateway.executed(data));
      await callOnce(url, { connection: { gatewayUrl: ` ${url}/behind/a/proxy/ `, apiKey } });
      assert.equal(requests[0].url, "/behind/a/proxy");
    });

    test("less patience with each call, so that the gateway answers in time", async (t) => {
      const { url, requests } = await serve(t, gateway.processing());
      await callOnce(url);
      const waits = requests.map(({ headers }) => Number(headers.prefer.replace("wait=", "")));
      assert.equal(waits[0], 10);
      assert.ok(waits.length > 1 && waits.every((wait, i) => i === 0 || wait < waits[i - 1]), waits.join());
    });

    test("no more than a call a second, however often it is asked to", async (t) => {
      for (const hurried of ["0", "-1", undefined]) {
        const { url, requests } = await serve(t, gateway.processing(409, hurried ? { "Retry-After": hurried } : {}));
        await callOnce(url);
        assert.ok(requests.length > 5 && requests.length <= 11, `${requests.length} calls in 12 s`);
      }
    });

    test("a failure again, as often as it may", async (t) => {
      const { url } = await serve(t, gateway.failed(), gateway.failed(), gateway.executed(data));
      assert.equal((await callOnce(url, { repeatAfterFailure: 1 })).output.status, "failed");
      const second = await serve(t, gateway.failed(), gateway.failed(), gateway.executed(data));
      const { output } = await callOnce(second.url, { repeatAfterFailure: 2 });
      assert.equal(output.outcome, "done");
      assert.equal(output.calls, 3);
    });
  });

  describe("Once per", { concurrency: true }, () => {
    const input = { aiAgent: { toolCallId: "call_7" } };
    const identities = {
      message: [{ onceEach: "message" }, { dialogId: "s", nodeId: "book", sequence: 2 }],
      session: [{ onceEach: "session" }, { dialogId: "s", nodeId: "book", sequence: 0 }],
      "tool call": [{ onceEach: "toolCall" }, { dialogId: "s", nodeId: "book/call_7", sequence: 0 }],
      "business key": [
        { onceEach: "businessKey", businessKey: " 4711 " },
        { dialogId: "4711", nodeId: "book", sequence: 0 },
      ],
      counter: [
        { onceEach: "counter", counter: "3" },
        { dialogId: "s", nodeId: "book", sequence: 3 },
      ],
      "counter of many digits": [
        { onceEach: "counter", counter: "9223372036854775807" },
        { dialogId: "s", nodeId: "book", sequence: "9223372036854775807" },
      ],
      "message, and the step has no name": [{ step: " " }, { dialogId: "s", nodeId: "5f3c0a", sequence: 2 }],
    };
    for (const [name, [config, identity]] of Object.entries(identities)) {
      test(name, async (t) => {
        const { url, requests } = await serve(t, gateway.executed(data));
        const { output } = await callOnce(url, config, new Session(extension, "s").message(input));
        assert.deepEqual(output.identity, identity);
        const { variables, ...sent } = JSON.parse(requests[0].body);
        assert.deepEqual(sent, identity);
        assert.deepEqual(variables, { seats: 2 });
      });
    }
  });

  describe("A mistake in the settings is told, and nothing is sent", { concurrency: true }, () => {
    const noMessage = { sessionId: undefined, execution: undefined };
    const mistakes = {
      "no connection": [{ connection: undefined }, /choose one/],
      "no URL": [{ connection: { gatewayUrl: "", apiKey } }, /no URL/],
      "a host alone": [{ connection: { gatewayUrl: "gateway.example.com", apiKey } }, /no URL/],
      "another scheme": [{ connection: { gatewayUrl: "ftp://gateway.example.com", apiKey } }, /https:/],
      "a password in the URL": [
        { connection: { gatewayUrl: "https://me:secret-0815@gateway.example.com", apiKey } },
        /apiKey/,
      ],
      "a query in the URL": [{ connection: { gatewayUrl: "https://gateway.example.com/?a=b", apiKey } }, /leave out/],
      "a line break in the key": [{ connection: { gatewayUrl: "URL", apiKey: "a\r\nX-Evil: b" } }, /line break/],
      "an umlaut in the key": [{ connection: { gatewayUrl: "URL", apiKey: "schlüssel" } }, /special letter/],
      "no session": [{}, /sessionId/, noMessage],
      "no number of the message": [{}, /input\.execution/, { execution: undefined }],
      "no step and no node": [{ step: "" }, /name/, {}, { nodeId: "" }],
      "no tool call": [{ onceEach: "toolCall" }, /AI agent/],
      "a tool call that is undefined": [{ onceEach: "toolCall", toolCallId: "undefined" }, /AI agent/],
      "a template that nobody filled in": [
        { onceEach: "businessKey", businessKey: "{{context.order}}" },
        /business key/,
      ],
      "an empty business key": [{ onceEach: "businessKey", businessKey: " " }, /business key/],
      "a counter that is none": [{ onceEach: "counter", counter: "two" }, /whole number/],
      "a counter with a fraction": [{ onceEach: "counter", counter: 1.5 }, /whole number/],
      "an unknown choice": [{ onceEach: "moon" }, /Once per/],
      "a list of variables": [{ variables: [1] }, /JSON object/],
      "text for variables": [{ variables: "seats: 2" }, /JSON object/],
      "variables in a circle": [{ variables: circle() }, /JSON object/],
    };
    for (const [name, [config, sentence, input, more]] of Object.entries(mistakes)) {
      test(name, async (t) => {
        const { url, requests } = await serve(t, gateway.executed(data));
        if (config.connection?.gatewayUrl === "URL") {
          config.connection.gatewayUrl = url;
        }
        const session = new Session(extension).message(input);
        const { output, branch, log } = await callOnce(url, config, session, more);
        assert.equal(output.outcome, "error");
        assert.match(output.detail, sentence);
        assert.equal(output.calls, 0);
        assert.equal(branch, "callOnceError");
        assert.equal(requests.length, 0);
        assert.equal(log.length, 1);
        assert.ok(!JSON.stringify([session.context, log]).match(/secret-0815|X-Evil|key-of-the-test/));
      });
    }

    test("variables as text, and none", async (t) => {
      const { url, requests } = await serve(t, gateway.executed(data));
      for (const variables of ['{"seats": 2}', "", undefined, null]) {
        await callOnce(url, { variables });
      }
      assert.deepEqual(
        requests.map(({ body }) => JSON.parse(body).variables),
        [{ seats: 2 }, {}, {}, {}],
      );
    });
  });

  describe("Nobody is there", { concurrency: true }, () => {
    test("a port that nobody listens on", async (t) => {
      const { output } = await callOnce(await closedPort());
      assert.equal(output.status, "unreachable");
      assert.match(output.detail, /ECONNREFUSED/);
      assert.ok(output.calls >= 2, "it is tried again");
    });

    test("a server that speaks no HTTP", async (t) => {
      const url = await speaking(t, "SSH-2.0-OpenSSH_9.2\r\n");
      const { output } = await callOnce(url);
      assert.equal(output.status, "unexpected");
      assert.equal(output.calls, 1);
    });

    test("https to a server without TLS", async (t) => {
      const url = await speaking(t, "HTTP/1.1 400 Bad Request\r\n\r\n");
      const { output } = await callOnce(url.replace("http:", "https:"));
      assert.equal(output.status, "unexpected");
      assert.equal(output.calls, 1);
    });
  });

  describe("By TLS", { concurrency: true }, () => {
    let certificate;
    let server;
    let url;

    before(async () => {
      const folder = mkdtempSync(join(tmpdir(), "oncegate-tls-"));
      const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
      const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
      const made = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        key,
        "-out",
        cert,
      ];
      execFileSync("openssl", ["req", "-x509", ...made, ...subject], { stdio: "ignore" });
      certificate = readFileSync(cert);
      server = https.createServer({ key: readFileSync(key), cert: certificate }, (request, response) => {
        const { status, headers, body } = gateway.executed(data);
        response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
      });
      rmSync(folder, { recursive: true });
      server.listen(0, "localhost");
      await once(server, "listening");
      url = `https://localhost:${server.address().port}`;
    });

    after(() => server.close());

    test("a certificate that is trusted", async () => {
      const trusting = {
        ...https,
        request: (url, options) => https.request(url, { ...options, ca: certificate }),
      };
      const { output } = await callOnce(url, {}, new Session(load(module, { clock, modules: { https: trusting } })));
      assert.equal(output.outcome, "done", output.detail);
    });

    test("a certificate that nobody has signed", async () => {
      const { output } = await callOnce(url);
      assert.equal(output.status, "untrusted");
      assert.match(output.detail, /public authority.*SELF_SIGNED/);
      assert.equal(output.calls, 1);
    });

    test("a certificate of another name", async () => {
      const trusting = {
        ...https,
        request: (url, options) => https.request(url, { ...options, ca: certificate, servername: "gateway.example" }),
      };
      const { output } = await callOnce(url, {}, new Session(load(module, { clock, modules: { https: trusting } })));
      assert.equal(output.status, "untrusted");
      assert.equal(output.calls, 1);
    });
  });

  describe("The memory of a call without an outcome", { concurrency: true }, () => {
    test("a later message asks for the same call, with the same bytes", async (t) => {
      const { url, requests } = await serve(
        t,
        gateway.processing(409, { "Retry-After": "60" }),
        gateway.replayed(data),
      );
      const session = new Session(extension);
      const first = await callOnce(url, {}, session);
      assert.equal(first.output.resumed, false);
      const { output } = await callOnce(url, {}, session.message());
      assert.equal(output.outcome, "done");
      assert.equal(output.resumed, true);
      assert.equal(output.mismatch, false);
      assert.deepEqual(output.identity, first.output.identity);
      assert.equal(requests[0].body, requests[1].body);

      const { output: next } = await callOnce(url, {}, session.message());
      assert.equal(next.resumed, false);
      assert.equal(next.identity.sequence, 3);
    });

    test("variables that have changed meanwhile are told, and not sent", async (t) => {
      const { url, requests } = await serve(t, gateway.failed(), gateway.executed(data));
      const session = new Session(extension);
      await callOnce(url, { variables: { seats: 2 } }, session);
      const { output, log } = await callOnce(url, { variables: { seats: 3 } }, session.message());
      assert.equal(output.outcome, "done");
      assert.equal(output.mismatch, true);
      assert.match(output.detail, /other variables/);
      assert.equal(requests[0].body, requests[1].body);
      assert.match(log.join(), /^warn:.*other variables/);
    });

    test("another step is another call", async (t) => {
      const { url } = await serve(t, gateway.processing(409, { "Retry-After": "60" }));
      const session = new Session(extension);
      await callOnce(url, {}, session);
      const { output } = await callOnce(url, { step: "pay" }, session.message());
      assert.equal(output.resumed, false);
      assert.deepEqual(
        session.context.oncegatePending.map(({ step }) => step),
        ["book", "pay"],
      );
    });

    test("of tool calls only one with the same arguments is the same", async (t) => {
      const { url } = await serve(t, gateway.processing(409, { "Retry-After": "60" }));
      const session = new Session(extension);
      const call = (id, seats) => {
        session.message({ aiAgent: { toolCallId: id } });
        return callOnce(url, { onceEach: "toolCall", toolCallId: id, variables: { seats } }, session);
      };
      await call("call_1", 2);
      const other = await call("call_2", 3);
      assert.equal(other.output.identity.nodeId, "book/call_2");
      const same = await call("call_3", 2);
      assert.equal(same.output.identity.nodeId, "book/call_1");
      assert.equal(same.output.resumed, true);
    });

    const kept = {
      hang,
      reset,
      ...pick("failed", "poisoned", "doubtful"),
      503: gateway.unavailable({ "Retry-After": "99" }),
    };
    for (const [name, step] of Object.entries(kept)) {
      test(`${name}: the outcome is open`, async (t) => {
        const { url } = await serve(t, step);
        const session = new Session(extension);
        await callOnce(url, { waitSeconds: 2 }, session);
        assert.equal(session.context.oncegatePending.length, 1);
      });
    }

    const settled = {
      done: gateway.executed(data),
      rejected: gateway.rejected(404, null),
      401: { status: 401 },
      400: { status: 400 },
      mismatch: gateway.mismatch(),
    };
    for (const [name, step] of Object.entries(settled)) {
      test(`${name}: nothing is remembered`, async (t) => {
        const { url } = await serve(t, step);
        const session = new Session(extension);
        await callOnce(url, {}, session);
        assert.equal(session.context.oncegatePending, undefined);
      });
    }

    test("a key that fails meanwhile changes nothing", async (t) => {
      const { url } = await serve(t, gateway.failed(), { status: 401 }, gateway.executed(data));
      const session = new Session(extension);
      const first = await callOnce(url, {}, session);
      await callOnce(url, {}, session.message());
      const { output } = await callOnce(url, {}, session.message());
      assert.deepEqual(output.identity, first.output.identity);
      assert.deepEqual(session.context.oncegatePending, []);
    });

    test("it ends with its time", async (t) => {
      const { url } = await serve(t, gateway.failed());
      const session = new Session(extension);
      await callOnce(url, {}, session);
      session.context.oncegatePending[0].until = clock.now();
      const { output } = await callOnce(url, {}, session.message());
      assert.equal(output.resumed, false);
      assert.equal(session.context.oncegatePending.length, 1);
    });

    test("a lost call does not prolong it, and the gateway's word does", async (t) => {
      const { url } = await serve(t, gateway.failed(), hang, gateway.failed());
      const session = new Session(extension);
      await callOnce(url, {}, session);
      const until = (session.context.oncegatePending[0].until -= 60_000);
      await callOnce(url, { waitSeconds: 2 }, session.message());
      assert.equal(session.context.oncegatePending[0].until, until);
      await callOnce(url, {}, session.message());
      assert.ok(session.context.oncegatePending[0].until > until);
    });

    test("it can be switched off, and business keys need none", async (t) => {
      const { url } = await serve(t, gateway.failed());
      const session = new Session(extension);
      await callOnce(url, { rememberPending: false }, session);
      await callOnce(url, { onceEach: "businessKey", businessKey: "4711" }, session);
      assert.equal(session.context.oncegatePending, undefined);
    });

    test("it has room for twenty calls, and for no long variables", async (t) => {
      const { url } = await serve(t, gateway.failed());
      const session = new Session(extension);
      for (let i = 0; i < 25; i++) {
        await callOnce(url, { step: `step-${i}`, variables: { text: "x".repeat(i === 24 ? 20_000 : 1) } }, session);
      }
      assert.equal(session.context.oncegatePending.length, 20);
      assert.equal(session.context.oncegatePending[0].step, "step-5");
      assert.equal(session.context.oncegatePending[19].variables, null);
      assert.ok(JSON.stringify(session.context).length < 10_000);
    });

    const identity = { dialogId: "another", nodeId: "book", sequence: 1 };
    const call = { step: "book", identity, variables: null, fingerprint: null, until: 9e15 };
    const odd = [
      { until: "9000000000000000" },
      { identity: {} },
      { identity: null },
      { variables: {} },
      { fingerprint: 7 },
    ];
    const foreign = [null, 7, "text", {}, [null], [{ step: "book" }], ...odd.map((one) => [{ ...call, ...one }])];
    for (const stored of foreign) {
      test(`what somebody else wrote there is no memory: ${JSON.stringify(stored)}`, async (t) => {
        const { url } = await serve(t, gateway.executed(data));
        const session = new Session(extension);
        session.context.oncegatePending = stored;
        const { output } = await callOnce(url, {}, session);
        assert.equal(output.outcome, "done");
        assert.equal(output.resumed, false);
      });
    }
  });

  describe("Get Result", { concurrency: true }, () => {
    const find = (url, config, session) =>
      session.run("getResult", { connection: { gatewayUrl: url, apiKey }, ...config });
    const found = {
      done: [[gateway.replayed(data)], { outcome: "done", data, fingerprint }],
      refused: [[gateway.rejected(404, "none")], { outcome: "rejected", data: "none" }],
      processing: [[gateway.processing(202)], { outcome: "processing", calls: 1 }],
      failed: [[gateway.failed()], { outcome: "error", status: "failed", calls: 1 }],
      poisoned: [[gateway.poisoned()], { outcome: "error", status: "poisoned" }],
      "not known": [
        [{ status: 404, headers: { "Idempotency-Fingerprint": fingerprint }, body: { detail: "No webhook" } }],
        { outcome: "notFound", status: "unknown", fingerprint },
      ],
      "no gateway": [[{ status: 404, body: {} }], { outcome: "error", status: "misconfigured" }],
      "503, then done": [[gateway.unavailable(), gateway.replayed(data)], { outcome: "done", calls: 2 }],
      "a hang": [[hang], { outcome: "error", status: "timeout", fingerprint, calls: 1 }],
    };
    for (const [name, [steps, wanted]] of Object.entries(found)) {
      test(name, async (t) => {
        const { url, requests } = await serve(t, ...steps);
        const { output, branch, calls } = await find(url, { fingerprint }, new Session(extension));
        for (const [field, value] of Object.entries(wanted)) {
          assert.deepEqual(output[field], value, field);
        }
        const leads = {
          done: "Done",
          rejected: "Rejected",
          processing: "Processing",
          notFound: "NotFound",
          error: "Error",
        };
        assert.equal(branch, `getResult${leads[output.outcome]}`);
        assert.equal(requests[0].method, "GET");
        assert.equal(requests[0].url, `/webhook/cognigy/${fingerprint}`);
        assert.equal(requests[0].body, "");
        assert.equal(requests[0].headers["x-api-key"], apiKey);
        assert.ok(calls.length <= 6);
      });
    }

    test("finds the call that Call Once has stored, and ends its memory", async (t) => {
      const { url } = await serve(t, gateway.processing(409, { "Retry-After": "60" }), gateway.replayed(data));
      const session = new Session(extension);
      await callOnce(url, {}, session);
      assert.equal(session.context.oncegatePending.length, 1);
      const { output } = await find(url, {}, session.message());
      assert.equal(output.outcome, "done");
      assert.deepEqual(session.context.oncegate.data, data);
      assert.deepEqual(session.context.oncegatePending, []);
    });

    test("without a fingerprint it says so", async (t) => {
      const { url, requests } = await serve(t, gateway.replayed(data));
      for (const wrong of ["", "undefined", "../../healthz", `${fingerprint}/x`, 7]) {
        const { output, branch } = await find(url, { fingerprint: wrong }, new Session(extension));
        assert.match(output.detail, /no fingerprint/);
        assert.equal(branch, "getResultError");
      }
      assert.equal(requests.length, 0);
    });
  });

  describe("The output", { concurrency: true }, () => {
    test("goes into the input, under the key that is wished", async (t) => {
      const { url } = await serve(t, gateway.executed(data));
      const session = new Session(extension);
      const { calls } = await callOnce(url, { storeLocation: "input", inputKey: "booking" }, session);
      assert.deepEqual(session.input.booking.data, data);
      assert.deepEqual(calls, ["addToInput", "setNextNode"]);
    });

    test("has all its members, however a node ends", async (t) => {
      const { url } = await serve(t, gateway.executed(data));
      const { output } = await callOnce(url);
      const { output: wrong } = await callOnce("");
      const members =
        "outcome status data fingerprint httpStatus attempt replayed resumed mismatch calls waitedMs identity detail";
      assert.deepEqual(Object.keys(output), members.split(" "));
      assert.deepEqual(Object.keys(wrong), members.split(" "));
    });

    test("that cannot be stored leads to Error", async (t) => {
      const { url } = await serve(t, gateway.executed(data));
      const api = {
        addToContext() {
          throw new Error("too large");
        },
      };
      const { branch, log } = await callOnce(url, {}, new Session(extension), { api });
      assert.equal(branch, "callOnceError");
      assert.match(log.join(), /could not be stored/);
    });

    test("an api that fails altogether ends the node all the same", async (t) => {
      const { url } = await serve(t, gateway.failed());
      const fails = () => {
        throw new Error("no");
      };
      const api = { addToContext: fails, addToInput: fails, log: fails, setNextNode: fails };
      await callOnce(url, {}, new Session(extension), { api });
    });

    test("of an older platform without branches or addToInput", async (t) => {
      const { url } = await serve(t, gateway.executed(data));
      await callOnce(url, { storeLocation: "input" }, new Session(extension), { api: { addToInput: undefined } });
    });
  });
});

function pick(...names) {
  return Object.fromEntries(names.map((name) => [name, gateway[name]()]));
}

function hang() {
  return true;
}

function reset(request) {
  request.socket.resetAndDestroy();
}

function cutOff(request, response) {
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": "1000" });
  response.write('{"status":"success","data":{', () => request.socket.resetAndDestroy());
}

function drip(request, response) {
  response.writeHead(200, { "Content-Type": "application/json", "Idempotency-Status": "executed" });
  const timer = setInterval(() => response.write(" "), 50);
  response.on("close", () => clearInterval(timer));
  return true;
}

function flood(request, response) {
  response.writeHead(200, { "Content-Type": "application/json", "Idempotency-Status": "executed" });
  const pour = () => {
    while (!response.destroyed && response.write("x".repeat(65_536)));
  };
  response.on("drain", pour);
  pour();
}

function upgrade(request) {
  request.socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
}

async function closedPort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}`;
}

async function speaking(t, words) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(words);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

function circle() {
  const variables = {};
  variables.self = variables;
  return variables;
}
