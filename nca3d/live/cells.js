// The cells of one body, stepped exactly and only where something lives: the rule of nca3d/rules/cell.py in a page.
// A cell's channels lie together, padded to whole vectors; cell = (d·H + h)·W + w, as everywhere.

const CHUNK = 256; // cells seen and thought for at once: their rows stay in the cache
const SHOWN_ABOVE = Math.fround(0.1); // the alpha above which a cell is part of the body

const upTo = (n, multiple) => Math.ceil(n / multiple) * multiple;

class Cells {
  /**
   * rule: what nca3d/live/payload.py describes: size, channels, visible, code, kind, palette, fire_below, threshold, step_size,
   * padding, kernels, layers, bodies; `floats` holds the weights that its offsets point into.
   */
  constructor(rule, floats, { seed = 0, sample = 0 } = {}) {
    [this.depth, this.height, this.width] = rule.size;
    this.rule = rule;
    this.given = floats; // the weights as they came, and what follows from a condition
    this.body = 0;
    this.volume = this.depth * this.height * this.width;
    this.stepNumber = 0;
    this.seedNumber = seed;
    this.sample = sample;
    this.threshold = rule.threshold === null ? -Infinity : Math.fround(rule.threshold);
    this.stepSize = Math.fround(rule.step_size);
    this.room = upTo(rule.channels, 4); // floats of a cell
    this.#allocate(floats);
    const list = () => new Int32Array(this.volume);
    this.occupied = list(); // cells that may hold something else than zeros
    this.alive = list(); // those whose alpha is above the threshold
    this.near = new Int32Array(2 * this.volume); // those with a living cell in their 27; behind them those around, if asked
    this.firing = list();
    this.nearAt = new Uint32Array(this.volume); // the moment at which a cell was last found near, or settled, or in the ring
    this.settledAt = new Uint32Array(this.volume);
    this.ringAt = new Uint32Array(this.volume);
    this.moment = 0;
    this.occupiedCount = this.aliveCount = 0;
    this.offsets = [];
    for (const d of [-1, 0, 1]) for (const h of [-1, 0, 1]) for (const w of [-1, 0, 1]) {
      this.offsets.push((d * this.height + h) * this.width + w);
    }
    this.everywhere = rule.threshold === null; // no alive mask: every cell lives
    if (this.everywhere) {
      for (let cell = 0; cell < this.volume; cell++) this.occupied[cell] = this.alive[cell] = this.near[cell] = cell;
      this.occupiedCount = this.aliveCount = this.volume;
    }
  }

  // ---- memory -----------------------------------------------------------------------------------------------------

