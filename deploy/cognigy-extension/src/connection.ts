import { IConnectionSchema } from "@cognigy/extension-tools";
import { URL } from "url";

import { Mistake } from "./mistake";

/** The platform keeps the values as secrets, and lets an Endpoint replace them. */
export const oncegate: IConnectionSchema = {
  type: "oncegate",
  label: "Oncegate",
  fields: [{ fieldName: "gatewayUrl" }, { fieldName: "apiKey" }],
};

export interface Gateway {
  /** Where webhooks are sent to. A result is asked for under the same path. */
  url: URL;
  /** Empty: none is shown. */
  apiKey: string;
}

/** gatewayOf reads the values of a connection. It throws a Mistake that names no value of them. */
export function gatewayOf(connection: unknown): Gateway {
  if (!connection || typeof connection !== "object") {
    throw new Mistake("misconfigured", "The node has no connection: choose one, with the gateway's URL and API key.");
  }
  const { gatewayUrl, apiKey } = connection as Record<string, unknown>;
  return { url: urlOf(text(gatewayUrl)), apiKey: keyOf(text(apiKey)) };
}

function urlOf(given: string): URL {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new Mistake(
      "misconfigured",
      "The connection's gatewayUrl is no URL: it looks like https://gateway.example.com.",
    );
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new Mistake("misconfigured", "The connection's gatewayUrl must begin with https:// (or http://).");
  }
  if (url.username || url.password) {
    throw new Mistake("misconfigured", "The connection's gatewayUrl has a password in it: put the key into apiKey.");
  }
  if (url.search || url.hash) {
    throw new Mistake("misconfigured", "The connection's gatewayUrl must end with its path: leave out ? and #.");
  }
  url.pathname = url.pathname.replace(/\/+$/, "") || "/webhook/cognigy";
  return url;
}

function keyOf(key: string): string {
  if (!/^[\x21-\x7e]*$/.test(key)) {
    throw new Mistake(
      "misconfigured",
      "The connection's apiKey has a space, a line break or a special letter in it: no key of a gateway has those.",
    );
  }
  return key;
}

function text(value: unknown): string {
  return typeof value === "string" ? value.trim() : "";
}
