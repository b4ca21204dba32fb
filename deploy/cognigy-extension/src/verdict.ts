import { Answer, Silence } from "./exchange";
import { Status } from "./status";

/** The gateway takes no deeper JSON either. */
const mostLevels = 1000;

export interface Verdict {
  status: Status;
  data: unknown;
  /** The remark of the gateway or of Node; empty if there is none. */
  remark: string;
  httpStatus: number | null;
  /** Seconds after which the gateway would like to be asked again. */
  retryAfter: number | null;
  fingerprint: string | null;
  attempt: number | null;
  replayed: boolean;
  mismatch: boolean;
}

/**
 * judge returns the meaning of an answer. Only the gateway's own word makes a success: a 200 alone may come from a
 * login page or from another server.
 */
export function judge(heard: Answer | Silence): Verdict {
  if ("silence" in heard) {
    return { ...nothing, status: heard.silence, remark: heard.reason };
  }
  const { headers, code } = heard;
  const json = parsed(heard.text);
  const envelope = envelopeOf(json, headers["idempotency-fingerprint"]);
  const status = json === undefined && isJSON(heard) ? "unexpected" : statusOf(heard, envelope);
  const fingerprint = String(headers["idempotency-fingerprint"] || (envelope && envelope.fingerprint) || "");
  return {
    status,
    data: dataOf(heard, json, envelope, status),
    remark: remarkOf(heard, json, status),
    httpStatus: code,
    retryAfter: seconds(headers["retry-after"]),
    fingerprint: isFingerprint(fingerprint) ? fingerprint : null,
    attempt: whole(headers["idempotency-attempt"]),
    replayed: headers["idempotency-replayed"] === "true" || (envelope !== null && envelope.status === "cached"),
    mismatch: headers["idempotency-mismatch"] === "true",
  };
}

const nothing = {
  data: null,
  remark: "",
  httpStatus: null,
  retryAfter: null,
  fingerprint: null,
  attempt: null,
  replayed: false,
  mismatch: false,
};

/** isFingerprint knows the form that the gateway gives out and takes. */
export function isFingerprint(text: string): boolean {
  return /^(cognigy:fp:)?[0-9a-f]{64}$/.test(text);
}

function statusOf(answer: Answer, envelope: Envelope | null): Status {
  const { code, headers } = answer;
  const success = code >= 200 && code < 300;
  const refusal = code >= 400 && code < 500;
  // The header speaks first: with RESPONSE_MODE=passthrough the body is the backend's own.
  const word = headers["idempotency-status"] || (envelope && envelope.status);
  switch (word) {
    case "executed":
    case "replayed":
    case "waited":
      return success ? word : refusal ? "rejected" : "unexpected";
    case "success":
      return success ? "executed" : "unexpected";
    case "cached":
      return success ? "replayed" : "unexpected";
    case "rejected":
      return refusal ? "rejected" : "unexpected";
    case "processing":
    case "failed":
    case "poisoned":
    case "doubtful":
    case "mismatch":
    case "limited":
      return word;
  }
  return statusOfCode(answer);
}

/** These answers have no word of the gateway's: it refused the request at once, or a proxy answered. */
function statusOfCode({ code, headers, text }: Answer): Status {
  switch (code) {
    case 400:
    case 413:
    case 415:
    case 422:
    case 431:
      return "invalid";
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return headers["idempotency-fingerprint"] ? "unknown" : "misconfigured";
    case 405:
      return "misconfigured";
    case 429:
      return "limited";
    case 408:
    case 502:
    case 503:
    case 504:
      return "unavailable";
    case 500: // a proxy has dropped the headers
      return /"fingerprint":"cognigy:fp:/.test(text) ? "failed" : "unexpected";
  }
  return code >= 300 && code < 400 ? "misconfigured" : "unexpected";
}

interface Envelope {
  status: string;
  data: unknown;
  fingerprint: string;
}

/**
 * envelopeOf returns the gateway's own JSON around a result, or null for anything else, such as a body that is passed
 * through from the backend and has the same members by chance.
 */
function envelopeOf(json: unknown, named: unknown): Envelope | null {
  if (!json || typeof json !== "object") {
    return null;
  }
  const { status, data, fingerprint, ...others } = json as Record<string, unknown>;
  if (typeof status !== "string" || typeof fingerprint !== "string" || !isFingerprint(fingerprint)) {
    return null;
  }
  if (named !== undefined && named !== fingerprint) {
    return null;
  }
  return Object.keys(others).every((name) => name === "detail") ? { status, data, fingerprint } : null;
}

/** dataOf returns the backend's answer: JSON as its value, anything else as text. */
function dataOf(answer: Answer, json: unknown, envelope: Envelope | null, status: Status): unknown {
  if (envelope) {
    return envelope.data === undefined ? null : envelope.data;
  }
  const final = status === "executed" || status === "replayed" || status === "waited" || status === "rejected";
  if (!final || answer.text === "") {
    return null;
  }
  return isJSON(answer) ? json : answer.text;
}

/** isJSON reports whether an answer claims to be JSON. An empty body claims nothing. */
function isJSON({ headers, text }: Answer): boolean {
  return text !== "" && /[/+]json/i.test(headers["content-type"] || "");
}

function remarkOf({ code, headers }: Answer, json: unknown, status: Status): string {
  if (headers["idempotency-status"] && status !== "unexpected") {
    return ""; // the status says it
  }
  if (code >= 300 && code < 400 && status === "misconfigured") {
    return `HTTP ${code}, a redirect${headers.location ? ` to ${headers.location}` : ""}`;
  }
  const { detail, errors } = Object(json) as Record<string, unknown>;
  const remarks = [detail, ...(Array.isArray(errors) ? errors.map((e) => Object(e).message) : [])];
  return remarks.filter((remark) => typeof remark === "string").join("; ") || `HTTP ${code}`;
}

/** parsed returns undefined for text that is not JSON, and for JSON too deep for a platform that recurses into it. */
function parsed(text: string): unknown {
  try {
    const value = JSON.parse(text);
    return isDeeperThan(mostLevels, value) ? undefined : value;
  } catch {
    return undefined;
  }
}

function isDeeperThan(levels: number, value: unknown): boolean {
  let level = [value];
  for (let depth = 0; depth <= levels; depth++) {
    level = level.flatMap((one) => (one !== null && typeof one === "object" ? Object.values(one) : []));
    if (level.length === 0) {
      return false;
    }
  }
  return true;
}

function whole(text: unknown): number | null {
  return typeof text === "string" && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** Retry-After is a number of seconds or a date. No gateway asks for more than an hour. */
function seconds(header: string | undefined): number | null {
  const given = whole(header);
  const number = given === null ? Math.ceil((Date.parse(header || "") - Date.now()) / 1000) : given;
  return Number.isNaN(number) ? null : Math.min(Math.max(0, number), 3600);
}
