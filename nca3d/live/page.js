// The page of a living body: its worker, and a few calls for whoever drives the page from outside.
//
// window.creature: ready (a promise) · run(steps) · status() · state() → (C, D, H, W) floats · restore({state, step, seed}) ·
// fires(step) → 0 or 1 for each cell · cut(wound) · seed() · become(a share for each body) · play(yes) · speed(steps a second); all
// answer with promises.

async function openCreature(root, about, weights, fragment, source) {
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const waiting = new Map();
  let count = 0, first;
  const ask = (call, given) => new Promise((answer, refuse) => {
    waiting.set(++count, { answer, refuse });
    worker.postMessage({ id: count, call, with: given });
  });
  const engine = { onframe: () => {} };
  for (const call of ["play", "speed", "seed", "become", "cut", "run", "status", "told", "state", "restore", "fires"]) engine[call] = (given) => ask(call, given);
  engine.step = () => ask("run", 1);
  const ready = new Promise((go) => { first = go; });
  worker.onerror = (event) => view.trouble(`The body can't be stepped here: ${event.message}`);
  worker.onmessage = ({ data }) => {
    if (data.id) {
      const { answer, refuse } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) refuse(new Error(data.error));
      else answer(data.answer);
      return;
    }
    const before = view.view.picture;
    engine.onframe(data.frame);
    first();
    // The picture shown until now goes back, to be painted anew; the next one is asked for when this one is on the screen.
    const drawn = () => (view.view.busy ? requestAnimationFrame(drawn) : worker.postMessage({ drawn: before }, [before.buffer]));
    requestAnimationFrame(drawn);
  };
  const bytes = await inflate(weights.floats);
  const wanted = weights.target ? await inflate(weights.target) : new Uint8Array(), volume = about.size.reduce((all, n) => all * n, 1);
  const targets = Array.from({ length: wanted.length / volume }, (_, body) => {
    const cells = wanted.slice(body * volume, (body + 1) * volume);
    return { cells, count: cells.reduce((sum, n) => sum + n, 0) };
  });
  const view = showCreature(root, about, engine, fragment);
  worker.postMessage({ begin: {
    rule: about.rule, floats: new Float32Array(bytes.buffer), seed: about.seed,
    wanted: targets,
  } });
  // Nobody looks: nothing is computed.
  document.addEventListener("visibilitychange", () => engine.play(view.playing && !document.hidden));
  globalThis.creature = Object.assign(view, engine, { ready });
}
