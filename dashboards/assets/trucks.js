/* The page /trucks: the map of the fleet, the list beside it, what is selected, replay, and the address that keeps it. */
(() => {
  "use strict";
  const HM = (window.HeadwaterMap = window.HeadwaterMap || {});
  const STATES = ["moving", "stopped", "offline"];
  const LOOKS = [
    { colour: "#0072b2", dark: "#56b4e9", shape: 0, moves: true },
    { colour: "#b26a00", dark: "#e69f00", shape: 1, moves: false },
    { colour: "#6b7280", dark: "#9aa3ad", shape: 2, moves: false },
  ];
  const ALARM = "#e0245e";
  const KINDS = {
    depot: { light: [0, 120, 92], dark: [70, 205, 165] },
    customer: { light: [0, 100, 165], dark: [110, 185, 240] },
    no_go: { light: [200, 50, 20], dark: [255, 120, 95] },
  };
  const LIST_MS = 500, HASH_MS = 300, TRAILS_MS = 1000, REPLAY_TRAILS_MS = 250, PLACING_MS = 5000, FULL_SECONDS = 30, LEAST_OPACITY = 0.45;
  const SORTS = { name: "Name", speed: "Speed", heard: "Last heard", state: "State" };
  const names = new Intl.Collator("en", { numeric: true });

  const { make, put, clock, day, age, compass } = HM;
  const kmh = (speed) => (speed === speed && speed !== undefined ? `${Math.round(speed)} km/h` : "-");

  class Fleet {
    constructor(container) {
      this.config = JSON.parse(container.dataset.config);
      this.query = "";
      this.states = new Set();
      this.sort = "name";
      this.trail = "selected";
      this.trails = new Map();
      this.connected = false;
      const { map, ready } = HM.open(container, {
        files: this.config.files, coast: this.config.coast_seconds, tiles: this.config.tiles,
        credit: this.config.credit, states: LOOKS, alarm: ALARM,
        size: (zoom, count) => (count > 300 ? 4.5 : 8) + Math.min(Math.max(zoom - 6, 0) * 0.7, 5),
        label: (row) => row.id,
        fade: (row, now) => this.fade(row, now),
        onSelect: (id) => this.select(id),
        onHover: (id) => this.list.mark(this.map.selected, id),
        onView: () => this.later(),
        onUser: () => { this.isPlaced = true; this.showFollow(); },
        onFrame: () => this.framed(),
        onTick: () => this.ticked(),
        onRest: () => this.close(),
      });
      this.map = map;
      this.build(container);
      const placed = this.restore();
      this.isPlaced = placed;
      ready.then(() => this.loadAreas()).catch((error) => this.fail(error));
      this.connect();
      this.leave = () => this.restore();
      window.addEventListener("hashchange", this.leave);
    }

    close() {
      this.closed = true;
      this.socket?.close();
      this.list.close();
      this.replay?.player?.close();
      document.body.classList.remove("hm-replaying");
      clearTimeout(this.saving);
      window.removeEventListener("hashchange", this.leave);
      for (const element of this.built) element.remove();
      current = null;
    }

    fail(error) {
      this.note.hidden = false;
      put(this.note, `The map cannot be drawn: ${error.message}`);
    }

    connect() {
      this.socket = new HM.Socket(this.config.socket, {
        names: (rows) => this.map.names(rows),
        frame: (frame) => this.map.frameCame(frame),
        state: (connected) => {
          // Another connection, and perhaps another server, has numbers of its own.
          if (connected && !this.replay) { this.map.clear(); this.loadAfter = true; }
          this.connected = connected;
        },
      });
    }

    fade(row, now) {
      const seconds = (now - row.heard) / 1000, { offline_seconds: silent } = this.config;
      const share = Math.min(Math.max((seconds - FULL_SECONDS) / (silent - FULL_SECONDS), 0), 1);
      return 1 - share * (1 - LEAST_OPACITY);
    }

    // --- what stands on and beside the map ---

    build(container) {
      const button = (text, label, act, props = {}) =>
        make("button", { type: "button", className: "hm-button", textContent: text, title: label, onclick: act, aria: { label }, ...props });
      this.follower = button("Follow", "Keep the selected truck in the middle (F)", () => this.follow(!this.map.following));
      this.follower.disabled = true;
      this.trailChoice = make("select", { className: "hm-select", title: "Trails", aria: { label: "Trails" }, onchange: () => this.setTrail(this.trailChoice.value) },
        ...[["none", "No trails"], ["selected", "Trail of selected"], ["all", "All trails"]].map(([value, text]) => make("option", { value, textContent: text })));
      this.replayButton = button("Replay", "Play back what has been recorded", () => this.openReplay());
      const bar = make("div", { className: "hm-bar hm-panel", role: "toolbar", aria: { label: "Map" } },
        button("+", "Zoom in", () => this.map.zoomBy(1), { className: "hm-button hm-zoom" }),
        button("−", "Zoom out", () => this.map.zoomBy(-1), { className: "hm-button hm-zoom" }),
        button("Fit all", "Show all trucks (A)", () => this.fit()), this.follower, this.trailChoice, this.replayButton);
      const legend = make("div", { className: "hm-legend", aria: { hidden: "true" } },
        ...STATES.map((state) => make("span", { className: `hm-state hm-${state}`, textContent: state })),
        make("span", { className: "hm-state hm-alarm", textContent: "alert" }));
      this.note = make("div", { className: "hm-note", hidden: true, role: "status" });
      this.built = [bar, legend, this.note];
      this.map.stage.append(...this.built);
      this.buildReplay();
      this.stageKeys = (event) => this.key(event);
      container.onkeydown = this.stageKeys;
      this.buildList(document.getElementById("trucks-list"));
      this.buildPanel(document.getElementById("trucks-now"));
    }

    buildList(parent) {
      parent.replaceChildren();
      this.search = make("input", { type: "search", className: "hm-input", placeholder: "Truck, driver, route, cargo", aria: { label: "Search trucks" },
        oninput: () => { this.query = this.search.value; this.refilter(); } });
      this.sorter = make("select", { className: "hm-select", aria: { label: "Sort by" }, onchange: () => { this.sort = this.sorter.value; this.relist(); this.later(); } },
        ...Object.entries(SORTS).map(([value, text]) => make("option", { value, textContent: text })));
      this.chips = Object.fromEntries(STATES.map((state) => [state, make("button", {
        type: "button", className: `hm-chip hm-state hm-${state}`, textContent: state, aria: { pressed: "false" }, onclick: () => this.toggle(state) })]));
      this.summary = make("div", { className: "hw-muted hm-summary", role: "status" });
      parent.append(
        make("div", { className: "hm-search" }, this.search, this.sorter),
        make("div", { className: "hm-chips", role: "group", aria: { label: "Only these states" } }, ...Object.values(this.chips)), this.summary);
      this.list = new HM.List(parent, {
        label: "Trucks", empty: "No truck fits.",
        fill: (element, row) => this.fill(element, row),
        choose: (id) => this.select(id, true),
        hover: (id) => { this.map.hover(id); this.list.mark(this.map.selected, id); },
      });
    }

    buildPanel(parent) {
      this.head = {};
      parent.replaceChildren();
      const cell = (name, text) => {
        this.head[name] = make("dd");
        return [make("dt", { textContent: text }), this.head[name]];
      };
      this.head.name = make("strong", { className: "hm-name" });
      this.head.state = make("span", { className: "hm-state" });
      parent.append(
        make("div", { className: "hm-panel-head" }, this.head.name, this.head.state,
          make("button", { type: "button", className: "hm-button hm-close", textContent: "×", title: "Close (Esc)", aria: { label: "Close" }, onclick: () => this.select(null) })),
        make("dl", { className: "hw-facts" }, ...cell("speed", "Speed"), ...cell("heading", "Heading"), ...cell("place", "Position"), ...cell("fix", "Last fix (UTC)")));
    }

    fill(element, row) {
      if (!element.parts) {
        element.parts = ["mark", "name", "about", "speed", "age"].map((name) => make("span", { className: `hm-row-${name}` }));
        element.append(...element.parts);
      }
      const [mark, name, about, speed, heard] = element.parts;
      mark.className = `hm-row-mark hm-state hm-${STATES[row.state]}${row.alarm ? " hm-alarm" : ""}`;
      mark.title = STATES[row.state];
      put(name, row.id);
      put(about, (row.words ?? []).filter(Boolean).slice(0, 2).join(" · "));
      put(speed, row.state === 2 ? "offline" : kmh(row.speed));
      put(heard, age(this.map.now() - row.heard / 1000));
    }

    key(event) {
      if (event.target.closest("input, select")) return;
      if (event.key === "Escape") this.select(null);
      if (event.key === "f") this.follow(!this.map.following);
      if (event.key === "a") this.fit();
    }

    // --- filter, list ---

    fits(row) {
      if (this.states.size && !this.states.has(STATES[row.state])) return false;
      const words = this.query.trim().toLowerCase();
      return !words || [row.id, ...(row.words ?? [])].some((text) => text?.toLowerCase().includes(words));
    }

    toggle(state) {
      this.states.has(state) ? this.states.delete(state) : this.states.add(state);
      this.refilter();
    }

    refilter() {
      for (const [state, chip] of Object.entries(this.chips)) chip.setAttribute("aria-pressed", String(this.states.has(state)));
      this.map.setFilter((row) => this.fits(row));
      this.relist();
      this.later();
    }

    relist() {
      this.listed = performance.now();
      const known = this.map.rows.filter((row) => row?.time !== undefined);
      const rows = known.filter((row) => row.shown);
      const order = {
        name: (a, b) => names.compare(a.id, b.id),
        speed: (a, b) => (b.speed || 0) - (a.speed || 0),
        heard: (a, b) => b.heard - a.heard,
        state: (a, b) => a.state - b.state || names.compare(a.id, b.id),
      }[this.sort];
      if (this.sort !== "name" || rows.length !== this.sorted?.length || rows.some((row) => !this.members?.has(row))) {
        this.sorted = rows.sort(order);
        this.members = new Set(rows);
      }
      const counts = [0, 0, 0];
      for (const row of known) counts[row.state] += 1;
      STATES.forEach((state, number) => put(this.chips[state], `${state} ${counts[number]}`));
      put(this.summary, rows.length === known.length ? `${known.length} trucks` : `${rows.length} of ${known.length} trucks`);
      this.list.show(this.sorted);
    }

    // --- selected, follow, trails ---

    select(id, fly = false) {
      this.map.select(id, fly);
      this.list.mark(id, this.map.hovered);
      document.getElementById("trucks-panel").hidden = id === null;
      window.dash_clientside.headwater.filter(id ?? "", "trucks-truck");
      this.showFollow();
      this.showPanel();
      if (id !== null) this.loadTrails();
      this.drawTrails();
      this.later();
    }

    follow(on) {
      if (this.map.selected === null) return;
      this.map.following = on;
      if (on) this.map.select(this.map.selected, true);
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
      const row = this.map.row(this.map.selected);
      if (this.map.selected === null) return;
      put(this.head.name, this.map.selected);
      this.head.state.className = row?.time === undefined ? "hm-state" : `hm-state hm-${STATES[row.state]}`;
      if (row?.time === undefined) {
        put(this.head.state, this.replay ? "not recorded then" : "not heard of lately");
        for (const name of ["speed", "heading", "place", "fix"]) put(this.head[name], "-");
        return;
      }
      put(this.head.state, STATES[row.state]);
      put(this.head.speed, kmh(row.speed));
      put(this.head.heading, compass(row.heading));
      put(this.head.place, `${row.latitude.toFixed(5)}, ${row.longitude.toFixed(5)}`);
      const when = day(row.time) === day(this.map.now() * 1000) ? clock(row.time) : `${day(row.time)} ${clock(row.time)}`;
      put(this.head.fix, `${when} (${age(this.map.now() - row.time / 1000)})`);
    }

    setTrail(mode) {
      this.trail = mode;
      this.trailChoice.value = mode;
      this.loadTrails();
      this.drawTrails();
      this.later();
    }

    /* What the server remembers of the trails from before this page was opened. */
    async loadTrails() {
      if (this.trail === "none" || this.replay) return;
      const id = this.trail === "selected" ? this.map.selected : "";
      if (id === null) return;
      try {
        const found = await (await fetch(`${this.config.trails}?truck_id=${encodeURIComponent(id)}`)).json();
        if (this.replay || this.closed) return;
        for (const [name, path] of Object.entries(found)) {
          const row = this.map.row(name);
          if (row?.time !== undefined) row.trail = [...path, ...row.trail.filter((place) => !path.length || place[2] > path.at(-1)[2])];
        }
        this.drawTrails();
      } catch { /* the trail then begins here */ }
    }

    drawTrails() {
      this.trailed = performance.now();
      const most = this.config.most_trail;
      const of = this.trail === "none" ? [] : this.trail === "all" ? this.map.rows : [this.map.row(this.map.selected)];
      const player = this.replay?.player;
      if (player) for (const row of of) if (row) row.trail = player.trail(row.number);
      this.map.setTrails(of.filter((row) => row?.shown && row.trail.length > 1).map((row) => {
        if (row.trail.length > most) row.trail.splice(0, row.trail.length - most);
        const chosen = row.id === this.map.selected;
        return { path: row.trail.slice(), colour: [...this.map.palette[0], chosen ? 230 : 110], width: chosen ? 3.5 : 2 };
      }));
    }

    async loadAreas() {
      const found = await (await fetch(this.config.areas)).json();
      this.map.setAreas(found.features.map((feature) => {
        const points = feature.geometry.coordinates.flat(feature.geometry.type === "Polygon" ? 1 : 2);
        const xs = points.map(([x]) => HM.mercatorX(x)), ys = points.map(([, y]) => HM.mercatorY(y));
        const [west, east, north, south] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
        return { ...feature, properties: { ...feature.properties, colours: KINDS[feature.properties.kind],
          x: (west + east) / 2, y: (north + south) / 2, size: east - west } };
      }));
    }

    // --- as time goes by ---

    framed() {
      this.placeFirst();
      if (this.loadAfter) {
        this.loadAfter = false;
        this.relist();
        this.loadTrails();
      }
      this.news = true;
    }

    /* All trucks in view, as long as more of them come in the first seconds and nobody has looked elsewhere. */
    placeFirst() {
      if (this.isPlaced) return;
      const known = this.map.rows.filter((row) => row?.shown).length;
      if (!known) return;
      this.placing ??= performance.now();
      if (known !== this.placed) {
        this.placed = known;
        this.relist();
        this.map.fit(undefined, false);
        this.loadTrails();
      }
      if (performance.now() - this.placing > PLACING_MS) this.isPlaced = true;
    }

    ticked() {
      const now = performance.now(), player = this.replay?.player;
      if (player) {
        player.tick();
        this.news = player.playing;
        if (player.playing || this.player.textContent === "❚❚") this.replayed();
      }
      if (now - (this.listed ?? 0) > LIST_MS) {
        if (player) for (const row of this.map.rows) player.judge(row);
        this.relist();
        this.showPanel();
        this.showNote();
      } else if (this.news && this.trail !== "none" && now - (this.trailed ?? 0) > (player ? REPLAY_TRAILS_MS : TRAILS_MS)) {
        // Not in the same frame as the list: each is short, both together are not.
        this.news = false;
        this.drawTrails();
      }
    }

    showNote() {
      const nobody = !this.map.rows.some((row) => row?.time !== undefined);
      const text = this.replay ? "" : (nobody ? (this.connected ? "No truck has sent a fix yet. make run-producers STREAMS=trucks sends some."
        : "Waiting for the dashboard …") : this.connected ? "" : "The positions' connection is lost; trying again.");
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
      const { x, y, zoom } = this.map.view;
      const words = new URLSearchParams();
      if (this.isPlaced || this.placed) {
        words.set("at", `${HM.latitude(y).toFixed(5)},${HM.longitude(x).toFixed(5)},${zoom.toFixed(2)}`);
      }
      if (this.map.selected !== null) words.set("truck", this.map.selected);
      if (this.map.following) words.set("follow", "1");
      if (this.query) words.set("q", this.query);
      if (this.states.size) words.set("state", [...this.states].join(","));
      if (this.sort !== "name") words.set("sort", this.sort);
      if (this.trail !== "selected") words.set("trail", this.trail);
      const hash = `#${words.toString().replaceAll("%2C", ",")}`;
      if (hash !== location.hash) history.replaceState(history.state, "", `${location.pathname}${location.search}${hash}`);
    }

    /* The view that the address holds; whether it says where to look. */
    restore() {
      const words = new URLSearchParams(location.hash.slice(1));
      const [latitude, longitude, zoom] = (words.get("at") ?? "").split(",").map(Number);
      const placed = [latitude, longitude, zoom].every(Number.isFinite);
      if (placed) this.map.setView({ x: HM.mercatorX(longitude), y: HM.mercatorY(latitude), zoom });
      else this.map.setView({ x: HM.mercatorX(10), y: HM.mercatorY(48), zoom: 3.4 });
      this.query = this.search.value = words.get("q") ?? "";
      this.states = new Set((words.get("state") ?? "").split(",").filter((state) => STATES.includes(state)));
      this.sort = this.sorter.value = words.get("sort") in SORTS ? words.get("sort") : "name";
      this.trail = this.trailChoice.value = ["none", "all"].includes(words.get("trail")) ? words.get("trail") : "selected";
      this.refilter();
      this.select(words.get("truck"));
      if (words.get("follow") === "1") this.follow(true);
      return placed;
    }

    // --- replay ---

    buildReplay() {
      const button = (text, label, act) => make("button", { type: "button", className: "hm-button", textContent: text, title: label, aria: { label }, onclick: act });
      const choice = (label, options, value, act) => {
        const found = make("select", { className: "hm-select", aria: { label }, title: label, onchange: act },
          ...options.map(([option, text]) => make("option", { value: option, textContent: text })));
        found.value = value;
        return found;
      };
      const moment = (label) => make("input", { type: "datetime-local", step: 1, className: "hm-input", hidden: true, aria: { label }, title: label });
      this.span = choice("Span", [["3600", "Last hour"], ["today", "Today (UTC)"], ["86400", "Last 24 h"], ["custom", "From, to (UTC)"]], "3600",
        () => this.chooseSpan());
      this.from = moment("From (UTC)");
      this.to = moment("To (UTC)");
      this.load = button("Load", "Load this span", () => this.loadReplay());
      this.load.hidden = true;
      this.player = button("▶", "Play or pause", () => this.play(!this.replay?.player?.playing));
      this.slider = make("input", { type: "range", className: "hm-slider", min: 0, max: 1, step: 1, value: 0, aria: { label: "Time" },
        oninput: () => { this.replay?.player?.seek(this.replay.player.begin + Number(this.slider.value)); this.replayed(); this.drawTrails(); } });
      this.moment = make("output", { className: "hw-number hm-moment" });
      this.pace = choice("Speed", [1, 5, 10, 30, 60, 120, 300].map((times) => [String(times), `${times}×`]), "30",
        () => { if (this.replay?.player) this.replay.player.speed = Number(this.pace.value); });
      this.about = make("div", { className: "hw-muted hm-about", role: "status" });
      this.replayBar = make("div", { className: "hm-panel hm-replay", hidden: true, role: "group", aria: { label: "Replay" } },
        make("div", { className: "hm-replay-row" }, make("strong", { className: "hm-recorded", textContent: "REPLAY, not live" }), this.span, this.from, this.to, this.load,
          button("Back to live", "End the replay", () => this.closeReplay())),
        make("div", { className: "hm-replay-row" }, this.player, this.slider, this.moment, this.pace), this.about);
      this.built.push(this.replayBar);
      this.map.stage.append(this.replayBar);
    }

    openReplay() {
      if (this.replay) { this.closeReplay(); return; }
      this.replay = { words: new Map(this.map.rows.map((row) => [row?.id, row?.words])) };
      this.socket.close();
      this.map.following = false;
      document.body.classList.add("hm-replaying");
      this.replayBar.hidden = false;
      this.replayButton.setAttribute("aria-pressed", "true");
      this.chooseSpan();
    }

    chooseSpan() {
      const custom = this.span.value === "custom", now = Date.now();
      for (const element of [this.from, this.to, this.load]) element.hidden = !custom;
      if (!custom) { this.loadReplay(); return; }
      const text = (ms) => new Date(ms).toISOString().slice(0, 19);
      this.from.value ||= text(now - 3600000);
      this.to.value ||= text(now);
    }

    async loadReplay() {
      const now = Date.now(), midnight = now - (now % 86400000);
      const begins = { today: midnight, custom: Date.parse(`${this.from.value}Z`) }[this.span.value] ?? now - 1000 * Number(this.span.value);
      const ends = this.span.value === "custom" ? Date.parse(`${this.to.value}Z`) : now;
      const asked = (this.replay.asked = {});
      this.replay.player?.play(false);
      if (!(ends > begins)) { put(this.about, "The end must be after the beginning."); return; }
      put(this.about, "Loading …");
      try {
        const span = new URLSearchParams({ since: new Date(begins).toISOString(), until: new Date(ends).toISOString() });
        const answer = await fetch(`${this.config.replay}?${span}`);
        if (!answer.ok) throw new Error(`the dashboard answered ${answer.status}`);
        const data = HM.decodeReplay(await answer.arrayBuffer());
        if (this.replay?.asked !== asked) return;
        const { offline_seconds: offline, pause_seconds: pause, moving_kmh: moving } = this.config;
        this.replay.player = new HM.Replay(this.map, data, { offline, pause, moving, words: (id) => this.replay.words.get(id) });
        this.replay.player.speed = Number(this.pace.value);
        this.slider.max = Math.max(Math.ceil(this.replay.player.end - this.replay.player.begin), 1);
        put(this.about, this.tell(data));
        this.refilter();
        this.play(data.count > 0);
        this.map.fit(this.replay.player.places());
      } catch (error) {
        if (this.replay?.asked === asked) put(this.about, `Cannot load: ${error.message}`);
      }
    }

    tell(data) {
      if (!data.count) return "Nothing was recorded in this span. The archive writes every half minute.";
      const many = (number) => number.toLocaleString("en");
      const thinned = data.step_s ? ` Thinned: one fix a truck in ${data.step_s} s, of ${many(data.recorded)} recorded.` : "";
      return `${many(data.trucks.length)} trucks, ${many(data.count)} fixes.${thinned}`;
    }

    play(on) {
      this.replay?.player?.play(on);
      this.replayed();
    }

    replayed() {
      const player = this.replay?.player;
      if (!player) return;
      put(this.player, player.playing ? "❚❚" : "▶");
      this.slider.value = player.at - player.begin;
      put(this.moment, `${day(player.at * 1000)} ${clock(player.at * 1000)} UTC`);
      this.slider.setAttribute("aria-valuetext", this.moment.textContent);
    }

    closeReplay() {
      this.replay?.player?.close();
      this.replay = null;
      this.map.clear();
      document.body.classList.remove("hm-replaying");
      this.replayBar.hidden = true;
      this.replayButton.setAttribute("aria-pressed", "false");
      this.drawTrails();
      this.connect();
    }
  }

  let current = null;
  // An alert's place: fly there and select its truck.
  document.addEventListener("click", (event) => {
    const place = event.target.closest?.("[data-truck]");
    if (!place || !current) return;
    const { truck, latitude, longitude } = place.dataset;
    current.select(truck);
    current.map.following = false;
    current.map.flyTo({ x: HM.mercatorX(Number(longitude)), y: HM.mercatorY(Number(latitude)), zoom: Math.max(current.map.view.zoom, 11) });
    document.getElementById("trucks-map").scrollIntoView({ block: "nearest", behavior: "smooth" });
  });

  document.addEventListener("headwater:page", () => {
    const container = document.getElementById("trucks-map");
    if (!container) return;
    try {
      current = new Fleet(container);
    } catch (error) {
      container.textContent = `The map cannot be drawn: ${error.message}.`;
    }
  });
})();
