/* The map as a part of a page: markers that glide, trails, areas, names. One for the whole app: it is taken up by the
   page that needs it, and rests, off the page, in between (a deck that is finalized leaks its context). */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const MIN_ZOOM = 1, MAX_ZOOM = 18, STILL_PX = 0.25, CLICK_PX = 6, REACH_PX = 16, FLY_SECONDS = 0.5, LOOK_SECONDS = 2, HANDS_OFF_MS = 1500;
  const MOST_TRAIL = 600; // places of a marker that are remembered here
  const MOST_LABELS = 120, FEW_LABELS = 25, LABELS_FROM_ZOOM = 8;
  const GLIDE = { least: 0.25, most: 2, share: 0.5 };
  const EARTH_KM = 40075.016686; // round the equator: the width of the mercator world
  const RAD = Math.PI / 180;

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const element = (tag, className, parent) => {
    const made = Object.assign(document.createElement(tag), { className });
    parent?.append(made);
    return made;
  };

  class FleetMap {
    constructor() {
      this.stage = element("div", "hm-stage");
      this.ground = element("div", "hm-layer", this.stage);
      this.words = element("canvas", "hm-layer hm-above", this.stage);
      this.canvas = element("canvas", "hm-layer hm-above", this.stage);
      this.labels = element("canvas", "hm-layer hm-above", this.stage);
      this.scale = element("div", "hm-scale", this.stage);
      this.credit = element("div", "hm-credit", this.stage);
      this.markers = new HM.Markers(this.canvas);
      this.view = { x: 0.5, y: 0.4, zoom: 2, minZoom: MIN_ZOOM, maxZoom: MAX_ZOOM, width: 1, height: 1, ratio: 1, world: HM.worldSize(2) };
      this.rows = [];
      this.numbers = new Map();
      this.counts = { drawn: 0, frames: 0 };
      this.skew = null;
      this.tick = this.tick.bind(this);
      new ResizeObserver(() => this.resize()).observe(this.stage);
      new MutationObserver(() => this.retheme()).observe(document.documentElement,
        { attributes: true, attributeFilter: ["data-mantine-color-scheme"] });
      this.listen();
    }

    /* Onto a page. `options`: files, coast (s), states [{colour, dark, shape, moves}], alarm, label(row),
       fade(row, now ms: opacity, 0 hides), and what is to be told: onSelect, onHover, onView, onFrame, onUser.
       Where a marker's state doesn't say all: look(row) gives [colour, shape], moves(row) whether it glides on. */
    take(container, options) {
      const { states } = options;
      this.options = { look: ({ state }) => [state, states[state].shape], moves: ({ state }) => states[state].moves, ...options };
      this.container = container;
      container.append(this.stage);
      this.clear();
      this.selected = this.hovered = null;
      this.following = false;
      this.filter = () => true;
      this.areas = [];
      this.trails = [];
      this.airports = null;
      this.credit.textContent = options.credit ?? "";
      this.running = true;
      this.changed = true;
      this.retheme();
      this.resize();
      cancelAnimationFrame(this.frame);
      this.frame = requestAnimationFrame(this.tick);
      HM.towns(options.files["towns.json"]).then((towns) => { this.towns = towns; this.changed = true; }).catch(() => {});
      return HM.load(options.files).then(() => {
        this.base ??= new HM.Base(this.ground, this.words, { onView: (view) => this.moved(view) });
        this.touch();
        this.restyle();
      });
    }

    /* Off the page: nothing runs, nothing is held but the canvases. */
    rest() {
      this.running = false;
      cancelAnimationFrame(this.frame);
      clearTimeout(this.resting);
      this.stage.remove();
      this.base?.rest();
      this.options?.onRest?.();
    }

    clear() {
      this.rows = [];
      this.numbers.clear();
      this.markers.clear();
      this.markers.epoch = Math.floor(this.now());
      this.changed = true;
    }

    // --- time and theme ---

    /* The server's clock in seconds; in a replay its own. */
    now() {
      return this.clock ? this.clock() : (performance.timeOrigin + performance.now() + (this.skew ?? 0)) / 1000;
    }

    retheme() {
      const dark = document.documentElement.getAttribute("data-mantine-color-scheme") === "dark";
      this.theme = dark ? "dark" : "light";
      if (!this.options) return;
      const colour = ({ colour: light, dark: other }) => rgb(dark ? other : light);
      this.palette = (this.options.palette ?? this.options.states).map(colour);
      this.markers.colours = {
        palette: this.palette.map((parts) => parts.map((part) => part / 255)),
        outline: dark ? [0.06, 0.07, 0.09] : [1, 1, 1],
        alarm: rgb(this.options.alarm).map((part) => part / 255),
      };
      this.restyle();
    }

    restyle() {
      if (!this.base) return;
      this.base.show({ theme: this.theme, areas: this.areas, trails: this.trails, tiles: this.options.tiles || "" });
      this.touch(); // shaders are made beside the frames: what is new is drawn once its own are there
      this.stage.style.background = this.base.colours.sea;
      this.changed = true;
    }

    resize() {
      const { width, height } = this.stage.getBoundingClientRect();
      if (!width || !height) return;
      // Not so far out that the world stands there twice: markers don't.
      const minZoom = Math.max(MIN_ZOOM, Math.log2(width / 512));
      Object.assign(this.view, { width, height, minZoom, ratio: Math.min(window.devicePixelRatio || 1, 2) });
      this.changed = true;
    }

    // --- positions come in ---

    /* Names and words of markers: [number, id, ...words]. */
    names(rows) {
      for (const [number, id, ...words] of rows) {
        const row = (this.rows[number] ??= { number });
        if (row.id !== id) {
          if (row.id !== undefined) {
            this.numbers.delete(row.id);
            this.markers.look(number, 0, 0, 0, false, 0);
          }
          Object.assign(row, { id, time: undefined, heard: undefined, trail: [] });
          this.numbers.set(id, number);
        }
        row.words = words;
      }
    }

    frameCame(frame) {
      const ahead = frame.now - (performance.timeOrigin + performance.now());
      // The frame that was underway for the shortest time tells the most of the server's clock.
      this.skew = this.skew === null ? ahead : Math.max(this.skew, ahead);
      this.counts.frames += 1;
      const now = this.now();
      for (let i = 0; i < frame.count; i++) {
        const row = this.rows[frame.marker[i]];
        if (!row) continue;
        for (const [name, values] of frame.measures) row[name] = values[i];
        for (const [name, values] of frame.codes) row[name] = values[i];
        if (frame.latitude[i] === frame.nowhere) {
          Object.assign(row, { heard: frame.heard[i], speed: frame.speed[i], heading: frame.heading[i], state: frame.state[i],
            mark: frame.mark[i] });
          continue;
        }
        this.fix(row, {
          time: frame.time[i], heard: frame.heard[i], longitude: frame.longitude[i] / frame.units,
          latitude: frame.latitude[i] / frame.units, speed: frame.speed[i], heading: frame.heading[i],
          state: frame.state[i], alarm: frame.mark[i] !== 0, mark: frame.mark[i],
        }, now);
      }
      this.options.onFrame?.(frame);
    }

    fix(row, fix, now) {
      const before = row.time;
      Object.assign(row, fix);
      if (before === fix.time) { this.look(row, now); return; }
      const x = HM.mercatorX(fix.longitude), y = HM.mercatorY(fix.latitude);
      const { coast } = this.options;
      // A position that is as old as it may go on for still moves on from when it came: recorded days run like today's.
      const anchor = fix.heard - fix.time < coast * 1000 ? fix.time : fix.heard;
      const moves = this.options.moves(fix) && fix.heading === fix.heading && fix.speed > 0;
      const pace = moves ? fix.speed / 3600 / (EARTH_KM * Math.cos(fix.latitude * RAD)) : 0;
      const angle = fix.heading === fix.heading ? fix.heading * RAD : 0;
      const gap = before === undefined ? 0 : (fix.time - before) / 1000;
      const glide = before === undefined ? 0 : Math.min(Math.max(GLIDE.share * gap, GLIDE.least), GLIDE.most);
      this.markers.move(row.number, x, y, pace * Math.sin(angle), -pace * Math.cos(angle), angle, anchor / 1000, coast, glide, now);
      row.trail.push([fix.longitude, fix.latitude, fix.time, row.baro]);
      if (row.trail.length > 2 * MOST_TRAIL) row.trail.splice(0, row.trail.length - MOST_TRAIL);
      this.look(row, now);
    }

    look(row, now) {
      const { size, fade } = this.options, opacity = fade(row, now * 1000);
      row.shown = row.time !== undefined && opacity > 0 && this.filter(row);
      const [colour, shape] = this.options.look(row, now * 1000);
      this.markers.look(row.number, colour, shape, opacity, row.alarm, row.shown ? size(this.view.zoom, this.rows.length) : 0);
    }

    /* All markers look anew: after a change of filter, zoom or simply because they have aged. */
    relook() {
      const now = this.now();
      for (const row of this.rows) if (row?.time !== undefined) this.look(row, now);
      this.looked = now;
      this.lookedZoom = this.view.zoom;
    }

    setFilter(filter) {
      this.filter = filter;
      this.relook();
    }

    setAreas(features) {
      this.areas = features;
      this.restyle();
    }

    setTrails(trails) {
      if (!trails.length && !this.trails.length) return;
      if (!this.trails.length) this.touch();
      this.trails = trails;
      this.base?.show({ trails });
      this.changed = true;
    }

    // --- the view ---

    setView({ x, y, zoom }, isUser = false) {
      const view = this.view;
      view.zoom = Math.min(Math.max(zoom ?? view.zoom, view.minZoom), MAX_ZOOM);
      view.world = HM.worldSize(view.zoom);
      view.x = x === undefined ? view.x : x - Math.floor(x);
      const half = Math.min(view.height / 2 / view.world, 0.5);
      view.y = Math.min(Math.max(y ?? view.y, half), 1 - half);
      this.changed = true;
      this.options.onView?.(isUser);
    }

    /* A reader moves the map, or there is something new on it: deck's loop turns for a while, and rests again. */
    touch() {
      if (!this.base || !this.running) return;
      this.base.wake();
      clearTimeout(this.resting);
      this.resting = setTimeout(() => this.base.rest(), HANDS_OFF_MS);
    }

    moved(state) {
      this.touch();
      this.flight = null;
      this.following = false;
      this.setView({ x: HM.mercatorX(state.longitude), y: HM.mercatorY(state.latitude), zoom: state.zoom }, true);
      this.options.onUser?.();
    }

    flyTo(target) {
      this.options.onUser?.();
      this.flight = { from: { x: this.view.x, y: this.view.y, zoom: this.view.zoom }, to: target, began: performance.now() };
    }

    zoomBy(steps) { this.flyTo({ x: this.view.x, y: this.view.y, zoom: Math.min(Math.max(this.view.zoom + steps, this.view.minZoom), MAX_ZOOM) }); }

    /* Everything that is shown, or mercator places as given. */
    fit(places = this.rows.filter((row) => row?.shown).map((row) => this.markers.place(row.number, this.now())), fly = true) {
      if (!places.length) return;
      // Round the date line: measured from the first.
      let [[west, north]] = places, east = west, south = north;
      for (const [x, y] of places) {
        const turned = x - Math.round(x - places[0][0]);
        [west, east, north, south] = [Math.min(west, turned), Math.max(east, turned), Math.min(north, y), Math.max(south, y)];
      }
      const room = { width: Math.max(this.view.width - 120, 80), height: Math.max(this.view.height - 140, 80) };
      const world = Math.min(room.width / Math.max(east - west, 1e-6), room.height / Math.max(south - north, 1e-6));
      const target = { x: (west + east) / 2, y: (north + south) / 2, zoom: Math.min(Math.max(Math.log2(world / 512), this.view.minZoom), 14) };
      fly ? this.flyTo(target) : this.setView(target);
    }

    select(id, fly = false) {
      this.selected = id;
      this.following = this.following && id !== null;
      const row = this.row(id);
      if (fly && row?.time !== undefined) {
        const [x, y] = this.markers.place(row.number, this.now());
        this.flyTo({ x, y, zoom: Math.max(this.view.zoom, 9) });
      }
      this.changed = true;
    }

    row(id) { return this.rows[this.numbers.get(id)]; }

    // --- a frame of the screen ---

    tick() {
      if (!this.running) return;
      if (!this.container.isConnected) { this.rest(); return; }
      this.frame = requestAnimationFrame(this.tick);
      const now = this.now(), { view, markers } = this;
      this.fly();
      this.follow(now);
      if (now - (this.looked ?? 0) > LOOK_SECONDS || now < this.looked || this.lookedZoom !== view.zoom) this.relook();
      this.options.onTick?.(now);
      const moved = Math.abs(now - (this.drawnAt ?? 0)) * markers.pace(now, view.world);
      if (!this.changed && !markers.dirty && moved < STILL_PX) return;
      if (this.changed && this.base) {
        this.base.draw(view);
        this.base.drawWords(view, this.towns, this.airports);
        this.drawScale();
      }
      markers.draw(view, now);
      this.drawLabels(now);
      this.changed = false;
      this.drawnAt = now;
      this.counts.drawn += 1;
    }

    fly() {
      if (!this.flight) return;
      const { from, to, began } = this.flight;
      const share = Math.min((performance.now() - began) / 1000 / FLY_SECONDS, 1), eased = 1 - (1 - share) ** 3;
      const dx = to.x - from.x;
      if (share === 1) this.flight = null;
      this.setView({
        x: from.x + (dx - Math.round(dx)) * eased,
        y: from.y + (to.y - from.y) * eased,
        zoom: from.zoom + (to.zoom - from.zoom) * eased,
      });
    }

    follow(now) {
      const row = this.following && !this.flight && this.row(this.selected);
      if (!row || row.time === undefined) return;
      const [x, y] = this.markers.place(row.number, now);
      const [px, py] = HM.onScreen(this.view, x, y);
      if (Math.hypot(px - this.view.width / 2, py - this.view.height / 2) > 0.5) this.setView({ x, y });
    }

    drawScale() {
      const { metres, pixels } = HM.scale(this.view, 120);
      this.scale.style.width = `${pixels}px`;
      this.scale.textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
    }

    drawLabels(now) {
      const { view } = this, context = HM.prepared(this.labels, view);
      context.clearRect(0, 0, view.width, view.height);
      const dark = this.theme === "dark", taken = [];
      const draw = (row, strong) => {
        const [x, y] = HM.onScreen(view, ...this.markers.place(row.number, now));
        if (x < -40 || y < -20 || x > view.width + 40 || y > view.height + 20) return;
        const size = this.options.size(view.zoom, this.rows.length);
        if (strong) {
          context.beginPath();
          context.arc(x, y, size + 6, 0, 2 * Math.PI);
          context.strokeStyle = row.id === this.selected ? (dark ? "#fff" : "#111") : "rgba(128,128,128,.9)";
          context.lineWidth = 2;
          context.stroke();
        }
        const text = this.options.label(row);
        context.font = `${strong ? "600 12px" : "11px"} system-ui, sans-serif`;
        const width = context.measureText(text).width + 10, left = x + size + 7, top = y - 9;
        if (!strong && taken.some(([a, b, c]) => left < a + c && left + width > a && Math.abs(top - b) < 18)) return;
        taken.push([left, top, width]);
        context.fillStyle = dark ? "rgba(20,23,28,.82)" : "rgba(255,255,255,.86)";
        context.beginPath();
        context.roundRect(left, top, width, 18, 5);
        context.fill();
        context.fillStyle = dark ? "#e8ecf0" : "#1f2933";
        context.textAlign = "left";
        context.fillText(text, left + 5, y + 4);
      };
      const strong = [this.selected, this.hovered].map((id) => this.row(id)).filter((row) => row?.shown);
      for (const row of strong) draw(row, true);
      for (const row of this.options.alwaysNamed?.() ?? []) if (row.shown && !strong.includes(row)) { draw(row, false); strong.push(row); }
      const near = [], most = view.zoom < LABELS_FROM_ZOOM ? FEW_LABELS : MOST_LABELS;
      for (const row of this.rows) {
        if (row?.shown && this.isVisible(row, now) && near.push(row) > most) return;
      }
      for (const row of near) if (!strong.includes(row)) draw(row, false);
    }

    isVisible(row, now) {
      const [x, y] = HM.onScreen(this.view, ...this.markers.place(row.number, now));
      return x > 0 && y > 0 && x < this.view.width && y < this.view.height;
    }

    // --- pointer: the nearest marker, found here (deck's picking stalls without a GPU) ---

    listen() {
      let down = null;
      for (const name of ["pointerdown", "wheel", "keydown", "dblclick"]) {
        this.stage.addEventListener(name, () => this.touch(), { capture: true, passive: true });
      }
      this.stage.addEventListener("pointerdown", (event) => { down = this.at(event); }, true);
      this.stage.addEventListener("pointerup", (event) => {
        if (!down || event.button !== 0 || event.target.closest("button, input, select, .hm-panel")) return;
        const [x, y] = this.at(event);
        if (Math.hypot(x - down[0], y - down[1]) <= CLICK_PX) this.options.onSelect?.(this.under(x, y)?.id ?? null);
        down = null;
      }, true);
      this.stage.addEventListener("pointermove", (event) => {
        if (event.buttons) this.touch();
        if (event.buttons || event.pointerType === "touch") return;
        this.pointer = this.at(event);
        this.hover(this.under(...this.pointer)?.id ?? null, true);
      });
      this.stage.addEventListener("pointerleave", () => this.hover(null, true));
    }

    hover(id, tell = false) {
      if (id === this.hovered) return;
      this.hovered = id;
      this.stage.style.cursor = id === null ? "" : "pointer";
      this.markers.dirty = true;
      if (tell) this.options.onHover?.(id);
    }

    at(event) {
      const { left, top } = this.stage.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    }

    under(px, py) {
      const { view } = this;
      const x = view.x + (px - view.width / 2) / view.world, y = view.y + (py - view.height / 2) / view.world;
      return this.rows[this.markers.nearest(x, y, REACH_PX / view.world, this.now())];
    }

    // --- for those who look from outside: tests, benchmarks, a console ---

    /* A marker as it is drawn now: pixels in the map, degrees, and its row. */
    where(id) {
      const row = this.row(id);
      if (!row || row.time === undefined) return null;
      const [x, y] = this.markers.place(row.number, this.now());
      const [left, top] = HM.onScreen(this.view, x, y);
      return { left, top, longitude: HM.longitude(x), latitude: HM.latitude(y), time: row.time, state: row.state, alarm: row.alarm,
        speed: row.speed, shown: row.shown, angle: this.markers.angle(row.number, this.now()) };
    }
  }

  let only;
  HM.open = (container, options) => {
    only ??= new FleetMap();
    window.headwaterMap = only;
    return { map: only, ready: only.take(container, options) };
  };
})();
