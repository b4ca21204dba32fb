// A stand-in for Cognigy.AI: it loads an Extension's module into a bare VM, and runs a node as the platform does.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import vm from "node:vm";

const coreModules = createRequire(import.meta.url);

/** The platform ends a node after so long. */
const mostMs = 20_000;

/**
 * An Extension has only console, timers and require around it, because no more is known of the platform's VM. load
 * keeps what it writes to the console, and which modules it asks for. modules replaces some modules. With a Clock, its
 * time is the Clock's.
 */
export function load(file, { modules = {}, clock = null } = {}) {
  const required = [];
  const written = [];
  const write = (...words) => written.push(words.map(String).join(" "));
  const time = clock || { setTimeout, clearTimeout };
  const module = { exports: {} };
  const globals = vm.createContext({
    console: { log: write, info: write, warn: write, error: write, debug: write },
    setTimeout: time.setTimeout,
    clearTimeout: time.clearTimeout,
    module,
    exports: module.exports,
    require: (name) => {
      required.push(name);
      const found = modules[name] || coreModules(name);
      return clock && name.startsWith("http") ? clock.client(found) : found;
    },
  });
  if (clock) {
    vm.runInContext("Date", globals).now = clock.now;
  }
  vm.runInContext(readFileSync(file, "utf8"), globals, { filename: file });
  return { ...module.exports.default, required, written, time };
}

/**
 * A Session is one user's conversation: its context stays, its input is new with each message. run executes a node
 * with its default values and the given ones, and returns the outcome.
 */
export class Session {
  context = {};
  input = null;
  #messages = 0;

  constructor(extension, sessionId = `session-${Math.random().toString(16).slice(2)}`) {
    this.extension = extension;
    this.sessionId = sessionId;
    this.message();
  }

  message(more = {}) {
    this.input = {
      sessionId: this.sessionId,
      execution: ++this.#messages,
      inputId: "0123456789abcdef01234567",
      ...more,
    };
    return this;
  }

  async run(type, config, { api: replaced = {}, nodeId = "5f3c0a", endsAfter = mostMs } = {}) {
    const node = this.extension.nodes.find((one) => one.type === type);
    const calls = [];
    const log = [];
    let branch = null;
    const does = {
      addToContext: (key, value, mode) => void (this.context[key] = mode === "simple" ? copy(value) : undefined),
      addToInput: (key, value) => void (this.input[key] = copy(value)),
      setNextNode: (id) => void (branch = id),
      log: (level, text) => void log.push(`${level}: ${text}`),
      ...replaced,
    };
    const api = {};
    for (const [name, act] of Object.entries(does)) {
      api[name] = (...args) => {
        calls.push(name);
        return act(...args);
      };
    }
    const params = {
      cognigy: { input: this.input, context: this.context, profile: {}, api },
      config: { ...this.#defaults(node), ...config },
      childConfigs: node.dependencies.children.map((child) => ({ id: child, type: child, config: {} })),
      nodeId,
    };
    await this.#inTime(endsAfter, () => node.function(params));
    const key = params.config.storeLocation === "input" ? params.config.inputKey : params.config.contextKey;
    const output = (params.config.storeLocation === "input" ? this.input : this.context)[key];
    return { output, branch, calls, log };
  }

  /** Timers fire in the order of their times, so that a slow machine does not make a node late that ends by its own. */
  async #inTime(ms, run) {
    const { time } = this.extension;
    let timer;
    const late = new Promise((_, reject) => {
      timer = time.setTimeout(() => reject(new Error(`the node has not ended after ${ms} ms`)), ms);
    });
    try {
      await Promise.race([run(), late]);
    } finally {
      time.clearTimeout(timer);
    }
  }

  #defaults(node) {
    const config = {};
    for (const { key, defaultValue } of node.fields) {
      config[key] = typeof defaultValue === "string" ? this.#fill(defaultValue) : defaultValue;
    }
    return config;
  }

  /** fill replaces {{input.x}} and {{context.x}}. */
  #fill(text) {
    return text.replace(/\{\{([\w.]+)\}\}/g, (_, path) => {
      const value = path.split(".").reduce((at, name) => at?.[name], { input: this.input, context: this.context });
      return value ?? "";
    });
  }
}

/** A flow stores JSON. */
function copy(value) {
  return JSON.parse(JSON.stringify(value));
}
