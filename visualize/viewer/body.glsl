#version 300 es
// One body by rays: cubes met cell by cell, or a smooth skin; sun, sky and soft shadows, the same light as in light.py.
precision highp float;
precision highp int;
precision highp sampler3D;

uniform sampler3D cells;   // straight red, green, blue, alpha of each cell; alpha 0 where none is seen
uniform sampler3D soft;    // the same, premultiplied and blurred: for skin, wide shade and soft shadows
uniform vec3 size;         // of the lattice: x, y, z
uniform vec3 low, high;    // the box that holds what is seen
uniform vec3 eye, right, up, forward, sun, paper, ink;
uniform vec2 pixels;
uniform vec4 ground;       // low x, low y, high x, high y of the floor's outline
uniform float level;       // height of the floor
uniform float slope;       // half the picture's height at distance 1
uniform float shift;       // how far the middle of the view lies above that of the picture, in half heights
uniform int smoothly, samples;
uniform int looks;         // along a ray of shadow: few while a slow machine moves
uniform vec4 brush;        // centre and radius of what a click would cut; radius 0 = nothing

out vec4 colour;

const float SUN = 0.64, SKY = 0.47, EARTH = 0.34, LEVEL = 0.30;
const vec3 MARK = vec3(0.835, 0.369, 0.0);

bool solid(ivec3 c) {
  return all(greaterThanEqual(c, ivec3(0))) && all(lessThan(c, ivec3(size))) && texelFetch(cells, c, 0).a > 0.0;
}
vec4 blurred(vec3 p) { return texture(soft, p / size); }
float density(vec3 p) { return 0.5 * (texture(cells, p / size).a + blurred(p).a); }

// Where a ray enters and leaves the box.
vec2 span(vec3 from, vec3 ray) {
  if (high.x <= low.x) return vec2(1.0, 0.0);
  vec3 a = (low - from) / ray, b = (high - from) / ray, near = min(a, b), far = max(a, b);
  return vec2(max(max(near.x, near.y), max(near.z, 0.0)), min(far.x, min(far.y, far.z)));
}

struct Hit { float at; ivec3 cell; vec3 normal; };

// The first cell on a ray, cell by cell (Amanatides & Woo 1987).
Hit cube(vec3 from, vec3 ray) {
  vec2 reach = span(from, ray);
  Hit hit = Hit(-1.0, ivec3(0), vec3(0.0));
  if (reach.x >= reach.y) return hit;
  vec3 entry = (low - from) / ray, exit = (high - from) / ray, near = min(entry, exit);
  vec3 normal = -sign(ray) * vec3(greaterThanEqual(near, vec3(reach.x - 1e-5)));
  ivec3 cell = clamp(ivec3(floor(from + ray * (reach.x + 1e-4))), ivec3(low), ivec3(high) - 1), turn = ivec3(sign(ray));
  vec3 each = abs(1.0 / ray), next = (vec3(cell) + max(sign(ray), 0.0) - from) / ray;
  float at = reach.x;
  for (int i = 0; i < 1024; i++) {
    if (texelFetch(cells, cell, 0).a > 0.0) return Hit(at, cell, normalize(normal));
    vec3 first = vec3(lessThanEqual(next, min(next.yzx, next.zxy)));
    first = first.x > 0.0 ? vec3(1, 0, 0) : first.y > 0.0 ? vec3(0, 1, 0) : vec3(0, 0, 1);
    at = dot(next, first);
    if (at >= reach.y) break;
    cell += ivec3(first) * turn;
    if (any(lessThan(cell, ivec3(low))) || any(greaterThanEqual(cell, ivec3(high)))) break;
    next += each * first;
    normal = -sign(ray) * first;
  }
  return hit;
}

// The first point of the skin on a ray; -1 = none.
float skin(vec3 from, vec3 ray) {
  vec2 reach = span(from, ray);
  const float STRIDE = 0.45;
  for (float at = reach.x; at < reach.y; at += STRIDE) {
    if (density(from + at * ray) < LEVEL) continue;
    float above = at - STRIDE, below = at;
    for (int i = 0; i < 5; i++) {
      float middle = 0.5 * (above + below);
      if (density(from + middle * ray) < LEVEL) above = middle; else below = middle;
    }
    return below;
  }
  return -1.0;
}

// How much light comes through the blurred body along a ray: a soft shadow for a dozen looks.
float through(vec3 from, vec3 ray) {
  vec2 reach = span(from, ray);
  float dark = 0.0, stride = max(0.8, length(high - low) / 26.0) * 14.0 / float(looks), at = max(0.9, reach.x);
  for (int i = 0; i < looks && at < reach.y; i++, at += stride) dark += smoothstep(0.12, 0.75, blurred(from + at * ray).a) * stride;
  return exp(-1.1 * dark);
}

// How free a corner-smoothed place on a face is: the four cells in front of it that touch it (0 .. 1).
float corners(ivec3 cell, vec3 normal, vec3 point) {
  ivec3 n = ivec3(normal), u = abs(n.x) > 0 ? ivec3(0, 1, 0) : ivec3(1, 0, 0), v = abs(n.z) > 0 ? ivec3(0, 1, 0) : ivec3(0, 0, 1);
  vec3 inside = point - vec3(cell);
  vec2 f = vec2(dot(inside, vec3(u)), dot(inside, vec3(v)));
  float free[4];
  for (int i = 0; i < 4; i++) {
    ivec3 du = u * ((i & 1) * 2 - 1), dv = v * ((i >> 1) * 2 - 1);
    float a = float(solid(cell + n + du)), b = float(solid(cell + n + dv)), c = float(solid(cell + n + du + dv));
    free[i] = 1.0 - (a + b + max(c, a * b)) / 3.0;
  }
  return mix(mix(free[0], free[1], f.x), mix(free[2], free[3], f.x), f.y);
}

