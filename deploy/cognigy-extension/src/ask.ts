import { URL } from "url";

import { Gateway } from "./connection";
import { Answer, Call, exchange, Silence } from "./exchange";
import { meaningOf } from "./status";
import { judge, Verdict } from "./verdict";

/** A call that has less time left than this is not sent: it would be given up before the gateway can answer. */
const worthwhileMs = 2000;

/** The pause before a call is repeated, if the gateway does not ask for a longer one, and the most that is added. */
const pauseMs = 1000;
const jitterMs = 250;

/** How much earlier than this node the gateway stops waiting for an execution, so that its answer is still read. */
const aheadMs = 1000;

export interface Question {
  gateway: Gateway;
  method: "GET" | "POST";
  /** Behind the gateway's path; empty for a webhook. */
  path: string;
  body?: string;
  /** How long it may take in all, in milliseconds. */
  ms: number;
  /** How often a failure is executed again. */
  repeats: number;
  /** Whether it is asked again while it is being processed. */
  waits: boolean;
}

export interface Told extends Verdict {
  calls: number;
}

/**
 * ask sends the same bytes until there is an outcome, or no time for another call. It takes no longer than question.ms,
 * whatever the gateway does, and never throws for anything that comes over the network.
 */
export async function ask(question: Question): Promise<Told> {
  const ends = Date.now() + question.ms;
  let repeats = question.repeats;
  let processing: Verdict | null = null;
  for (let calls = 1; ; calls++) {
    // No more than it had at first, even if the clock is put back.
    const left = Math.min(ends - Date.now(), question.ms);
    const verdict = judge(guard(question.gateway, await exchange(callOf(question, left), left)));
    const { again } = meaningOf(verdict.status);
    if (verdict.status === "processing") {
      processing = verdict;
    }
    const asked = verdict.retryAfter === null ? 0 : verdict.retryAfter * 1000;
    const pause = Math.max(pauseMs, asked) + Math.random() * jitterMs;
    const inTime = ends - Date.now() - pause >= worthwhileMs;
    const waits = verdict.status !== "processing" || question.waits;
    if (inTime && waits && (again === "soon" || (again === "ifAllowed" && repeats-- > 0))) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      continue;
    }
    // It was being processed when the gateway was last heard of, and a call that got lost does not change that.
    return { ...(again === "soon" && processing ? processing : verdict), calls };
  }
}

function callOf({ gateway, method, path, body }: Question, left: number): Call {
  const url = new URL(gateway.url.href);
  url.pathname += path;
  const headers: Record<string, string> = { Accept: "application/json" };
  if (gateway.apiKey) {
    headers["X-API-Key"] = gateway.apiKey;
  }
  if (method === "POST") {
    headers["Content-Type"] = "application/json";
    headers.Prefer = `wait=${Math.max(0, Math.floor((left - aheadMs) / 1000))}`;
  }
  return { url, method, headers, body };
}

/**
 * guard drops an answer that repeats the API key, as an echo service's does: otherwise the key would get into the
 * flow's context and into logs. A key of less than 16 characters may be a word that an answer has by chance.
 */
function guard({ apiKey }: Gateway, heard: Answer | Silence): Answer | Silence {
  if ("silence" in heard || apiKey.length < 16) {
    return heard;
  }
  const shown = heard.text.includes(apiKey) || JSON.stringify(heard.headers).includes(apiKey);
  return shown ? { silence: "unexpected", reason: "it repeats the API key, and is not shown" } : heard;
}
