// @ts-check
// Draws a field with WebGL2: each pixel computes its cell, or the four cells around it and their
// bilinear weights, by the formulas of healpix.js. Fields lie in textures in ring order.

import { shadeOf } from "./field.js";
import { KINDS } from "./projections.js";

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D field;
uniform usampler2D next;
uniform sampler2D colours;
uniform vec2 size;       // pixels
uniform int nside;
uniform int width;       // texture width
uniform int kind;        // globe, Equal Earth, north and south polar stereographic
uniform bool smooth_;
uniform vec2 centre;     // longitude in degrees, latitude in radians
uniform float unit;      // pixels per unit of the projection
uniform float dy;        // pixels from the middle of the map up to the projection's origin
uniform float reach;     // radius of the map of a pole
uniform vec2 shade;      // packed value -> position in the colour map
uniform vec2 shade_next;
uniform float share;     // of the next field
out vec4 colour;
const float PI = 3.14159265358979;

// First cell, number of cells and shift of a ring.
ivec2 ring_of(int ring, out float shift) {
  int north = min(ring, 4 * nside - ring);
  int start, count;
  if (north < nside) { start = 2 * north * (north - 1); count = 4 * north; shift = 0.5; }
  else {
    count = 4 * nside;
    start = 2 * nside * (nside - 1) + (north - nside) * count;
    shift = ((north - nside) & 1) == 0 ? 0.5 : 0.0;
  }
  if (north != ring) start = 12 * nside * nside - start - count;
  return ivec2(start, count);
}

float colatitude_of(int ring) {
  int north = min(ring, 4 * nside - ring);
  float n = float(nside), r = float(north), theta;
  if (north < nside) {
    float part = r * r / (3.0 * n * n);
    theta = atan(sqrt(part * (2.0 - part)), 1.0 - part);
  } else theta = acos((2.0 * n - r) * 2.0 / (3.0 * n));
  return north == ring ? theta : PI - theta;
}

int cell_of(float quarter, float z, float cosine) {
  float n = float(nside);
  float height = abs(z);
  if (height <= 2.0 / 3.0) {
    float along = n * (0.5 + quarter);
    float across = n * z * 0.75;
    int up = int(floor(along - across));
    int down = int(floor(along + across));
    int ring = nside + 1 + up - down;
    int odd = 1 - (ring & 1);
    int place = ((up + down - nside + odd + 1 + 8 * nside) >> 1) & (4 * nside - 1);
    return 2 * nside * (nside - 1) + (ring - 1) * 4 * nside + place;
  }
  float part = fract(quarter);
  float radius = n * cosine / sqrt((1.0 + height) / 3.0);
  int ring = int(floor(part * radius)) + int(floor((1.0 - part) * radius)) + 1;
  int place = min(int(floor(quarter * float(ring))), 4 * ring - 1);
  return z > 0.0 ? 2 * ring * (ring - 1) + place
    : 12 * nside * nside - 2 * ring * (ring + 1) + place;
}

void along_ring(int ring, float turn, out ivec2 cells, out float part) {
  float shift;
  ivec2 at = ring_of(ring, shift);
  float along = turn * float(at.y) - shift;
  int first = int(floor(along));
  part = along - float(first);
  cells = at.x + ivec2((first + at.y) % at.y, (first + 1 + at.y) % at.y);
}

void weigh(float quarter, float z, float cosine, out ivec4 cells, out vec4 weights) {
  float n = float(nside), height = abs(z);
  int last = 4 * nside, above;
  if (height <= 2.0 / 3.0) above = int(floor(n * (2.0 - 1.5 * z)));
  else {
    int radius = int(floor(n * cosine * sqrt(3.0) / sqrt(1.0 + height)));
    above = z > 0.0 ? radius : last - radius - 1;
  }
  above = clamp(above, 0, last - 1);
  float turn = quarter / 4.0, theta = atan(cosine, z);
  ivec2 a = ivec2(0), b = ivec2(0);
  float pa = 0.0, pb = 0.0;
  if (above > 0) along_ring(above, turn, a, pa);
  if (above + 1 < last) along_ring(above + 1, turn, b, pb);
  vec2 wa = vec2(1.0 - pa, pa), wb = vec2(1.0 - pb, pb);
  if (above == 0) {
    float down = theta / colatitude_of(1);
    a = (b + 2) & 3;
    wa = vec2((1.0 - down) / 4.0);
    wb = wb * down + (1.0 - down) / 4.0;
  } else if (above + 1 == last) {
    float t = colatitude_of(above), down = (theta - t) / (PI - t);
    b = ((a + 2) & 3) + 12 * nside * nside - 4;
    wb = vec2(down / 4.0);
    wa = wa * (1.0 - down) + down / 4.0;
  } else {
    float t = colatitude_of(above), down = (theta - t) / (colatitude_of(above + 1) - t);
    wa *= 1.0 - down;
    wb *= down;
  }
  cells = ivec4(a, b);
  weights = vec4(wa, wb);
}

