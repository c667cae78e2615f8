// A recorded film: frames unpacked once, a slider through time, damage marked on it.

const PICTURES = 64e6; // bytes of unpacked pictures that are kept

/** `packed`: for each cell that ever lived, its colours in time; see movie.py. Returns the frames as (D, H, W, 4) bytes. */
function unpack(packed, { size, frames, cells, palette, alphas }) {
  const volume = size[0] * size[1] * size[2], mask = Math.ceil(volume / 8);
  const places = [];
  for (let cell = 0; cell < volume; cell++) if (packed[cell >> 3] & (1 << (cell & 7))) places.push(cell);
  const colours = mask, strengths = mask + cells * frames, last = { colour: 0, alpha: 0 };
  const kept = new Map(); // the latest pictures, within so much memory: a long film would fill it
  const room = Math.max(2, Math.floor(PICTURES / (4 * volume)));
  const table = new Uint8Array(cells * frames), faint = new Uint8Array(cells * frames);
  for (let place = 0; place < cells; place++) {
    last.colour = last.alpha = 0;
    for (let frame = 0; frame < frames; frame++) {
      const at = place * frames + frame;
      table[at] = last.colour = (last.colour + packed[colours + at]) & 255;
      if (alphas) faint[at] = last.alpha = (last.alpha + packed[strengths + at]) & 255;
    }
  }
  function painted(frame) {
    const picture = new Uint8Array(4 * volume);
    places.forEach((cell, place) => {
      const at = place * frames + frame, colour = table[at];
      if (!colour) return;
      picture.set(palette[colour - 1], 4 * cell);
      picture[4 * cell + 3] = alphas ? faint[at] : 255;
    });
    return picture;
  }
  return (frame) => {
    if (!kept.has(frame)) {
      if (kept.size >= room) kept.delete(kept.keys().next().value);
      kept.set(frame, painted(frame));
    }
    return kept.get(frame);
  };
}

async function playMovie(root, film, packed, fragment) {
  const { view, heading, read } = openStage(root, { ...film, fragment });
  const picture = unpack(await inflate(packed), film), count = film.frames;
  let at = 0, playing = count > 1, due = 0, speed = 1;
  const slider = node("input", {
    type: "range", min: 0, max: Math.max(count - 1, 1), value: 0, "aria-label": "Time", disabled: count > 1 ? null : "",
    input: () => { playing = false; show(Number(slider.value)); },
  });
  const play = button("", "Play or pause (space)", () => {
    playing = !playing && count > 1;
    if (playing && at === count - 1) at = -1;
    told();
  });
  const quick = button("1×", "Speed (+ and −)", () => faster(speed >= 4 ? 1 / 16 : 2));
  const marks = Object.entries(film.marks).map(([frame, word]) =>
    node("span", { class: "mark", style: `--at: ${frame / Math.max(count - 1, 1)}`, title: word }));
  const look = lookControls(root, view);
  const footer = node("footer", {}, play, node("div", { class: "time" }, slider, ...marks), quick, ...look);
  root.append(footer);
  leaveRoom(root, view, heading, footer);

  function told() {
    play.textContent = playing ? "❚❚" : "▶";
    view.moving = playing;
    slider.value = Math.max(at, 0);
    const now = Math.max(at, 0), latest = Object.keys(film.marks).map(Number).filter((frame) => frame <= now).pop();
    read.replaceChildren(`step ${film.steps[now].toLocaleString("en")}`);
    if (latest !== undefined && now - latest < film.fps) read.append(" · ", node("b", {}, film.marks[latest]));
  }
  function show(frame) {
    at = Math.min(Math.max(frame, 0), count - 1);
    view.show(picture(at));
    told();
  }
  function faster(factor) {
    speed = Math.min(Math.max(speed * factor, 1 / 4), 4);
    quick.textContent = `${speed >= 1 ? speed : `1/${1 / speed}`}×`;
  }
  function tick(now) {
    const pause = 1000 / film.fps / speed;
    if (playing && now >= due) {
      const end = at === count - 1;
      if (end) at = -1;
      show(at + 1);
      due = now + (at === count - 1 ? pause + 900 : pause); // the last frame rests before the film begins again
    }
    requestAnimationFrame(tick);
  }
  followPointer(view);
  followKeys(root, {
    ...turning(view, "Shift+"),
    " ": () => play.click(), ArrowLeft: () => { playing = false; show(at - 1); }, ArrowRight: () => { playing = false; show(at + 1); },
    Home: () => { playing = false; show(0); }, End: () => { playing = false; show(count - 1); }, "+": () => faster(2), "-": () => faster(1 / 2),
    v: () => look[0].click(), l: () => look[1].click(),
  });
  show(0);
  requestAnimationFrame(tick);
  return { view, show, get frame() { return at; }, get playing() { return playing; }, pause: () => { playing = false; told(); } };
}
