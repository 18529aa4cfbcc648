/* The markers of a map: one mesh without instances, moved by dead reckoning in the vertex shader.
   What is known of a marker stands in a texture, four texels each, so that an update writes it once and not for each
   of its corners, and a frame in which nothing has come costs one draw call. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const TEXELS = 4, FLOATS = 4 * TEXELS, WIDTH = 1024, CORNERS = 12;
  const FAR_PX = 1e5; // beyond it a float32 no longer tells places a hundredth of a pixel apart

  const VERTEX = `#version 300 es
precision highp float;
uniform highp sampler2D facts;
uniform vec4 view;      // centre from the origin, world size in px, now
uniform vec2 screen;    // 2 / width, 2 / height
uniform vec3 palette[16];
uniform vec3 outline;
uniform vec3 alarm;
flat out vec4 paint;
const int CORNER[6] = int[](0, 1, 2, 0, 2, 3);
const vec2 SHAPE[16] = vec2[](
  vec2(0.0, -1.0), vec2(0.72, 0.8), vec2(0.0, 0.42), vec2(-0.72, 0.8),     // an arrow
  vec2(-0.62, -0.62), vec2(0.62, -0.62), vec2(0.62, 0.62), vec2(-0.62, 0.62), // a square
  vec2(0.0, -0.85), vec2(0.85, 0.0), vec2(0.0, 0.85), vec2(-0.85, 0.0),    // a diamond
  vec2(0.0, -1.0), vec2(0.66, 0.8), vec2(0.0, 0.62), vec2(-0.66, 0.8));    // a triangle
void main() {
  int marker = gl_VertexID / ${CORNERS}, corner = gl_VertexID % ${CORNERS};
  ivec2 at = ivec2(marker * ${TEXELS} % ${WIDTH}, marker * ${TEXELS} / ${WIDTH});
  vec4 place = texelFetch(facts, at, 0);                // x, y from the origin; their change a second
  vec4 times = texelFetch(facts, at + ivec2(1, 0), 0);  // of the place, how long it may go on, glide's begin and length
  vec4 turn = texelFetch(facts, at + ivec2(2, 0), 0);   // where it was drawn before, angle, angle before
  // Colour (between two of the palette it is mixed), shape (4 more: hollow), opacity (below 0: alarm), size in px.
  vec4 look = texelFetch(facts, at + ivec2(3, 0), 0);
  if (look.w == 0.0) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); paint = vec4(0.0); return; }
  float left = times.w > 0.0 ? 1.0 - smoothstep(0.0, 1.0, (view.w - times.z) / times.w) : 0.0;
  vec2 from = place.xy + place.zw * clamp(view.w - times.x, 0.0, times.y) + turn.xy * left - view.xy;
  from.x -= round(from.x);
  float angle = turn.z + turn.w * left;
  bool inner = corner >= 6;
  int form = int(look.y);
  bool hollow = form >= 4;
  float edge = look.z < 0.0 ? 3.6 : hollow ? 0.5 : min(3.2, 0.4 * look.w);
  float rim = inner ? (hollow ? max(1.0 - 3.0 / look.w, 0.35) : 1.0) : 1.0 + edge / look.w;
  vec2 shape = SHAPE[(form % 4) * 4 + CORNER[corner % 6]] * look.w * rim;
  vec2 turned = vec2(shape.x * cos(angle) - shape.y * sin(angle), shape.x * sin(angle) + shape.y * cos(angle));
  vec2 px = from * view.z + turned;
  gl_Position = vec4(px.x * screen.x, -px.y * screen.y, 0.0, 1.0);
  vec3 own = mix(palette[int(look.x)], palette[int(ceil(look.x))], fract(look.x));
  vec3 colour = inner != hollow ? own : outline;
  if (!inner && look.z < 0.0) colour = alarm;
  paint = vec4(colour, 1.0) * abs(look.z);
}`;
  const FRAGMENT = `#version 300 es
precision highp float;
flat in vec4 paint;
out vec4 colour;
void main() { colour = paint; }`;

  const smooth = (at) => { const t = Math.min(Math.max(at, 0), 1); return t * t * (3 - 2 * t); };
  const wrap = (x) => x - Math.round(x);

  HM.Markers = class {
    constructor(canvas) {
      this.canvas = canvas;
      this.count = 0;
      this.origin = [0.5, 0.5];
      this.epoch = 0; // seconds; times in the texture count from here
      this.grow(256);
      this.colours = { palette: [[0, 0, 0]], outline: [1, 1, 1], alarm: [1, 0, 0] };
      canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
      canvas.addEventListener("webglcontextrestored", () => this.prepare());
      this.prepare();
    }

    grow(capacity) {
      const { facts, exact } = this;
      this.capacity = Math.ceil((capacity * TEXELS) / WIDTH) * (WIDTH / TEXELS);
      this.facts = new Float32Array(this.capacity * FLOATS);
      this.exact = new Float64Array(this.capacity * 2); // the places as they came
      if (facts) { this.facts.set(facts); this.exact.set(exact); }
      this.rows = this.capacity / (WIDTH / TEXELS);
      this.resized = this.dirty = true;
    }

    prepare() {
      // Smooth edges cost nothing on a graphics card, and without one a third of a frame.
      const gl = (this.gl = this.canvas.getContext("webgl2", { antialias: true, failIfMajorPerformanceCaveat: true })
        ?? this.canvas.getContext("webgl2", { antialias: false }));
      if (!gl) throw new Error("this browser has no WebGL 2");
      const program = gl.createProgram();
      for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
        throw new Error(`markers: ${gl.getProgramInfoLog(program)}`);
      }
      gl.useProgram(program);
      this.at = Object.fromEntries(
        ["view", "screen", "palette", "outline", "alarm"].map((name) => [name, gl.getUniformLocation(program, name)]));
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
      gl.bindVertexArray(gl.createVertexArray());
      gl.enable(gl.BLEND);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      this.resized = this.dirty = true;
    }

    clear() {
      this.facts.fill(0);
      this.count = 0;
      this.dirty = true;
    }

    /* A marker's motion: mercator place and velocity (world = 1, a second), when it was there, for how long it may go
       on. `glide` seconds lead over from where it is drawn `now`; all times in seconds. */
    move(marker, x, y, vx, vy, angle, time, coast, glide, now) {
      if (marker >= this.capacity) this.grow(2 * marker);
      const at = marker * FLOATS, facts = this.facts;
      let ox = 0, oy = 0, turn = 0;
      if (glide > 0 && marker < this.count && facts[at + 15] !== 0) {
        const [drawnX, drawnY] = this.place(marker, now);
        const dt = Math.min(Math.max(now - time, 0), coast);
        ox = wrap(drawnX - (x + vx * dt));
        oy = drawnY - (y + vy * dt);
        turn = wrap((this.angle(marker, now) - angle) / (2 * Math.PI)) * 2 * Math.PI;
      }
      this.exact[2 * marker] = x;
      this.exact[2 * marker + 1] = y;
      facts[at] = x - this.origin[0];
      facts[at + 1] = y - this.origin[1];
      facts[at + 2] = vx;
      facts[at + 3] = vy;
      facts[at + 4] = time - this.epoch;
      facts[at + 5] = coast;
      facts[at + 6] = now - this.epoch;
      facts[at + 7] = glide;
      facts[at + 8] = ox;
      facts[at + 9] = oy;
      facts[at + 10] = angle;
      facts[at + 11] = turn;
      this.count = Math.max(this.count, marker + 1);
      this.dirty = true;
    }

    /* Colour and shape by number, opacity, whether it alarms, size in px (0: hidden). */
    look(marker, colour, shape, opacity, alarm, size) {
      const at = marker * FLOATS + 12, facts = this.facts;
      facts[at] = colour;
      facts[at + 1] = shape;
      facts[at + 2] = alarm ? -opacity : opacity;
      facts[at + 3] = size;
      this.dirty = true;
    }

    left(at, now) {
      const glide = this.facts[at + 7];
      return glide > 0 ? 1 - smooth((now - this.epoch - this.facts[at + 6]) / glide) : 0;
    }

    glides(marker, now) { return this.left(marker * FLOATS, now) > 0; }

    angle(marker, now) {
      const at = marker * FLOATS;
      return this.facts[at + 10] + this.facts[at + 11] * this.left(at, now);
    }

    /* Where a marker is drawn, as mercator (world = 1). */
    place(marker, now) {
      const at = marker * FLOATS, facts = this.facts;
      const dt = Math.min(Math.max(now - this.epoch - facts[at + 4], 0), facts[at + 5]);
      const left = this.left(at, now);
      return [
        this.exact[2 * marker] + facts[at + 2] * dt + facts[at + 8] * left,
        this.exact[2 * marker + 1] + facts[at + 3] * dt + facts[at + 9] * left,
      ];
    }

    /* The shown marker next to a place, as mercator, within a radius; the one drawn last wins. */
    nearest(x, y, radius, now) {
      let found = -1, least = radius * radius;
      for (let marker = 0; marker < this.count; marker++) {
        if (this.facts[marker * FLOATS + 15] === 0) continue;
        const [px, py] = this.place(marker, now);
        const dx = wrap(px - x), dy = py - y, far = dx * dx + dy * dy;
        if (far <= least) { least = far; found = marker; }
      }
      return found;
    }

    /* Pixels a second of the fastest marker that moves or turns now, in a world of so many; 0: nothing does. */
    pace(now, world) {
      const t = now - this.epoch, facts = this.facts;
      let far = 0, turn = 0;
      for (let marker = 0, at = 0; marker < this.count; marker++, at += FLOATS) {
        const size = facts[at + 15];
        if (size === 0) continue;
        if (t < facts[at + 4] + facts[at + 5]) far = Math.max(far, Math.abs(facts[at + 2]), Math.abs(facts[at + 3]));
        if (t < facts[at + 6] + facts[at + 7]) {
          const glide = facts[at + 7];
          far = Math.max(far, Math.abs(facts[at + 8]) / glide, Math.abs(facts[at + 9]) / glide);
          turn = Math.max(turn, (Math.abs(facts[at + 11]) * size) / glide);
        }
      }
      return Math.max(far * world, turn);
    }

    moveOrigin(x, y) {
      this.origin = [x, y];
      for (let marker = 0; marker < this.count; marker++) {
        this.facts[marker * FLOATS] = this.exact[2 * marker] - x;
        this.facts[marker * FLOATS + 1] = this.exact[2 * marker + 1] - y;
      }
      this.dirty = true;
    }

    /* `view`: centre as mercator, world size in px, width, height and ratio of the canvas. */
    draw(view, now) {
      const gl = this.gl;
      if (!gl || gl.isContextLost()) return;
      const far = Math.max(Math.abs(view.x - this.origin[0]), Math.abs(view.y - this.origin[1])) * view.world;
      if (far > FAR_PX) this.moveOrigin(view.x, view.y);
      const width = Math.round(view.width * view.ratio), height = Math.round(view.height * view.ratio);
      if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (!this.count) return;
      if (this.resized) {
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, WIDTH, this.rows, 0, gl.RGBA, gl.FLOAT, this.facts);
      } else if (this.dirty) {
        const rows = Math.ceil((this.count * TEXELS) / WIDTH);
        gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, WIDTH, rows, gl.RGBA, gl.FLOAT, this.facts);
      }
      this.resized = this.dirty = false;
      gl.uniform4f(this.at.view, view.x - this.origin[0], view.y - this.origin[1], view.world, now - this.epoch);
      gl.uniform2f(this.at.screen, 2 / view.width, 2 / view.height);
      gl.uniform3fv(this.at.palette, this.colours.palette.flat());
      gl.uniform3fv(this.at.outline, this.colours.outline);
      gl.uniform3fv(this.at.alarm, this.colours.alarm);
      gl.drawArrays(gl.TRIANGLES, 0, this.count * CORNERS);
    }
  };
})();
