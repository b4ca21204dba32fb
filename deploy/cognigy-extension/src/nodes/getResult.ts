import { createNodeDescriptor, INodeFunctionBaseParams } from "@cognigy/extension-tools";

import { ask } from "../ask";
import { branchesOf, branchOf } from "../branches";
import { gatewayOf } from "../connection";
import { color, connectionField, storageFields, storageSection, tokens } from "../fields";
import { forgotten, Pending } from "../memory";
import { Mistake } from "../mistake";
import { conclude, Output, outputOf, outputOfError } from "../output";
import { meaningOf, Outcome } from "../status";
import { isFingerprint } from "../verdict";

const type = "getResult";
const outcomes: Outcome[] = ["done", "rejected", "processing", "notFound", "error"];

/** The gateway answers at once, so this is for lost connections, and for a gateway that is away for a moment. */
const patienceMs = 10_000;

interface GetResultConfig {
  connection?: unknown;
  fingerprint?: unknown;
}

async function run(params: INodeFunctionBaseParams): Promise<void> {
  const began = Date.now();
  let output: Output;
  let memory: Pending[] | null = null;
  try {
    output = await find(params.config as GetResultConfig);
    if (output.fingerprint && meaningOf(output.status).memory === "forget") {
      memory = forgotten(params.cognigy.context, output.fingerprint);
    }
  } catch (error) {
    output = outputOfError(error);
  }
  output.waitedMs = Date.now() - began;
  conclude(params, type, output, memory);
}

async function find(config: GetResultConfig): Promise<Output> {
  const gateway = gatewayOf(config.connection);
  const fingerprint = typeof config.fingerprint === "string" ? config.fingerprint.trim() : "";
  if (!isFingerprint(fingerprint)) {
    throw new Mistake(
      "invalid",
      "There is no fingerprint: has Call Once had an answer, and stored it where this node looks for it?",
    );
  }
  const told = await ask({
    gateway,
    method: "GET",
    path: `/${fingerprint}`,
    ms: patienceMs,
    repeats: 0,
    waits: false,
  });
  return { ...outputOf(told), fingerprint };
}

const node = createNodeDescriptor({
  type,
  defaultLabel: { default: "Get Result", deDE: "Ergebnis holen" },
  summary: {
    default: "Asks Oncegate what became of a call, without executing anything",
    deDE: "Fragt Oncegate, was aus einem Aufruf wurde, ohne etwas auszuführen",
  },
  preview: { key: "fingerprint", type: "text" },
  tags: ["service"],
  appearance: { color },
  fields: [
    connectionField,
    {
      key: "fingerprint",
      type: "cognigyText",
      label: { default: "Fingerprint", deDE: "Fingerabdruck" },
      description: {
        default: "It names the call; Call Once has stored it",
        deDE: "Er benennt den Aufruf; Einmal aufrufen hat ihn gespeichert",
      },
      defaultValue: "{{context.oncegate.fingerprint}}",
      params: { required: true },
    },
    ...storageFields,
  ],
  sections: [storageSection],
  form: [
    { type: "field", key: "connection" },
    { type: "field", key: "fingerprint" },
    { type: "section", key: "storage" },
  ],
  tokens,
  dependencies: { children: outcomes.map((outcome) => branchOf(type, outcome)) },
  function: run,
});

/** The node, and the branches below it. */
export const getResult = [node, ...branchesOf(type, outcomes)];
