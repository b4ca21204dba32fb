import { Buffer } from "buffer";
import * as http from "http";
import * as https from "https";
import { URL } from "url";

import { Status } from "./status";

/** No Input or Context of Cognigy.AI is documented to hold more. */
export const maxAnswerBytes = 1_500_000;

export interface Call {
  url: URL;
  method: "GET" | "POST";
  headers: Record<string, string>;
  body?: string;
}

export interface Answer {
  code: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

/** There is no answer that can be read. The reason is a code of Node's, such as ECONNREFUSED, or empty. */
export interface Silence {
  silence: Status;
  reason: string;
}

/**
 * exchange sends one request and reads its answer, both within ms milliseconds. It never throws, follows no redirect
 * (which would show the API key to somebody else), and opens a connection of its own: one that was kept might have been
 * closed at the other end. The core modules are required rather than fetch and its like, since a node runs in a VM
 * whose globals are not documented.
 */
export function exchange(call: Call, ms: number): Promise<Answer | Silence> {
  return new Promise((resolve) => {
    const client = call.url.protocol === "https:" ? https : http;
    const body = call.body === undefined ? undefined : Buffer.from(call.body, "utf8");
    const headers = body ? { ...call.headers, "Content-Length": String(body.length) } : call.headers;
    const request = client.request(call.url, { method: call.method, headers, agent: false });

    // The first event ends the exchange; later ones have no effect.
    const end = (heard: Answer | Silence) => {
      clearTimeout(timer);
      resolve(heard);
      request.destroy();
    };
    const timer = setTimeout(() => end({ silence: "timeout", reason: "" }), ms);
    const lost = (error?: NodeJS.ErrnoException) => end(silenceOf(error));

    request.on("error", lost);
    request.on("close", lost);
    request.on("upgrade", () => end({ silence: "unexpected", reason: "" }));
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size > maxAnswerBytes) {
          end({ silence: "tooLarge", reason: "" });
        }
      });
      response.on("error", lost);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        end({ code: response.statusCode || 0, headers: response.headers, text });
      });
    });
    request.end(body);
  });
}

function silenceOf(error?: NodeJS.ErrnoException): Silence {
  const reason = String((error && error.code) || "");
  if (/CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS/.test(reason)) {
    return { silence: "untrusted", reason };
  }
  if (/^(HPE_|EPROTO|ERR_SSL)/.test(reason)) {
    return { silence: "unexpected", reason };
  }
  return { silence: "unreachable", reason };
}
