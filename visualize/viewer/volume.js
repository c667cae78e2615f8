// A body in a canvas: WebGL2, one ray a pixel, a camera that turns; picking says which cell lies under the pointer.
// x runs along W, y along H, z along D and up; a picture is (D, H, W, 4) bytes, as visualize has it.

const VIEW_SLOPE = Math.tan((11 * Math.PI) / 180); // half the view angle of camera.py
const SUN_AZIMUTH = -48, SUN_ELEVATION = 52; // of light.py: it turns with the eye
const SLOWEST = 60, QUICK = 14; // milliseconds of one drawing at which it becomes coarser, or finer again
const COARSEST = 0.4; // pixels drawn for one of the page, along a side

const radians = (degrees) => (degrees * Math.PI) / 180;
const sphere = (azimuth, elevation) => [
  Math.cos(elevation) * Math.cos(azimuth), Math.cos(elevation) * Math.sin(azimuth), Math.sin(elevation),
];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

/** Azimuth and elevation in degrees from which a lattice (D, H, W) is seen at first: those of view.py. */
function eyeOf([depth, height, width]) {
  if (depth === 1 && width > 1) return [-90, 68];
  if (depth === 1 && height > 1) return [-14, 16];
  if (depth > 1 && height === 1 && width > 1) return [-76, 16];
  if (depth > 1 && height > 1 && width === 1) return [-14, 16];
  return [-58, 24];
}

