/* The page /aircraft: the map of the sky, its filters and table, what is selected, and the address that keeps it. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const { make, put, clock, day, age, compass } = HM;
  const ALARM = "#e0245e", GROUND = 0;
  const OTHERS = [{ colour: "#8b6f5a", dark: "#b39a86" }, { colour: "#8a929c", dark: "#8e97a3" }]; // on the ground, height not known
  const TRIANGLE = 3, DIAMOND = 2, HOLLOW = 4;
  const LIST_MS = 1000, HASH_MS = 300, TRAILS_MS = 2000, NOTE_MS = 500, NEW_TRAIL_MS = 1800000;
  const STAGES = [1, 0.65, 0.35];
  const CLIMBS = { 1: "↑", 2: "", 3: "↓" };
  const AIRPORTS_FROM_ZOOM = 5.5, SELECT_ZOOM = 7, PANEL_PX = 320, MOST_TRAIL_POINTS = 40000;
  const known = (value) => value !== undefined && value === value;

  class Sky {
    constructor(container) {
      this.config = JSON.parse(container.dataset.config);
      this.trail = "selected";
      this.units = "aeronautical";
      this.connected = false;
      this.interval = 0;
      const { scale } = this.config;
      this.stops = scale.light.length;
      const { map, ready } = HM.open(container, {
        files: this.config.files, coast: this.config.gone_seconds, tiles: this.config.tiles, credit: this.config.credit, alarm: ALARM,
        states: [],
        palette: [...scale.light.map((colour, at) => ({ colour, dark: scale.dark[at] })), ...OTHERS],
        size: (zoom, count) => (count > 3000 ? 3.2 : 5) + Math.min(Math.max(zoom - 1.2, 0) * 0.9, 6),
        look: (row, now) => this.look(row, now),
        moves: (row) => row.state !== GROUND,
        label: (row) => this.label(row),
        fade: (row, now) => this.fade(row, now),
        alwaysNamed: () => this.alarmed,
        onSelect: (id) => this.select(id),
        onHover: () => {},
        onView: () => { this.news = true; this.later(); },
        onUser: () => { this.showFollow(); },
        onFrame: () => { this.news = true; },
        onTick: () => this.ticked(),
        onRest: () => this.close(),
      });
      this.map = map;
      this.alarmed = [];
      this.filters = new HM.SkyFilters(document.getElementById("aircraft-filters"), {
        phases: this.config.phases, categories: this.config.categories, units: () => this.unit, changed: () => this.refilter() });
      this.table = new HM.SkyTable({ most: this.config.table_rows, value: (row, field) => this.cell(row, field),
        choose: (id) => this.select(id, true), sorted: () => { this.list(); this.later(); } });
      this.build(container);
      this.restore();
      ready.catch((error) => this.fail(error));
      this.connect();
      this.leave = () => this.restore();
      window.addEventListener("hashchange", this.leave);
    }

    close() {
      this.closed = true;
      this.socket?.close();
      this.table.close();
      clearTimeout(this.saving);
      window.removeEventListener("hashchange", this.leave);
      for (const element of this.built) element.remove();
      current = null;
    }

    fail(error) {
      this.failure = `The map cannot be drawn: ${error.message}`;
      this.showNote();
    }

    connect() {
      this.socket = new HM.Socket(this.config.socket, {
        more: { measures: ["baro", "geo", "rate"], codes: ["category", "source"] },
        names: (rows) => this.map.names(rows),
        frame: (frame) => this.map.frameCame(frame),
        state: (connected) => {
          // Another connection, and perhaps another server, has numbers of its own.
          if (connected) { this.map.clear(); this.loadAfter = true; }
          this.connected = connected;
        },
      });
    }

    // --- how an aircraft looks ---

    get unit() { return this.config.units[this.units]; }

    altitude(row) { return row.state === GROUND ? 0 : known(row.baro) ? row.baro : row.geo; }

    look(row, now) {
      row.altitude = this.altitude(row);
      const top = this.stops - 1;
      const colour = row.state === GROUND ? this.stops : known(row.altitude)
        ? Math.min(Math.max(row.altitude / this.config.scale_top_m, 0), 1) * top : this.stops + 1;
      const isEstimated = row.state !== GROUND && now - row.time > this.config.fade_seconds * 1000;
      return [colour, (known(row.heading) ? TRIANGLE : DIAMOND) + (isEstimated ? HOLLOW : 0)];
    }

    /* In stages, by how long a new position is overdue. */
    fade(row, now) {
      const { fade_seconds: fade, gone_seconds: gone } = this.config;
      const overdue = (now - row.time) / 1000 - this.interval;
      if (overdue >= gone) return 0;
      return STAGES[overdue < fade ? 0 : overdue < (fade + gone) / 2 ? 1 : 2];
    }

    name(row) { return row.words?.[0] || row.id; }

    label(row) {
      const height = row.state === GROUND ? "ground" : known(row.altitude) ? `${this.text("altitude", row.altitude)}${CLIMBS[row.state]}` : "";
      const alarm = this.config.alarms[row.mark];
      return [this.name(row), height, alarm].filter(Boolean).join("  ");
    }

    /* A value of the records in the reader's units. */
    text(kind, value) {
      const [name, factor] = this.unit[kind];
      return known(value) ? `${Math.round(value * factor).toLocaleString("en")} ${name}` : "-";
    }

    cell(row, field) {
      const measure = (kind, value) => (known(value) ? value * this.unit[kind][1] : null);
      switch (field) {
        case "id": return row.id;
        case "name": return row.words?.[0] ?? "";
        case "altitude": return measure("altitude", this.altitude(row));
        case "speed": return measure("speed", row.speed);
        case "rate": return measure("rate", row.rate);
        case "heard": return Math.max(Math.round(this.map.now() - row.heard / 1000), 0);
        case "country": return row.words?.[1] ?? "";
        case "squawk": return row.words?.[2] ?? "";
        case "phase": return this.config.phases[row.state];
        default: return row.category > 1 ? this.config.categories[row.category] ?? "" : "";
      }
    }

    // --- what stands on the map ---

    build(container) {
      const button = (text, label, act, props = {}) =>
        make("button", { type: "button", className: "hm-button", textContent: text, title: label, onclick: act, aria: { label }, ...props });
      const choice = (label, options, act) => make("select", { className: "hm-select", title: label, aria: { label }, onchange: act },
        ...Object.entries(options).map(([value, textContent]) => make("option", { value, textContent })));
      this.follower = button("Follow", "Keep the selected aircraft in the middle (F)", () => this.follow(!this.map.following));
      this.follower.disabled = true;
      this.trailChoice = choice("Trails", { none: "No trails", selected: "Trail of selected", all: "All trails" }, () => this.setTrail(this.trailChoice.value));
      this.unitChoice = choice("Units", { aeronautical: "ft, kt", metric: "m, km/h" }, () => this.setUnits(this.unitChoice.value));
      const bar = make("div", { className: "hm-bar hm-panel", role: "toolbar", aria: { label: "Map" } },
        button("+", "Zoom in", () => this.map.zoomBy(1), { className: "hm-button hm-zoom" }),
        button("−", "Zoom out", () => this.map.zoomBy(-1), { className: "hm-button hm-zoom" }),
        button("Fit all", "Show all aircraft (A)", () => this.fit()), this.follower, this.trailChoice, this.unitChoice);
      this.ramp = make("div", { className: "hm-ramp" });
      this.ticks = make("div", { className: "hm-ticks" });
      this.legend = make("div", { className: "hm-legend hm-altitudes", aria: { hidden: "true" } },
        make("div", { className: "hm-scale-box" }, this.ramp, this.ticks),
        ...[["ground", "ground"], ["unknown", "height unknown"], ["estimated", "estimated"], ["alarm", "emergency"]].map(([kind, textContent]) =>
          make("span", { className: `hm-state hm-is-${kind}`, textContent })));
      this.note = make("div", { className: "hm-note", hidden: true, role: "status" });
      this.built = [bar, this.legend, this.note];
      this.map.stage.append(...this.built);
      container.onkeydown = (event) => this.key(event);
      this.buildPanel(document.getElementById("aircraft-now"));
    }

    buildPanel(parent) {
      this.head = {};
      const cell = (name, text) => [make("dt", { textContent: text }), (this.head[name] = make("dd"))];
      this.head.name = make("strong", { className: "hm-name" });
      this.head.state = make("span", { className: "hm-chip" });
      this.head.alarm = make("span", { className: "hm-open" });
      parent.replaceChildren(
        make("div", { className: "hm-panel-head" }, this.head.name, this.head.state,
          make("button", { type: "button", className: "hm-button hm-close", textContent: "×", title: "Close (Esc)", aria: { label: "Close" }, onclick: () => this.select(null) })),
        this.head.alarm,
        make("dl", { className: "hw-facts" }, ...cell("altitude", "Altitude"), ...cell("speed", "Speed"), ...cell("rate", "Climb"), ...cell("heading", "Track"),
          ...cell("place", "Position now"), ...cell("fix", "Last position"), ...cell("heard", "Last heard")));
    }

    showLegend() {
      const { scale, scale_top_m: top } = this.config;
      this.ramp.style.background = `linear-gradient(90deg, ${scale[this.map.theme].join(", ")})`;
      const steps = this.units === "metric" ? [0, 3000, 6000, 9000, 12000] : [0, 10000, 20000, 30000, 40000].map((feet) => feet * 0.3048);
      const [unit, factor] = this.unit.altitude;
      this.ticks.replaceChildren(...steps.filter((metres) => metres <= top * 1.05).map((metres, at, all) => {
        const textContent = `${Math.round((metres * factor) / 1000)}${at === all.length - 1 ? `,000 ${unit}` : at ? "k" : ""}`;
        const tick = make("span", { textContent });
        tick.style.left = `${Math.min(metres / top, 1) * 100}%`;
        return tick;
      }));
    }

    key(event) {
      if (event.target.closest("input, select")) return;
      if (event.key === "Escape") this.select(null);
      if (event.key === "f") this.follow(!this.map.following);
      if (event.key === "a") this.fit();
      if (event.key === "u") this.setUnits(this.units === "metric" ? "aeronautical" : "metric");
    }

    setUnits(name) {
      this.units = name in this.config.units ? name : "aeronautical";
      this.unitChoice.value = this.units;
      window.dash_clientside.headwater.filter(this.units, "aircraft-units");
      this.table.setUnits(this.unit);
      this.filters.show();
      this.showLegend();
      this.showPanel();
      this.list();
      this.map.changed = true;
      this.later();
    }

    // --- filter and table ---

    refilter() {
      this.map.setFilter((row) => {
        row.altitude = this.altitude(row);
        return this.filters.fits(row);
      });
      this.drawTrails();
      this.list();
      this.later();
    }

    /* What the table shows: on the map and, if so wished, in view; or just heard of, without a position. */
    list() {
      this.listed = performance.now();
      const { map, filters } = this, now = map.now(), { gone_seconds: gone } = this.config;
      const heard = map.rows.filter((row) => row?.heard !== undefined && (row.shown || now - row.heard / 1000 < gone + this.interval));
      filters.offer(heard);
      const onMap = heard.filter((row) => row.shown);
      const placeless = heard.filter((row) => row.time === undefined && filters.fits({ ...row, altitude: this.altitude(row) }));
      const inView = filters.inView ? onMap.filter((row) => map.isVisible(row, now)) : [...onMap, ...placeless];
      const more = this.table.show(inView, map.selected);
      const many = (number) => number.toLocaleString("en");
      const words = [`${many(inView.length)} of ${many(heard.length)}${filters.inView ? " in view" : ""}`];
      if (more) words.push(`the first ${many(inView.length - more)} listed, ${many(more)} more`);
      if (filters.inView && placeless.length) words.push(`${many(placeless.length)} without a position`);
      put(document.getElementById("aircraft-summary"), words.join(" · "));
      this.alarmed = onMap.filter((row) => row.alarm);
    }

    // --- the selected aircraft ---

    select(id, fly = false) {
      const row = this.map.row(id);
      const far = fly && row?.shown && (!this.map.isVisible(row, this.map.now()) || this.map.view.zoom < SELECT_ZOOM - 2);
      this.map.select(id);
      if (far) this.flyTo(row);
      else if (row?.shown && !this.map.following) this.uncover(row);
      document.getElementById("aircraft-panel").hidden = id === null;
      window.dash_clientside.headwater.filter(id ?? "", "aircraft-selected");
      this.table.mark(id);
      this.showFollow();
      this.showPanel();
      if (id !== null) this.loadTrails();
      this.drawTrails();
      this.later();
    }

    /* Out from under the panel, which stands on the right of the map where there is room. */
    uncover(row) {
      const { map } = this, { left } = map.where(row.id);
      const covered = left - (map.view.width - PANEL_PX);
      if (covered > 0 && map.view.width > 2 * PANEL_PX) map.flyTo({ x: map.view.x + covered / map.view.world, y: map.view.y, zoom: map.view.zoom });
    }

    flyTo(row) {
      const [x, y] = this.map.markers.place(row.number, this.map.now());
      this.map.flyTo({ x, y, zoom: Math.max(this.map.view.zoom, SELECT_ZOOM) });
    }

    /* An emergency: to where it is now, or else to where it began. */
    visit(id, latitude, longitude) {
      this.select(id);
      this.map.following = false;
      const row = this.map.row(id);
      if (row?.shown) this.flyTo(row);
      else if (latitude !== undefined) {
        this.map.flyTo({ x: HM.mercatorX(Number(longitude)), y: HM.mercatorY(Number(latitude)), zoom: Math.max(this.map.view.zoom, SELECT_ZOOM) });
      }
    }

    follow(on) {
      const row = this.map.row(this.map.selected);
      if (!row) return;
      if (on && row.shown) this.flyTo(row);
      this.map.following = on;
      this.showFollow();
      this.later();
    }

    showFollow() {
      this.follower.disabled = this.map.selected === null;
      this.follower.setAttribute("aria-pressed", String(this.map.following));
    }

    fit() {
      this.map.following = false;
      this.showFollow();
      this.map.fit();
    }

    showPanel() {
      const { map, head } = this, row = map.row(map.selected);
      if (map.selected === null) return;
      put(head.name, row ? this.name(row) : map.selected);
      if (row?.heard === undefined) {
        put(head.state, "not heard of lately");
        for (const name of ["altitude", "speed", "rate", "heading", "place", "fix", "heard", "alarm"]) put(head[name], name === "alarm" ? "" : "-");
        return;
      }
      const now = map.now(), ago = (ms) => { const text = age(now - ms / 1000); return text === "now" ? text : `${text} ago`; };
      put(head.state, this.config.phases[row.state]);
      put(head.alarm, this.config.alarms[row.mark] ?? "");
      put(head.altitude, row.state === GROUND ? "on the ground" : `${this.text("altitude", this.altitude(row))} ${CLIMBS[row.state]}`);
      put(head.speed, this.text("speed", row.speed));
      put(head.rate, this.text("rate", row.rate));
      put(head.heading, known(row.heading) ? compass(row.heading) : "-");
      put(head.heard, ago(row.heard));
      if (row.time === undefined) { put(head.place, "not known"); put(head.fix, "none"); return; }
      const at = map.where(row.id);
      const isEstimated = row.state !== GROUND && now - row.time / 1000 > 2;
      put(head.place, `${isEstimated ? "~ " : ""}${at.latitude.toFixed(3)}, ${at.longitude.toFixed(3)}${isEstimated ? " (estimated)" : ""}`);
      put(head.fix, `${ago(row.time)}${row.shown ? "" : ", not on the map"}`);
    }

    // --- trails ---

    setTrail(mode) {
      this.trail = mode;
      this.trailChoice.value = mode;
      this.loadTrails();
      this.drawTrails();
      this.later();
    }

    /* What the server remembers of the trails from before this page was opened. */
    async loadTrails() {
      const id = this.trail === "all" ? "" : this.map.selected;
      if (this.trail === "none" || id === null) return;
      try {
        const found = await (await fetch(`${this.config.trails}?icao24=${encodeURIComponent(id)}`)).json();
        if (this.closed) return;
        for (const [name, path] of Object.entries(found)) {
          const row = this.map.row(name);
          if (row?.time === undefined) continue;
          const early = path.filter((place) => !row.trail.length || place[2] < row.trail[0][2]);
          row.trail = [...early, ...row.trail];
        }
        this.drawTrails();
      } catch { /* the trail then begins here */ }
    }

    drawTrails() {
      this.trailed = performance.now();
      const { map } = this, now = map.now();
      const of = this.trail === "none" ? [] : this.trail === "all" ? map.rows : [map.row(map.selected)];
      const wanted = of.filter((row) => row?.shown && row.trail.length && (this.trail !== "all" || map.isVisible(row, now)));
      const most = Math.max(Math.min(this.config.most_trail, Math.floor(MOST_TRAIL_POINTS / wanted.length)), 2);
      map.setTrails(wanted.flatMap((row) => this.paths(row, row.id === map.selected, most)));
    }

    /* A trail up to where it is drawn now, on one side of the date line; of the selected one in the colours of its altitudes. */
    paths(row, isSelected, most) {
      const { map } = this, places = isSelected ? [...row.trail] : row.trail.slice(-most);
      // While it glides to a new place it is drawn beside its way.
      if (!map.markers.glides(row.number, map.now())) {
        const { longitude: x, latitude: y } = map.where(row.id);
        places.push([x, y, map.now() * 1000, row.baro]);
      }
      const paths = [];
      let path = null, before = null, band = null;
      for (const [longitude, latitude, time, altitude] of places) {
        const turned = before ? longitude - 360 * Math.round((longitude - before[0]) / 360) : longitude;
        const place = [turned, latitude, time];
        const colour = Math.round(this.look({ ...row, state: 2, baro: altitude ?? NaN, geo: NaN }, 0)[0]);
        if (!path || time - before[2] > NEW_TRAIL_MS) path = paths[paths.push({ path: [place], colour }) - 1];
        else if (isSelected && colour !== band) path = paths[paths.push({ path: [before, place], colour }) - 1];
        else path.path.push(place);
        [before, band] = [place, colour];
      }
      return paths.filter((each) => each.path.length > 1).map((each) =>
        ({ path: each.path, colour: [...this.map.palette[each.colour], isSelected ? 240 : 130], width: isSelected ? 3 : 1.5 }));
    }

    // --- as time goes by ---

    ticked() {
      const now = performance.now();
      if (this.map.theme !== this.legendTheme) { this.legendTheme = this.map.theme; this.showLegend(); this.drawTrails(); }
      // One of them in a frame, the longest overdue: each is short, all together are not, and none may starve.
      const wantsTrails = this.trail === "all" ? this.news : this.trail === "selected" && this.map.selected !== null;
      const overdue = [
        [(now - (this.noted ?? 0)) / NOTE_MS, () => this.refresh()],
        [(now - (this.listed ?? 0)) / LIST_MS, () => this.list()],
        [wantsTrails ? (now - (this.trailed ?? 0)) / TRAILS_MS : 0, () => { this.news = false; this.drawTrails(); }],
      ].reduce((most, each) => (each[0] > most[0] ? each : most));
      if (overdue[0] > 1) overdue[1]();
      if (this.loadAfter && this.map.rows.length) {
        this.loadAfter = false;
        this.loadTrails();
      }
    }

    /* What changes with time alone, and what the producer says. */
    refresh() {
      this.noted = performance.now();
      this.interval = Number(document.getElementById("aircraft-interval")?.dataset.seconds ?? 0);
      this.map.options.coast = this.config.gone_seconds + this.interval;
      this.showPanel();
      this.showNote();
      this.showAirports();
    }

    showAirports() {
      if (this.map.airports || this.asked || this.map.view.zoom < AIRPORTS_FROM_ZOOM) return;
      this.asked = true;
      HM.airports(this.config.files["airports.json"]).then((found) => {
        if (this.closed) return;
        this.map.airports = found;
        this.map.changed = true;
      }).catch(() => { this.asked = false; });
    }

    showNote() {
      const shown = this.map.rows.some((row) => row?.shown), heard = this.map.rows.some((row) => row?.heard !== undefined);
      const text = this.failure ?? (!this.connected ? (heard ? "The positions' connection is lost; trying again." : "Waiting for the dashboard …")
        : !heard ? "No aircraft has been heard of yet. make run-producers STREAMS=aircraft sends some."
          : shown ? "" : this.filters.count ? "No aircraft on the map fits the filters." : "No aircraft with a position has been heard of lately.");
      this.note.hidden = !text;
      put(this.note, text);
    }

    // --- the address ---

    later() {
      clearTimeout(this.saving);
      this.saving = setTimeout(() => this.save(), HASH_MS);
    }

    save() {
      if (this.closed) return;
      const { x, y, zoom } = this.map.view, words = new URLSearchParams();
      words.set("at", `${HM.latitude(y).toFixed(4)},${HM.longitude(x).toFixed(4)},${zoom.toFixed(2)}`);
      if (this.map.selected !== null) words.set("aircraft", this.map.selected);
      if (this.map.following) words.set("follow", "1");
      this.filters.save(words);
      const { field, isDescending } = this.table.sort;
      if (field !== "name" || isDescending) words.set("sort", `${isDescending ? "-" : ""}${field}`);
      if (this.trail !== "selected") words.set("trail", this.trail);
      if (this.units !== "aeronautical") words.set("units", this.units);
      const hash = `#${words.toString().replaceAll("%2C", ",").replaceAll("%7E", "~")}`;
      if (hash !== location.hash) history.replaceState(history.state, "", `${location.pathname}${location.search}${hash}`);
    }

    restore() {
      const words = new URLSearchParams(location.hash.slice(1));
      const [latitude, longitude, zoom] = (words.get("at") ?? "").split(",").map(Number);
      const isPlaced = [latitude, longitude, zoom].every(Number.isFinite);
      this.map.setView(isPlaced ? { x: HM.mercatorX(longitude), y: HM.mercatorY(latitude), zoom } : { x: HM.mercatorX(10), y: HM.mercatorY(24), zoom: 0 });
      this.trail = this.trailChoice.value = ["none", "all"].includes(words.get("trail")) ? words.get("trail") : "selected";
      const sort = words.get("sort") ?? "name";
      this.table.restore({ field: sort.replace(/^-/, ""), isDescending: sort.startsWith("-") });
      this.setUnits(words.get("units") ?? "aeronautical");
      this.filters.restore(words);
      this.refilter();
      this.select(words.get("aircraft"));
      if (words.get("follow") === "1") { this.map.following = true; this.showFollow(); }
    }
  }

  let current = null;
  // An emergency in the list.
  document.addEventListener("click", (event) => {
    const place = event.target.closest?.("[data-aircraft]");
    if (!place || !current) return;
    const { aircraft, latitude, longitude } = place.dataset;
    current.visit(aircraft, latitude, longitude);
    document.getElementById("aircraft-map").scrollIntoView({ block: "nearest", behavior: "smooth" });
  });

  document.addEventListener("headwater:page", () => {
    const container = document.getElementById("aircraft-map");
    if (!container) return;
    try {
      current = new Sky(container);
    } catch (error) {
      container.textContent = `The map cannot be drawn: ${error.message}.`;
    }
  });
})();
