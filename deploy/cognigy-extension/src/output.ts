import { INodeFunctionBaseParams } from "@cognigy/extension-tools";

import { branchOf } from "./branches";
import { Told } from "./ask";
import { Identity } from "./identity";
import { memoryKey, Pending } from "./memory";
import { Mistake } from "./mistake";
import { meaningOf, Outcome, Status } from "./status";

/** An Output is the result that a flow reads. Each node stores a complete one, however it ends. */
export interface Output {
  outcome: Outcome;
  status: Status;
  data: unknown;
  fingerprint: string | null;
  httpStatus: number | null;
  attempt: number | null;
  replayed: boolean;
  /** It is the call of an earlier turn that was asked for. */
  resumed: boolean;
  /** The outcome belongs to other variables than those of this run. */
  mismatch: boolean;
  calls: number;
  waitedMs: number;
  identity: Identity | null;
  detail: string | null;
}

export interface StorageConfig {
  storeLocation?: unknown;
  inputKey?: unknown;
  contextKey?: unknown;
}

/** The longest remark of another program that is passed on. */
const maxRemarkLength = 300;

export function outputOf(told: Told): Output {
  const { status, remark, retryAfter, ...rest } = told;
  const { outcome, sentence } = meaningOf(status);
  const remarks = [
    sentence,
    sentence && remark ? `(${oneLine(remark)})` : null,
    sentence && retryAfter !== null && retryAfter > 1 ? `Not before ${retryAfter} s are over.` : null,
  ];
  const detail = remarks.filter((part) => part !== null).join(" ");
  return { ...blank(status), ...rest, outcome, detail: detail || null };
}

/** outputOfError reports a mistake found before anything was sent, or an error that should never happen. */
export function outputOfError(error: unknown): Output {
  if (error instanceof Mistake) {
    return { ...blank(error.status), detail: error.message };
  }
  // No text of it: it may hold anything.
  const name = oneLine(String(Object(error).name || "Error"));
  return { ...blank("unexpected"), detail: `The node itself failed (${name}): report it to those who maintain it.` };
}

function blank(status: Status): Output {
  return {
    outcome: meaningOf(status).outcome,
    status,
    data: null,
    fingerprint: null,
    httpStatus: null,
    attempt: null,
    replayed: false,
    resumed: false,
    mismatch: false,
    calls: 0,
    waitedMs: 0,
    identity: null,
    detail: null,
  };
}

/**
 * conclude hands a node's output to the flow: memory, storage, a line in the log if something is wrong, the branch. One
 * that fails does not keep the others from being done. These are at most four calls of the api.
 */
export function conclude(
  { cognigy: { api }, childConfigs, config }: INodeFunctionBaseParams,
  node: string,
  output: Output,
  memory: Pending[] | null,
): void {
  const attempt = (does: () => void) => {
    try {
      does();
      return true;
    } catch {
      return false;
    }
  };
  if (memory) {
    attempt(() => api.addToContext!(memoryKey, memory, "simple"));
  }
  const { storeLocation, inputKey, contextKey } = config as StorageConfig;
  const stored = attempt(() => {
    if (storeLocation === "input") {
      // The types of 0.14.0 lack it.
      (api as unknown as { addToInput(key: string, value: unknown): void }).addToInput(keyOf(inputKey), output);
    } else {
      api.addToContext!(keyOf(contextKey), output, "simple");
    }
  });
  const outcome = stored ? output.outcome : "error";
  const wrong = output.mismatch || outcome === "error";
  if (wrong) {
    attempt(() => api.log!(outcome === "error" ? "error" : "warn", logLine(node, output, stored)));
  }
  const branch = Array.isArray(childConfigs) && childConfigs.find(({ type }) => type === branchOf(node, outcome));
  if (branch) {
    attempt(() => api.setNextNode!(branch.id));
  }
}

/** The log gets no value of a payload or of a result, and no part of the connection. */
function logLine(node: string, { status, detail, fingerprint }: Output, stored: boolean): string {
  const parts = [
    `Oncegate, ${node}: ${status}.`,
    detail,
    stored ? null : "The output could not be stored: is it too large for the input or the context?",
    fingerprint,
  ];
  return parts.filter((part) => part !== null).join(" ");
}

function keyOf(key: unknown): string {
  return (typeof key === "string" && key.trim()) || "oncegate";
}

function oneLine(text: string): string {
  return text.replace(/[\s\u0000-\u001f\u007f]+/g, " ").slice(0, maxRemarkLength);
}
