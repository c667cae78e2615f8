// Steps a body beside the page, so that the page stays quick: as many steps a second as asked for, a picture whenever the
// page has drawn the last one.

const LONGEST = 14; // milliseconds of stepping before messages are heard again

let cells, targets, pace = 32, playing = false, drawn = true, changed = true, due = 0, scattered = 1;
let clock = [], spare = null;
const channel = new MessageChannel();

function begin({ rule, floats, seed, wanted }) {
  cells = new Cells(rule, floats, { seed });
  targets = wanted; // one for each body, or none
  cells.seed();
  send();
  turn();
}

/** Intersection over union of the body and the target; null without a target. */
function iou() {
  const target = targets[cells.body];
  if (!target) return null;
  let both = 0, shown = 0;
  for (let i = 0; i < cells.occupiedCount; i++) {
    if (!cells.shows(cells.occupied[i])) continue;
    shown++;
    both += target.cells[cells.occupied[i]];
  }
  const either = shown + target.count - both;
  return either ? both / either : 1;
}

function status() {
  return { step: cells.stepNumber, living: cells.aliveCount, iou: iou(), broken: cells.broken() };
}

function send() {
  if (!drawn || !changed) return;
  drawn = changed = false;
  const now = performance.now(), picture = cells.paint(spare ?? new Uint8Array(4 * cells.volume));
  spare = null;
  clock = clock.filter(({ at, step }) => now - at < 1500 || cells.stepNumber - step < 2);
  const rate = clock.length > 1 ? (1000 * (cells.stepNumber - clock[0].step)) / (now - clock[0].at) : 0;
  clock.push({ at: now, step: cells.stepNumber });
  postMessage({ frame: { picture, rate: playing ? Math.max(rate, 0) : 0, ...status() } }, [picture.buffer]);
}

function turn() {
  const start = performance.now();
  if (playing && cells) {
    due = Math.max(due, start - 250); // what a sleeping page missed is not made up for
    while (start >= due && performance.now() - start < LONGEST) {
      cells.step();
      changed = true;
      due += 1000 / pace;
      if (due > start) break;
    }
  }
  if (cells) send();
  if (playing && due <= performance.now()) channel.port2.postMessage(null); // at once, but after waiting messages
  else setTimeout(turn, playing ? Math.min(Math.max(due - performance.now(), 0), 30) : 30);
}
channel.port1.onmessage = turn;

/** What lies in a wound, as a question about x, y, z. */
function inside({ kind, centre, radius, axis, side, share }) {
  if (kind === "ball") return (x, y, z) => (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= radius ** 2;
  if (kind === "scatter") {
    const begun = beginDraw(cells.seedNumber, scattered++, 0xffffffff);
    return (x, y, z) => draw(begun, (z * cells.height + y) * cells.width + x) < share * 2 ** 32;
  }
  const places = [];
  for (let i = 0; i < cells.occupiedCount; i++) {
    const cell = cells.occupied[i], plane = cells.width * cells.height;
    if (cells.shows(cell)) places.push([cell % cells.width, Math.floor(cell / cells.width) % cells.height, Math.floor(cell / plane)][axis]);
  }
  const middle = places.sort((a, b) => a - b)[places.length >> 1]; // the median: half of the body's cells
  return (...place) => (side > 0 ? place[axis] >= middle : place[axis] < middle);
}

const calls = {
  play: (yes) => { playing = yes; clock = []; due = performance.now(); },
  speed: (steps) => { pace = steps; clock = []; due = performance.now(); },
  seed: () => { cells.seed(); clock = []; },
  become: (mix) => { cells.become(mix); clock = []; },
  cut: (wound) => cells.cut(inside(wound)),
  run: (steps) => { for (let i = 0; i < steps; i++) cells.step(); return status(); },
  status,
  told: status,  // its name in earlier pages: scripts that ask for it go on working
  state: () => cells.state,
  restore: ({ state, step, seed }) => {
    const length = cells.rule.channels * cells.volume;
    if (state?.length !== length) throw new Error(`restore: state: found ${state?.length} numbers, allowed ${length}`);
    cells.state = state; cells.stepNumber = step ?? cells.stepNumber; cells.seedNumber = seed ?? cells.seedNumber;
  },
  fires: (step) => {
    const begun = beginDraw(cells.seedNumber, step, cells.sample), fires = new Uint8Array(cells.volume);
    for (let cell = 0; cell < cells.volume; cell++) fires[cell] = Number(draw(begun, cell) < cells.rule.fire_below);
    return fires;
  },
};

onmessage = ({ data }) => {
  if (data.begin) begin(data.begin);
  else if (data.drawn) { drawn = true; spare = data.drawn; spare.fill(0); }
  else {
    try {
      postMessage({ id: data.id, answer: calls[data.call](data.with) });
    } catch (error) {
      postMessage({ id: data.id, error: error.message });
    }
    changed = true;
  }
};
