import { Status } from "./status";

/** A Mistake is a fault of the flow's or the connection's settings, found before anything is sent. */
export class Mistake extends Error {
  constructor(
    readonly status: Status,
    sentence: string,
  ) {
    super(sentence);
  }
}
