// What a program of checks needs: telling of each check, waiting for what must come, asking for servers to be killed.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';

const DEADLINE_MS = 30000;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let failed = false;

// Fails unless the promise is kept in time.
export function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`never: ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Runs one check and tells how it went.
export async function check(name, body) {
  try {
    await soon(body(), 'the end of the check');
    console.log(`passed ${name}`);
  } catch (error) {
    failed = true;
    console.log(error.stack);
    console.log(`failed ${name}: ${String(error.message).split('\n').join(' ')}`);
  }
}

// Lets something happen to the servers, and waits until it has.
export async function please(request) {
  console.log(`please ${request}`);
  assert.equal((await lines.next()).value, 'done');
}

// The end of the program. What a failed check left open does not keep it.
export function finish() {
  console.log('finished');
  process.exit(failed ? 1 : 0);
}

// Things that come one after the other, to be waited for.
export class Coming {
  #arrived = [];
  #waiting = [];

  add = (thing) => {
    const taker = this.#waiting.shift();
    if (taker) taker(thing);
    else this.#arrived.push(thing);
  };

  next(what) {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return soon(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }

  get size() {
    return this.#arrived.length;
  }
}