class VolumeView {
  /** Draws into `canvas` the bodies of a lattice `size` (D, H, W); throws an Error where there is no WebGL2. */
  constructor(canvas, size, fragment) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("No picture: this browser offers no WebGL2 here.");
    const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
    if (Math.max(...size) > most) throw new Error(`No picture: a side has ${Math.max(...size)} cells, this browser draws at most ${most}.`);
    this.canvas = canvas;
    this.gl = gl;
    this.lost = false;
    this.onlost = () => {};
    [this.depth, this.height, this.width] = size;
    [this.azimuth, this.elevation] = eyeOf(size);
    this.zoom = 1;
    this.smooth = false;
    this.brush = [0, 0, 0, 0];
    this.scale = 1;
    this.inset = { top: 0, bottom: 0 }; // pixels of the page that controls cover
    this.drawn = 0;
    this.took = 0;
    this.moving = false; // whether another picture will come soon
    this.fine = false;
    this.pending = null;
    this.frame([0, 0, 0], [this.width, this.height, this.depth]);
    this.picture = new Uint8Array(4 * this.width * this.height * this.depth);
    this.bounds = null;
    this.#setUp(fragment);
    this.show(this.picture);
    new ResizeObserver(() => this.redraw()).observe(canvas);
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); this.lost = true; this.onlost(true); });
    canvas.addEventListener("webglcontextrestored", () => {
      this.lost = false;
      this.pending = null;
      this.onlost(false);
      this.#setUp(fragment);
      this.show(this.picture);
    });
    const loop = () => { this.#tick(); requestAnimationFrame(loop); };
    requestAnimationFrame(loop);
  }

  /** The box (x, y, z) that fills the view: the body's, or that of all bodies of a film. */
  frame(low, high) {
    this.box = { low, high };
    this.redraw();
  }

  colours(paper, ink) {
    this.paper = paper;
    this.ink = ink;
    this.redraw();
  }

  redraw() {
    this.dirty = true;
    this.changed = performance.now();
  }

  // ---- the body ---------------------------------------------------------------------------------------------------

  /** Another picture (D, H, W, 4) of bytes. */
  show(picture) {
    const { gl, width, height, depth } = this;
    this.picture = picture;
    const low = [width, height, depth], high = [0, 0, 0];
    for (let z = 0, cell = 0; z < depth; z++) for (let y = 0; y < height; y++) for (let x = 0; x < width; x++, cell++) {
      if (!picture[4 * cell + 3]) continue;
      if (x < low[0]) low[0] = x; if (x >= high[0]) high[0] = x + 1;
      if (y < low[1]) low[1] = y; if (y >= high[1]) high[1] = y + 1;
      if (z < low[2]) low[2] = z; if (z >= high[2]) high[2] = z + 1;
    }
    this.bounds = high[0] ? { low, high } : null;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.activeTexture(gl.TEXTURE0);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, width, height, depth, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    gl.activeTexture(gl.TEXTURE1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, width, height, depth, gl.RGBA, gl.UNSIGNED_BYTE, this.#blur(picture));
    this.redraw();
  }

  /** Premultiplied and smoothed with (1, 2, 1) / 4 along each axis, within the body's box and one cell around it. */
  #blur(picture) {
    const { width, height, depth, bounds } = this;
    const soft = (this.soft ??= new Uint8Array(picture.length));
    soft.fill(0);
    if (!bounds) return soft;
    const sides = [width, height, depth];
    const low = bounds.low.map((n) => Math.max(n - 1, 0)), high = bounds.high.map((n, axis) => Math.min(n + 1, sides[axis]));
    const [w, h, d] = high.map((n, axis) => n - low[axis]);
    let from = new Float32Array(4 * w * h * d), to = new Float32Array(from.length);
    for (let z = 0, at = 0; z < d; z++) for (let y = 0; y < h; y++) for (let x = 0; x < w; x++, at += 4) {
      const cell = 4 * (((z + low[2]) * height + y + low[1]) * width + x + low[0]);
      if (!picture[cell + 3]) continue;
      for (let part = 0; part < 3; part++) from[at + part] = picture[cell + part];
      from[at + 3] = 255;
    }
    for (const [stride, side] of [[4, w], [4 * w, h], [4 * w * h, d]]) {
      for (let i = 0; i < from.length; i++) {
        const place = Math.floor(i / stride) % side;
        to[i] = 0.5 * from[i] + 0.25 * ((place ? from[i - stride] : 0) + (place < side - 1 ? from[i + stride] : 0));
      }
      [from, to] = [to, from];
    }
    for (let z = 0, at = 0; z < d; z++) for (let y = 0; y < h; y++) for (let x = 0; x < w; x++, at += 4) {
      const cell = 4 * (((z + low[2]) * height + y + low[1]) * width + x + low[0]);
      for (let part = 0; part < 4; part++) soft[cell + part] = from[at + part] + 0.5;
    }
    return soft;
  }

  // ---- the eye ----------------------------------------------------------------------------------------------------

  turn(azimuth, elevation) {
    this.azimuth += azimuth;
    this.elevation = Math.min(Math.max(this.elevation + elevation, -89), 89);
    this.redraw();
  }

  closer(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.3), 8);
    this.redraw();
  }

  /** Where the eye stands, so that the box fits between the controls however it turns; `shift` lifts the picture's middle. */
  #camera() {
    const { low, high } = this.box, { clientWidth: across, clientHeight: down } = this.canvas, { top, bottom } = this.inset;
    const free = Math.max((down - top - bottom) / Math.max(down, 1), 0.3), aspect = across / Math.max(down * free, 1);
    const shift = (bottom - top) / Math.max(down, 1);
    const middle = low.map((n, axis) => (n + high[axis]) / 2);
    const away = sphere(radians(this.azimuth), radians(this.elevation));
    const right = [-Math.sin(radians(this.azimuth)), Math.cos(radians(this.azimuth)), 0];
    const forward = away.map((n) => -n), up = cross(right, forward);
    const sides = low.map((n, axis) => high[axis] - n), flat = Math.hypot(sides[0] + 2, sides[1] + 2) / 2;
    // A turning body sweeps a cylinder: as wide as its diagonal, as high as the tilt shows of height and floor.
    const tilt = radians(Math.abs(this.elevation));
    const tall = (sides[2] / 2) * Math.cos(tilt) + flat * Math.sin(tilt);
    const distance = (1.04 * Math.max(tall, flat / Math.min(aspect, 1.6)) / VIEW_SLOPE / free + 0.6 * flat * Math.cos(tilt)) / this.zoom;
    const eye = middle.map((n, axis) => n + distance * away[axis]);
    return { eye, right, up, forward, shift };
  }

  /** The ray under a point of the page. */
  #ray(clientX, clientY) {
    const rect = this.canvas.getBoundingClientRect(), { eye, right, up, forward, shift } = this.#camera();
    const across = ((2 * (clientX - rect.left) - rect.width) / rect.height) * VIEW_SLOPE;
    const above = ((rect.height - 2 * (clientY - rect.top)) / rect.height - shift) * VIEW_SLOPE;
    return { eye, ray: forward.map((n, axis) => n + across * right[axis] + above * up[axis]) };
  }

  /** The cell [x, y, z] of the body under a point of the page, or null. */
  pick(clientX, clientY) {
    if (!this.bounds) return null;
    const { eye, ray } = this.#ray(clientX, clientY), { low, high } = this.bounds;
    let near = 0, far = Infinity;
    for (let axis = 0; axis < 3; axis++) {
      const a = (low[axis] - eye[axis]) / ray[axis], b = (high[axis] - eye[axis]) / ray[axis];
      near = Math.max(near, Math.min(a, b));
      far = Math.min(far, Math.max(a, b));
    }
    for (let at = near + 1e-6; at < far; ) {
      const cell = eye.map((n, axis) => Math.min(Math.max(Math.floor(n + at * ray[axis]), low[axis]), high[axis] - 1));
      if (this.picture[4 * ((cell[2] * this.height + cell[1]) * this.width + cell[0]) + 3]) return cell;
      at = 1e-6 + Math.min(...cell.map((n, axis) => (ray[axis] ? (n + (ray[axis] > 0) - eye[axis]) / ray[axis] : Infinity)));
    }
    return null;
  }

  /** Where the middle of a cell is seen on the page, as [clientX, clientY]. */
  project([x, y, z]) {
    const rect = this.canvas.getBoundingClientRect(), { eye, right, up, forward, shift } = this.#camera();
    const off = [x + 0.5 - eye[0], y + 0.5 - eye[1], z + 0.5 - eye[2]];
    const along = (axis) => off[0] * axis[0] + off[1] * axis[1] + off[2] * axis[2];
    const scale = rect.height / (2 * VIEW_SLOPE * along(forward));
    return [rect.left + rect.width / 2 + scale * along(right), rect.top + (rect.height * (1 - shift)) / 2 - scale * along(up)];
  }

  /** Whether what was shown last isn't on the screen yet. */
  get busy() {
    return !this.lost && (this.dirty || this.pending !== null);
  }

  // ---- drawing ----------------------------------------------------------------------------------------------------

  #setUp(fragment) {
    const { gl, width, height, depth } = this, program = gl.createProgram();
    const vertex = "#version 300 es\nvoid main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }";
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.bindVertexArray(gl.createVertexArray());
    for (const unit of [gl.TEXTURE0, gl.TEXTURE1]) {
      gl.activeTexture(unit);
      gl.bindTexture(gl.TEXTURE_3D, gl.createTexture());
      gl.texStorage3D(gl.TEXTURE_3D, 1, gl.RGBA8, width, height, depth);
      for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, name, gl.LINEAR);
      for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(gl.TEXTURE_3D, name, gl.CLAMP_TO_EDGE);
    }
    this.at = (name) => gl.getUniformLocation(program, name);
    gl.uniform1i(this.at("cells"), 0);
    gl.uniform1i(this.at("soft"), 1);
    gl.uniform3f(this.at("size"), width, height, depth);
  }

  /** Draws when something changed, never while the last drawing is still under way: slow machines draw coarser instead. */
  #tick() {
    const { gl } = this, now = performance.now();
    if (this.lost) return;
    if (this.pending) {
      if (gl.clientWaitSync(this.pending, 0, 0) === gl.TIMEOUT_EXPIRED) return;
      gl.deleteSync(this.pending);
      this.pending = null;
      this.took = now - this.began;
      if (!this.fine) {
        // Time goes with the number of pixels, so the side goes with its root.
        const better = Math.sqrt((this.took > SLOWEST ? SLOWEST : QUICK) / Math.max(this.took, 1));
        if (this.took > SLOWEST || this.took < QUICK) this.scale *= Math.min(Math.max(better, 0.6), 1.1);
        this.scale = Math.min(Math.max(this.scale, COARSEST), 1);
      }
      this.drawn++;
    }
    // At rest the picture is drawn once more, at full size and with smooth edges.
    const rested = !this.dirty && !this.moving && !this.fine && now - this.changed > 160;
    if (!this.dirty && !rested) return;
    this.dirty = false;
    this.fine = rested;
    this.samples = rested && 4 * this.took < 600 * this.scale ** 2 ? 4 : 1;
    this.began = now;
    this.draw(this.samples, rested ? 1 : this.scale);
    this.pending = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  draw(samples, scale) {
    const { gl, canvas, at } = this, sharp = Math.min(globalThis.devicePixelRatio || 1, 2) * scale;
    const across = Math.max(16, Math.round(canvas.clientWidth * sharp)), down = Math.max(16, Math.round(canvas.clientHeight * sharp));
    if (canvas.width !== across || canvas.height !== down) { canvas.width = across; canvas.height = down; }
    const { eye, right, up, forward, shift } = this.#camera(), { low, high } = this.box;
    const seen = this.bounds ?? { low: [0, 0, 0], high: [0, 0, 0] };
    gl.viewport(0, 0, across, down);
    const vectors = {
      eye, right, up, forward, paper: this.paper ?? [1, 1, 1], ink: this.ink ?? [0, 0, 0],
      low: seen.low, high: seen.high, sun: sphere(radians(this.azimuth + SUN_AZIMUTH), radians(SUN_ELEVATION)),
    };
    for (const [name, value] of Object.entries(vectors)) gl.uniform3fv(at(name), value);
    gl.uniform2f(at("pixels"), across, down);
    gl.uniform4f(at("ground"), low[0] - 1, low[1] - 1, high[0] + 1, high[1] + 1);
    gl.uniform1f(at("shift"), shift);
    gl.uniform1f(at("level"), low[2]);
    gl.uniform1f(at("slope"), VIEW_SLOPE);
    gl.uniform1i(at("smoothly"), this.smooth ? 1 : 0);
    gl.uniform1i(at("samples"), samples);
    gl.uniform1i(at("looks"), scale < 1 ? 6 : 14);
    gl.uniform4fv(at("brush"), this.brush);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
