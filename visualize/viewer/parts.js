// What every page is built from: elements, a theme that follows the reader's, a pointer that turns the body, a legend.

const FINGER_RESTS = 140, FINGER_TREMBLES = 6, EVERY_PIXELS = 5; // milliseconds, pixels, pixels

/** An element with attributes (functions become listeners) and children. */
function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Stands in where nothing can be drawn: the page's numbers, keys and buttons go on. */
class BlindView {
  constructor(canvas, size) {
    Object.assign(this, { canvas, picture: new Uint8Array(4 * size.reduce((a, b) => a * b)), brush: [0, 0, 0, 0], busy: false });
  }
  show(picture) { this.picture = picture; }
  pick() { return null; }
  frame() {}
  colours() {}
  redraw() {}
  turn() {}
  closer() {}
}

const button = (label, title, click) => node("button", { type: "button", title, "aria-label": title, click }, label);

/** Canvas and frame of a page inside `root`; a page that can't draw says so in words. Returns the view. */
function openStage(root, { title, note, size, box, fragment, names = [], colours = [] }) {
  root.classList.add("nca3d");
  const canvas = node("canvas", { tabindex: "0", role: "img", "aria-label": `${title}: a body in three dimensions` });
  const heading = node("header", {}, node("h1", {}, title), node("p", { class: "read" }, note ?? ""));
  const trouble = (words) => {
    const note = root.querySelector(".trouble") ?? node("p", { class: "trouble", role: "alert" });
    note.textContent = words;
    if (words) root.append(note);
    else note.remove();
  };
  root.replaceChildren(canvas, heading);
  let view;
  try {
    view = new VolumeView(canvas, size, fragment);
  } catch (error) {
    trouble(error.message);
    view = new BlindView(canvas, size);
  }
  view.onlost = (lost) => trouble(lost ? "The graphics card took the picture away; it comes back when the card does." : "");
  if (box) view.frame(box[0], box[1]);
  if (names.length) root.append(legend(names, colours));
  follow(root, view);
  return { view, heading, trouble, read: heading.querySelector(".read") };
}

/** Gives the view the room that heading and controls leave, and tells the style how high the controls are. */
function leaveRoom(root, view, heading, footer) {
  const measure = () => {
    root.style.setProperty("--foot", `${footer.offsetHeight}px`);
    view.inset = { top: heading.offsetHeight + 10, bottom: footer.offsetHeight + 26 };
    view.redraw();
  };
  new ResizeObserver(measure).observe(footer);
}

/** Names with their colours; it can be folded away. */
function legend(names, colours) {
  const rows = names.map((name, place) => node("li", {}, node("i", { style: `background: rgb(${colours[place].join(" ")})` }), name));
  return node("details", { class: "legend", open: innerWidth > 700 ? "" : null }, node("summary", {}, "Legend"), node("ul", {}, ...rows));
}

/** Light or dark as the reader's system is, until they choose; the paper of the view is the page's. */
function follow(root, view) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const paint = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    view.colours(dark ? [0.067, 0.075, 0.086] : [1, 1, 1], dark ? [1, 1, 1] : [0, 0, 0]);
  };
  paint(system.matches);
  system.addEventListener("change", (event) => paint(event.matches));
  root.switchTheme = () => paint(root.dataset.theme !== "dark");
}

/** The controls that every page has: cubes or skin, light or dark. */
function lookControls(root, view) {
  const look = button(view.smooth ? "Voxels" : "Smooth", "Cubes or a smooth skin (v)", () => {
    view.smooth = !view.smooth;
    look.textContent = view.smooth ? "Voxels" : "Smooth";
    view.redraw();
  });
  return [look, button("◐", "Light or dark (l)", () => root.switchTheme())];
}

/**
 * Drag turns the body, wheel and pinch come closer. Where `press(event)` says true, the drag is its own: `drag(event)` follows,
 * at every few pixels of the way; `hover(event)` hears of every move without a button. A finger presses when it has rested or
 * moved a little, unless a second one comes first: two fingers turn and zoom.
 */
function followPointer(view, { press = () => false, drag = () => {}, hover = () => {} } = {}) {
  const { canvas } = view, down = new Map();
  let own = false, two = null, resting = null;
  const middle = () => {
    const [a, b] = [...down.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.max(Math.hypot(a.x - b.x, a.y - b.y), 1) };
  };
  const settle = () => { // what the resting finger was about to do
    if (!resting) return;
    clearTimeout(resting.timer);
    own = press(resting.event);
    resting = null;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (down.size === 2) {
      if (resting) clearTimeout(resting.timer);
      [own, resting, two] = [false, null, middle()];
    } else if (event.pointerType === "touch") {
      own = false;
      resting = { event, timer: setTimeout(settle, FINGER_RESTS) };
    } else own = event.button === 0 && !event.shiftKey && press(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) { hover(event); return; }
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    if (resting && Math.hypot(dx, dy) < FINGER_TREMBLES) return;
    settle();
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (down.size === 2) {
      const now = middle();
      view.closer(now.apart / two.apart);
      view.turn(-0.4 * (now.x - two.x), 0.4 * (now.y - two.y));
      two = now;
    } else if (own) {
      const parts = Math.ceil(Math.hypot(dx, dy) / EVERY_PIXELS);
      for (let part = 1; part <= parts; part++) drag({ clientX: last.x + (dx * part) / parts, clientY: last.y + (dy * part) / parts });
    } else view.turn(-0.4 * dx, 0.4 * dy);
  });
  canvas.addEventListener("pointerup", (event) => { settle(); down.delete(event.pointerId); own = false; });
  canvas.addEventListener("pointercancel", (event) => {
    if (resting) clearTimeout(resting.timer);
    down.delete(event.pointerId);
    [own, resting] = [false, null];
  });
  canvas.addEventListener("pointerleave", (event) => { if (!down.size) hover(event, true); });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); view.closer(Math.exp(-0.0012 * event.deltaY)); }, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
}

/** Keys by their name → what they do; "Shift+" before a name asks for shift. Keys that a control needs stay its own. */
function followKeys(root, keys) {
  const hear = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || root.querySelector("dialog[open]")) return;
    const sliding = event.target.matches?.("input") && /^(Arrow|Page|Home|End)/.test(event.key) && !event.shiftKey;
    const pressing = [" ", "Enter"].includes(event.key) && event.target.matches?.("button, summary");
    if (sliding || pressing) return;
    const act = (event.shiftKey && keys[`Shift+${event.key}`]) || keys[event.key] || keys[event.key.toLowerCase()];
    if (act) { event.preventDefault(); act(event); }
  };
  // A page listens everywhere; in a notebook the keys belong to others unless the pointer's focus is here.
  (root.dataset.whole !== undefined ? document : root).addEventListener("keydown", hear);
}

/** Arrows turn the body, Page Up and Page Down come closer and go away; `shift` = "Shift+" where arrows alone are taken. */
function turning(view, shift = "") {
  return {
    [`${shift}ArrowLeft`]: () => view.turn(6, 0), [`${shift}ArrowRight`]: () => view.turn(-6, 0),
    [`${shift}ArrowUp`]: () => view.turn(0, 6), [`${shift}ArrowDown`]: () => view.turn(0, -6),
    PageUp: () => view.closer(1.15), PageDown: () => view.closer(1 / 1.15),
  };
}

const fromBase64 = (text) => Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));

/** Bytes that were deflated and written as base64. */
async function inflate(text) {
  const stream = new Blob([fromBase64(text)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