// The colour of the cells around a point of the skin, the nearest by far the strongest: an eye of one cell stays an eye.
vec3 skinColour(vec3 point) {
  vec3 q = point - 0.5, first = floor(q), share = clamp(3.0 * (q - first) - 1.0, 0.0, 1.0);
  vec4 sum = vec4(0.0);
  float all = 1e-4;
  for (int i = 0; i < 8; i++) {
    ivec3 corner = ivec3(i & 1, (i >> 1) & 1, i >> 2), c = ivec3(first) + corner;
    vec3 weight = mix(1.0 - share, share, vec3(corner)) + 1e-3;
    if (!solid(c)) continue;
    vec4 cell = texelFetch(cells, c, 0);
    float strength = weight.x * weight.y * weight.z;
    sum += strength * cell;
    all += strength;
  }
  if (all < 2e-4) { vec4 wide = blurred(point); return wide.rgb / max(wide.a, 1e-3); }
  return mix(paper, sum.rgb / all, min(1.0, 0.25 + sum.a / all));
}

vec3 lit(vec3 base, float light) {
  return pow((0.012 + 0.988 * pow(base, vec3(2.2))) * light, vec3(1.0 / 2.2));
}

float brightness(vec3 normal, float open, float sunlit) {
  return mix(EARTH, SKY, 0.5 + 0.5 * normal.z) * open + SUN * max(dot(normal, sun), 0.0) * sunlit;
}

// The floor: a quiet outline and the body's shadow.
vec3 stage(vec3 ray) {
  vec3 page = paper;
  if (ray.z >= -1e-4 || eye.z <= level) return page;
  float at = (level - eye.z) / ray.z;
  vec2 p = (eye + at * ray).xy;
  vec2 off = max(ground.xy - p, p - ground.zw);
  float thin = 1.1 * at * slope / pixels.y, edge = max(off.x, off.y);
  float line = 1.0 - smoothstep(0.0, thin, abs(edge) - 0.35 * thin);
  float fade = 1.0 - smoothstep(0.0, 0.45 * max(ground.z - ground.x, ground.w - ground.y), edge);
  if (fade > 0.0) {
    vec3 from = vec3(p, level);
    float dark = 1.0 - 0.55 * through(from, normalize(vec3(0.35 * sun.xy, 1.0))) - 0.45 * through(from, sun);
    page = mix(page, page * 0.58, dark * fade);
  }
  return mix(page, ink, 0.16 * line);
}

vec3 look(vec2 at) {
  vec2 off = ((2.0 * at - pixels) / pixels.y - vec2(0.0, shift)) * slope;
  vec3 ray = normalize(forward + off.x * right + off.y * up);
  ray = mix(ray, vec3(1e-6), vec3(lessThan(abs(ray), vec3(1e-6))));
  vec3 point, normal, base;
  float open;
  if (smoothly == 1) {
    float far = skin(eye, ray);
    if (far < 0.0) return stage(ray);
    point = eye + far * ray;
    const vec2 e = vec2(0.6, 0.0);
    normal = -normalize(vec3(density(point + e.xyy) - density(point - e.xyy), density(point + e.yxy) - density(point - e.yxy),
      density(point + e.yyx) - density(point - e.yyx)) + 1e-6);
    base = skinColour(point - 0.5 * normal);
    open = 1.0 - 0.75 * smoothstep(0.1, 0.9, blurred(point + 1.9 * normal).a);
  } else {
    Hit hit = cube(eye, ray);
    if (hit.at < 0.0) return stage(ray);
    point = eye + hit.at * ray;
    normal = hit.normal;
    vec4 cell = texelFetch(cells, hit.cell, 0);
    base = mix(paper, cell.rgb, min(1.0, 0.25 + cell.a));
    open = mix(0.42, 1.0, corners(hit.cell, normal, point)) * (1.0 - 0.5 * smoothstep(0.1, 0.9, blurred(point + 2.2 * normal).a));
    vec3 inside = point - vec3(hit.cell), border = min(inside, 1.0 - inside) + abs(normal);
    float width = hit.at * slope / pixels.y;
    base *= 1.0 - 0.22 * (1.0 - smoothstep(0.6, 1.8, min(border.x, min(border.y, border.z)) / width)) * clamp(0.16 / width, 0.0, 1.0);
  }
  vec3 seen = lit(base, brightness(normal, open, through(point + 0.7 * normal, sun)));
  vec3 halfway = normalize(sun - ray);
  seen += (smoothly == 1 ? 0.10 : 0.03) * pow(max(dot(normal, halfway), 0.0), 24.0) * open;
  if (brush.w > 0.0 && distance(point - 0.5 * normal, brush.xyz) < brush.w) seen = mix(seen, MARK, 0.55);
  return seen;
}

void main() {
  vec3 sum = vec3(0.0);
  for (int i = 0; i < samples; i++) {
    vec2 shift = samples == 1 ? vec2(0.0) : vec2(float((i & 1) * 2 - 1), float((i >> 1) * 2 - 1)) * 0.25;
    sum += look(gl_FragCoord.xy + shift);
  }
  colour = vec4(min(sum / float(samples), 1.0), 1.0);
}