// Position in the colour map; below -1e9 where a cell is missing.
float place_of(usampler2D source, vec2 by, ivec4 cells, vec4 weights) {
  float sum = 0.0;
  for (int k = 0; k < 4; k++) {
    if (!smooth_ && k > 0) break;
    uint packed = texelFetch(source, ivec2(cells[k] % width, cells[k] / width), 0).r;
    if (packed == 65535u) return -1e10;
    sum += weights[k] * float(packed);
  }
  return sum * by.x + by.y;
}

float earth_y(float t) {
  float t2 = t * t; float t6 = t2 * t2 * t2;
  return t * (1.340264 - 0.081106 * t2 + t6 * (0.000893 + 0.003796 * t2));
}
float earth_slope(float t) {
  float t2 = t * t; float t6 = t2 * t2 * t2;
  return 1.340264 - 0.243318 * t2 + t6 * (0.006251 + 0.034164 * t2);
}

void main() {
  vec2 p = (gl_FragCoord.xy - size / 2.0 - vec2(0.0, dy)) / unit;
  float longitude, z, cosine;
  if (kind == 0) {
    float r2 = dot(p, p);
    if (r2 > 1.0) discard;
    float depth = sqrt(1.0 - r2);
    z = clamp(depth * sin(centre.y) + p.y * cos(centre.y), -1.0, 1.0);
    float toward = depth * cos(centre.y) - p.y * sin(centre.y);
    cosine = length(vec2(p.x, toward));
    longitude = centre.x + degrees(atan(p.x, toward));
  } else if (kind == 1) {
    float t = p.y / 1.340264;
    for (int i = 0; i < 8; i++) t -= (earth_y(t) - p.y) / earth_slope(t);
    z = 2.0 / sqrt(3.0) * sin(t);
    if (abs(z) > 1.0 || abs(p.y) > earth_y(PI / 3.0)) discard;
    float lambda = p.x * 3.0 * earth_slope(t) / (2.0 * sqrt(3.0) * cos(t));
    if (abs(lambda) > PI) discard;
    cosine = sqrt(1.0 - z * z);
    longitude = centre.x + degrees(lambda);
  } else {
    float side = kind == 2 ? 1.0 : -1.0;
    float r2 = dot(p, p);
    if (r2 > reach * reach) discard;
    z = side * (4.0 - r2) / (4.0 + r2);
    cosine = 4.0 * sqrt(r2) / (4.0 + r2);
    longitude = centre.x + (r2 == 0.0 ? 0.0 : degrees(atan(p.x, -side * p.y)));
  }
  float quarter = mod(longitude / 90.0, 4.0);
  if (quarter >= 4.0) quarter = 0.0;
  ivec4 cells = ivec4(0);
  vec4 weights = vec4(1.0, 0.0, 0.0, 0.0);
  if (smooth_) weigh(quarter, z, cosine, cells, weights);
  else cells.x = cell_of(quarter, z, cosine);
  float place = place_of(field, shade, cells, weights);
  if (share > 0.0) place = mix(place, place_of(next, shade_next, cells, weights), share);
  int top = textureSize(colours, 0).x - 1;
  colour = place < -1e9 ? vec4(0.784, 0.784, 0.784, 1.0)
    : texelFetch(colours, ivec2(int(clamp(place, 0.0, float(top))), 0), 0);
}`;

/** @typedef {import("./field.js").Field} Field */
/** @typedef {import("./projections.js").Projection} Projection */
/** @typedef {import("./projections.js").View} View */
/** @typedef {import("./painter.js").Scene} Scene */

/** @param {WebGL2RenderingContext} gl @param {number} kind @param {string} source */
function shader(gl, kind, source) {
  const made = /** @type {WebGLShader} */ (gl.createShader(kind));
  gl.shaderSource(made, source);
  gl.compileShader(made);
  if (!gl.getShaderParameter(made, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(made) ?? "");
  return made;
}

/** Whether a renderer computes on the processor: it is several times slower than the painter without
 * WebGL, and browsers do not always say so by `failIfMajorPerformanceCaveat`.
 * @param {string} name */
export function isSoftware(name) {
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** @param {WebGL2RenderingContext} gl */
function rendererOf(gl) {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  return String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

/** Return a painter that uses the GPU, or null if there is none (or only a software renderer).
 * @param {boolean} evenInSoftware */
export function glPainter(evenInSoftware = false) {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", {
    antialias: false, preserveDrawingBuffer: true, failIfMajorPerformanceCaveat: !evenInSoftware,
  });
  if (gl === null || (!evenInSoftware && isSoftware(rendererOf(gl)))) return null;
  try {
    return new GlPainter(canvas, gl);
  } catch (error) {
    console.info(`drawing without WebGL2: ${error}`);
    return null;
  }
}

class GlPainter {
  /** @param {HTMLCanvasElement} canvas @param {WebGL2RenderingContext} gl */
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.kind = "webgl2";
    const program = /** @type {WebGLProgram} */ (gl.createProgram());
    gl.attachShader(program, shader(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "");
    gl.useProgram(program);
    /** @param {string} name */
    this.at = (name) => gl.getUniformLocation(program, name);
    gl.bindVertexArray(gl.createVertexArray());
    this.textures = [gl.createTexture(), gl.createTexture(), gl.createTexture()];
    ["field", "next", "colours"].forEach((name, unit) => gl.uniform1i(this.at(name), unit));
    /** @type {unknown[]} */
    this.held = [null, null, null];
  }

  /** Make a texture current, and say whether it holds something else already.
   * @param {number} unit @param {unknown} what */
  bind(unit, what) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[unit]);
    if (this.held[unit] === what) return false;
    this.held[unit] = what;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return true;
  }

  /** @param {number} unit @param {Field} field */
  upload(unit, field) {
    const { gl } = this;
    if (!this.bind(unit, field)) return;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, 4 * field.nside, 3 * field.nside, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, field.packed);
  }

  /** Paint a scene; return the canvas to copy from.
   * @param {number} width @param {number} height @param {View} view
   * @param {Projection} projection @param {Scene} scene */
  paint(width, height, view, projection, { field, next, share, style, limits, smooth }) {
    const { gl, canvas } = this;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const fades = next !== null && share > 0 && next.nside === field.nside;
    this.upload(0, field);
    this.upload(1, fades ? next : field);
    if (this.bind(2, style.table)) {
      const bytes = new Uint8Array(style.table.buffer);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, style.table.length, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    }
    gl.viewport(0, 0, width, height);
    gl.uniform1i(this.at("nside"), field.nside);
    gl.uniform1i(this.at("width"), 4 * field.nside);
    gl.uniform2f(this.at("size"), width, height);
    gl.uniform1i(this.at("kind"), KINDS.indexOf(view.kind));
    gl.uniform1i(this.at("smooth_"), smooth ? 1 : 0);
    gl.uniform2f(this.at("centre"), view.longitude, (view.latitude * Math.PI) / 180);
    gl.uniform1f(this.at("unit"), projection.unit);
    gl.uniform1f(this.at("dy"), projection.dy);
    gl.uniform1f(this.at("reach"), projection.jump / projection.unit);
    gl.uniform2fv(this.at("shade"), shadeOf(field, style, limits));
    gl.uniform2fv(this.at("shade_next"), shadeOf(fades ? next : field, style, limits));
    gl.uniform1f(this.at("share"), fades ? share : 0);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return canvas;
  }
}
