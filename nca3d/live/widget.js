// The same view in a notebook: the engine is Python, asked for so many steps at a time, and only when the last picture is
// on the screen.

const SILENCE = 3000; // milliseconds

function render({ model, el }) {
  const root = document.createElement("div");
  root.style.height = `${model.get("height")}px`;
  el.append(root);
  const about = model.get("about");
  let pace = 32, playing = false, waiting = false, last = performance.now(), shown = null, gone = false;
  let clock = [];
  const send = (call, given) => { waiting = true; model.send({ call, with: given }); };
  const engine = {
    onframe: () => {},
    play: (yes) => { playing = yes; last = performance.now(); clock = []; },
    speed: (steps) => { pace = steps; clock = []; },
    step: () => send("steps", 1), seed: () => send("seed"), become: (mix) => send("become", mix), cut: (wound) => send("cut", wound),
  };
  const hear = (content, buffers) => {
    if (!content.frame) return;
    alone(false);
    const now = performance.now(), { buffer, byteOffset, byteLength } = buffers[0];
    waiting = false;
    clock = [...clock.filter(({ at }) => now - at < 1500), { at: now, step: content.frame.step }];
    const rate = clock.length > 1 ? (1000 * (content.frame.step - clock[0].step)) / (now - clock[0].at) : 0;
    engine.onframe({ ...content.frame, rate: playing ? rate : 0, picture: new Uint8Array(buffer, byteOffset, byteLength) });
  };
  model.on("msg:custom", hear);
  const view = showCreature(root, about, engine, about.fragment);
  // A saved notebook on a page has no kernel: after a while without an answer the body stands still, and the page says so.
  const [read, controls] = [root.querySelector(".read"), root.querySelectorAll("footer, .hint, .chart")];
  const alone = (yes) => { clearTimeout(silence); controls.forEach((part) => { part.hidden = yes; }); };
  const silence = setTimeout(async () => {
    const { step, cells } = model.get("still") ?? {};
    if (gone || !cells) return;
    alone(true);
    view.view.show(await inflate(cells));
    read.textContent = `step ${step} · a still: no kernel is running`;
  }, SILENCE);
  const turn = () => {
    if (gone) return;
    const now = performance.now(), due = Math.floor(((now - last) * pace) / 1000);
    if (playing && !waiting && !view.view.busy && due >= 1) { last = now; send("steps", Math.min(due, 64)); }
    shown = requestAnimationFrame(turn);
  };
  send("look");
  turn();
  return () => { gone = true; clearTimeout(silence); cancelAnimationFrame(shown); model.off("msg:custom", hear); };
}

export default { render };
