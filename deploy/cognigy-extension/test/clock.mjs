// Time for tests that takes none: pauses are over at once, and a slow machine makes nothing late.

/**
 * A Clock stops while a request is under way that will be answered, and advances to the next timer as soon as there is
 * none. So work takes no time, and waiting takes exactly its time.
 */
export class Clock {
  #now = Date.now();
  #timers = new Map();
  #last = 0;
  #underWay = new Set();
  #silent = new Set();
  #ticking = false;

  now = () => this.#now;

  setTimeout = (does, ms) => {
    this.#timers.set(++this.#last, { does, due: this.#now + Math.max(0, ms) });
    if (!this.#ticking) {
      this.#ticking = true;
      setImmediate(this.#tick);
    }
    return this.#last;
  };

  clearTimeout = (timer) => void this.#timers.delete(timer);

  /** client counts the requests of a core module, http or https. */
  client(module) {
    const request = (...args) => {
      const sent = module.request(...args);
      this.#underWay.add(sent);
      sent.on("close", () => this.#underWay.delete(sent));
      return sent;
    };
    return { ...module, request };
  }

  /** silence reports a request at the server that will never be answered. Both ends know it by the client's port. */
  silence(request) {
    this.#silent.add(request.socket.remotePort);
  }

  #tick = () => {
    const answered = [...this.#underWay].some(({ socket }) => !this.#silent.has(socket?.localPort));
    if (!answered) {
      this.#next();
    }
    this.#ticking = this.#timers.size > 0;
    if (this.#ticking) {
      setImmediate(this.#tick);
    }
  };

  #next() {
    let first = null;
    for (const [timer, { due }] of this.#timers) {
      if (first === null || due < this.#timers.get(first).due) {
        first = timer;
      }
    }
    if (first !== null) {
      const { does, due } = this.#timers.get(first);
      this.#timers.delete(first);
      this.#now = Math.max(this.#now, due);
      does();
    }
  }
}
