// A living body to look at and to hurt. It doesn't know who steps it: `engine` is a worker of the page, or Python.
//
// engine: play(yes) · step() · speed(steps a second) · seed() · cut(wound) · become(a share for each body); it calls `onframe({picture, step, living, iou, rate})`.
// A wound is {kind: "ball", centre: [x, y, z], radius} or {kind: "half", axis: 0..2, side: ±1} or {kind: "scatter", share}.

const AXES = ["x", "y", "z"];
const HISTORY = 600; // steps that the chart shows

function showCreature(root, about, engine, fragment) {
  const { view, heading, read, trouble } = openStage(root, { ...about, fragment });
  const longest = Math.max(...about.size);
  // x, y and z along which there is something to halve: a flat body has one layer across its plane.
  const wide = [2, 1, 0].map((side, axis) => (about.size[side] > 1 ? axis : -1)).filter((axis) => axis >= 0);
  let playing = true, radius = Math.max(1.5, Math.round(longest / 4) / 2), half = 0, last = null, cutting = null;
  const past = []; // {step, iou, cut}

  // Read-outs ---------------------------------------------------------------------------------------------------------
  const chart = node("canvas", { class: "chart", width: 480, height: 96, role: "img", "aria-label": "IoU over the last steps, and when it was cut" });
  // Said until the first wound, and not again. It keeps its room, so that the body doesn't move when it goes.
  const hint = node("p", { class: "hint" }, `${matchMedia("(hover: hover)").matches ? "Click" : "Tap"} the body to cut it: what is orange goes.`);
  heading.append(hint);
  function tell(frame) {
    const parts = [`step ${frame.step.toLocaleString("en")}`, `${frame.living.toLocaleString("en")} living cell${frame.living === 1 ? "" : "s"}`];
    if (frame.iou !== null) parts.push(`IoU${engine.meant ?? ""} ${frame.iou.toFixed(2)}`);
    if (frame.broken) parts.push("the body is not a number any more: seed it anew");
    if (frame.rate) parts.push(`${frame.rate < 10 ? frame.rate.toFixed(1) : Math.round(frame.rate)} steps/s`);
    read.textContent = parts.join(" · ");
    if (frame.iou === null) return;
    if (past.length && frame.step < past.at(-1).step) past.length = 0;
    if (!past.length || frame.step !== past.at(-1).step || cutting) past.push({ iou: frame.iou, step: frame.step, cut: cutting });
    cutting = null;
    while (past[0].step < frame.step - HISTORY) past.shift();
    drawChart(chart, past, root.dataset.theme === "dark");
  }

  // Controls ----------------------------------------------------------------------------------------------------------
  const range = (label, title, attributes, input) => node("label", { title }, ...label, node("input", { type: "range", ...attributes, input }));
  const play = button("❚❚", "Run or pause (space)", () => setPlaying(!playing));
  const pace = range(["Speed"], "Steps a second (+ and −)", { min: 0, max: 7, step: 1, value: 5, "aria-label": "Speed" }, () => setPace());
  const size = range([node("i", { class: "cut" }), "Brush"], "Size of a cut, orange on the body ([ and ])", { min: 1, max: Math.max(2, longest / 2), step: 0.5, value: radius, "aria-label": "Brush" },
    (event) => { radius = Number(event.target.value); });
  const [paceInput, sizeInput] = [pace, size].map((label) => label.querySelector("input"));
  const cutHalf = button("Cut in half", "Destroy one half (h); x, y, z choose the axis", () => halve(wide[half++ % wide.length] ?? 0));
  const scatter = button("Scatter", "Destroy every fourth cell (r)", () => wound({ kind: "scatter", share: 0.25 }));
  const seed = button("Seed", "Begin again from one cell (s)", () => { past.length = 0; engine.seed(); });
  const help = node("dialog", { class: "help", click: () => help.close() }, node("p", {},
    "Click or drag on the body to cut it. Drag beside it to turn, with shift, the right button or two fingers also on it; wheel or pinch to come closer."),
    node("dl", {}, ...[["orange", "on the body: what a cut would take; in the curve: when it was cut"], ["space", "run or pause"], [".", "one step"], ["arrows", "turn"], ["page up, down", "closer, further"], ["enter", "cut in the middle"], ["s", "begin again from one cell"], ...(about.bodies ? [["1 … 9, 0", "become another body"]] : []), ["h", "cut in half"], ["x y z", "cut across this axis; with shift the other side"],
      ["r", "scatter"], ["[ ]", "brush"], ["+ −", "speed"], ["v", "voxels or smooth"], ["l", "light or dark"]]
      .flatMap(([key, does]) => [node("dt", {}, key), node("dd", {}, does)])));
  const look = lookControls(root, view);
  const bodies = about.bodies ? bodyControls(about, engine, () => seed.click()) : null;
  const footer = node("footer", {}, ...(bodies ? [bodies.row] : []), play, pace, size, cutHalf, scatter, seed, ...look, button("?", "Help (?)", () => help.showModal()));
  root.append(...(about.compares ? [chart] : []), footer, help);
  leaveRoom(root, view, heading, footer);

  function setPlaying(yes) {
    view.moving = playing = yes;
    play.textContent = playing ? "❚❚" : "▶";
    engine.play(playing);
  }
  function setPace(by = 0) {
    paceInput.value = Number(paceInput.value) + by;
    const steps = 2 ** Number(paceInput.value); // 1, 2, 4 … 64, then as fast as it goes
    engine.speed(steps > 64 ? 1e6 : steps);
  }
  function setBrush(by) {
    sizeInput.value = Number(sizeInput.value) + by;
    radius = Number(sizeInput.value);
    view.brush[3] &&= radius;
    view.redraw();
  }
  function wound(wound) {
    cutting = wound.kind;
    hint.style.visibility = "hidden";
    engine.cut(wound);
  }
  const halve = (axis, side = 1) => wound({ kind: "half", axis, side });

  // The pointer -------------------------------------------------------------------------------------------------------
  let cell = null;
  function point(event, gone = false) {
    cell = gone ? null : view.pick(event.clientX, event.clientY);
    view.canvas.style.cursor = cell ? "crosshair" : "grab";
    const brush = cell ? [...cell.map((n) => n + 0.5), radius] : [0, 0, 0, 0];
    if (brush.some((n, place) => n !== view.brush[place])) { view.brush = brush; view.redraw(); }
    return cell;
  }
  const cutHere = () => wound({ kind: "ball", centre: cell, radius });
  followPointer(view, {
    press: (event) => { if (!point(event)) return false; cutHere(); return true; },
    drag: (event) => { const before = String(cell); if (point(event) && String(cell) !== before) cutHere(); }, // once a cell
    hover: point,
  });
  function cutMiddle() {
    const box = view.canvas.getBoundingClientRect();
    if (point({ clientX: box.left + box.width / 2, clientY: box.top + (box.height + heading.offsetHeight - footer.offsetHeight) / 2 })) cutHere();
  }
  const keys = {
    ...turning(view), Enter: cutMiddle,
    " ": () => play.click(), ".": () => { setPlaying(false); engine.step(); }, s: () => seed.click(), h: () => cutHalf.click(), r: () => scatter.click(),
    "[": () => setBrush(-0.5), "]": () => setBrush(0.5), "+": () => setPace(1), "=": () => setPace(1), "-": () => setPace(-1),
    v: () => look[0].click(), l: () => look[1].click(), "?": () => help.showModal(),
  };
  about.bodies?.slice(0, 10).forEach((_, place) => { keys[String((place + 1) % 10)] = () => bodies.choose(place); });
  wide.forEach((axis) => { keys[AXES[axis]] = (event) => halve(axis, event.shiftKey ? -1 : 1); });
  followKeys(root, keys);

  engine.onframe = (frame) => {
    last = frame;
    view.show(frame.picture);
    tell(frame);
  };
  setPace();
  setPlaying(true);
  return { view, wound, setPlaying, trouble, get last() { return last; }, get playing() { return playing; } };
}

