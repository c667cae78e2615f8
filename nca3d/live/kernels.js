// The two loops that take nearly all of a step's time, written as WebAssembly with SIMD: what cells see, and one layer of
// their network. A page has no compiler, so the bytes of both functions are put together here, for the sizes of one rule:
// every loop length and offset is a constant. Rows are cells, four floats a vector; numbers are float32, as in PyTorch.

const I32 = 0x7f, V128 = 0x7b;

function unsigned(n) {
  const bytes = [];
  do { const low = n & 0x7f; n >>>= 7; bytes.push(n ? low | 0x80 : low); } while (n);
  return bytes;
}

function signed(n) {
  for (const bytes = []; ;) {
    const low = n & 0x7f;
    n >>= 7;
    if ((n === 0 && !(low & 0x40)) || (n === -1 && low & 0x40)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

const op = {
  get: (local) => [0x20, ...unsigned(local)],
  set: (local) => [0x21, ...unsigned(local)],
  load: (offset) => [0x28, 2, ...unsigned(offset)],
  int: (n) => [0x41, ...signed(n)],
  plus: [0x6a],
  vector: (offset) => [0xfd, 0x00, 4, ...unsigned(offset)], // v128.load
  splat: (offset) => [0xfd, 0x09, 2, ...unsigned(offset)], // v128.load32_splat
  store: (offset) => [0xfd, 0x0b, 4, ...unsigned(offset)],
  zero: [0xfd, 0x0c, ...new Array(16).fill(0)],
  add: [0xfd, 0xe4, 0x01],
  mul: [0xfd, 0xe6, 0x01],
  max: [0xfd, 0xe9, 0x01],
};

/** local += n */
const step = (local, n) => [...op.get(local), ...op.int(n), ...op.plus, ...op.set(local)];

/** Runs `body` until the local `count`, lowered by `by` each time, reaches 0; it must be a positive multiple of `by`. */
const repeat = (count, by, body) => [
  0x03, 0x40, ...body, ...step(count, -by), ...op.get(count), 0x0d, 0x00, 0x0b,
];

/** The body of a function whose locals are `ints` pointers and counters, then `vectors` vectors. */
function body(ints, vectors, code) {
  const whole = [2, ...unsigned(ints), I32, ...unsigned(vectors), V128, ...code, 0x0b];
  return [...unsigned(whole.length), ...whole];
}

/**
 * see(rows, neighbours, seen): what `rows` cells see.
 *
 * neighbours: 27 byte addresses a cell, of its neighbours' channels; seen: `kernels` × `width` floats a cell.
 * The weights lie at `weights`, for each tap and kernel `width` floats; `taps[t]` lists the kernels that use tap t.
 */
function see(width, kernels, taps, weights) {
  const [rows, neighbours, seen, channel, out, left] = [0, 1, 2, 3, 4, 5], pointer = 6; // 27 pointers follow
  const value = pointer + 27, total = value + 1;
  const used = taps.map((list, tap) => tap).filter((tap) => taps[tap].length);
  const sum = used.flatMap((tap) => [
    ...op.get(pointer + tap), ...op.vector(0), ...op.set(value), ...step(pointer + tap, 16),
    ...taps[tap].flatMap((kernel) => [
      ...op.get(channel), ...op.vector(weights + (tap * kernels + kernel) * width * 4), ...op.get(value), ...op.mul,
      ...op.get(total + kernel), ...op.add, ...op.set(total + kernel),
    ]),
  ]);
  const all = Array.from({ length: kernels }, (_, kernel) => kernel);
  const code = repeat(rows, 1, [
    ...used.flatMap((tap) => [...op.get(neighbours), ...op.load(tap * 4), ...op.set(pointer + tap)]),
    ...op.int(0), ...op.set(channel), ...op.get(seen), ...op.set(out), ...op.int(width / 4), ...op.set(left),
    ...repeat(left, 1, [
      ...all.flatMap((kernel) => [...op.zero, ...op.set(total + kernel)]),
      ...sum,
      ...all.flatMap((kernel) => [...op.get(out), ...op.get(total + kernel), ...op.store(kernel * width * 4)]),
      ...step(channel, 16), ...step(out, 16),
    ]),
    ...step(neighbours, 27 * 4), ...step(seen, kernels * width * 4),
  ]);
  return body(3 + 27, 1 + kernels, code);
}

/**
 * layer(rows, from, to): to = max(from · weights + bias, 0), or without the maximum; `rows` is a multiple of 4.
 *
 * from: `inputs` floats a row; to: `outputs` (a multiple of 8) a row; weights: blocks of 8 outputs, each `inputs` × 8.
 */
function layer(inputs, outputs, weights, bias, relu) {
  const [rows, from, to, weight, biases, out, input, column, left] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const low = 9, high = 10, value = 11, total = 12; // totals of 4 rows × 2 vectors
  const four = [0, 1, 2, 3], two = [0, 1];
  const multiply = [
    ...op.get(weight), ...op.vector(0), ...op.set(low), ...op.get(weight), ...op.vector(16), ...op.set(high),
    ...four.flatMap((row) => [
      ...op.get(input), ...op.splat(row * inputs * 4), ...op.set(value),
      ...two.flatMap((half) => [
        ...op.get(value), ...op.get(half ? high : low), ...op.mul, ...op.get(total + 2 * row + half), ...op.add,
        ...op.set(total + 2 * row + half),
      ]),
    ]),
    ...step(weight, 32), ...step(input, 4),
  ];
  const code = repeat(rows, 4, [
    ...op.int(weights), ...op.set(weight), ...op.int(bias), ...op.set(biases), ...op.get(to), ...op.set(out),
    ...op.int(outputs / 8), ...op.set(column),
    ...repeat(column, 1, [
      ...four.flatMap((row) => two.flatMap((half) => [
        ...op.get(biases), ...op.vector(16 * half), ...op.set(total + 2 * row + half),
      ])),
      ...op.get(from), ...op.set(input), ...op.int(inputs), ...op.set(left),
      ...repeat(left, 1, multiply),
      ...four.flatMap((row) => two.flatMap((half) => [
        ...op.get(out), ...op.get(total + 2 * row + half), ...(relu ? [...op.zero, ...op.max] : []),
        ...op.store(row * outputs * 4 + 16 * half),
      ])),
      ...step(biases, 32), ...step(out, 32),
    ]),
    ...step(from, 4 * inputs * 4), ...step(to, 4 * outputs * 4),
  ]);
  return body(6, 3 + 8, code);
}

/** A module of functions (i32, i32, i32) → (), named f0, f1, …, that work on an imported memory. */
function assemble(bodies) {
  const section = (id, bytes) => [id, ...unsigned(bytes.length), ...bytes];
  const name = (text) => [text.length, ...[...text].map((letter) => letter.charCodeAt(0))];
  const count = unsigned(bodies.length);
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, 3, I32, I32, I32, 0]),
    ...section(2, [1, ...name("nca3d"), ...name("memory"), 2, 0, 1]),
    ...section(3, [...count, ...bodies.map(() => 0)]),
    ...section(7, [...count, ...bodies.flatMap((_, place) => [...name(`f${place}`), 0, ...unsigned(place)])]),
    ...section(10, [...count, ...bodies.flat()]),
  ]);
}
