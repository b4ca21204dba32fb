import { INodeField, INodeSection } from "@cognigy/extension-tools/build/interfaces/descriptor";

import { oncegate } from "./connection";

/** The fields that both nodes have. */

export const color = "#0f766e";

export const connectionField: INodeField = {
  key: "connection",
  type: "connection",
  label: { default: "Gateway", deDE: "Gateway" },
  description: {
    default: "gatewayUrl: such as https://gateway.example.com; apiKey: one of the gateway's, if it asks for one",
    deDE: "gatewayUrl: etwa https://gateway.example.com; apiKey: einer des Gateways, falls es einen verlangt",
  },
  params: { connectionType: oncegate.type, required: true },
};

export const storageFields: INodeField[] = [
  {
    key: "storeLocation",
    type: "select",
    label: { default: "Where to store the result", deDE: "Wo das Ergebnis gespeichert wird" },
    description: {
      default: "Get Result finds it in the Context by itself, also in a later message",
      deDE: "Im Context findet Get Result es von selbst, auch bei einer späteren Nachricht",
    },
    defaultValue: "context",
    params: {
      required: true,
      options: [
        { label: "Context", value: "context" },
        { label: "Input", value: "input" },
      ],
    },
  },
  {
    key: "inputKey",
    type: "cognigyText",
    label: { default: "Input key", deDE: "Input-Schlüssel" },
    defaultValue: "oncegate",
    condition: { key: "storeLocation", value: "input" },
  },
  {
    key: "contextKey",
    type: "cognigyText",
    label: { default: "Context key", deDE: "Context-Schlüssel" },
    defaultValue: "oncegate",
    condition: { key: "storeLocation", value: "context" },
  },
];

export const storageSection: INodeSection = {
  key: "storage",
  label: { default: "Storage", deDE: "Speicherung" },
  defaultCollapsed: true,
  fields: storageFields.map(({ key }) => key),
};

/** The tokens name the place that the storage section has by default. */
export const tokens = [
  { label: "Oncegate Result", script: "context.oncegate.data", type: "answer" as const },
  { label: "Oncegate Status", script: "context.oncegate.status", type: "answer" as const },
  { label: "Oncegate Error", script: "context.oncegate.detail", type: "answer" as const },
];
