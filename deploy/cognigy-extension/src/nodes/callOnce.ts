import { createNodeDescriptor, INodeFunctionBaseParams } from "@cognigy/extension-tools";

import { ask } from "../ask";
import { branchesOf, branchOf } from "../branches";
import { gatewayOf } from "../connection";
import { color, connectionField, storageFields, storageSection, tokens } from "../fields";
import { identify, Identity, IdentityFields, stepOf } from "../identity";
import { Pending, recall, remembered } from "../memory";
import { Mistake } from "../mistake";
import { conclude, Output, outputOf, outputOfError } from "../output";
import { Outcome } from "../status";

const type = "callOnce";
const outcomes: Outcome[] = ["done", "rejected", "processing", "error"];

/** The platform ends a node after 20 s without a branch, and its operators are alerted from 15 s on. */
const mostSeconds = 17;

/** So much earlier the node gives up, so that it has ended when the time is over. */
const marginMs = 250;

interface CallOnceConfig extends IdentityFields {
  connection?: unknown;
  step?: unknown;
  variables?: unknown;
  waitSeconds?: unknown;
  repeatAfterFailure?: unknown;
  rememberPending?: unknown;
  rememberMinutes?: unknown;
}

async function run(params: INodeFunctionBaseParams): Promise<void> {
  const began = Date.now();
  let output: Output;
  let memory: Pending[] | null = null;
  try {
    [output, memory] = await call(params);
  } catch (error) {
    output = outputOfError(error);
  }
  output.waitedMs = Date.now() - began;
  conclude(params, type, output, memory);
}

async function call({ cognigy, config: given, nodeId }: INodeFunctionBaseParams): Promise<[Output, Pending[] | null]> {
  const config = given as CallOnceConfig;
  const gateway = gatewayOf(config.connection);
  const step = stepOf(config.step, nodeId);
  const own = identify(step, config, cognigy.input);
  const ownVariables = variablesOf(config.variables);

  const pending = remembers(config) ? recall(cognigy.context, step, toolCall(config) ? ownVariables : undefined) : null;
  const identity = pending ? pending.identity : own;
  const variables = (pending && pending.variables) || ownVariables;
  const told = await ask({
    gateway,
    method: "POST",
    path: "",
    body: bodyOf(identity, variables),
    ms: within(config.waitSeconds, 2, mostSeconds, 12) * 1000 - marginMs,
    repeats: within(config.repeatAfterFailure, 0, 3, 0),
    waits: true,
  });

  const output = outputOf(told);
  output.identity = identity;
  output.fingerprint = told.fingerprint || (pending && pending.fingerprint);
  output.resumed = bodyOf(identity, "") !== bodyOf(own, "");
  if (told.mismatch || variables !== ownVariables) {
    output.mismatch = true;
    output.detail = [output.detail, "The outcome is that of a call with other variables."].filter(Boolean).join(" ");
  }
  const minutes = within(config.rememberMinutes, 1, 24 * 60, 60);
  const memory = remembers(config)
    ? remembered(cognigy.context, { step, identity, variables, fingerprint: output.fingerprint }, told.status, minutes)
    : null;
  return [output, memory];
}

/** With the other choices of "Once per" the identity is the same in a later turn, and needs no memory. */
function remembers({ onceEach, rememberPending }: CallOnceConfig): boolean {
  return rememberPending !== false && (onceEach === undefined || onceEach === "message" || onceEach === "toolCall");
}

function toolCall({ onceEach }: CallOnceConfig): boolean {
  return onceEach === "toolCall";
}

/** variablesOf returns the variables as JSON. The field gives an object, or its text if somebody has written one. */
function variablesOf(given: unknown): string {
  let variables = given;
  try {
    if (typeof given === "string") {
      variables = given.trim() === "" ? {} : JSON.parse(given);
    }
    if (variables === undefined || variables === null) {
      variables = {};
    }
    if (typeof variables === "object" && !Array.isArray(variables)) {
      return JSON.stringify(variables);
    }
  } catch {
    // no JSON, or a circle in it
  }
  throw new Mistake("invalid", 'The variables must be a JSON object, such as {"seats": 2}.');
}

/** bodyOf writes the webhook: of the same identity and variables always the same bytes. */
function bodyOf(identity: Identity, variables: string): string {
  const { dialogId, nodeId, sequence } = identity;
  return `${JSON.stringify({ dialogId, nodeId, sequence }).slice(0, -1)},"variables":${variables}}`;
}

function within(given: unknown, least: number, most: number, otherwise: number): number {
  const number = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  return typeof number === "number" && Number.isFinite(number) ? Math.min(Math.max(number, least), most) : otherwise;
}

