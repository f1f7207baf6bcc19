// Node has no channel between async functions: this is what its users write, or take from npm in one of many forms.

/** A bounded queue. `recv` answers `undefined` once it is closed and empty. */
export class Channel {
  #capacity;
  #queue = [];
  #receivers = [];
  #senders = [];
  #closed = false;

  constructor(capacity) {
    this.#capacity = capacity;
  }

  async send(value) {
    if (this.#receivers.length > 0) this.#receivers.shift()(value);
    else if (this.#queue.length < this.#capacity) this.#queue.push(value);
    else await new Promise((sent) => this.#senders.push({ value, sent }));
  }

  async recv() {
    if (this.#queue.length > 0) {
      const value = this.#queue.shift();
      if (this.#senders.length > 0) {
        const next = this.#senders.shift();
        this.#queue.push(next.value);
        next.sent();
      }
      return value;
    }
    if (this.#closed) return undefined;
    return new Promise((received) => this.#receivers.push(received));
  }

  close() {
    this.#closed = true;
    for (const received of this.#receivers.splice(0)) received(undefined);
  }
}
