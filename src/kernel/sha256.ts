// SHA-256 of a short text, synchronously. Written here because WebCrypto answers with a promise and the libraries weigh
// more than the kernel's own code on the wire; src/ledger, where size does not matter, uses a library. The tests compare
// it with the platform's. Source: FIPS 180-4. Who may call: name.ts.

/** The first 64 primes: their cube roots' fractions are the round constants, their square roots' the start. */
function primes(): number[] {
  const found: number[] = [];
  for (let candidate = 2; found.length < 64; candidate++) {
    if (found.every((prime) => candidate % prime !== 0)) found.push(candidate);
  }
  return found;
}

const fraction = (root: number): number => (root - Math.floor(root)) * 2 ** 32;

const rotate = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits));

let constants: { readonly rounds: Uint32Array; readonly start: Uint32Array } | undefined;

/** The digest as eight words, most significant first. */
export function sha256(text: string): Uint32Array {
  constants ??= {
    rounds: Uint32Array.from(primes(), (prime) => fraction(Math.cbrt(prime))),
    start: Uint32Array.from(primes().slice(0, 8), (prime) => fraction(Math.sqrt(prime))),
  };
  const message = new TextEncoder().encode(text);
  // The message, a 1 bit, zeros, and its length in bits as 64 bits, in whole blocks of 64 bytes.
  const padded = new DataView(new ArrayBuffer((((message.length + 8) >> 6) + 1) << 6));
  for (const [index, byte] of message.entries()) padded.setUint8(index, byte);
  padded.setUint8(message.length, 128);
  padded.setUint32(padded.byteLength - 4, message.length * 8);

  const state = constants.start.slice();
  const schedule = new Uint32Array(64);
  for (let block = 0; block < padded.byteLength; block += 64) {
    compress(state, schedule, constants.rounds, (index) => padded.getUint32(block + index * 4));
  }
  return state;
}

function compress(
  state: Uint32Array,
  schedule: Uint32Array,
  rounds: Uint32Array,
  wordAt: (index: number) => number,
): void {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let round = 0; round < 64; round++) {
    if (round < 16) {
      schedule[round] = wordAt(round);
    } else {
      const [w2 = 0, w7 = 0, w15 = 0, w16 = 0] = [2, 7, 15, 16].map((back) => schedule[round - back]);
      const s0 = rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >>> 3);
      const s1 = rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >>> 10);
      schedule[round] = w16 + s0 + w7 + s1;
    }
    const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const first = h + sum1 + choice + (rounds[round] ?? 0) + (schedule[round] ?? 0);
    const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + sum0 + majority) | 0];
  }
  for (const [index, word] of [a, b, c, d, e, f, g, h].entries()) state[index] = (state[index] ?? 0) + word;
}
