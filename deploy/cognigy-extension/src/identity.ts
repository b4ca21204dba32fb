import { Mistake } from "./mistake";

/** An Identity says which call it is: two calls with the same one are the same call, and are executed once. */
export interface Identity {
  dialogId: string;
  nodeId: string;
  sequence: number | string;
}

export interface IdentityFields {
  onceEach?: unknown;
  toolCallId?: unknown;
  businessKey?: unknown;
  counter?: unknown;
}

/** stepOf is the step's name. The node's own ID is a makeshift: nobody promises that it survives a Snapshot. */
export function stepOf(step: unknown, nodeId: unknown): string {
  const name = words(step) || words(nodeId);
  if (!name) {
    throw new Mistake("invalid", "The step has no name: write one into the field Step, such as book-flight.");
  }
  return name;
}

/**
 * identify makes the identity from a node's fields and the message. It throws a Mistake if a part is missing:
 * with half an identity all customers would share one call.
 */
export function identify(
  step: string,
  fields: IdentityFields,
  input: { sessionId?: unknown; execution?: unknown },
): Identity {
  const session = () => required(input.sessionId, "The message has no session ID (input.sessionId).");
  switch (fields.onceEach) {
    case undefined:
    case "message":
      return {
        dialogId: session(),
        nodeId: step,
        sequence: integer(
          input.execution,
          'The message has no number (input.execution): choose another "Once per", such as Counter.',
        ),
      };
    case "session":
      return { dialogId: session(), nodeId: step, sequence: 0 };
    case "toolCall": {
      const call = required(
        fields.toolCallId,
        "There is no tool call ID: the step must stand in the branch of an AI agent's tool.",
      );
      return { dialogId: session(), nodeId: `${step}/${call}`, sequence: 0 };
    }
    case "businessKey": {
      const key = required(fields.businessKey, "The business key is empty: is it filled in before this step?");
      return { dialogId: key, nodeId: step, sequence: 0 };
    }
    case "counter":
      return {
        dialogId: session(),
        nodeId: step,
        sequence: integer(fields.counter, "The counter is no whole number: is it set before this step?"),
      };
  }
  throw new Mistake("invalid", 'The field "Once per" has an unknown value: choose one of its options.');
}

/** The texts that scripts and templates write for a missing value name nothing. The gateway knows more such texts. */
function required(value: unknown, sentence: string): string {
  const text = words(value);
  if (!text || /^(undefined|null|NaN|\[object .*\])$/.test(text) || /\{\{.*\}\}/.test(text)) {
    throw new Mistake("invalid", sentence);
  }
  return text;
}

function integer(value: unknown, sentence: string): number | string {
  const text = words(value);
  if (!/^(0|-?[1-9]\d{0,18})$/.test(text)) {
    throw new Mistake("invalid", sentence);
  }
  return Number.isSafeInteger(Number(text)) ? Number(text) : text;
}

function words(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value).trim() : "";
}
