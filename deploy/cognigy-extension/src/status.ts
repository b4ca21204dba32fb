/** Which branch a flow takes. */
export type Outcome = "done" | "rejected" | "processing" | "error" | "notFound";

interface Meaning {
  outcome: Outcome;
  /** Whether the same call may be sent again within the node's time. */
  again: "never" | "soon" | "ifAllowed";
  /**
   * What becomes of the memory of a call that has no outcome yet. "forget": it has one now. "renew": the gateway has
   * just said that it knows the call. "keep": nobody knows whether the call came. "leave": this answer says nothing
   * about the call.
   */
  memory: "forget" | "renew" | "keep" | "leave";
  /** The sentence for an author: the meaning, and what to do. */
  sentence: string | null;
}

const done: Meaning = { outcome: "done", again: "never", memory: "forget", sentence: null };

/** One row for each status of a node. If the gateway has a word for a status, the row has the same word. */
const meanings = {
  executed: done,
  replayed: done,
  waited: done,
  rejected: { ...done, outcome: "rejected" },
  processing: {
    outcome: "processing",
    again: "soon",
    memory: "renew",
    sentence: "It is still being processed: run the step again, or ask with Get Result.",
  },
  failed: {
    outcome: "error",
    again: "ifAllowed",
    memory: "renew",
    sentence: "The logic behind the gateway failed: the step's next run executes it again.",
  },
  poisoned: {
    outcome: "error",
    again: "never",
    memory: "renew",
    sentence:
      "It failed or crashed so often that it is not executed any more, until a person decides: tell those who run " +
      "the gateway (oncegate poisoned).",
  },
  doubtful: {
    outcome: "error",
    again: "never",
    memory: "renew",
    sentence:
      "An earlier attempt may have had its effect, so it is not executed again until a person decides: tell those " +
      "who run the gateway (oncegate doubtful).",
  },
  mismatch: {
    outcome: "error",
    again: "never",
    memory: "leave",
    sentence:
      "Other variables came before under the same identity: give the step a name of its own, or choose another " +
      '"Once per".',
  },
  limited: {
    outcome: "error",
    again: "soon",
    memory: "keep",
    sentence: "The gateway takes no more calls at the moment: run the step again later.",
  },
  unavailable: {
    outcome: "error",
    again: "soon",
    memory: "keep",
    sentence: "The gateway, its Redis or the backend is not available at the moment: run the step again later.",
  },
  unreachable: {
    outcome: "error",
    again: "soon",
    memory: "keep",
    sentence: "The gateway cannot be reached: check the connection's gatewayUrl, and whether Cognigy.AI gets there.",
  },
  timeout: {
    outcome: "error",
    again: "soon",
    memory: "keep",
    sentence: "The gateway did not answer in time, and may be at work: run the step again.",
  },
  untrusted: {
    outcome: "error",
    again: "never",
    memory: "leave",
    sentence: "The gateway's certificate is not trusted: it needs one of a public authority, with its whole chain.",
  },
  unauthorized: {
    outcome: "error",
    again: "never",
    memory: "leave",
    sentence: "The gateway asks for an API key: put one that it knows into the connection (apiKey).",
  },
  forbidden: {
    outcome: "error",
    again: "never",
    memory: "leave",
    sentence: "The gateway, or a proxy before it, turns calls from Cognigy.AI away.",
  },
  invalid: {
    outcome: "error",
    again: "never",
    memory: "leave",
    sentence: "The gateway cannot take this call: check the node's fields.",
  },
  misconfigured: {
    outcome: "error",
    again: "never",
    memory: "leave",
    sentence: "There is no gateway at the connection's gatewayUrl: it looks like https://gateway.example.com.",
  },
  tooLarge: {
    outcome: "error",
    again: "never",
    memory: "keep",
    sentence: "The result is too large for a flow: let the backend answer less.",
  },
  unexpected: {
    outcome: "error",
    again: "never",
    memory: "keep",
    sentence: "The answer is none of an Oncegate gateway: check the connection's gatewayUrl.",
  },
  unknown: {
    outcome: "notFound",
    again: "never",
    memory: "leave",
    sentence: "The gateway knows no such call: it never came, or the time of its result is over.",
  },
} as const;

export type Status = keyof typeof meanings;

export function meaningOf(status: Status): Meaning {
  return meanings[status];
}