/** A button for each body of a rule of several; where cells are told what they are, a slider between the last two. */
function bodyControls(about, engine, seed) {
  let before = 1 % about.bodies.length, now = 0;
  const buttons = about.bodies.map((name, place) => button(name, `Become: ${name}${place < 10 ? ` (${(place + 1) % 10})` : ""}`, () => choose(place)));
  const ends = [node("span"), node("span")];
  const input = node("input", { type: "range", min: 0, max: 1, step: 0.05, value: 1, "aria-label": "Between two bodies", input: () => tell() });
  const slider = node("label", { class: "between", title: "Between the last two bodies; what has been between may stay so: Seed begins anew" }, ends[0], input, ends[1]);
  function tell() {
    const share = Number(input.value), mix = about.bodies.map(() => 0);
    mix[before] += 1 - share;
    mix[now] += share;
    engine.become(mix);
    buttons.forEach((one, place) => one.setAttribute("aria-pressed", String(place === (share < 0.5 ? before : now))));
    engine.meant = share > 0 && share < 1 ? ` with ${about.bodies[share < 0.5 ? before : now]}` : "";
    [before, now].forEach((place, end) => { ends[end].textContent = about.bodies[place]; });
  }
  function choose(place) {
    // What it is now is what it changes from.
    if (place !== now) [before, now] = [Number(input.value) < 0.5 ? before : now, place];
    if (before === now) before = (now + 1) % about.bodies.length;
    input.value = 1;
    tell();
    if (!about.told) seed();
  }
  buttons[0].setAttribute("aria-pressed", "true");
  [before, now].forEach((place, end) => { ends[end].textContent = about.bodies[place]; });
  return { row: node("div", { class: "bodies" }, ...buttons, ...(about.told && about.bodies.length > 1 ? [slider] : [])), choose };
}

