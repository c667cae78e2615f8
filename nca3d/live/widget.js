// The same view in a notebook: the engine is Python, asked for so many steps at a time, and only when the last picture is
// on the screen.

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
    step: () => send("steps", 1), seed: () => send("seed"), cut: (wound) => send("cut", wound),
  };
  const hear = (content, buffers) => {
    if (!content.frame) return;
    const now = performance.now(), { buffer, byteOffset, byteLength } = buffers[0];
    waiting = false;
    clock = [...clock.filter(({ at }) => now - at < 1500), { at: now, step: content.frame.step }];
    const rate = clock.length > 1 ? (1000 * (content.frame.step - clock[0].step)) / (now - clock[0].at) : 0;
    engine.onframe({ ...content.frame, rate: playing ? rate : 0, picture: new Uint8Array(buffer, byteOffset, byteLength) });
  };
  model.on("msg:custom", hear);
  const view = showCreature(root, about, engine, about.fragment);
  const turn = () => {
    if (gone) return;
    const now = performance.now(), due = Math.floor(((now - last) * pace) / 1000);
    if (playing && !waiting && !view.view.busy && due >= 1) { last = now; send("steps", Math.min(due, 64)); }
    shown = requestAnimationFrame(turn);
  };
  send("look");
  turn();
  return () => { gone = true; cancelAnimationFrame(shown); model.off("msg:custom", hear); };
}

export default { render };
