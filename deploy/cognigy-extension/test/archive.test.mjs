// The archive as the platform gets it: its content, its descriptions, and its worst behaviour.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { extract, list } from "tar";

import { Clock } from "./clock.mjs";
import { load, Session } from "./platform.mjs";
import { gateway, scripted } from "./scripted.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const archive = join(root, "oncegate.tar.gz");
const apiKey = "key-of-the-test-0001";

let folder;
let extension;
let requestsAtLoad = 0;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "oncegate-archive-"));
  await extract({ file: archive, cwd: folder, strict: true });
  const { request } = http;
  http.request = () => requestsAtLoad++;
  try {
    extension = load(join(folder, "build/module.js"));
  } finally {
    http.request = request;
  }
});

after(() => rmSync(folder, { recursive: true, force: true }));

describe("The archive", () => {
  test("has what the platform wants at its root, and nothing else", async () => {
    const entries = [];
    await list({ file: archive, onReadEntry: ({ path }) => entries.push(path) });
    assert.deepEqual(entries, ["build/module.js", "package.json", "package-lock.json", "README.md", "icon.png"]);
    assert.deepEqual(readdirSync(folder).sort(), [
      "README.md",
      "build",
      "icon.png",
      "package-lock.json",
      "package.json",
    ]);
  });

  test("is small", () => {
    assert.ok(readFileSync(archive).length < 100_000);
  });

  test("has the same bytes when it is built again, in another folder", () => {
    const copy = join(folder, "copy");
    for (const name of ["src", "scripts", "package.json", "tsconfig.json", "README.md", "icon.png"]) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    for (const script of ["build.mjs", "archive.mjs"]) {
      execFileSync(process.execPath, [join(copy, "scripts", script)]);
    }
    assert.ok(readFileSync(join(copy, "oncegate.tar.gz")).equals(readFileSync(archive)));
  });

  test("needs nothing to be installed", () => {
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    assert.equal(manifest.main, "build/module.js");
    assert.equal(manifest.dependencies, undefined);
    assert.equal(manifest.devDependencies, undefined);
    const lock = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
    assert.deepEqual([lock.name, lock.version], [manifest.name, manifest.version]);
    assert.deepEqual(Object.keys(lock.packages), [""]);
  });

  test("has an icon of 64 by 64", () => {
    const icon = readFileSync(join(folder, "icon.png"));
    assert.equal(icon.subarray(1, 4).toString(), "PNG");
    assert.deepEqual([icon.readUInt32BE(16), icon.readUInt32BE(20)], [64, 64]);
  });

  test("is built from packages of no particular registry", () => {
    const lock = readFileSync(join(root, "package-lock.json"), "utf8");
    assert.doesNotMatch(lock, /"resolved"/);
    assert.match(lock, /"integrity"/);
  });

  test("carries the licence of what is bundled", () => {
    const code = readFileSync(join(folder, "build/module.js"), "utf8");
    assert.match(code.slice(0, 2000), /Copyright \(c\) 2021 Cognigy GmbH/);
  });
});

describe("The module", () => {
  test("asks for core modules alone, and sends and writes nothing when it is loaded", () => {
    assert.deepEqual([...new Set(extension.required)].sort(), ["buffer", "http", "https", "url"]);
    assert.equal(requestsAtLoad, 0);
    assert.deepEqual(extension.written, []);
  });

  test("names each type once", () => {
    const types = extension.nodes.map(({ type }) => type);
    assert.equal(new Set(types).size, types.length);
    assert.equal(types.length, 11);
  });

  test("has each branch below its node", () => {
    const parents = extension.nodes.filter(({ parentType }) => parentType === null);
    assert.equal(parents.map(({ type }) => type).join(), "callOnce,getResult");
    for (const parent of parents) {
      const children = extension.nodes.filter(({ parentType }) => parentType === parent.type);
      assert.equal(children.map(({ type }) => type).join(), parent.dependencies.children.join());
      const colors = children.map(({ appearance }) => appearance.color);
      assert.equal(new Set(colors).size, colors.length);
      for (const { constraints, appearance } of children) {
        assert.equal(appearance.variant, "mini");
        assert.deepEqual(
          [constraints.creatable, constraints.deletable, constraints.movable, constraints.editable],
          [false, false, false, false],
        );
      }
    }
  });

  test("asks for a connection that it describes", () => {
    const [connection, ...others] = extension.connections;
    assert.equal(others.length, 0);
    assert.equal(connection.type, "oncegate");
    assert.equal(connection.fields.map(({ fieldName }) => fieldName).join(), "gatewayUrl,apiKey");
    for (const { fields } of nodesWithFields()) {
      const wanted = fields.filter(({ type }) => type === "connection");
      assert.equal(wanted.map(({ params }) => params.connectionType).join(), "oncegate");
    }
  });

  test("shows each field once, under conditions that there are", () => {
    for (const { fields, sections, form, preview } of nodesWithFields()) {
      const keys = fields.map(({ key }) => key);
      const shown = form.flatMap(({ type, key }) =>
        type === "section" ? sections.find((section) => section.key === key).fields : [key],
      );
      assert.deepEqual([...shown].sort(), [...keys].sort());
      assert.ok(keys.includes(preview.key));
      for (const { condition } of fields) {
        for (const { key } of condition ? condition.and || [condition] : []) {
          assert.ok(keys.includes(key), key);
        }
      }
    }
  });

  test("has defaults that its fields can have", () => {
    for (const { fields } of nodesWithFields()) {
      for (const { key, type, defaultValue, params } of fields) {
        if (type === "select") {
          assert.ok(
            params.options.some(({ value }) => value === defaultValue),
            key,
          );
        } else if (type === "slider") {
          assert.ok(defaultValue >= params.min && defaultValue <= params.max, key);
        }
      }
    }
  });

  test("speaks English and German", () => {
    const spoken = extension.nodes.flatMap(({ defaultLabel, summary, fields, sections }) => [
      defaultLabel,
      summary || defaultLabel,
      ...fields.flatMap(({ label, description, params }) => [
        label,
        description || label,
        ...((params && params.options) || []).map((option) => option.label),
      ]),
      ...sections.map(({ label }) => label),
    ]);
    const names = ["Context", "Input"]; // the platform's own, in any language
    for (const text of spoken.filter((one) => !names.includes(one))) {
      assert.ok(text.default && text.deDE, JSON.stringify(text));
    }
  });
});