/** IoU over time, 0 .. 1, with a mark for each cut. */
function drawChart(canvas, past, dark) {
  const pen = canvas.getContext("2d"), { width, height } = canvas, first = Math.max(past[0].step, past.at(-1).step - HISTORY);
  const x = ({ step }) => 2 + ((step - first) / HISTORY) * (width - 74);
  const y = (iou) => 4 + (1 - iou) * (height - 8);
  pen.clearRect(0, 0, width, height);
  pen.font = "21px system-ui, sans-serif";
  pen.lineWidth = 1;
  for (const iou of [0, 0.5, 1]) {
    pen.strokeStyle = dark ? "#ffffff22" : "#00000018";
    pen.beginPath(); pen.moveTo(0, y(iou)); pen.lineTo(width, y(iou)); pen.stroke();
  }
  pen.strokeStyle = pen.fillStyle = dark ? "#ff8a3c" : "#b34e00";
  pen.lineWidth = 3;
  const cuts = past.filter(({ cut }) => cut);
  for (const look of cuts) { pen.beginPath(); pen.moveTo(x(look), 0); pen.lineTo(x(look), height); pen.stroke(); }
  if (cuts.length) { // the latest has a name; the others look like it
    const at = x(cuts.at(-1)), late = at > width - 140; // at the right end the numbers of the axis stand
    pen.textAlign = late ? "right" : "left";
    pen.fillText("cut", at + (late ? -6 : 6), height - 8);
    pen.textAlign = "left";
  }
  pen.strokeStyle = dark ? "#56b4e9" : "#0072b2";
  pen.lineWidth = 4;
  pen.lineJoin = "round";
  pen.beginPath();
  past.forEach((look, place) => pen[place ? "lineTo" : "moveTo"](x(look), y(look.iou)));
  pen.stroke();
  pen.fillStyle = dark ? "#b0b7be" : "#5b636c";
  for (const iou of [0, 1]) pen.fillText(`IoU ${iou}`, width - 64, y(iou) + (iou ? 16 : 0));
}
