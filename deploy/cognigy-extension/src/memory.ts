import { Identity } from "./identity";
import { meaningOf, Status } from "./status";

/** The context's key under which calls without an outcome are remembered. */
export const memoryKey = "oncegatePending";

/** The oldest calls are forgotten beyond this, so that the context does not fill up. */
const mostCalls = 20;

/** Longer variables are not remembered: a later turn then sends its own ones under the remembered identity. */
const maxVariablesLength = 16_000;

/** A Pending is a call of an earlier run whose outcome is not known yet. */
export interface Pending {
  step: string;
  identity: Identity;
  /** As JSON, so that the same bytes go out again; null: they were too long. */
  variables: string | null;
  fingerprint: string | null;
  /** Milliseconds since 1970. From then on the gateway may have forgotten the call, and would execute it again. */
  until: number;
}

/**
 * recall returns the pending call of a step, or null. If variables are given, it is a call with just these: several
 * tool calls of an AI agent may be pending, and only their arguments tell a repeated one from another.
 */
export function recall(context: unknown, step: string, variables?: string): Pending | null {
  const calls = memoryOf(context).filter(
    (call) => call.step === step && (variables === undefined || call.variables === variables),
  );
  return calls.length ? calls[calls.length - 1] : null;
}

/** remembered is the memory after an answer, or null if it stays as it is. */
export function remembered(
  context: unknown,
  call: Omit<Pending, "until">,
  status: Status,
  minutes: number,
): Pending[] | null {
  const memory = memoryOf(context);
  const same = ({ identity }: Pending) =>
    (["dialogId", "nodeId", "sequence"] as const).every((part) => identity[part] === call.identity[part]);
  const before = memory.find(same);
  const others = memory.filter((one) => !same(one));
  const becomes = meaningOf(status).memory;
  switch (becomes) {
    case "leave":
      return null;
    case "forget":
      return before ? others : null;
  }
  const variables = call.variables && call.variables.length <= maxVariablesLength ? call.variables : null;
  const until = becomes === "keep" && before ? before.until : Date.now() + minutes * 60_000;
  return [...others, { ...call, variables, until }].slice(-mostCalls);
}

/** forgotten is the memory without the call of a fingerprint, or null if it stays as it is. */
export function forgotten(context: unknown, fingerprint: string): Pending[] | null {
  const memory = memoryOf(context);
  const others = memory.filter((call) => hex(call.fingerprint) !== hex(fingerprint));
  return others.length < memory.length ? others : null;
}

/** memoryOf reads the calls that are still of use. Anybody may write into the context, so the form is checked. */
function memoryOf(context: unknown): Pending[] {
  const stored = Object(context)[memoryKey];
  return Array.isArray(stored) ? stored.filter((call) => isPending(call) && call.until > Date.now()) : [];
}

function isPending(value: unknown): value is Pending {
  const { step, identity, variables, fingerprint, until } = Object(value) as Record<string, unknown>;
  const { dialogId, nodeId, sequence } = Object(identity) as Record<string, unknown>;
  const texts = [step, dialogId, nodeId];
  const optional = [variables, fingerprint];
  return (
    typeof until === "number" &&
    (typeof sequence === "number" || typeof sequence === "string") &&
    texts.every((text) => typeof text === "string") &&
    optional.every((text) => text === null || typeof text === "string")
  );
}

function hex(fingerprint: string | null): string {
  return (fingerprint || "").replace("cognigy:fp:", "");
}