  #allocate(floats) {
    const { rule, room, volume } = this;
    let end = 0;
    const take = (bytes) => { const at = end; end = upTo(end + bytes, 16); return at; };
    const kernels = rule.kernels.length;
    const layers = rule.layers.map(({ inputs, outputs }, place) => ({
      inputs: place ? upTo(inputs, 8) : kernels * room, outputs: upTo(outputs, 8),
    }));
    const at = {
      state: take((volume + 1) * room * 4), // the last cell is what lies beyond the border: always dead
      weights: take(27 * kernels * room * 4),
      layers: layers.map(({ inputs, outputs }) => ({ weights: take(inputs * outputs * 4), bias: take(outputs * 4) })),
      around: take(CHUNK * 27 * 4),
      rows: [kernels * room, ...layers.slice(0, -1).map(({ outputs }) => outputs)].map((wide) => take(CHUNK * wide * 4)),
      change: end, // last: it grows with the number of cells that fire
    };
    this.at = at;
    this.changeWidth = layers.at(-1).outputs;
    this.memory = new WebAssembly.Memory({ initial: Math.ceil(end / 65536) + 1 });
    this.#reserve(2 * CHUNK);
    const taps = this.#fillKernels(floats);
    this.#fillLayers(floats, layers);
    const bodies = [
      see(room, kernels, taps, at.weights),
      ...layers.map(({ inputs, outputs }, place) => {
        const { weights, bias } = at.layers[place];
        return layer(inputs, outputs, weights, bias, place < layers.length - 1);
      }),
    ];
    const module = new WebAssembly.Module(assemble(bodies));
    this.run = new WebAssembly.Instance(module, { nca3d: { memory: this.memory } }).exports;
  }

  /** Room for the changes of so many cells; memory that grows has a new buffer. */
  #reserve(rows) {
    const missing = this.at.change + upTo(rows, CHUNK) * this.changeWidth * 4 - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    if (this.floats?.buffer !== this.memory.buffer) {
      this.floats = new Float32Array(this.memory.buffer);
      this.words = new Int32Array(this.memory.buffer);
    }
  }

  /** The kernels tap by tap, one weight for each padded channel; returns which kernels use which tap. */
  #fillKernels(floats) {
    const { kernels, channels } = this.rule, taps = Array.from({ length: 27 }, () => []);
    kernels.forEach((kernel, place) => {
      for (let tap = 0; tap < 27; tap++) for (let channel = 0; channel < channels; channel++) {
        const own = kernel === null ? Number(tap === 13)
          : floats[kernel.offset + (kernel.count === 1 ? 0 : channel * 27) + tap];
        if (own === 0) continue;
        this.floats[this.at.weights / 4 + (tap * kernels.length + place) * this.room + channel] = own;
        if (taps[tap].at(-1) !== place) taps[tap].push(place);
      }
    });
    return taps;
  }

  /** Weights (outputs, inputs) as blocks of 8 outputs; the first layer's inputs are spread over padded channels. */
  #fillLayers(floats, layers) {
    this.rule.layers.forEach((given, place) => {
      const { weights, bias } = this.at.layers[place], inputs = layers[place].inputs;
      for (let output = 0; output < given.outputs; output++) {
        const block = weights / 4 + (output >> 3) * inputs * 8 + (output & 7);
        for (let input = 0; input < given.inputs; input++) {
          const spread = place ? input : Math.floor(input / this.rule.channels) * this.room + (input % this.rule.channels);
          this.floats[block + spread * 8] = floats[given.weight + output * given.inputs + input];
        }
        if (given.bias !== null) this.floats[bias / 4 + output] = floats[given.bias + output];
      }
    });
  }

  // ---- several bodies ---------------------------------------------------------------------------------------------

  /**
   * From now on the body is what `mix` says: a share for each of the bodies, 1 in all. Cells that are told get another bias of
   * the first layer; where the first cell carries the condition, the next one carries that of the largest share.
   */
  become(mix) {
    const { bodies, layers } = this.rule, { bias } = this.at.layers[0], { outputs } = layers[0];
    this.body = mix.indexOf(Math.max(...mix));
    if (!bodies.told) return;
    for (let output = 0; output < outputs; output++) {
      let sum = 0;
      mix.forEach((share, body) => { sum += share * this.given[bodies.offset + body * outputs + output]; });
      this.floats[bias / 4 + output] = sum;
    }
  }

  // ---- what is there ----------------------------------------------------------------------------------------------

  /** All cells dead. */
  clear() {
    for (let i = 0; i < this.occupiedCount; i++) this.#kill(this.occupied[i]);
    this.#recount();
  }

  /** The first cell, where the body was trained to start or elsewhere: alpha and hidden channels 1, visible ones and a code 0. */
  seed(cell = this.rule.bodies?.starts[this.body] ?? this.rule.start) {
    this.clear();
    const row = cell * this.room, { bodies, channels } = this.rule;
    this.floats[row + this.rule.visible] = 1;
    for (let channel = this.rule.visible + 1 + this.rule.code; channel < channels; channel++) this.floats[row + channel] = 1;
    for (let place = 0; bodies && !bodies.told && place < bodies.length; place++) {
      this.floats[row + channels - bodies.length + place] = this.given[bodies.offset + this.body * bodies.length + place];
    }
    if (!this.everywhere) this.occupied[this.occupiedCount++] = cell;
    this.#recount();
  }

  /** The state as PyTorch has it, (C, D, H, W). */
  get state() {
    const { channels } = this.rule, state = new Float32Array(channels * this.volume);
    for (let cell = 0; cell < this.volume; cell++) for (let channel = 0; channel < channels; channel++) {
      state[channel * this.volume + cell] = this.floats[cell * this.room + channel];
    }
    return state;
  }

  set state(state) {
    const { channels } = this.rule;
    this.clear();
    for (let cell = 0; cell < this.volume; cell++) {
      let filled = false;
      for (let channel = 0; channel < channels; channel++) {
        const value = state[channel * this.volume + cell];
        this.floats[cell * this.room + channel] = value;
        filled ||= value !== 0;
      }
      if (filled && !this.everywhere) this.occupied[this.occupiedCount++] = cell;
    }
    this.#recount();
  }

  /** Sets to zero all channels of the cells that `inside(x, y, z)` says; returns how many of the body's were lost. */
  cut(inside) {
    let lost = 0;
    for (let i = 0; i < this.occupiedCount; i++) {
      const cell = this.occupied[i], x = cell % this.width, rest = (cell - x) / this.width, y = rest % this.height;
      if (!inside(x, y, (rest - y) / this.height)) continue;
      lost += Number(this.shows(cell));
      this.#kill(cell);
    }
    this.#recount();
    return lost;
  }

  #kill(cell) {
    const row = cell * this.room;
    this.floats.fill(0, row, row + this.room);
  }

  #alpha(cell) {
    return this.floats[cell * this.room + this.rule.visible];
  }

  /** Drops what was killed from the lists. */
  #recount() {
    if (this.everywhere) return;
    let occupied = 0, alive = 0;
    for (let i = 0; i < this.occupiedCount; i++) {
      const cell = this.occupied[i], row = cell * this.room;
      let filled = false;
      for (let channel = 0; channel < this.rule.channels && !filled; channel++) filled = this.floats[row + channel] !== 0;
      if (!filled) continue;
      this.occupied[occupied++] = cell;
      if (this.#alpha(cell) > this.threshold) this.alive[alive++] = cell;
    }
    this.occupiedCount = occupied;
    this.aliveCount = alive;
  }

  /** Whether a cell is part of the body that is seen: alpha above 0.1, and of a class that isn't "empty". */
  shows(cell) {
    return this.#alpha(cell) > SHOWN_ABOVE && (this.rule.kind === "rgb" || this.#label(cell) !== 0);
  }

  #label(cell) {
    const row = cell * this.room;
    let best = 0;
    for (let label = 1; label < this.rule.visible; label++) {
      if (this.floats[row + label] > this.floats[row + best]) best = label;
    }
    return best;
  }

  /** Whether some living cell's alpha is no finite number: a body that has diverged. */
  broken() {
    for (let i = 0; i < this.occupiedCount; i++) if (!Number.isFinite(this.#alpha(this.occupied[i]))) return true;
    return false;
  }

  /** Paints the body, straight red, green, blue and alpha 0 .. 255, into zeros (D·H·W·4). */
  paint(picture) {
    for (let i = 0; i < this.occupiedCount; i++) {
      const cell = this.occupied[i];
      if (!this.shows(cell)) continue;
      const row = cell * this.room, alpha = this.#alpha(cell), at = 4 * cell;
      if (this.rule.kind === "rgb") {
        for (let part = 0; part < 3; part++) picture[at + part] = byte(this.floats[row + part] / alpha);
      } else {
        const colour = this.rule.palette[this.#label(cell)];
        for (let part = 0; part < 3; part++) picture[at + part] = colour[part];
      }
      picture[at + 3] = byte(alpha);
    }
    return picture;
  }

  // ---- one step ---------------------------------------------------------------------------------------------------

  /** Marks the cells around `cell` that aren't marked yet and lists them; returns how long the list is then. */
  #spread(cell, marks, list, count) {
    const { width, height, depth, moment } = this;
    const x = cell % width, rest = (cell - x) / width, y = rest % height, z = (rest - y) / height;
    if (x > 0 && y > 0 && z > 0 && x < width - 1 && y < height - 1 && z < depth - 1) {
      for (let tap = 0; tap < 27; tap++) {
        const other = cell + this.offsets[tap];
        if (marks[other] !== moment) { marks[other] = moment; if (list) list[count] = other; count++; }
      }
      return count;
    }
    for (let tap = 0; tap < 27; tap++) {
      const other = this.#beside(x, y, z, tap, this.rule.padding === "circular" ? "circular" : "zeros");
      if (other < this.volume && marks[other] !== moment) { marks[other] = moment; if (list) list[count] = other; count++; }
    }
    return count;
  }

  /** The neighbour of a cell by tap 0 .. 26; `volume` = nothing there. */
  #beside(x, y, z, tap, padding) {
    const { width, height, depth } = this;
    let w = x + (tap % 3) - 1, h = y + (Math.floor(tap / 3) % 3) - 1, d = z + Math.floor(tap / 9) - 1;
    if (padding === "circular") {
      w = (w + width) % width; h = (h + height) % height; d = (d + depth) % depth;
    } else if (padding === "replicate") {
      w = Math.min(Math.max(w, 0), width - 1); h = Math.min(Math.max(h, 0), height - 1); d = Math.min(Math.max(d, 0), depth - 1);
    } else if (w < 0 || h < 0 || d < 0 || w >= width || h >= height || d >= depth) {
      return this.volume;
    }
    return (d * height + h) * width + w;
  }

  /** What `count` cells of a list propose, from row `first` of the changes on. */
  #propose(list, count, first) {
    this.#reserve(first + count + 4);
    const { run, at, words, room, width, height, depth } = this, around = at.around / 4;
    for (let done = 0; done < count; done += CHUNK) {
      const rows = Math.min(CHUNK, count - done);
      for (let row = 0; row < rows; row++) {
        const cell = list[done + row], place = around + row * 27;
        const x = cell % width, rest = (cell - x) / width, y = rest % height, z = (rest - y) / height;
        const inner = x > 0 && y > 0 && z > 0 && x < width - 1 && y < height - 1 && z < depth - 1;
        for (let tap = 0; tap < 27; tap++) {
          const other = inner ? cell + this.offsets[tap] : this.#beside(x, y, z, tap, this.rule.padding);
          words[place + tap] = at.state + other * room * 4;
        }
      }
      run.f0(rows, at.around, at.rows[0]);
      at.rows.forEach((from, place) => {
        const to = at.rows[place + 1] ?? at.change + (first + done) * this.changeWidth * 4;
        run[`f${place + 1}`](upTo(rows, 4), from, to);
      });
    }
  }

  /** The cells of a list that fire in this step, put into `firing` from `first` on; returns how many. */
  #choose(list, count, first) {
    const begun = beginDraw(this.seedNumber, this.stepNumber, this.sample), below = this.rule.fire_below;
    let chosen = 0;
    for (let i = 0; i < count; i++) if (draw(begun, list[i]) < below) this.firing[first + chosen++] = list[i];
    return chosen;
  }

  /** One step, in the field's order: near a living cell before · change of those that fire · near one after · else dead. */
  step() {
    const moment = ++this.moment, { near, firing, threshold, stepSize, room, rule, changeWidth } = this;
    let count = this.everywhere ? this.volume : 0;
    if (!this.everywhere) {
      for (let i = 0; i < this.aliveCount; i++) count = this.#spread(this.alive[i], this.nearAt, near, count);
    }
    const fired = this.#choose(near, count, 0);
    this.#propose(firing, fired, 0);
    if (!this.everywhere) this.#settle(count, fired);
    const { floats } = this, changes = this.at.change / 4;
    for (let i = 0; i < this.occupiedCount && !this.everywhere; i++) {
      if (this.nearAt[this.occupied[i]] !== moment) this.#kill(this.occupied[i]);
    }
    let occupied = 0, alive = 0;
    for (let i = 0, next = 0; i < count; i++) {
      const cell = near[i], row = cell * room, fires = next < fired && firing[next] === cell;
      const change = changes + next * changeWidth;
      next += Number(fires);
      if (!this.everywhere && this.settledAt[cell] !== moment) { floats.fill(0, row, row + room); continue; }
      if (fires) {
        for (let channel = 0; channel < rule.channels; channel++) {
          floats[row + channel] += Math.fround(stepSize * floats[change + channel]);
        }
      }
      if (this.everywhere) continue;
      this.occupied[occupied++] = cell;
      if (floats[row + rule.visible] > threshold) this.alive[alive++] = cell;
    }
    if (!this.everywhere) { this.occupiedCount = occupied; this.aliveCount = alive; }
    this.stepNumber = (this.stepNumber + 1) >>> 0;
  }

  /**
   * Marks the cells that will have a living one in their 27 after the step. Cells further out fire too, and their alpha
   * counts here although they die at once; they are asked only where the cells near life leave it open.
   */
  #settle(count, fired) {
    const { near, firing, moment, threshold, stepSize, changeWidth, rule } = this;
    const alphas = () => this.at.change / 4 + rule.visible;
    for (let i = 0, next = 0; i < count; i++) {
      const cell = near[i];
      let alpha = this.#alpha(cell);
      if (next < fired && firing[next] === cell) {
        alpha = Math.fround(alpha + Math.fround(stepSize * this.floats[alphas() + next++ * changeWidth]));
      }
      if (alpha > threshold) this.#spread(cell, this.settledAt, null, 0);
    }
    let ring = count;
    for (let i = 0; i < count; i++) {
      if (this.settledAt[near[i]] !== moment) ring = this.#spread(near[i], this.ringAt, near, ring);
    }
    if (ring === count) return;
    let outside = count;
    for (let i = count; i < ring; i++) if (this.nearAt[near[i]] !== moment) near[outside++] = near[i];
    const asked = this.#choose(near.subarray(count), outside - count, fired);
    this.#propose(firing.subarray(fired), asked, fired);
    for (let i = 0; i < asked; i++) {
      const cell = firing[fired + i];
      const change = Math.fround(stepSize * this.floats[alphas() + (fired + i) * changeWidth]);
      if (Math.fround(this.#alpha(cell) + change) > threshold) this.#spread(cell, this.settledAt, null, 0);
    }
  }
}

/** 0 .. 1 as 0 .. 255; what is no number is 0. */
const byte = (share) => Math.round(255 * Math.min(Math.max(share || 0, 0), 1));