describe("The README", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");

  test("tells each field, option and branch by its label", () => {
    for (const { fields, sections } of nodesWithFields()) {
      for (const { key, label, params } of fields) {
        assert.ok(readme.includes(label.default), `${key}: ${label.default}`);
        for (const option of (params && params.options) || []) {
          assert.ok(readme.includes(option.label.default || option.label), JSON.stringify(option));
        }
      }
      for (const { label } of sections) {
        assert.ok(readme.includes(label.default), label.default);
      }
    }
    for (const { defaultLabel } of extension.nodes) {
      assert.ok(readme.includes(`**${defaultLabel.default}**`), defaultLabel.default);
    }
  });

  test("tells each member of the output, and each status", async () => {
    const { output } = await new Session(extension).run("callOnce", {});
    for (const member of Object.keys(output)) {
      assert.ok(readme.includes(`| \`${member}\` |`), member);
    }
    const source = readFileSync(join(root, "src/status.ts"), "utf8");
    const statuses = [...source.matchAll(/^ {2}(\w+): (?:done|\{)/gm)].map(([, status]) => status);
    assert.ok(statuses.length > 15, statuses.join());
    for (const status of statuses) {
      assert.ok(readme.includes(`\`${status}\``), status);
    }
  });
});

describe("A node ends within 17 s", { concurrency: true }, () => {
  const worst = {
    "nothing is ever answered": () => true,
    "a byte at a time": (request, response) => {
      response.writeHead(200, { "Content-Type": "application/json" });
      const timer = setInterval(() => response.write(" "), 100);
      response.on("close", () => clearInterval(timer));
      return true;
    },
    "headers, a line at a time": (request) => {
      request.socket.write("HTTP/1.1 200 OK\r\n");
      const timer = setInterval(() => request.socket.write("X-Slow: 1\r\n"), 300);
      request.socket.on("close", () => clearInterval(timer));
      request.socket.on("error", () => clearInterval(timer));
      return true;
    },
    "always processing, and to be asked again at once": gateway.processing(409, { "Retry-After": "0" }),
    "always unavailable": gateway.unavailable({ "Retry-After": "1" }),
    "always cut off": (request) => {
      request.socket.resetAndDestroy();
    },
    "always cut off in the middle": (request, response) => {
      response.writeHead(200, { "Content-Length": "100" });
      response.write("{", () => request.socket.resetAndDestroy());
    },
    "early hints without end": (request, response) => {
      const timer = setInterval(() => response.writeProcessing(), 200);
      response.on("close", () => clearInterval(timer));
      return true;
    },
  };
  const ends = async (t, step, clock, endsAfter) => {
    const loaded = load(join(folder, "build/module.js"), { clock });
    const { url, requests } = await scripted(t, clock, step);
    const session = new Session(loaded);
    const connection = { gatewayUrl: url, apiKey };
    const config = { connection, step: "book", waitSeconds: 999 };
    const { output, branch, calls, log } = await session.run("callOnce", config, { endsAfter });
    assert.match(branch, /Error|Processing/);
    assert.ok(calls.length <= 6, calls.join());
    assert.ok(requests.length <= 17, `${requests.length} calls`);
    assert.equal(output.calls, requests.length);
    assert.ok(!JSON.stringify([session.context, log, loaded.written]).includes(apiKey));
  };
  for (const [name, step] of Object.entries(worst)) {
    test(`${name}: by a clock of its own`, (t) => ends(t, step, new Clock(), 17_000));
    // In real time a slow machine may take a second longer. The platform would end it after 20 s.
    test(`${name}: before the platform ends it`, (t) => ends(t, step, null, 20_000));
  }
});

function nodesWithFields() {
  return extension.nodes.filter(({ fields }) => fields.length > 0);
}