const node = createNodeDescriptor({
  type,
  defaultLabel: { default: "Call Once", deDE: "Einmal aufrufen" },
  summary: {
    default: "Calls a backend through Oncegate: executed once, whatever is repeated",
    deDE: "Ruft ein Backend über Oncegate auf: einmal ausgeführt, was auch wiederholt wird",
  },
  preview: { key: "step", type: "text" },
  tags: ["service"],
  appearance: { color },
  fields: [
    connectionField,
    {
      key: "step",
      type: "cognigyText",
      label: { default: "Step", deDE: "Schritt" },
      description: {
        default: "A name for what is done here, such as book-flight; if empty, the node's ID, which may change",
        deDE: "Ein Name für das, was hier getan wird, etwa flug-buchen; leer: die ID des Nodes, die wechseln kann",
      },
      defaultValue: "",
    },
    {
      key: "onceEach",
      type: "select",
      label: { default: "Once per", deDE: "Einmal je" },
      description: {
        default: "What makes two runs of the step one and the same call",
        deDE: "Was zwei Läufe des Schritts zu ein und demselben Aufruf macht",
      },
      defaultValue: "message",
      params: {
        required: true,
        options: [
          { label: { default: "Message of the user", deDE: "Nachricht des Benutzers" }, value: "message" },
          { label: { default: "Session", deDE: "Sitzung" }, value: "session" },
          { label: { default: "Tool call of an AI agent", deDE: "Tool-Aufruf eines KI-Agenten" }, value: "toolCall" },
          { label: { default: "Business key", deDE: "Fachlicher Schlüssel" }, value: "businessKey" },
          { label: { default: "Counter", deDE: "Zähler" }, value: "counter" },
        ],
      },
    },
    {
      key: "toolCallId",
      type: "cognigyText",
      label: { default: "Tool call ID", deDE: "ID des Tool-Aufrufs" },
      defaultValue: "{{input.aiAgent.toolCallId}}",
      condition: { key: "onceEach", value: "toolCall" },
    },
    {
      key: "businessKey",
      type: "cognigyText",
      label: { default: "Business key", deDE: "Fachlicher Schlüssel" },
      description: {
        default: "Such as {{context.orderNumber}}: the only choice that also catches a message that comes twice",
        deDE: "Etwa {{context.orderNumber}}: nur damit fällt auch eine Nachricht auf, die zweimal kommt",
      },
      defaultValue: "",
      condition: { key: "onceEach", value: "businessKey" },
    },
    {
      key: "counter",
      type: "cognigyText",
      label: { default: "Counter", deDE: "Zähler" },
      description: {
        default: "Such as {{context.bookings}}: a whole number that the flow raises when it means another call",
        deDE: "Etwa {{context.bookings}}: eine ganze Zahl, die der Flow erhöht, wenn er einen neuen Aufruf meint",
      },
      defaultValue: "",
      condition: { key: "onceEach", value: "counter" },
    },
    {
      key: "variables",
      type: "json",
      label: { default: "Variables", deDE: "Variablen" },
      description: {
        default: "What the backend gets, without times and random values of this run",
        deDE: "Was das Backend bekommt, ohne Zeiten und Zufallswerte dieses Laufs",
      },
      defaultValue: "{}",
    },
    {
      key: "waitSeconds",
      type: "slider",
      label: { default: "Wait at most (seconds)", deDE: "Höchstens warten (Sekunden)" },
      description: {
        default: "All repeats included; then the flow goes on with Still Processing or Error",
        deDE: "Samt allen Wiederholungen; danach geht der Flow mit „Noch in Arbeit“ oder „Fehler“ weiter",
      },
      defaultValue: 12,
      params: { min: 2, max: mostSeconds, step: 1 },
    },
    {
      key: "repeatAfterFailure",
      type: "slider",
      label: { default: "Execute again after a failure", deDE: "Nach einem Fehlschlag neu ausführen" },
      description: {
        default: "How often, within the time; only for a backend that honours the idempotency key",
        deDE: "Wie oft, in der Wartezeit; nur bei einem Backend, das den Idempotenz-Schlüssel beachtet",
      },
      defaultValue: 0,
      params: { min: 0, max: 3, step: 1 },
    },
    {
      key: "rememberPending",
      type: "toggle",
      label: { default: "Remember a call without an outcome", deDE: "Aufruf ohne Ausgang merken" },
      description: {
        default: "So that the step asks for the same call in a later message, rather than begin another one",
        deDE: "Damit der Schritt bei einer späteren Nachricht nach demselben fragt, statt einen neuen zu beginnen",
      },
      defaultValue: true,
      condition: { key: "onceEach", value: ["message", "toolCall"] },
    },
    {
      key: "rememberMinutes",
      type: "number",
      label: { default: "For how many minutes", deDE: "Für wie viele Minuten" },
      description: {
        default: "Not longer than the gateway remembers results (RESULT_TTL)",
        deDE: "Nicht länger, als sich das Gateway Ergebnisse merkt (RESULT_TTL)",
      },
      defaultValue: 60,
      condition: {
        and: [
          { key: "rememberPending", value: true },
          { key: "onceEach", value: ["message", "toolCall"] },
        ],
      },
    },
    ...storageFields,
  ],
  sections: [
    {
      key: "patience",
      label: { default: "Waiting and repeating", deDE: "Warten und Wiederholen" },
      defaultCollapsed: true,
      fields: ["waitSeconds", "repeatAfterFailure", "rememberPending", "rememberMinutes"],
    },
    storageSection,
  ],
  form: [
    { type: "field", key: "connection" },
    { type: "field", key: "step" },
    { type: "field", key: "onceEach" },
    { type: "field", key: "toolCallId" },
    { type: "field", key: "businessKey" },
    { type: "field", key: "counter" },
    { type: "field", key: "variables" },
    { type: "section", key: "patience" },
    { type: "section", key: "storage" },
  ],
  tokens,
  dependencies: { children: outcomes.map((outcome) => branchOf(type, outcome)) },
  function: run,
});

/** The node, and the branches below it. */
export const callOnce = [node, ...branchesOf(type, outcomes)];
