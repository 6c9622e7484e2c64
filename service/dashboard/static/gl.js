// Draws a field with WebGL2: each pixel computes its cell, by the formulas of healpix.js.

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
uniform sampler2D colours;
uniform vec2 size;       // pixels
uniform int nside;
uniform int width;       // texture width
uniform bool round_;     // globe, else Equal Earth
uniform vec2 centre;     // longitude in degrees, latitude in radians
uniform float unit;      // pixels per unit of the projection
uniform vec2 shade;      // packed value -> position in the colour map
out vec4 colour;
const float PI = 3.14159265358979;

int spread(int value) {
  int out_ = 0;
  for (int bit = 0; bit < 13; bit++) out_ |= ((value >> bit) & 1) << (2 * bit);
  return out_;
}

int cell_of(float quarter, float z, float cosine) {
  float n = float(nside);
  float height = abs(z);
  int face, x, y;
  if (height <= 2.0 / 3.0) {
    float along = n * (0.5 + quarter);
    float across = n * z * 0.75;
    int up = int(floor(along - across));
    int down = int(floor(along + across));
    int face_up = up / nside;
    int face_down = down / nside;
    if (face_up == face_down) face = (face_up & 3) + 4;
    else face = face_up < face_down ? (face_up & 3) : (face_down & 3) + 8;
    x = down & (nside - 1);
    y = nside - (up & (nside - 1)) - 1;
  } else {
    int sector = min(3, int(floor(quarter)));
    float part = quarter - float(sector);
    float reach = n * cosine / sqrt((1.0 + height) / 3.0);
    int up = min(nside - 1, int(floor(part * reach)));
    int down = min(nside - 1, int(floor((1.0 - part) * reach)));
    if (z >= 0.0) { face = sector; x = nside - down - 1; y = nside - up - 1; }
    else { face = sector + 8; x = up; y = down; }
  }
  return face * nside * nside + spread(x) + 2 * spread(y);
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
  vec2 p = (gl_FragCoord.xy - size / 2.0) / unit;
  float longitude, z, cosine;
  if (round_) {
    float r2 = dot(p, p);
    if (r2 > 1.0) discard;
    float depth = sqrt(1.0 - r2);
    z = clamp(depth * sin(centre.y) + p.y * cos(centre.y), -1.0, 1.0);
    float toward = depth * cos(centre.y) - p.y * sin(centre.y);
    cosine = length(vec2(p.x, toward));
    longitude = centre.x + degrees(atan(p.x, toward));
  } else {
    float t = p.y / 1.340264;
    for (int i = 0; i < 8; i++) t -= (earth_y(t) - p.y) / earth_slope(t);
    z = 2.0 / sqrt(3.0) * sin(t);
    if (abs(z) > 1.0 || abs(p.y) > earth_y(PI / 3.0)) discard;
    float lambda = p.x * 3.0 * earth_slope(t) / (2.0 * sqrt(3.0) * cos(t));
    if (abs(lambda) > PI) discard;
    cosine = sqrt(1.0 - z * z);
    longitude = centre.x + degrees(lambda);
  }
  float quarter = mod(longitude / 90.0, 4.0);
  if (quarter >= 4.0) quarter = 0.0;
  int cell = cell_of(quarter, z, cosine);
  uint packed = texelFetch(field, ivec2(cell % width, cell / width), 0).r;
  float place = clamp(float(packed) * shade.x + shade.y, 0.0, 255.0);
  colour = packed == 65535u ? vec4(0.784, 0.784, 0.784, 1.0)
    : texelFetch(colours, ivec2(int(place), 0), 0);
}`;

function shader(gl, kind, source) {
  const made = gl.createShader(kind);
  gl.shaderSource(made, source);
  gl.compileShader(made);
  if (!gl.getShaderParameter(made, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(made));
  return made;
}

/** Return a painter that uses the GPU, or null if there is none (or only a software renderer). */
export function glPainter(evenInSoftware = false) {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", {
    antialias: false, preserveDrawingBuffer: true, failIfMajorPerformanceCaveat: !evenInSoftware,
  });
  if (gl === null) return null;
  let painter = null;
  try {
    painter = new GlPainter(canvas, gl);
  } catch (error) {
    console.info(`drawing without WebGL2: ${error.message}`);
  }
  return painter;
}

class GlPainter {
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.kind = "webgl2";
    const program = gl.createProgram();
    gl.attachShader(program, shader(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.at = (name) => gl.getUniformLocation(program, name);
    gl.bindVertexArray(gl.createVertexArray());
    this.textures = [gl.createTexture(), gl.createTexture()];
    gl.uniform1i(this.at("field"), 0);
    gl.uniform1i(this.at("colours"), 1);
    this.field = null;
    this.style = null;
  }

  texture(unit) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[unit]);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const name of ["TEXTURE_MIN_FILTER", "TEXTURE_MAG_FILTER"]) {
      gl.texParameteri(gl.TEXTURE_2D, gl[name], gl.NEAREST);
    }
  }

  upload(field, style) {
    const { gl } = this;
    const width = 4 * field.nside;
    if (this.field !== field) {
      this.texture(0);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, width, 3 * field.nside, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, field.packed);
      gl.uniform1i(this.at("nside"), field.nside);
      gl.uniform1i(this.at("width"), width);
      this.field = field;
    }
    if (this.style !== style) {
      this.texture(1);
      const bytes = new Uint8Array(style.table.buffer);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, style.table.length, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
      this.style = style;
    }
  }

  /** Paint a field; return the canvas to copy from. */
  paint(width, height, view, projection, field, style, [low, high]) {
    const { gl, canvas } = this;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    this.upload(field, style);
    const top = style.table.length - 1;
    const factor = (style.scale * field.scale * top) / (high - low);
    const shift = ((style.scale * field.offset + style.offset - low) * top) / (high - low);
    gl.viewport(0, 0, width, height);
    gl.uniform2f(this.at("size"), width, height);
    gl.uniform1i(this.at("round_"), view.kind === "globe" ? 1 : 0);
    gl.uniform2f(this.at("centre"), view.longitude, (view.latitude * Math.PI) / 180);
    gl.uniform1f(this.at("unit"), projection.unit);
    gl.uniform2f(this.at("shade"), factor, shift);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return canvas;
  }
}
