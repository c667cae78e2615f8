// Which cells update in a step: the draw of nca3d/fire.py, bit for bit. MurmurHash3_x86_32 (Appleby 2011, public domain) of
// the words (step, sample, cell), seeded with the random seed; a cell fires when its draw is below fire_rate · 2³².

function scrambled(word) {
  word = Math.imul(word, 0xcc9e2d51);
  return Math.imul((word << 15) | (word >>> 17), 0x1b873593);
}

function absorbed(hash, word) {
  hash ^= scrambled(word);
  return (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
}

/** What all cells of one sample share in one step. */
const beginDraw = (seed, step, sample) => absorbed(absorbed(seed | 0, step | 0), sample | 0);

/** The draw of one cell, 0 .. 2³²−1. */
function draw(begun, cell) {
  let hash = absorbed(begun, cell) ^ 12;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
